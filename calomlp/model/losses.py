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
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from calomlp.quantiles import HIGH, LOW

ENERGY, GAUSSIAN, QUANTILES = HEADS = ("energy", "gaussian", "quantiles")
"""What a network says of an event: its energy; a spread besides; two distances from the median besides."""

HUBER_SIGMAS = 3.0
"""Residuals count squared up to here, so that a Gaussian core does, and linearly beyond, so that tails do not rule."""


class Prediction(NamedTuple):
    """Prediction for events, in GeV, each of shape [events] or [members, events].

    Attributes:
        energy: The estimate of the energy.
        below: Distance down to where 15.87 % of the true energies are below; for a Gaussian its sigma.
        above: Distance up to where 15.87 % are above.
    """

    energy: Tensor
    below: Tensor | None = None
    above: Tensor | None = None


class Loss(NamedTuple):
    """A loss per event.

    Attributes:
        per_event: Function of what is predicted, the true energy and the spread expected at the anchor, all in GeV;
            returns the shape of the prediction.
        head: What it needs of the network, one of :data:`HEADS`.
    """

    per_event: Callable[[Prediction, Tensor, Tensor], Tensor]
    head: str = ENERGY


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


# their names are in training_settings.py too, for help texts
LOSSES = {
    "huber": Loss(lambda p, y, sigma: _huber((p.energy - y) / sigma)),  # between mean and median of y
    "chi2": Loss(lambda p, y, sigma: ((p.energy - y) / sigma) ** 2),  # mean of y: sigma does not move with p
    "mse": Loss(lambda p, y, _: (p.energy - y) ** 2),  # mean of y; the highest energies dominate
    "stochastic": Loss(lambda p, y, _: (p.energy - y) ** 2 / y),  # 1 / mean of 1/y
    "relative": Loss(lambda p, y, _: (p.energy / y - 1) ** 2),  # mean of 1/y over mean of 1/y^2
    "log": Loss(lambda p, y, _: (torch.log(p.energy) - torch.log(y)) ** 2),  # exp of the mean of ln y
    "mae": Loss(lambda p, y, sigma: torch.abs(p.energy - y) / sigma),  # median of y
    "log-cosh": Loss(lambda p, y, sigma: _log_cosh((p.energy - y) / sigma)),  # between mean and median of y
    "gaussian-nll": Loss(_gaussian, GAUSSIAN),  # mean and variance of y
    "quantiles": Loss(_pinball, QUANTILES),  # median of y, and its 15.87 and 84.13 % quantiles
}
"""The losses by name, and the statistic of the true energy, given the inputs, that minimises each."""
