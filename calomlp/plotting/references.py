"""Published resolutions that are drawn beside the measured ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import UsageError
from calomlp.evaluation.report import Curve

FORM = "LABEL=a,n,c"
"""How a reference is written."""


@dataclass(frozen=True)
class Reference:
    """A published resolution, sigma/E = a/sqrt(E) (+) n/E (+) c."""

    label: str  # what the legend calls it
    stochastic: float  # a [% sqrt(GeV)]
    noise: float  # n [GeV]
    constant: float  # c [%]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``CALICE SiW ECAL=16.6,0,1.1``.

        Raises:
            UsageError: If the text has another form, or a term is negative or not finite, or all are zero.
        """
        label, _, written = text.rpartition("=")
        try:
            a, n, c = (float(term) for term in written.split(","))
        except ValueError:
            a = n = c = math.nan
        if not label.strip() or not (math.isfinite(a + n + c) and min(a, n, c) >= 0 and max(a, n, c) > 0):
            raise UsageError(
                f"reference {text!r} is not of the form {FORM} with a in %, n in GeV and c in %, "
                "none below zero and not all zero, such as 'CALICE SiW ECAL=16.6,0,1.1'"
            )
        return cls(label.strip(), a, n, c)

    @property
    def formula(self) -> str:
        """The terms that are not zero."""
        terms = ((self.stochastic, "%/√E"), (self.noise, "GeV/E"), (self.constant, "%"))
        return " ⊕ ".join(f"{value:g} {unit}" for value, unit in terms if value)

    def __call__(self, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the resolution [%] at energies [GeV]."""
        terms = (self.stochastic / np.sqrt(energy), 100 * self.noise / energy, self.constant * np.ones_like(energy))
        return np.asarray(np.sqrt(sum(np.square(term) for term in terms)))


def fitted_energies(curves: Sequence[Curve]) -> NDArray[np.float64]:
    """Return energies [GeV] over the range of the fits of all curves; where there is none, of their bins."""
    fits = [curve.fit for curve in curves if curve.fit is not None]
    ranges = [(fit.energy_min, fit.energy_max) for fit in fits]
    ranges = ranges or [bin_.edges for curve in curves for bin_ in curve.bins]
    low, high = min((low for low, _ in ranges), default=1.0), max((high for _, high in ranges), default=2.0)
    if low == high:
        low, high = 0.8 * low, 1.2 * high
    return np.geomspace(low, high, 200)
