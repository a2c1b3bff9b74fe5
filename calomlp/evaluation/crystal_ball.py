"""The double-sided Crystal Ball: a Gaussian core with a power law on either side, fitted to a response."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from calomlp.evaluation.histogram import Histogram, fine_width
from calomlp.evaluation.measurement import Measurement

_REACH = 8.0  # core sigma
_FINENESS = 16  # bins in a core sigma
_STEEPNESS = (1.01, 100.0)
_TURN = (0.2, 5.0)
_STEEP = 50.0  # a power that is none
_MIN_TAIL = 10.0  # events


def crystal_ball(
    x: NDArray[np.float64],
    mean: float,
    sigma: float,
    low_turn: float,
    low_power: float,
    high_turn: float,
    high_power: float,
) -> NDArray[np.float64]:
    """Return the density at responses, up to a factor.

    A Gaussian between ``mean - low_turn sigma`` and ``mean + high_turn sigma``; beyond, powers of the distance that go
    on with the same value and slope (M. Oreglia, SLAC-R-236 (1980), App. D; both sides as in ATLAS, Phys. Rev. Lett.
    113 (2014) 171801).
    """
    z = (x - mean) / sigma
    density = np.exp(-0.5 * np.square(np.clip(z, -low_turn, high_turn)))
    for distance, turn, power in ((-z, low_turn, low_power), (z, high_turn, high_power)):
        beyond = distance > turn
        density[beyond] *= (1 + turn / power * (distance[beyond] - turn)) ** -power
    return np.asarray(density)


def _tail(counts: NDArray[np.float64], x: NDArray[np.float64], values: Any, turn: str) -> float:
    """Return how many events are beyond where a power law begins."""
    z = (x - values["mean"]) / values["sigma"]
    beyond = -z > values[turn] if turn == "low_turn" else z > values[turn]
    return float(counts[beyond].sum())


def fit_crystal_ball(histogram: Histogram, mean: float, sigma: float) -> dict[str, Measurement]:
    """Fit a double-sided Crystal Ball by maximum likelihood, within eight core sigma.

    Args:
        histogram: The responses.
        mean: Of the Gaussian core, to start from.
        sigma: The same.

    Returns:
        Mean and sigma with the errors of the fit; nothing if it does not converge.
    """
    finest = fine_width(abs(mean) + _REACH * sigma)
    width = max(math.ldexp(1.0, math.floor(math.log2(sigma / _FINENESS))), finest)
    first, last = (math.floor((mean + sign * _REACH * sigma) / width) for sign in (-1, 1))
    near = (histogram.centres >= first * width) & (histogram.centres < (last + 1) * width)
    index = np.floor(histogram.centres[near] / width).astype(np.int64)
    counts = np.bincount(index - first, histogram.count[near], last - first + 1).astype(np.float64)
    middle = np.arange(first, last + 1, dtype=np.float64) + 0.5
    x = (middle * width - mean) / sigma  # as the fit is, without unit

    def negative_log_likelihood(*parameters: float) -> float:
        density = crystal_ball(x, *parameters)
        return float(counts.sum() * np.log(density.sum()) - counts @ np.log(np.maximum(density, 1e-300)))

    names = ("mean", "sigma", "low_turn", "low_power", "high_turn", "high_power")
    fit = Minuit(negative_log_likelihood, 0.0, 1.0, 1.5, 5.0, 1.5, 5.0, name=names)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits = [(None, None), (width / sigma / 10, None), _TURN, _STEEPNESS, _TURN, _STEEPNESS]
    fit.migrad()
    for turn, power in (("low_turn", "low_power"), ("high_turn", "high_power")):
        alone = _tail(counts, x, fit.values, turn) < _MIN_TAIL
        fit.fixed[power] = alone or fit.values[power] > _STEEP  # nothing tells it
        fit.fixed[turn] = alone
    fit.migrad()
    fit.hesse()
    if fit.covariance is None or not fit.fmin.has_accurate_covar:
        return {}
    (location, spread), errors = fit.values[:2], [sigma * error for error in fit.errors[:2]]
    return {
        "crystal_ball_mean": Measurement(float(mean + sigma * location), float(errors[0])),
        "crystal_ball_sigma": Measurement(float(sigma * spread), float(errors[1])),
    }
