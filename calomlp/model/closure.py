"""The closure correction: what is left of a bias after the training is measured and divided out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MAX_BINS = 12
MIN_EVENTS = 1000
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
    n_bins = min(MAX_BINS, len(true_energy) // MIN_EVENTS)
    order = np.argsort(true_energy)
    starts = true_energy[order[np.arange(n_bins) * len(order) // max(n_bins, 1)]]
    places = np.searchsorted(true_energy, np.unique(starts), sorter=order)
    bins = np.split(order, places[1:]) if n_bins else []
    energies = [np.exp(np.mean(np.log(true_energy[rows]))) for rows in bins]
    medians = [np.median(response[rows]) for rows in bins]
    good = [median > 0 for median in medians]
    return np.array(energies)[good], np.array(medians)[good]
