"""The multilayer perceptron and its activations, and several of them as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calomlp.errors import UsageError, did_you_mean
from calomlp.model.losses import ENERGY, HEADS

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


@dataclass(frozen=True)
class Architecture:
    """Shape of a regressor, from which it is built before its weights are loaded.

    Attributes:
        n_columns: Number of columns of the feature matrix.
        energy_columns: Those that are energies, which the anchor combines.
        hidden: Width of each hidden layer.
        activation: Activation of the hidden layers.
        dropout: Probability that a hidden unit is silenced in training.
        target: What the network stands for: ``ratio``, a factor on the anchor (``exp`` of its output), ``direct``, the
            energy itself, or ``log``, its logarithm.
        shares: Whether the network sees the share of each energy column, with the target ``ratio``; if not, it sees the
            other features and the anchor, which combines the energy columns all the same.
        head: What the network says of an event, one of :data:`~calomlp.model.losses.HEADS`.
        members: Number of networks whose outputs are averaged.
        closure: Whether a closure correction comes last.
        spectrum: The columns, first and one past the last, that are the spectrum of hit energies; none without hits.
    """

    n_columns: int
    energy_columns: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: str
    dropout: float
    target: str
    shares: bool = True
    head: str = ENERGY
    members: int = 1
    closure: bool = False
    spectrum: tuple[int, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        return 1 + HEADS.index(self.head)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the network."""
        if self.target != "ratio":
            return self.n_columns
        return self.n_columns + 1 - (0 if self.shares else len(self.energy_columns))


class MLP(nn.Module):
    """A multilayer perceptron with linear outputs, or several of the same form that are computed together.

    Without hidden layers it is a linear model; with the activation ``identity`` it is one too, however deep.

    The outputs start at zero everywhere if they are a factor on the anchor, so that a correction starts as none;
    otherwise all but the first do.

    Args:
        architecture: Has its form; each of several members has its own initial weights.
        generator: Source of the initial weights.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.activation, self.dropout = architecture.activation, architecture.dropout
        if self.activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {self.activation!r}: {did_you_mean(self.activation, ACTIVATIONS)}")
        members = architecture.members
        shapes = list(pairwise([architecture.n_inputs, *architecture.hidden, architecture.n_outputs]))
        self.weights = nn.ParameterList(torch.empty(members, n_out, n_in) for n_in, n_out in shapes)
        self.biases = nn.ParameterList(torch.zeros(members, 1, n_out) for _, n_out in shapes)
        with torch.no_grad():
            for weight in self.weights:
                weight.normal_(0.0, _spread(weight, self.activation), generator=generator)
            self.weights[-1][:, 0 if architecture.target == "ratio" else 1 :] = 0

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
