"""Losses, and what each one estimates.

With ``x`` the inputs, ``y`` the true energy and ``p`` the prediction, for a resolution sigma^2 ~ E^k and a training
spectrum ~ E^-s, a loss (p - y)^2 E^-q leaves the bias <p>/y - 1 = (k - s - q) (sigma/E)^2 at fixed true energy. A plain
squared error on a flat spectrum is therefore biased upwards at low energies, and spends itself on the highest.

Two losses need more of the network than an energy: ``gaussian-nll`` a spread of its own for every event, ``quantiles``
the distances from the median down to the 15.87 % and up to the 84.13 % quantile, which cannot cross because both are
above zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ENERGY, GAUSSIAN, QUANTILES = HEADS = ("energy", "gaussian", "quantiles")
"""What a network says of an event: its energy; a spread besides; two distances from the median besides."""

LOW, HIGH = 0.1587, 0.8413
"""Quantiles of a Gaussian that are one sigma away from its mean."""

HUBER_SIGMAS = 3.0
"""Residuals count squared up to here, so that a Gaussian core does, and linearly beyond, so that tails do not rule."""


class Prediction(NamedTuple):
    """What is said of events, in GeV, each of shape [events] or [members, events].

    Attributes:
        energy: The estimate of the energy.
        below: Distance down to where 15.87 % of the true energies are below; for a Gaussian its sigma.
        above: Distance up to where 15.87 % are above.
    """

    energy: Tensor
    below: Tensor | None = None
    above: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """A loss per event.

    Attributes:
        estimates: The statistic of the true energy, given the inputs, that minimises it.
        per_event: Function of what is predicted, the true energy and the spread expected at the anchor, all in GeV;
            returns the shape of the prediction.
        head: What it needs of the network, one of :data:`HEADS`.
    """

    estimates: str
    per_event: Callable[[Prediction, Tensor, Tensor], Tensor]
    head: str = ENERGY


def _of_energy(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Prediction, Tensor, Tensor], Tensor]:
    return lambda prediction, y, sigma: function(prediction.energy, y, sigma)


def _huber(z: Tensor) -> Tensor:
    return F.huber_loss(z, z.new_zeros(()).expand_as(z), reduction="none", delta=HUBER_SIGMAS)


def _log_cosh(z: Tensor) -> Tensor:
    return z.abs() + F.softplus(-2 * z.abs()) - math.log(2)  # cosh itself overflows


def _gaussian(prediction: Prediction, y: Tensor, sigma: Tensor) -> Tensor:
    width = prediction.above
    if width is None:
        raise ValueError("this loss needs a spread of every event")
    return ((prediction.energy - y) / width) ** 2 / 2 + torch.log(width / sigma)


def _pinball(prediction: Prediction, y: Tensor, sigma: Tensor) -> Tensor:
    median, below, above = prediction
    if below is None or above is None:
        raise ValueError("this loss needs quantiles of every event")
    total = torch.zeros_like(median)
    for share, quantile in ((LOW, median - below), (0.5, median), (HIGH, median + above)):
        distance = (y - quantile) / sigma
        total = total + torch.maximum(share * distance, (share - 1) * distance)
    return total


LOSSES: dict[str, Loss] = {
    "huber": Loss(
        "between mean and median; the mean where there are no tails beyond three sigma",
        _of_energy(lambda p, y, sigma: _huber((p - y) / sigma)),
    ),
    "chi2": Loss(
        "mean of y; every energy counts by its expected precision, taken at the anchor, so the optimum does not move",
        _of_energy(lambda p, y, sigma: ((p - y) / sigma) ** 2),
    ),
    "mse": Loss(
        "mean of y; the highest energies dominate, because sigma grows with energy",
        _of_energy(lambda p, y, sigma: (p - y) ** 2),  # noqa: ARG005
    ),
    "stochastic": Loss(
        "1 / mean of 1/y; the precision of a stochastic resolution, taken at the true energy",
        _of_energy(lambda p, y, sigma: (p - y) ** 2 / y),  # noqa: ARG005
    ),
    "relative": Loss(
        "mean of 1/y over mean of 1/y^2; right for a constant resolution only",
        _of_energy(lambda p, y, sigma: (p / y - 1) ** 2),  # noqa: ARG005
    ),
    "log": Loss(
        "exp of the mean of ln y; needs predictions above zero",
        _of_energy(lambda p, y, sigma: (torch.log(p) - torch.log(y)) ** 2),  # noqa: ARG005
    ),
    "mae": Loss(
        "median of y; robust against tails",
        _of_energy(lambda p, y, sigma: torch.abs(p - y) / sigma),
    ),
    "log-cosh": Loss(
        "between mean and median; like chi2 below one sigma and like mae beyond",
        _of_energy(lambda p, y, sigma: _log_cosh((p - y) / sigma)),
    ),
    "gaussian-nll": Loss(
        "mean and variance of y; events count by the precision that the network gives them itself",
        _gaussian,
        GAUSSIAN,
    ),
    "quantiles": Loss(
        "median of y, and its 15.87 and 84.13 % quantiles",
        _pinball,
        QUANTILES,
    ),
}
"""The losses by name."""
