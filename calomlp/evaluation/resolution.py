"""The fits: the terms of the resolution, a/sqrt(E) and n/E and c, and the line through the response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from iminuit import Minuit
from iminuit.cost import LeastSquares
from numpy.typing import NDArray

from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import LINEAR, QUADRATURE, Options
from calomlp.model.spread import non_negative_least_squares, terms_of_resolution

MIN_POINTS = 4
"""Three terms need at least four points, or nothing is tested."""

MIN_POINTS_OF_LINE = 3

_NOISE_REACH = 10.0
_START = 1e-2
_POOR = 3.0
_HALVINGS = 30

_SIGNIFICANT = 2.0
"""A term that is below so many of its standard errors has an upper limit."""

_RISE = 1.645**2
"""At an upper limit, chi2 is so much above its minimum: of a Gaussian, 5 % are beyond 1.645 sigma on one side."""

TERMS = ("stochastic", "noise", "constant")
"""Names of a, n and c."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ResolutionFit:
    """Terms of the resolution.

    Attributes:
        sum: One of :data:`~calomlp.evaluation.options.SUMS`.
        stochastic: a [sqrt(GeV)].
        noise: n [GeV]; with an error of zero if it was given.
        constant: c.
        covariance: Of (a, n, c), shape [3, 3].
        chi2: Of the fit.
        ndf: Degrees of freedom.
        energy_min: Lowest energy that was fitted [GeV].
        energy_max: Highest [GeV].
        limits: Upper limits, at 95 % confidence, on the terms that are below two of their standard errors, by name.
        note: What to know before quoting it; empty if nothing.
    """

    sum: str
    stochastic: Measurement
    noise: Measurement
    constant: Measurement
    covariance: tuple[tuple[float, ...], ...]
    chi2: float
    ndf: int
    energy_min: float
    energy_max: float
    limits: Mapping[str, float]
    note: str = ""

    def __call__(self, energy: Values) -> Values:
        """Return the fitted resolution at energies [GeV]."""
        return resolution(energy, self.stochastic.value, self.noise.value, self.constant.value, self.sum)

    @property
    def correlation(self) -> tuple[tuple[float, ...], ...]:
        """Correlation of (a, n, c), shape [3, 3]; zero for what was not fitted."""
        covariance = np.array(self.covariance)
        error = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        return tuple(tuple(map(float, row)) for row in covariance / np.outer(error, error))


@dataclass(frozen=True)
class ResponseFit:
    """A line through the mean measured energies: E_reco = slope E_true + offset.

    Attributes:
        slope: Of the line.
        offset: E_reco at E_true = 0 [GeV].
        chi2: Of the fit.
        ndf: Degrees of freedom.
    """

    slope: Measurement
    offset: Measurement
    chi2: float
    ndf: int


def resolution(energy: Values, a: float, n: float, c: float, how: str = QUADRATURE) -> Values:
    """Return sigma/E at energies [GeV]: a/sqrt(E), n/E and c, added in quadrature or linearly."""
    return in_quadrature(energy, a, n, c) if how == QUADRATURE else np.asarray(_terms(energy) @ (a, n, c))


def in_quadrature(energy: Values, a: float, n: float, c: float) -> Values:
    """Return sigma/E at energies [GeV]: a/sqrt(E), n/E and c, added in quadrature."""
    return np.asarray(np.sqrt(np.square(_terms(energy) * (a, n, c)).sum(axis=1)))


def fit_resolution(
    energies: Sequence[float], measured: Sequence[Measurement], options: Options | None = None
) -> ResolutionFit | None:
    """Fit the three terms: with Minuit if they add in quadrature, by linear least squares if they add up.

    Args:
        energies: In GeV.
        measured: sigma/E with its error at each energy.
        options: Say how the terms are added up, and what the noise is if that is known.

    Returns:
        The fit, or ``None`` for fewer than :data:`MIN_POINTS` points.
    """
    options = options or Options()
    if len(energies) < MIN_POINTS:
        return None
    x = np.array(energies, dtype=np.float64)
    y = np.array([item.value for item in measured])
    error = np.array([item.error for item in measured])
    fit = _fit_sum if options.sum == LINEAR else _fit_squares
    (a, n, c), covariance, valid = fit(x, y, error, options.noise)
    terms = {
        name: Measurement(float(value), math.sqrt(max(float(covariance[i, i]), 0.0)))
        for i, (name, value) in enumerate(zip(TERMS, (a, n, c), strict=True))
    }
    ndf = len(x) - (3 if options.noise is None else 2)
    chi2 = float(np.sum(((resolution(x, a, n, c, options.sum) - y) / error) ** 2))
    return ResolutionFit(
        options.sum,
        **terms,
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        chi2=chi2,
        ndf=ndf,
        energy_min=float(x.min()),
        energy_max=float(x.max()),
        limits={
            name: _limit(i, max(term.value, term.error), x, y, error, options)
            for i, (name, term) in enumerate(terms.items())
            if term.value < _SIGNIFICANT * term.error
        },
        note=_note(terms, float(x.min()), chi2 / max(ndf, 1), options, valid=valid),
    )


