"""What events are to be sliced by, as the user writes it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calomlp.data.expressions import Expression
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.slices import MAX_SLICES, Slicing

_DISTINCT = 20  # whole numbers up to so many are slices of their own
_DEFAULT = 10
_NUMBERS = re.compile(r":(?P<numbers>[-+.0-9eE]+(,[-+.0-9eE]+)*)$")


@dataclass(frozen=True)
class Request:
    """A quantity that the events are to be sliced by."""

    expression: Expression  # the quantity, one number of each event
    number: int = 0  # how many slices with about as many events each; 0 if that is to be found out
    edges: tuple[float, ...] = ()  # edges of the slices, where they are given

    @classmethod
    def parse(cls, text: str) -> Request:
        """Read ``pdg_id``, ``shower_start:10`` or ``true_x:-5,0,5``.

        Raises:
            UsageError: If this is not an expression with a number of slices or their edges in ascending order.
        """
        match = _NUMBERS.search(text)
        expression = Expression.parse(text[: match.start()] if match else text)
        if not expression.branches:
            raise UsageError(f"--by {text!r} reads no branch: it must depend on the event")
        if match is None:
            return cls(expression)
        numbers = match["numbers"]
        if numbers.isdecimal() and 1 < int(numbers) <= MAX_SLICES:
            return cls(expression, int(numbers))
        try:
            edges = tuple(map(float, numbers.split(",")))
        except ValueError:
            edges = (math.nan,)
        if "," not in numbers or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            raise UsageError(
                f"--by {text!r}: after the colon stands a number of slices from 2 to {MAX_SLICES}, or edges in "
                "ascending order"
            )
        return cls(expression, edges=edges)

    def slicing(self, values: NDArray[np.float64]) -> Slicing:
        """Decide on the slices.

        Args:
            values: Of the first events, shape [events].

        Raises:
            InputError: If none of them is a number.
        """
        if self.edges:
            return Slicing(self.expression.text, self.edges)
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise InputError(f"--by {self.expression.text!r} is not a number in any of the first {len(values)} events")
        if not self.number and (finite == np.rint(finite)).all() and len(np.unique(finite)) <= _DISTINCT:
            return Slicing(self.expression.text)
        shares = np.linspace(0, 1, (self.number or _DEFAULT) + 1)[1:-1]
        return Slicing(self.expression.text, tuple(float(f"{edge:.4g}") for edge in np.quantile(finite, shares)))
