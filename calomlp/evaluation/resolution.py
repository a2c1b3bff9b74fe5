"""The fit of the resolution: sigma/E = a/sqrt(E) (+) n/E (+) c, added in quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from iminuit import Minuit
from iminuit.cost import LeastSquares
from numpy.typing import NDArray

from calomlp.evaluation.estimators import Measurement
from calomlp.model.spread import terms_of_resolution

MIN_POINTS = 4
"""Three terms need at least four points, or nothing is tested."""

_NOISE_REACH = 10.0
_START = 1e-2
_POOR = 3.0
_NAMES = ("stochastic", "noise", "constant")


@dataclass(frozen=True)
class ResolutionFit:
    """Terms of the resolution.

    Attributes:
        stochastic: a [sqrt(GeV)].
        noise: n [GeV].
        constant: c.
        covariance: Of (a, n, c), shape [3, 3].
        chi2: Of the fit.
        ndf: Degrees of freedom.
        energy_min: Lowest energy that was fitted [GeV].
        energy_max: Highest [GeV].
        note: What to know before quoting it; empty if nothing.
    """

    stochastic: Measurement
    noise: Measurement
    constant: Measurement
    covariance: tuple[tuple[float, ...], ...]
    chi2: float
    ndf: int
    energy_min: float
    energy_max: float
    note: str = ""

    def __call__(self, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fitted resolution at energies [GeV]."""
        return resolution(energy, self.stochastic.value, self.noise.value, self.constant.value)


def resolution(energy: NDArray[np.float64], a: float, n: float, c: float) -> NDArray[np.float64]:
    """Return sigma/E = sqrt(a^2/E + n^2/E^2 + c^2) at energies [GeV]."""
    return np.sqrt(a**2 / energy + n**2 / energy**2 + c**2)


def fit_resolution(energies: Sequence[float], measured: Sequence[Measurement]) -> ResolutionFit | None:
    """Fit the three terms with Minuit, from the solution of the linear problem in their squares.

    Args:
        energies: In GeV.
        measured: sigma/E with its error at each energy.

    Returns:
        The fit, or ``None`` for fewer than :data:`MIN_POINTS` points.
    """
    if len(energies) < MIN_POINTS:
        return None
    x = np.array(energies, dtype=np.float64)
    y = np.array([item.value for item in measured])
    error = np.array([item.error for item in measured])
    start = terms_of_resolution(x, y, error)
    # only squares enter, so the sign is free: a limit at zero would hold a term there with no error at all
    minuit = Minuit(
        LeastSquares(x, y, error, resolution),
        a=max(start.stochastic, _START),
        n=max(start.noise, _START),
        c=max(start.constant, _START),
    )
    minuit.migrad()
    minuit.hesse()
    covariance = np.array(minuit.covariance if minuit.covariance is not None else np.zeros((3, 3)))
    terms = {
        name: Measurement(abs(float(value)), math.sqrt(max(float(covariance[i, i]), 0.0)))
        for i, (name, value) in enumerate(zip(_NAMES, minuit.values, strict=True))
    }
    return ResolutionFit(
        **terms,
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        chi2=float(minuit.fval),
        ndf=len(x) - 3,
        energy_min=float(x.min()),
        energy_max=float(x.max()),
        note=_note(terms, float(x.min()), float(minuit.fval) / max(len(x) - 3, 1), valid=bool(minuit.valid)),
    )


def _note(terms: dict[str, Measurement], energy_min: float, reduced: float, *, valid: bool) -> str:
    """Say what is wrong with a fit.

    The noise term cannot be told from the others without energies below about 10 (n/a)^2; a large chi2 means that the
    three terms do not describe the points within their errors.
    """
    if not valid:
        return "the fit did not converge"
    notes = [f"three terms do not describe the points, chi2/ndf = {reduced:.1f}"] if reduced > _POOR else []
    noise, stochastic = terms["noise"], terms["stochastic"].value
    reach = _NOISE_REACH * (noise.value / stochastic) ** 2 if stochastic > 0 else math.inf
    if noise.value < 2 * noise.error or energy_min > reach:
        notes.append("the noise term is not determined by these energies")
    return "; ".join(notes)