def _fit_squares(x: Values, y: Values, error: Values, noise: float | None) -> tuple[list[float], Values, bool]:
    """Return terms that are added in quadrature, their covariance, and whether the fit converged.

    Only squares enter, so the sign is free: a limit at zero would hold a term there with no error at all.
    """
    terms = terms_of_resolution(x, y, error)
    start = dict(zip("anc", np.maximum([terms.stochastic, terms.noise, terms.constant], _START).tolist(), strict=True))
    minuit = Minuit(LeastSquares(x, y, error, in_quadrature), **start)
    if noise is not None:
        minuit.values["n"], minuit.fixed["n"] = noise, True
    minuit.migrad()
    minuit.hesse()
    covariance = np.array(minuit.covariance if minuit.covariance is not None else np.zeros((3, 3)))
    signs = np.where(np.array(minuit.values) < 0, -1.0, 1.0)
    return np.abs(minuit.values).tolist(), covariance * np.outer(signs, signs), bool(minuit.valid)


def _fit_sum(x: Values, y: Values, error: Values, noise: float | None) -> tuple[list[float], Values, bool]:
    """Return terms that are added up, none below zero, and their covariance were they free: a linear problem."""
    design, known = _terms(x) / error[:, None], (y - (noise or 0.0) / x) / error
    free = [0, 1, 2] if noise is None else [0, 2]
    values, covariance = np.array([0.0, noise or 0.0, 0.0]), np.zeros((3, 3))
    values[free] = non_negative_least_squares(design[:, free], known)
    covariance[np.ix_(free, free)] = np.linalg.inv(design[:, free].T @ design[:, free])
    return values.tolist(), covariance, True


def _limit(index: int, size: float, x: Values, y: Values, error: Values, options: Options) -> float:
    """Return the upper limit on a term, at 95 % confidence.

    It is where chi2, with the other terms at their best and none of them negative, is 2.71 above its minimum among
    terms that are not negative either: the one-sided limit of the profile likelihood (G. Cowan et al., Eur. Phys. J.
    C71 (2011) 1554; Particle Data Group, review of statistics). If the data would rather have a square below zero, more
    than 95 % of such limits are above the truth, and none is zero. Terms in quadrature are looked for among their
    squares, in which the problem is linear.

    Args:
        index: Which of :data:`TERMS`.
        size: The order of its magnitude.
        x: Energies [GeV].
        y: sigma/E.
        error: Of these.
        options: Say how the terms are added up, and what the noise is if that is known.
    """
    power = 1 if options.sum == LINEAR else 2
    weight = 1 / error if options.sum == LINEAR else 1 / (2 * y * error)
    design, target = _terms(x) ** power * weight[:, None], y**power * weight
    others = [i for i in range(len(TERMS)) if i != index]
    if options.noise is not None:
        target = target - design[:, 1] * options.noise**power
        others.remove(1)

    def chi2(value: float) -> float:
        wanted = target - design[:, index] * value**power
        solution = non_negative_least_squares(design[:, others], wanted)
        return float(np.sum((design[:, others] @ solution - wanted) ** 2))

    best = non_negative_least_squares(design[:, [index, *others]], target)
    low = math.pow(float(best[0]), 1 / power)
    most, high = chi2(low) + _RISE, low + size
    while chi2(high) < most:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if chi2(middle) < most else (low, middle)
    return high


def fit_response(energies: Sequence[float], measured: Sequence[Measurement]) -> ResponseFit | None:
    """Fit a line to the mean measured energies, weighted with their errors.

    Args:
        energies: In GeV.
        measured: Mean response with its error at each energy.

    Returns:
        The fit, or ``None`` for fewer than :data:`MIN_POINTS_OF_LINE` points.
    """
    if len(energies) < MIN_POINTS_OF_LINE:
        return None
    x = np.array(energies, dtype=np.float64)
    y, error = x * [item.value for item in measured], x * [item.error for item in measured]
    design = np.stack([x, np.ones_like(x)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    line = covariance @ design.T @ (y / error)
    slope, offset = (Measurement(float(v), math.sqrt(e)) for v, e in zip(line, np.diag(covariance), strict=True))
    return ResponseFit(slope, offset, float(np.square(design @ line - y / error).sum()), len(x) - 2)


def _terms(energy: Values) -> Values:
    """Return what a, n and c are multiplied by, shape [points, 3]."""
    return np.stack([1 / np.sqrt(energy), 1 / energy, np.ones_like(energy)], axis=1)


def _note(terms: dict[str, Measurement], energy_min: float, reduced: float, options: Options, *, valid: bool) -> str:
    """Say what is wrong with a fit.

    The noise term cannot be told from the others without energies below about 10 (n/a)^2; a large chi2 means that the
    three terms do not describe the points within their errors.
    """
    if not valid:
        return "the fit did not converge"
    notes = [f"three terms do not describe the points, chi2/ndf = {reduced:.1f}"] if reduced > _POOR else []
    noise, stochastic = terms["noise"], terms["stochastic"]
    reach = _NOISE_REACH * (noise.value / stochastic.value) ** 2 if stochastic.value > 0 else math.inf
    if options.noise is None and (
        noise.value < 2 * noise.error or energy_min > reach or stochastic.value < stochastic.error
    ):
        notes.append("the noise term is not determined by these energies: give one from pedestals with --noise")
    return "; ".join(notes)
