"""L-BFGS: a quasi-Newton step from what the last ten steps tell of the curvature.

With the step ``s = w' - w`` and the change ``y = g' - g`` of the gradient that went with it, each pair improves an
estimate H of the inverse of the matrix of second derivatives:

    H <- (1 - s y^T / s.y) H (1 - y s^T / s.y) + s s^T / s.y,   beginning with H = (s.y / y.y) of the last pair

The step is along -H g, which the recursion of two loops finds without any matrix (Liu & Nocedal, Math. Program. 45
(1989) 503). Its length is halved until the loss falls by what Armijo's rule asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

HISTORY = 10
"""Pairs that are remembered."""

ROWS = 2 * HISTORY + 2
"""Rows of the memory: the steps, the changes of the gradient, the last weights, the last gradient; zeros at first."""

_HALVINGS = 20
_ENOUGH = 1e-4
"""Share of the decrease that the slope promises; Armijo's rule."""

_ROUNDING = 1e-6
"""A loss is not known better than to this share of it. Without an allowance for that, a search close to the minimum,
where the gradient still knows the way, finds nothing."""


def step(memory: Tensor, weights: Tensor, gradient: Tensor, loss: Callable[[], float], length: float) -> float:
    """Move the weights downhill.

    Args:
        memory: What is known of earlier steps, shape [:data:`ROWS`, parameters]; brought up to date.
        weights: Shape [parameters]; moved.
        gradient: At the weights, shape [parameters].
        loss: Returns the loss at the weights as they are at the time; nothing about it may be random.
        length: The first length that is tried, in units of the quasi-Newton step.

    Returns:
        The length that was found; 0 if there was none. The weights are what they were then, and the memory is empty, so
        that the next step begins anew along the gradient.
    """
    _remember(memory, weights, gradient)
    direction = _direction(memory, gradient)
    slope = float(direction @ gradient)
    origin, value = memory[-2], loss()
    allowed = value + _ROUNDING * abs(value)
    if slope > 0:
        for _ in range(_HALVINGS):
            torch.sub(origin, direction, alpha=length, out=weights)
            if loss() <= allowed - _ENOUGH * length * slope:  # no number is not below anything
                return length
            length /= 2
    weights.copy_(origin)
    memory.zero_()
    return 0.0


def _remember(memory: Tensor, weights: Tensor, gradient: Tensor) -> None:
    """Add the last step to the pairs, unless it is the first, or the loss curves the wrong way along it."""
    steps, changes, (weights_before, gradient_before) = memory.split([HISTORY, HISTORY, 2])  # type: ignore[no-untyped-call]
    move, change = weights - weights_before, gradient - gradient_before
    if gradient_before.any() and move @ change > 0:
        for rows, latest in ((steps, move), (changes, change)):
            rows[:-1] = rows[1:].clone()
            rows[-1] = latest
    weights_before.copy_(weights)
    gradient_before.copy_(gradient)


def _direction(memory: Tensor, gradient: Tensor) -> Tensor:
    """Return H g, shape [parameters]; without any pair the gradient, shortened to move the weights by 1 at most."""
    pairs = [(s, y, s @ y) for s, y in zip(memory[:HISTORY], memory[HISTORY : 2 * HISTORY], strict=True) if s @ y > 0]
    direction = gradient.clone()
    shares = []
    for s, y, curvature in reversed(pairs):
        shares.append(s @ direction / curvature)
        direction -= shares[-1] * y
    if not pairs:
        return direction / gradient.abs().sum().clamp(min=1.0)
    _, latest, curvature = pairs[-1]
    direction *= curvature / (latest @ latest)
    for (s, y, curvature), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - y @ direction / curvature) * s
    return direction
