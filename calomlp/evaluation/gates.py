"""Quality gates: conditions on the numbers of a report, in the language of the features."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calomlp.data.expressions import Expression
from calomlp.errors import QualityError, UsageError
from calomlp.evaluation.numbers import (
    LEGAL,
    Number,
    check_number,
    compared_curve,
    find_numbers,
    is_ratio,
    known_curve,
)
from calomlp.evaluation.report import Report

_AT_ENERGY = re.compile(r"([A-Za-z_][\w.]*)\[([0-9.eE+-]+)\]")
_AS_BRANCH = re.compile(r"branch\('([\w.]+)@([^']+)'\)")
_NAMED = 3


@dataclass(frozen=True)
class Gate:
    """A condition on the numbers of a report."""

    text: str  # as the user wrote it
    expression: Expression  # with a branch for each number

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read ``resolution[10] < 0.06``, ``abs(bias) < 0.01``, ``sum.stochastic > 1.2 * stochastic``.

        Raises:
            UsageError: If this is not in the feature language, or names a number that there is not.
        """
        try:
            expression = Expression.parse(_AT_ENERGY.sub(lambda match: f"branch('{match[1]}@{match[2]}')", text))
        except UsageError as error:
            raise UsageError(f"--require: {_AS_BRANCH.sub(_as_written, str(error))}") from error
        if not expression.branches:
            raise UsageError(f"--require {text!r} says nothing of the report: legal are {', '.join(LEGAL)}")
        for branch in expression.branches:
            name, _, energy = branch.partition("@")
            check_number(name, energy, f"--require {text!r}")
        return cls(text, expression)

    def failures(self, report: Report) -> list[str]:
        """Return where the condition is not met, a phrase for each place; none if it is met everywhere.

        It is met nowhere where one of its numbers is absent.

        Raises:
            UsageError: If a curve or a bin that it names is not there, or it is not true or false.
        """
        where = f"--require {self.text!r}"
        numbers = {}
        for branch in self.expression.branches:
            name, _, energy = branch.partition("@")
            numbers[branch] = find_numbers(report, name, energy, where)
        length = max(map(len, numbers.values()))
        columns = {branch: np.array([_value(item) for item in values]) for branch, values in numbers.items()}
        if any(len(values) not in (1, length) for values in numbers.values()):
            raise UsageError(f"{where}: its numbers are not in the same bins")
        met = np.broadcast_to(np.asarray(self.expression(columns)), length)
        if met.dtype.kind != "b":
            raise UsageError(f"{where} is not true or false: compare it with a number")
        for values in columns.values():
            met = met & ~np.isnan(values)
        return [
            ", ".join(_told(values[place if len(values) > 1 else 0]) for values in numbers.values())
            for place in np.flatnonzero(~met).tolist()
        ]


def check_curves(gates: Sequence[Gate], names: Sequence[str]) -> None:
    """Refuse gates on curves that there will not be, before there is a report.

    Args:
        gates: The gates.
        names: Names of the curves, the one first that is compared with the others.

    Raises:
        UsageError: Naming the first of them.
    """
    for gate in gates:
        where = f"--require {gate.text!r}"
        for branch in gate.expression.branches:
            name = branch.partition("@")[0]
            if is_ratio(name):
                compared_curve(name, names[1:], where)
            elif owner := name.rpartition(".")[0]:
                known_curve(owner, names, where)


def check_gates(gates: Sequence[Gate], report: Report) -> None:
    """Raise an error that names each gate that is not met, with its numbers.

    Raises:
        QualityError: If there is one.
    """
    failed = {gate.text: failures for gate in gates if (failures := gate.failures(report))}
    if failed:
        raise QualityError("; ".join(_sentence(text, failures) for text, failures in failed.items()))


def _as_written(match: re.Match[str]) -> str:
    return f"{match[1]}[{match[2]}]"


def _sentence(text: str, failures: Sequence[str]) -> str:
    more = f" and in {len(failures) - _NAMED} more bins" if len(failures) > _NAMED else ""
    return f"not met: {text} ({'; '.join(failures[:_NAMED])}{more})"


def _value(number: Number) -> float:
    return number.measured.value if number.measured else math.nan


def _told(number: Number) -> str:
    if number.measured is None:
        return f"{number.name} has no value: {number.why}"
    error = f" +- {number.measured.error:.2g}" if number.measured.error > 0 else ""
    return f"{number.name} = {number.measured.value:.4g}{error}"
