"""Quality gates: conditions on the numbers of a report, in the language of the features."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calomlp.data.expressions import Expression
from calomlp.errors import QualityError, UsageError, did_you_mean
from calomlp.evaluation.estimators import Measurement
from calomlp.evaluation.report import Bin, Curve, Ratio, Report
from calomlp.evaluation.summary import is_fitted
from calomlp.units import listed

IN_BINS = (
    "resolution",
    "bias",
    "resolution_per_slope",
    "events",
    *("core_mean", "core_sigma", "mean", "rms", "mean90", "rms90", "median", "sigma_68", "sigma_eff", "mad"),
    *("mode", "fwhm", "tail_2sigma", "tail_3sigma", "crystal_ball_mean", "crystal_ball_sigma"),
)
"""Numbers that there are in every bin: of the one at 10 GeV as ``bias[10]``, or of all inner bins as ``bias``."""

OF_A_CURVE = (
    *("stochastic", "noise", "constant", "chi2_per_ndf", "linearity", "linearity_rms", "slope", "offset"),
    *("missing", "infinite", "not_positive"),
)
"""Numbers of a curve."""

OF_THE_REPORT = ("out_of_domain", "coverage", "coverage_2sigma", "pull_mean", "pull_width", "sharpness", "score")
"""Numbers of the whole report."""

RATIO = "ratio"
"""``ratio.sum[10]`` is the resolution of the first curve over that of the sum."""

_AT_ENERGY = re.compile(r"([A-Za-z_][\w.]*)\[([0-9.eE+-]+)\]")
_AS_BRANCH = re.compile(r"branch\('([\w.]+)@([^']+)'\)")
_NAMED, _LISTED = 3, 20


@dataclass(frozen=True)
class _Number:
    """A number of the report, and what messages call it."""

    name: str
    measured: Measurement


@dataclass(frozen=True)
class Gate:
    """A condition on the numbers of a report.

    Attributes:
        text: As the user wrote it.
        expression: With a branch for each number.
    """

    text: str
    expression: Expression

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
            raise UsageError(f"--require {text!r} says nothing of the report: legal are {', '.join(_legal())}")
        for branch in expression.branches:
            name, _, energy = branch.partition("@")
            quantity = name.rpartition(".")[2]
            if name.startswith(f"{RATIO}."):
                continue
            if quantity not in _legal() or (energy and quantity not in IN_BINS):
                raise UsageError(
                    f"--require {text!r}: no number {name!r}: {did_you_mean(quantity, _legal(), limit=40)}"
                )
            if energy and not _is_energy(energy):
                raise UsageError(f"--require {text!r}: {energy!r} in brackets is no energy in GeV")
        return cls(text, expression)

    def failures(self, report: Report) -> list[str]:
        """Return where the condition is not met, a phrase for each place; none if it is met everywhere.

        Raises:
            UsageError: If a curve or a bin that it names is not there, or it is not true or false.
        """
        numbers = {branch: _numbers(branch, report, self.text) for branch in self.expression.branches}
        length = max(map(len, numbers.values()))
        columns = {branch: np.array([item.measured.value for item in found]) for branch, found in numbers.items()}
        if any(len(found) not in (1, length) for found in numbers.values()):
            raise UsageError(f"--require {self.text!r}: its numbers are not in the same bins")
        met = np.broadcast_to(np.asarray(self.expression(columns)), length)
        if met.dtype.kind != "b":
            raise UsageError(f"--require {self.text!r} is not true or false: compare it with a number")
        return [
            ", ".join(_told(found[place if len(found) > 1 else 0]) for found in numbers.values())
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
        for branch in gate.expression.branches:
            name = branch.partition("@")[0]
            if name.startswith(f"{RATIO}."):
                _known(name.removeprefix(f"{RATIO}."), names[1:], gate.text, " to compare with")
            elif owner := name.rpartition(".")[0]:
                _known(owner, names, gate.text)


def check_gates(gates: Sequence[Gate], report: Report) -> None:
    """Raise an error that names each gate that is not met, with its numbers.

    Raises:
        QualityError: If there is one.
    """
    failed = {gate.text: found for gate in gates if (found := gate.failures(report))}
    if failed:
        raise QualityError("; ".join(_sentence(text, found) for text, found in failed.items()))


def _as_written(match: re.Match[str]) -> str:
    return f"{match[1]}[{match[2]}]"


def _sentence(text: str, found: Sequence[str]) -> str:
    more = f" and in {len(found) - _NAMED} more bins" if len(found) > _NAMED else ""
    return f"not met: {text} ({'; '.join(found[:_NAMED])}{more})"


def _told(number: _Number) -> str:
    error = f" +- {number.measured.error:.2g}" if number.measured.error > 0 else ""
    return f"{number.name} = {number.measured.value:.4g}{error}"


def _legal() -> tuple[str, ...]:
    return (*IN_BINS, *OF_A_CURVE, *OF_THE_REPORT)


def _is_energy(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def _numbers(branch: str, report: Report, text: str) -> list[_Number]:
    """Return the numbers that a name stands for: one, or one for every inner bin."""
    name, _, energy = branch.partition("@")
    owner, _, quantity = name.rpartition(".")
    if owner == RATIO or name.startswith(f"{RATIO}."):
        return _ratios(name, energy, report, text)
    if quantity in OF_THE_REPORT:
        return [_Number(name, _of_report(report, text)[quantity])]
    names = [curve.name for curve in report.curves]
    curve = report.curve(_known(owner, names, text)) if owner else report.curves[0]
    if quantity in OF_A_CURVE:
        found = _of_curve(curve)
        if quantity not in found:
            raise UsageError(f"--require {text!r}: too few bins for a fit of {curve.label}")
        return [_Number(name, found[quantity])]
    return list(_in_bins(name, quantity, curve, energy, text))


def _in_bins(name: str, quantity: str, curve: Curve, energy: str, text: str) -> Iterator[_Number]:
    bins: Sequence[Bin] = [bin_ for bin_ in curve.bins if is_fitted(bin_)]
    if energy:
        bins = [bin_ for bin_ in curve.bins if _holds(bin_.edges, float(energy))]
    if not bins:
        where = f"at {energy} GeV, {_there(curve.bins)}" if energy else "inside the training range with events enough"
        raise UsageError(f"--require {text!r}: there is no bin {where}")
    for bin_ in bins:
        found = Measurement(bin_.events, 0) if quantity == "events" else bin_.estimates.get(quantity)
        if found is None:
            raise UsageError(f"--require {text!r}: {quantity} has no value at {bin_.energy:.3g} GeV")
        yield _Number(f"{name}[{bin_.energy:.3g}]", found)


def _holds(edges: tuple[float, float], energy: float) -> bool:
    low, high = edges
    return low <= energy < high or (low == high and abs(energy / low - 1) < 1e-6)


def _ratios(name: str, energy: str, report: Report, text: str) -> list[_Number]:
    wanted = name.removeprefix(f"{RATIO}.")
    others = {comparison.curve: comparison for comparison in report.comparisons}
    compared = others[_known(wanted, list(others), text, " to compare with")].ratios
    found = [
        _Number(f"{name}[{item.energy:.3g}]", item.ratio)
        for item in compared
        if (_holds((item.energy_low, item.energy_high), float(energy)) if energy else not item.edge)
    ]
    if not found:
        where = f"at {energy} GeV to compare in, {_there(compared)}" if energy else "to compare in"
        raise UsageError(f"--require {text!r}: there is no bin {where}")
    return found


def _known(name: str, names: Sequence[str], text: str, role: str = "") -> str:
    """Return the name of a curve if there is such a curve.

    Raises:
        UsageError: If there is not.
    """
    if name not in names:
        raise UsageError(f"--require {text!r}: no curve {name!r}{role}: {did_you_mean(name, names)}")
    return name


def _there(bins: Sequence[Bin | Ratio]) -> str:
    """Say which bins there are [GeV]."""
    ends = [dict.fromkeys((f"{item.energy_low:.4g}", f"{item.energy_high:.4g}")) for item in bins]
    return f"there are {listed([' to '.join(end) for end in ends], _LISTED)} GeV" if bins else "and there is no other"


def _of_curve(curve: Curve) -> dict[str, Measurement]:
    found = {name: Measurement(getattr(curve.unusual, name), 0) for name in ("missing", "infinite", "not_positive")}
    if curve.fit:
        found |= {name: getattr(curve.fit, name) for name in ("stochastic", "noise", "constant")}
        found["chi2_per_ndf"] = Measurement(curve.fit.chi2 / max(curve.fit.ndf, 1), 0)
    if curve.linearity:
        found["linearity"] = Measurement(curve.linearity.max, 0)
        found["linearity_rms"] = Measurement(curve.linearity.rms, 0)
    if curve.line:
        found |= {"slope": curve.line.slope, "offset": curve.line.offset}
    return found


def _of_report(report: Report, text: str) -> Mapping[str, Measurement]:
    found = {"out_of_domain": Measurement(report.out_of_domain, 0)}
    if (given := report.uncertainty) is not None:
        found |= {"coverage": given.coverage[0], "coverage_2sigma": given.coverage[1]}
        found |= {"sharpness": Measurement(given.sharpness, 0), "score": Measurement(given.score, 0)}
        for name, part in (("pull_mean", "core_mean"), ("pull_width", "core_sigma")):
            if part in given.pull:
                found[name] = given.pull[part]
    missing = [name for name in OF_THE_REPORT if name not in found and re.search(rf"\b{name}\b", text)]
    if missing:
        raise UsageError(
            f"--require {text!r}: no uncertainties of single events are predicted, so there is no {missing[0]}"
        )
    return found
