"""The expected spread of a calorimeter: sigma^2(E) = a^2 E + n^2 + c^2 E^2."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from calomlp.quantiles import median_and_sigma_68

if TYPE_CHECKING:
    from torch import Tensor

EDGE_SIGMAS = 2.0
"""Closer than this to an edge of the range of true energies, a regression is pulled towards its inside."""

_N_BINS = 24
_MIN_EVENTS = 30
_LEAST = 0.01  # of the spread at the lowest energy
_FLOOR = 1e-3
"""No calorimeter is trusted to better than a per mille when residuals are normalised."""

Energy = TypeVar("Energy", NDArray[np.float64], "Tensor", float)


@dataclass(frozen=True)
class Spread:
    """Terms of the resolution, sigma/E = a/sqrt(E) (+) n/E (+) c.

    Attributes:
        stochastic: a, in sqrt(GeV).
        noise: n, in GeV.
        constant: c, a fraction.
    """

    stochastic: float
    noise: float
    constant: float

    @property
    def squares(self) -> tuple[float, float, float]:
        """Factors of E, of one and of E^2 in sigma^2."""
        return self.stochastic**2, self.noise**2, self.constant**2 + _FLOOR**2

    def variance(self, energy: Energy) -> Energy:
        """Return sigma^2 [GeV^2] at an energy [GeV]; at a negative energy, which noise can make, that of its size."""
        size = abs(energy)
        linear, offset, quadratic = self.squares
        return linear * size + offset + quadratic * size * size

    def inner_range(self, energy_min: float, energy_max: float) -> tuple[float, float]:
        """Return the part of a range of true energies [GeV] that is :data:`EDGE_SIGMAS` away from its edges.

        Outside, the spectrum that ends at the edge acts as a prior: a flat one cut off biases the posterior mean by 0.9
        sigma at the edge, 0.14 sigma two sigma away, and narrows its distribution.
        """
        low = energy_min + EDGE_SIGMAS * math.sqrt(self.variance(energy_min))
        high = energy_max - EDGE_SIGMAS * math.sqrt(self.variance(energy_max))
        return low, high


def non_negative_least_squares(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve min ||design x - target|| with x >= 0 for a handful of unknowns, by trying every set of positive ones.

    Args:
        design: Shape [points, unknowns].
        target: Shape [points].
    """
    n = design.shape[1]
    best, best_residual = np.zeros(n), float(target @ target)
    for size in range(1, n + 1):
        for active in map(list, combinations(range(n), size)):
            solution = np.linalg.lstsq(design[:, active], target, rcond=None)[0]
            residual = float(np.sum((design[:, active] @ solution - target) ** 2))
            if (solution >= 0).all() and residual < best_residual:
                best, best_residual = np.zeros(n), residual
                best[active] = solution
    return best


def terms_of_resolution(
    energy: NDArray[np.float64], resolution: NDArray[np.float64], error: NDArray[np.float64]
) -> Spread:
    """Fit (sigma/E)^2 = a^2/E + n^2/E^2 + c^2, which is linear in the squares of the terms.

    Args:
        energy: In GeV, shape [points].
        resolution: sigma/E, shape [points].
        error: Standard error of the resolution, shape [points].
    """
    weight = 1 / (2 * resolution * error)  # error of the squared resolution
    design = np.stack([1 / energy, 1 / energy**2, np.ones_like(energy)], axis=1) * weight[:, None]
    squares = non_negative_least_squares(design, resolution**2 * weight)
    a, n, c = np.sqrt(squares)
    return Spread(float(a), float(n), float(c))


def bins_of_energy(true_energy: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the events of bins of the true energy that :func:`fit_spread` measures in, with as many events each."""
    return np.array_split(np.argsort(true_energy), max(1, min(_N_BINS, len(true_energy) // _MIN_EVENTS)))


def fit_spread(
    estimate: NDArray[np.float64], true_energy: NDArray[np.float64], bins: list[NDArray[np.int64]]
) -> Spread:
    """Measure the spread of an estimate of the energy, in bins of the true energy.

    Half the distance of the 15.87 and 84.13 % quantiles stands for sigma, so that tails do not inflate it. The noise is
    at least a hundredth of the spread at the lowest energy, so that no energy, and be it nothing, weighs without limit.

    Args:
        estimate: In GeV, shape [events].
        true_energy: In GeV, shape [events].
        bins: Those of :func:`bins_of_energy`.
    """
    ratio = estimate / true_energy
    energy = np.array([np.exp(np.mean(np.log(true_energy[rows]))) for rows in bins])
    resolution = np.maximum([median_and_sigma_68(ratio[rows])[1] for rows in bins], _FLOOR)
    error = resolution / np.sqrt([len(rows) for rows in bins])
    spread = terms_of_resolution(energy, resolution, error)
    least = _LEAST * math.sqrt(spread.variance(float(true_energy.min())))
    return replace(spread, noise=max(spread.noise, least))
