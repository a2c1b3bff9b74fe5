"""Local software compensation: hits count by how much energy they hold, the reference for networks that see hits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

REFERENCE_ENERGY = 10.0
"""Weights are those of a shower with this energy [GeV] where the logarithm is zero."""

_POWERS = 3  # quadratic in the logarithm of the energy
_PRIOR_WIDTH = 0.3
_HUBER_SIGMAS = 3.0
_ITERATIONS = 4


class Compensation(nn.Module):
    """The energy is the sum of the energies in bins of the hit energy, each with a weight that depends on the shower's.

    Dense, electromagnetic parts of a hadronic shower make hits of more energy than the others, and are seen with
    another response; weights that are quadratic in the logarithm of the sum bring them together (CALICE, JINST 7 (2012)
    P09017). The weights are fitted by least squares, drawn to one by a Gaussian prior of width 0.3, and
    residuals beyond three sigma count linearly.

    Args:
        bins: Bins of the hit energy.
    """

    weights: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(bins, _POWERS))
        self.weights[:, 0] = 1

    def forward(self, shares: Tensor, total: Tensor) -> Tensor:
        """Return energies [GeV], shape [events].

        Args:
            shares: Of the energy in each bin, shape [events, bins].
            total: The calibrated sum [GeV], shape [events].
        """
        return total * ((shares @ self.weights) * _powers(total)).sum(dim=1)

    def fit(self, shares: Tensor, total: Tensor, true_energy: Tensor, sigma: Tensor, weight: Tensor) -> None:
        """Set the weights.

        Args:
            shares: Of the energy in each bin, shape [events, bins].
            total: The calibrated sum [GeV], shape [events].
            true_energy: In GeV, shape [events].
            sigma: Spread that is expected [GeV], shape [events].
            weight: Of the events, shape [events].
        """
        prior = torch.zeros_like(self.weights, dtype=torch.float64)
        prior[:, 0] = 1
        strength = 1 / _PRIOR_WIDTH**2
        columns = (total[:, None, None] * shares[:, :, None] * _powers(total)[:, None, :]).flatten(
            1
        )  # [events, 3 bins]
        for _ in range(_ITERATIONS):
            distance = (self(shares, total) - true_energy).abs() / sigma
            precision = weight / sigma**2 * (_HUBER_SIGMAS / distance.clamp(min=_HUBER_SIGMAS))
            weighted = columns * precision[:, None]
            normal = (weighted.T @ columns).double() + strength * torch.eye(columns.shape[1], dtype=torch.float64)
            moment = (weighted.T @ true_energy).double() + strength * prior.flatten()
            self.weights.copy_(torch.linalg.solve(normal, moment).view_as(self.weights))


def _powers(total: Tensor) -> Tensor:
    """Return powers of the logarithm of an energy [GeV], shape [events, 3]; that of noise alone does not matter."""
    logarithm = (total.clamp(min=1e-3) / REFERENCE_ENERGY).log()
    return torch.stack([torch.ones_like(logarithm), logarithm, logarithm**2], dim=1)
