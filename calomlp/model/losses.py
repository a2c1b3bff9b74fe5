"""Losses, and what each one estimates.

With ``x`` the inputs, ``y`` the true energy and ``p`` the prediction, for a resolution sigma^2 ~ E^k and a training
spectrum ~ E^-s, a loss (p - y)^2 E^-q leaves the bias <p>/y - 1 = (k - s - q) (sigma/E)^2 at fixed true energy. A plain
squared error on a flat spectrum is therefore biased upwards at low energies, and spends itself on the highest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Loss:
    """A loss per event.

    Attributes:
        estimates: The statistic of the true energy, given the inputs, that minimises it.
        per_event: Function of the prediction, the true energy and the spread expected at the anchor, all in GeV and of
            shape [events]; returns shape [events].
    """

    estimates: str
    per_event: Callable[[Tensor, Tensor, Tensor], Tensor]


HUBER_SIGMAS = 3.0
"""Residuals count squared up to here, so that a Gaussian core does, and linearly beyond, so that tails do not rule."""

LOSSES: dict[str, Loss] = {
    "chi2": Loss(
        "mean of y; every energy counts by its expected precision, taken at the anchor, so the optimum does not move",
        lambda p, y, sigma: ((p - y) / sigma) ** 2,
    ),
    "mse": Loss(
        "mean of y; the highest energies dominate, because sigma grows with energy",
        lambda p, y, sigma: (p - y) ** 2,  # noqa: ARG005
    ),
    "stochastic": Loss(
        "1 / mean of 1/y; the precision of a stochastic resolution, taken at the true energy",
        lambda p, y, sigma: (p - y) ** 2 / y,  # noqa: ARG005
    ),
    "relative": Loss(
        "mean of 1/y over mean of 1/y^2; right for a constant resolution only",
        lambda p, y, sigma: (p / y - 1) ** 2,  # noqa: ARG005
    ),
    "log": Loss(
        "exp of the mean of ln y; needs predictions above zero",
        lambda p, y, sigma: (torch.log(p) - torch.log(y)) ** 2,  # noqa: ARG005
    ),
    "mae": Loss(
        "median of y; robust against tails",
        lambda p, y, sigma: torch.abs(p - y) / sigma,
    ),
    "huber": Loss(
        "between mean and median; the mean where there are no tails beyond three sigma",
        lambda p, y, sigma: F.huber_loss(p / sigma, y / sigma, reduction="none", delta=HUBER_SIGMAS),
    ),
}
"""The losses by name."""
