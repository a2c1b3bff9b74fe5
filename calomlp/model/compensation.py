"""Local software compensation: hits count by how much energy they hold, the reference for networks that see hits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
