"""Corrections of an energy: the closure, which divides a bias out, and the software compensation of hits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MAX_BINS = 12
MIN_BIN_EVENTS = 1000
"""Fewer events in a bin do not tell a bias from a fluctuation."""

_LEAST_SLOPE = 0.5
"""If the estimate grows more slowly with the true energy than this, a narrow range has drawn it to the middle, and what
it lost there cannot be given back: then one factor serves all energies."""


class Closure(nn.Module):
    """A factor on the energy that depends on the energy: a chain of straight lines in the logarithms of both.

    In bins of the true energy the median response r is measured, and the estimate E r is given back the energy E
    (numerical inversion, as for the energy scale of jets: ATLAS, Eur. Phys. J. C 73 (2013) 2304). Below the first and
    above the last bin the factor is that of the bin. The lines are written as a sum of ramps, for which any runtime has
    the operations.
    """

    knots: Tensor
    slopes: Tensor
    start: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("knots", torch.zeros(MAX_BINS))
        self.register_buffer("slopes", torch.zeros(MAX_BINS))
        self.register_buffer("start", torch.zeros(()))

    def forward(self, energy: Tensor) -> Tensor:
        """Return the factors for energies [GeV], of the same shape; one below the first bin has that of the bin."""
        x = torch.log(torch.maximum(energy, self.knots[0].exp()))
        ramps = torch.relu(x[..., None] - self.knots)
        return torch.exp(self.start + ramps @ self.slopes)

    def fit(self, response: NDArray[np.float64], true_energy: NDArray[np.float64]) -> None:
        """Set the lines; median responses are measured in bins with as many events each.

        Args:
            response: E_reco/E_true, shape [events].
            true_energy: In GeV, shape [events].
        """
        energies, medians = median_responses(response, true_energy)
        if not len(energies):
            return
        x, y = np.log(energies * medians), -np.log(medians)
        if (np.diff(x) < _LEAST_SLOPE * np.diff(np.log(energies))).any():
            x, y = x[:1], np.array([-np.log(np.median(response))])
        lines = np.diff(y) / np.diff(x)
        slopes = np.diff(lines, prepend=0, append=0)
        self.start.fill_(y[0])
        self.knots.fill_(x[0])
        self.slopes.zero_()
        self.knots[: len(x)] = torch.from_numpy(x)
        self.slopes[: len(x)] = torch.from_numpy(slopes)


def median_responses(
    response: NDArray[np.float64], true_energy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean energies [GeV] and median responses in bins of the true energy; of no bins if events are too few.

    Bins hold about as many events each; those of one beam energy are never parted.

    Args:
        response: E_reco/E_true, shape [events].
        true_energy: In GeV, shape [events].
    """
    n_bins = min(MAX_BINS, len(true_energy) // MIN_BIN_EVENTS)
    order = np.argsort(true_energy)
    starts = true_energy[order[np.arange(n_bins) * len(order) // max(n_bins, 1)]]
    places = np.searchsorted(true_energy, np.unique(starts), sorter=order)
    bins = np.split(order, places[1:]) if n_bins else []
    energies = [np.exp(np.mean(np.log(true_energy[rows]))) for rows in bins]
    medians = [np.median(response[rows]) for rows in bins]
    good = [median > 0 for median in medians]
    return np.array(energies)[good], np.array(medians)[good]


_REFERENCE = 10.0  # GeV, of a compensation that was not fitted
_LOWEST = 1e-4  # of the reference energy: below, there is noise alone, and what the logarithm is does not matter
_POWERS = 3  # quadratic in the logarithm of the energy
_PRIOR_WIDTH = 0.3
_HUBER_SIGMAS = 3.0
_ITERATIONS = 4


class Compensation(nn.Module):
    """The energy is the sum of the energies in bins of the hit energy, each with a weight that depends on the shower's.

    Dense, electromagnetic parts of a hadronic shower make hits of more energy than the others, and are seen with
    another response; weights that are quadratic in the logarithm of the sum bring them together (CALICE, JINST 7 (2012)
    P09017). The logarithm is zero at the reference energy, the middle of the training. The weights are fitted by least
    squares, drawn to one by a Gaussian prior of width 0.3, and residuals beyond three sigma count linearly.

    Args:
        bins: Bins of the hit energy.
    """

    weights: Tensor
    reference: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("reference", torch.tensor(_REFERENCE))
        self.register_buffer("weights", torch.zeros(bins, _POWERS))
        self.weights[:, 0] = 1

    def forward(self, shares: Tensor, total: Tensor) -> Tensor:
        """Return energies [GeV], shape [events].

        Args:
            shares: Of the energy in each bin, shape [events, bins].
            total: The calibrated sum [GeV], shape [events].
        """
        return total * ((shares @ self.weights) * self._powers(total)).sum(dim=1)

    def fit(self, shares: Tensor, total: Tensor, true_energy: Tensor, sigma: Tensor, weight: Tensor) -> None:
        """Set the weights.

        Args:
            shares: Of the energy in each bin, shape [events, bins].
            total: The calibrated sum [GeV], shape [events].
            true_energy: In GeV, shape [events].
            sigma: Spread that is expected [GeV], shape [events].
            weight: Of the events, shape [events].
        """
        self.reference.copy_(true_energy.log().mean().exp())
        prior = torch.zeros_like(self.weights, dtype=torch.float64)
        prior[:, 0] = 1
        strength = 1 / _PRIOR_WIDTH**2
        columns = (total[:, None, None] * shares[:, :, None] * self._powers(total)[:, None, :]).flatten(
            1
        )  # [events, 3 bins]
        for _ in range(_ITERATIONS):
            distance = (self(shares, total) - true_energy).abs() / sigma
            precision = weight / sigma**2 * (_HUBER_SIGMAS / distance.clamp(min=_HUBER_SIGMAS))
            weighted = columns * precision[:, None]
            normal = (weighted.T @ columns).double() + strength * torch.eye(columns.shape[1], dtype=torch.float64)
            moment = (weighted.T @ true_energy).double() + strength * prior.flatten()
            self.weights.copy_(torch.linalg.solve(normal, moment).view_as(self.weights))

    def _powers(self, total: Tensor) -> Tensor:
        """Return powers of the logarithm of an energy [GeV] over the reference energy, shape [events, 3]."""
        logarithm = (total / self.reference).clamp(min=_LOWEST).log()
        return torch.stack([torch.ones_like(logarithm), logarithm, logarithm**2], dim=1)
