"""Optimisers and schedules; the README has the formula of a step of each.

The steps are PyTorch's own functions: making one of its optimiser objects imports a compiler, which takes 1.7 s.

Two pulls keep all parameters small, biases too: a weight decay d adds d w to the gradient g, and l adds l sign(w); for
``adamw``, w <- w - r (d w + l sign(w)) with the learning rate r. They are what (d w^2/2 + l abs(w)), summed over the
parameters, adds to a loss.

With an average X the weights that count are not the last ones but a <- X a + (1 - X) w, divided by 1 - X^steps because
a starts at zero (Polyak & Juditsky, SIAM J. Control Optim. 30 (1992) 838, with a memory of 1 / (1 - X) steps).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from calomlp.processes import ALONE, Processes

_MOMENTUM = 0.9
_ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
_AS_WRITTEN = {"foreach": False, "fused": False, "maximize": False}
_WARM_UP = 0.2
_FIRST, _LAST = 0.04, 1e-3
_BESIDE = 3
"""Numbers that travel with the gradient from process to process."""

_PLATEAU = 5
"""Epochs without a better validation loss after which the schedule ``plateau`` halves the learning rate."""


class Optimiser:
    """Moves the weights of a network, all of which it keeps in one vector.

    Args:
        name: One of :data:`~calomlp.training.training_settings.OPTIMISERS`.
        network: Its parameters and their gradients become views of two vectors, so that a step is a few operations
            however many layers there are.
        weight_decay: Pull of the parameters towards zero that is proportional to them.
        l1: Pull of a size that is always the same.
        average: Share that the average of the weights keeps in a step; 0 for none.
        processes: Those that make the same steps, each with its part of the gradient.

    Attributes:
        weights: All parameters, shape [parameters].
        gradient: Their gradient, shape [parameters].
        moments: The state, shape [rows, parameters]: running mean or velocity, running mean of squares, and the
            average, if there is one.
        steps: Number of steps that were made.
        rate: Learning rate of the last step.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        average: float = 0.0,
        processes: Processes = ALONE,
    ) -> None:
        parameters = list(network.parameters())
        self.name, self.processes = name, processes
        self.weight_decay, self.l1, self.average = weight_decay, l1, average
        self.weights = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self._message = self.weights.new_zeros(len(self.weights) + _BESIDE)
        self.gradient, self._beside = self._message[:-_BESIDE], self._message[-_BESIDE:]
        self.moments = torch.zeros(2 + bool(average), len(self.weights), device=self.weights.device)
        self.steps = 0
        self.rate = 0.0
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            parameter.data = self.weights[start:stop].view_as(parameter)
            parameter.grad = self.gradient[start:stop].view_as(parameter)
            start = stop

    def share(self, *beside: float) -> Sequence[float]:
        """Add up the gradients of all processes, and in the same message three numbers, whose sums are returned."""
        if self.processes.size == 1:
            return beside
        self._beside[:] = torch.tensor(beside)
        self.processes.sum(self._message)
        sums: list[float] = self._beside.tolist()
        return sums

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights along the gradient with a learning rate, and forget the gradient."""
        mean, square = self.moments[:2]
        pull = self.l1 * self.weights.sign() if self.l1 else None
        if pull is not None and self.name != "adamw":
            self.gradient.add_(pull)
        weights, gradient, means = [self.weights], [self.gradient], [mean]
        common: dict[str, Any] = {"lr": rate, "weight_decay": self.weight_decay, **_AS_WRITTEN}
        if self.name in ("adam", "adamw"):  # Kingma & Ba, arXiv:1412.6980; Loshchilov & Hutter, arXiv:1711.05101
            adam(
                weights,
                gradient,
                means,
                [square],
                [],
                [torch.tensor(float(self.steps))],
                decoupled_weight_decay=self.name == "adamw",
                amsgrad=False,
                capturable=False,
                differentiable=False,
                **_ADAM,
                **common,
            )
        else:
            momentum = _MOMENTUM if self.name in ("momentum", "nesterov") else 0.0
            sgd(weights, gradient, means, momentum=momentum, nesterov=self.name == "nesterov", dampening=0.0, **common)
        if pull is not None and self.name == "adamw":
            self.weights.sub_(pull, alpha=rate)
        self.steps += 1
        self.rate = rate
        if self.average:
            self.moments[-1].lerp_(self.weights, 1 - self.average)
        self.gradient.zero_()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network the average of its weights inside the block, if there is one."""
        if not (self.average and self.steps):
            yield
            return
        kept = self.weights.clone()
        self.weights.copy_(self.moments[-1] / (1 - self.average**self.steps))
        try:
            yield
        finally:
            self.weights.copy_(kept)


def rate_factor(schedule: str, progress: float) -> float:
    """Return the learning rate as a share of the highest one.

    ``one-cycle`` (Smith & Topin, arXiv:1708.07120) warms up from 4 % during the first fifth of the steps and then cools
    down to a per mille along a cosine; ``cosine`` only cools down; ``step`` takes a tenth after half and again after
    three quarters of the steps (He et al., arXiv:1512.03385). The others do not depend on the progress.

    Args:
        schedule: ``one-cycle``, ``cosine``, ``step``, ``plateau`` or ``constant``.
        progress: Share of all steps that are done, from 0 to 1.
    """
    if schedule in ("constant", "plateau"):
        return 1.0
    if schedule == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    if schedule == "one-cycle":
        if progress < _WARM_UP:
            return _FIRST + (1 - _FIRST) * (1 - math.cos(math.pi * progress / _WARM_UP)) / 2
        progress = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * progress)) / 2


def plateau_factor(losses: Sequence[float]) -> float:
    """Return the share of the highest learning rate that is left by the schedule ``plateau``.

    Every five epochs without a better validation loss halve it.

    Args:
        losses: Validation losses of all epochs so far.
    """
    best, waited, factor = math.inf, 0, 1.0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == _PLATEAU:
            factor, waited = factor / 2, 0
    return factor
