"""The linear anchor: a weighted sum of the energies, fitted by robust least squares, and the plain sum beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calomlp.errors import InputError
from calomlp.model.losses import HUBER_SIGMAS
from calomlp.model.spread import Spread, bins_of_energy, fit_spread

PRIOR_WIDTH = 0.3
"""Weights are expected within 30 % of the plain sum's: what few events cannot determine stays near the sum."""

KNOWN_WIDTH = 0.02
"""The same for weights that are known from a similar detector."""

SPECTRUM_POWER = 2 / 3
"""Training spectra are weighted to E to the minus this power."""

_ITERATIONS, _SETTLED = 5, 1e-3
_SPECTRUM_BINS = 40
_EVENTS_PER_BIN = 100
_MAX_SPECTRUM_RATIO = 100.0
_PART = 4_096


@dataclass(frozen=True)
class Anchor:
    """Linear estimates of the energy."""

    sum_scale: float  # the calibrated sum is this number times the sum of the energies
    weights: NDArray[np.float64]  # the anchor is the sum of the energies times these, shape [energies]
    spread: Spread  # expected spread of the anchor


class SpectrumWeights:
    """Weights that turn any training spectrum into E^(-2/3), with mean one.

    The spectrum acts as a prior. For sigma^2 ~ E and a squared residual that is not divided by the true energy, a
    spectrum E^-s leaves the bias (1 - s) (sigma/E)^2 in the mean response, none for s = 1. But what a calorimeter
    samples is distributed like a gamma variate, whose median is a third of its scale below its mean, and so the median
    and the Gaussian core of the response, which linearity is about, would come out at -(sigma/E)^2 / 3. With s = 2/3
    these are unbiased.

    No event weighs more than a hundred times the least one before that, so that a handful cannot rule the fit.

    Args:
        true_energy: Energies of the spectrum [GeV], shape [events].
        weight: What the events weigh, shape [events].
    """

    def __init__(self, true_energy: NDArray[np.floating], weight: NDArray[np.floating]) -> None:
        log_energy = np.log(true_energy.astype(np.float64))
        n_bins = int(np.clip(len(log_energy) // _EVENTS_PER_BIN, 1, _SPECTRUM_BINS))
        counts, self._edges = np.histogram(log_energy, bins=n_bins, weights=weight)
        filled = counts > 0
        density = np.where(filled, counts, counts[filled].min(initial=np.inf))
        self._factor = np.minimum(1 / density, _MAX_SPECTRUM_RATIO / density.max())
        self._factor /= np.average(self(true_energy), weights=weight)

    def __call__(self, true_energy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the weights at these energies [GeV], shape [events]."""
        log_energy = np.log(true_energy.astype(np.float64))
        first, last = self._edges[[0, -1]]
        place = (log_energy - first) * (len(self._factor) / (last - first))  # bins are equally wide
        index = np.clip(place, 0, len(self._factor) - 1).astype(np.int64)
        weights: NDArray[np.float64] = self._factor[index] * np.exp((1 - SPECTRUM_POWER) * log_energy)
        return weights


def fit_anchor(
    energies: NDArray[np.float32],
    true_energy: NDArray[np.float32],
    weights: NDArray[np.float64],
    known: NDArray[np.float64] | None = None,
) -> Anchor:
    """Fit the calibrated sum and the anchor.

    Residuals are weighted by the spectrum weights and by the inverse variance that is expected at the energy of the
    calibrated sum: a function of the inputs, which does not bias the fit as one of the true energy would. They count
    squared up to :data:`~calomlp.model.losses.HUBER_SIGMAS` and linearly beyond, so that leaking showers do not rule
    (iteratively reweighted least squares; Huber, Ann. Math. Stat. 35 (1964) 73). Weights are drawn towards those of the
    sum by a Gaussian prior of relative width :data:`PRIOR_WIDTH`.

    Args:
        energies: Energy features, shape [events, energies].
        true_energy: In GeV, shape [events].
        weights: Spectrum weights, shape [events].
        known: Weights of a similar detector, shape [energies]: with them, it is these that the weights are drawn to, up
            to a common factor, and within :data:`KNOWN_WIDTH`.

    Raises:
        InputError: If the energies add up to nothing.
    """
    y = true_energy.astype(np.float64)
    shape = np.ones(energies.shape[1]) if known is None else known / np.abs(known).mean()
    total = energies.sum(axis=1, dtype=np.float64)
    # dividing by the true energy makes every energy count alike, whatever the spectrum
    mean_response = float(np.average(total / y, weights=weights))
    if not np.isfinite(mean_response) or mean_response <= 0:
        raise InputError(f"the energy features add up to {mean_response:g} per GeV on average: are these energies?")
    scale = 1.0 / mean_response
    sum_energy = scale * total
    bins = bins_of_energy(y)
    variance = fit_spread(sum_energy, y, bins).variance(sum_energy)  # [events]
    strength = 1.0 / ((PRIOR_WIDTH if known is None else KNOWN_WIDTH) * scale) ** 2
    expected, reached = scale * shape, sum_energy
    if known is not None:
        reached = _combine(energies, expected)
        response = np.average(reached / y, weights=weights)
        expected, reached = expected / response, reached / response
    fitted = expected
    normal, moment = strength * np.eye(len(shape)), strength * expected
    precision = np.zeros(len(y))
    for _ in range(_ITERATIONS):
        distance = np.abs(reached - y) / np.sqrt(variance)
        before, precision = precision, weights / variance * (HUBER_SIGMAS / np.maximum(distance, HUBER_SIGMAS))
        change = precision - before
        for rows in np.array_split(changed := np.flatnonzero(change), len(changed) // _PART + 1):  # at first all
            x = energies[rows].astype(np.float64)
            weighted = (x * change[rows, None]).T
            normal += _product(weighted, x)
            moment += _product(weighted, y[rows])
        last, fitted = fitted, np.linalg.solve(normal, moment)
        reached = _combine(energies, fitted)
        if np.abs(fitted - last).max() < _SETTLED * scale:
            break
    return Anchor(scale, fitted, fit_spread(reached, y, bins))


def _combine(energies: NDArray[np.float32], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weighted sums in double precision, in parts, so that the sample is never there twice."""
    parts = (energies[start : start + _PART].astype(np.float64) for start in range(0, len(energies), _PART))
    return np.concatenate([_product(x, factors) for x in parts])


def _product(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply matrices on as many threads as PyTorch may use; numpy takes all, which spin on a busy machine."""
    product: NDArray[np.float64] = (torch.from_numpy(one) @ torch.from_numpy(other)).numpy()
    return product
