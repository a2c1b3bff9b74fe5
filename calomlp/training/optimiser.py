"""Optimisers and schedules.

With the gradient g of the loss, the learning rate r and the momentum m = 0.9:

============  =========================================================================================================
``gd``        w <- w - r g, with g over the whole training sample
``sgd``       the same with g over one batch
``momentum``  v <- m v + g,  w <- w - r v
``nesterov``  v <- m v + g,  w <- w - r (g + m v): the gradient is followed by a look at where the momentum leads
``adam``      w <- w - r a / (sqrt(b) + 1e-8), with a and b the running means of g and g^2, corrected for their start at
              zero (Kingma & Ba, arXiv:1412.6980)
``adamw``     the same; the weight decay is applied to the weights and kept out of the running means (Loshchilov &
              Hutter, arXiv:1711.05101)
============  =========================================================================================================

A weight decay d adds d w to g, except for ``adamw``, where w <- w - r d w.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_MOMENTUM = 0.9
_BETA_MEAN, _BETA_SQUARE = 0.9, 0.999
_EPSILON = 1e-8
_WARM_UP = 0.2
_FIRST, _LAST = 0.04, 1e-3


class Optimiser:
    """Moves the weights of a network, all of which it keeps in one vector.

    Args:
        name: See the module.
        network: Its parameters and their gradients become views of two vectors, so that a step is a few operations
            however many layers there are.
        weight_decay: Pull of the weights towards zero.

    Attributes:
        weights: All parameters, shape [parameters].
        gradient: Their gradient, shape [parameters].
        moments: The state: running mean or velocity, and running mean of squares, shape [2, parameters].
        steps: Number of steps that were made.
        rate: Learning rate of the last step.
    """

    def __init__(self, name: str, network: nn.Module, *, weight_decay: float) -> None:
        parameters = list(network.parameters())
        self.name = name
        self.weight_decay = weight_decay
        self.weights = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self.gradient = torch.zeros_like(self.weights)
        self.moments = torch.zeros(2, len(self.weights), device=self.weights.device)
        self.steps = 0
        self.rate = 0.0
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            parameter.data = self.weights[start:stop].view_as(parameter)
            parameter.grad = self.gradient[start:stop].view_as(parameter)
            start = stop

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights along the gradient, and forget the gradient.

        Args:
            rate: Learning rate.
        """
        self.steps += 1
        self.rate = rate
        if self.name == "adamw":
            self.weights.mul_(1 - rate * self.weight_decay)
        elif self.weight_decay:
            self.gradient.add_(self.weights, alpha=self.weight_decay)
        self.weights.sub_(self._direction(), alpha=rate)
        self.gradient.zero_()

    def _direction(self) -> Tensor:
        mean, square = self.moments
        if self.name in ("adam", "adamw"):
            mean.lerp_(self.gradient, 1 - _BETA_MEAN)
            square.mul_(_BETA_SQUARE).addcmul_(self.gradient, self.gradient, value=1 - _BETA_SQUARE)
            mean_start = 1 - _BETA_MEAN**self.steps
            square_start = 1 - _BETA_SQUARE**self.steps
            direction: Tensor = mean / mean_start / (square / square_start).sqrt_().add_(_EPSILON)
            return direction
        if self.name in ("momentum", "nesterov"):
            mean.mul_(_MOMENTUM).add_(self.gradient)
            look: Tensor = self.gradient + _MOMENTUM * mean
            return look if self.name == "nesterov" else mean
        return self.gradient


def rate_factor(schedule: str, progress: float) -> float:
    """Return the learning rate as a share of the highest one.

    ``one-cycle`` (Smith & Topin, arXiv:1708.07120) warms up from 4 % during the first fifth of the steps and then cools
    down to a per mille along a cosine; ``cosine`` only cools down.

    Args:
        schedule: ``one-cycle``, ``cosine`` or ``constant``.
        progress: Share of all steps that are done, from 0 to 1.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "one-cycle":
        if progress < _WARM_UP:
            return _FIRST + (1 - _FIRST) * (1 - math.cos(math.pi * progress / _WARM_UP)) / 2
        progress = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * progress)) / 2
