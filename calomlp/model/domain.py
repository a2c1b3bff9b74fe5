"""The domain: where a regressor was trained, and so can be trusted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SHARE = 0.999
_RIDGE = 1e-3
_MAX_FULL = 512  # inputs; of more, correlations are left out


class Domain(nn.Module):
    """Tells whether events are like those of the training.

    One is outside if its anchor is outside the range of the training energies, or if its inputs are further from their
    mean than those of 99.9 % of the training events, as measured by the Mahalanobis distance (Proc. Natl. Inst. Sci.
    India 2 (1936) 49): correlated inputs that disagree count for more than large ones.
    """

    range: Tensor
    mean: Tensor
    precision: Tensor
    limit: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("range", torch.tensor([-torch.inf, torch.inf]))
        self.register_buffer("mean", torch.zeros(n_inputs))
        full = n_inputs <= _MAX_FULL
        self.register_buffer("precision", torch.zeros(n_inputs, n_inputs if full else 1))
        self.register_buffer("limit", torch.tensor(torch.inf))

    def distance(self, inputs: Tensor) -> Tensor:
        """Return the squared Mahalanobis distance of standardised inputs, shape [events]."""
        deviation = inputs - self.mean
        turned = deviation @ self.precision if self.precision.shape[1] > 1 else deviation * self.precision[:, 0]
        return (turned * deviation).sum(dim=1)

    def forward(self, inputs: Tensor, anchor: Tensor) -> Tensor:
        """Tell of each event whether it is inside, shape [events]."""
        return (self.distance(inputs) <= self.limit) & (anchor >= self.range[0]) & (anchor <= self.range[1])

    def fit(self, inputs: Tensor, energies: tuple[float, float]) -> None:
        """Set the domain.

        Args:
            inputs: Standardised inputs of training events, shape [events, inputs].
            energies: Range of the anchor [GeV].
        """
        self.range.copy_(torch.tensor(energies))
        self.mean.copy_(inputs.mean(dim=0))
        deviation = inputs - self.mean
        if self.precision.shape[1] > 1:
            covariance = (deviation.T @ deviation).double() / len(inputs)
            covariance += _RIDGE * torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
            self.precision.copy_(torch.linalg.inv(covariance))
        else:
            self.precision[:, 0] = 1 / (deviation.square().mean(dim=0) + _RIDGE)
        rank = min(int(_SHARE * len(inputs)) + 1, len(inputs))
        self.limit.copy_(self.distance(inputs).kthvalue(rank).values)
