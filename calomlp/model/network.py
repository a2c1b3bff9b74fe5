"""The multilayer perceptron and its activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calomlp.errors import UsageError, did_you_mean

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
}
"""What a hidden layer applies to its weighted sum, by name."""

_RECTIFIERS = frozenset({"relu", "leaky-relu", "elu", "gelu", "silu"})


class MLP(nn.Module):
    """A multilayer perceptron with one linear output.

    Without hidden layers it is a linear model; with the activation ``identity`` it is one too, however deep.

    Args:
        n_inputs: Number of inputs.
        hidden: Width of each hidden layer, from the input on; empty for a linear model.
        activation: Key of :data:`ACTIVATIONS`.
        dropout: Probability that a hidden unit is silenced in a training step.
        generator: Source of the initial weights.
        zero_output: Start with an output of zero everywhere, so that a correction starts as no correction.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden: Sequence[int],
        activation: str,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}: {did_you_mean(activation, ACTIVATIONS)}")
        widths = [n_inputs, *hidden, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation
        self.dropout = dropout
        for layer in self.layers:
            _initialise(layer, activation, generator)  # type: ignore[arg-type]
        if zero_output:
            nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the output.

        Args:
            x: Inputs, shape [events, n_inputs].
            generator: Source of the dropout masks while training.

        Returns:
            Shape [events].
        """
        activate = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            x = activate(layer(x))  # [events, width]
            if self.training and self.dropout > 0:
                kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.dropout
                x = x * kept / (1 - self.dropout)
        output: Tensor = self.layers[-1](x).squeeze(-1)
        return output


def _initialise(layer: nn.Linear, activation: str, generator: torch.Generator | None) -> None:
    """Draw weights that keep the variance of the signal from layer to layer.

    He et al. (arXiv:1502.01852) for rectifiers, LeCun's for selu (Klambauer et al., arXiv:1706.02515), Glorot & Bengio
    (AISTATS 2010) for the others; biases are zero.
    """
    n_in, n_out = layer.in_features, layer.out_features
    if activation in _RECTIFIERS:
        std = math.sqrt(2 / n_in)
    elif activation == "selu":
        std = math.sqrt(1 / n_in)
    else:
        std = math.sqrt(2 / (n_in + n_out))
    with torch.no_grad():
        layer.weight.normal_(0.0, std, generator=generator)
        layer.bias.zero_()
