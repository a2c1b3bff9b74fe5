"""The multilayer perceptron and its activations, and several of them as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calomlp.errors import UsageError, did_you_mean

# their names are in training_settings.py too, for help texts, and their form in ONNX is in export.py
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky-relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
}
"""What a hidden layer applies to its weighted sum, by name."""

_RECTIFIERS = frozenset({"relu", "leaky-relu", "elu", "gelu", "silu", "softplus"})


class MLP(nn.Module):
    """A multilayer perceptron with linear outputs, or several of the same form that are computed together.

    Without hidden layers it is a linear model; with the activation ``identity`` it is one too, however deep.

    Args:
        n_inputs: Number of inputs.
        hidden: Width of each hidden layer, from the input on; empty for a linear model.
        activation: Key of :data:`ACTIVATIONS`.
        outputs: Number of outputs.
        members: Number of networks; each has its own initial weights.
        dropout: Probability that a hidden unit is silenced in a training step.
        generator: Source of the initial weights.
        zero_from: The first of the outputs that start at zero everywhere, so that a correction starts as none.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden: Sequence[int],
        activation: str,
        *,
        outputs: int = 1,
        members: int = 1,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        zero_from: int | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}: {did_you_mean(activation, ACTIVATIONS)}")
        shapes = list(pairwise([n_inputs, *hidden, outputs]))
        self.weights = nn.ParameterList(torch.empty(members, n_out, n_in) for n_in, n_out in shapes)
        self.biases = nn.ParameterList(torch.zeros(members, 1, n_out) for _, n_out in shapes)
        self.activation = activation
        self.dropout = dropout
        with torch.no_grad():
            for weight in self.weights:
                weight.normal_(0.0, _spread(weight, activation), generator=generator)
            if zero_from is not None:
                self.weights[-1][:, zero_from:] = 0

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the outputs.

        Args:
            x: Inputs, shape [events, n_inputs].
            generator: Source of the dropout masks while training.

        Returns:
            Shape [members, events, outputs].
        """
        activate = ACTIVATIONS[self.activation]
        last = len(self.weights) - 1
        if len(self.weights[0]) > 1:
            x = x.expand(len(self.weights[0]), *x.shape)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = F.linear(x, weight[0], bias[0, 0]) if x.ndim == 2 else torch.baddbmm(bias, x, weight.mT)
            if number < last:
                x = activate(x)  # [events, width] of one network, [members, events, width] of several
                if self.training and self.dropout > 0:
                    kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.dropout
                    x = x * kept / (1 - self.dropout)
        return x if x.ndim == 3 else x[None]

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the outputs by a factor."""
        self.weights[-1].mul_(factor)
        self.biases[-1].mul_(factor)


def _spread(weight: Tensor, activation: str) -> float:
    """Return the spread of initial weights that keeps the variance of the signal from layer to layer.

    He et al. (arXiv:1502.01852) for rectifiers, LeCun's for selu (Klambauer et al., arXiv:1706.02515), Glorot & Bengio
    (AISTATS 2010) for the others; biases are zero.
    """
    _, n_out, n_in = weight.shape
    if activation in _RECTIFIERS:
        return math.sqrt(2 / n_in)
    return math.sqrt(1 / n_in) if activation == "selu" else math.sqrt(2 / (n_in + n_out))
