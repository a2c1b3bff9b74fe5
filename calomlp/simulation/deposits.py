"""What a block of particles leaves in the calorimeter, before the readout: energies in steps of depth."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from calomlp.simulation.beam import Axes
from calomlp.simulation.layers import Layers
from calomlp.simulation.radial import Spread

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """Mean energy deposits of one kind: k sub-showers in each of n events, in S steps of depth."""

    total: Tensor  # energy that the component carries, whether it is deposited or leaks [GeV], [n]
    energy: Tensor  # deposited in each step, infinitely far to the sides [GeV], [n, k, S]
    spread: Spread  # to the sides at the nodes of the layers, [n, k, K]
    x: Tensor  # of the axis at the nodes [cm], broadcasts to [n, k, K]
    y: Tensor  # the same
    inside: Tensor  # energy that stays within the sides of the calorimeter [GeV], [n, k, S]

    @classmethod
    def of(cls, total: Tensor, energy: Tensor, spread: Spread, x: Tensor, y: Tensor, layers: Layers) -> Component:
        """Spread deposits in the layers of a calorimeter."""
        half_width = layers.half_width[layers.nodes]
        sides = torch.stack((-half_width, half_width))[:, None, None]  # [2, 1, 1, K]
        share = spread.in_cells(sides - x, sides - y)[0, 0]
        return cls(total, energy, spread, x, y, (share @ layers.from_nodes).mul_(energy))

    def at_steps(self, steps: slice) -> Component:
        """The part of the component in some of the steps, where every step is a node."""
        x, y = self.x[..., steps], self.y[..., steps]
        return Component(self.total, self.energy[..., steps], self.spread.at(steps), x, y, self.inside[..., steps])


@dataclass(frozen=True)
class Track:
    """Ionisation along the axis before, or without, a shower."""

    loss: Tensor  # energy lost in each step [GeV], [n, S]
    signal: Tensor  # mean signal on the electron scale in each readout layer, with its fluctuations [GeV], [n, L]


@dataclass(frozen=True)
class Showers:
    """n events.

    Args:
        energy: Of the particles [GeV], [n].
        axes: Of the particles.
        em: Electromagnetic cascades, None for muons.
        hadronic: Deposits that are not electromagnetic, None where there are none.
        visible: What one GeV of the latter gives on the electron scale in each step, broadcasts to [n, 1, S].
        track: Ionisation, None where there is none.
        em_fraction: Electromagnetic share of the energy that enters the shower, [n].
        vertex_depth: Depth of a hadron's first interaction along the axis [lambda_I], 0 for other particles, [n]. It
            may lie behind the calorimeter.
        shower_max: Depth of the maximum of the largest electromagnetic cascade along the axis [X0], 0 for muons, [n].
    """

    energy: Tensor
    axes: Axes
    em: Component | None
    em_fraction: Tensor
    vertex_depth: Tensor
    shower_max: Tensor
    hadronic: Component | None = None
    visible: Tensor | float = 1.0
    track: Track | None = None

    def on_axis(self, layers: Layers) -> Tensor:
        """Whether the axis is within the sides of the calorimeter at each step, [n, S]."""
        x, y = self.axes.at(layers.middle)
        return torch.maximum(x.abs(), y.abs()) < layers.half_width


class Balance(NamedTuple):
    """Where the energy of n particles went [GeV], each [n]; the five sum to the energy of the particle.

    Attributes:
        em_energy: Electromagnetic, deposited in the calorimeter.
        hadronic_energy: Visible part of the other energy deposited, including the ionisation of tracks.
        invisible_energy: Deposited but not visible: nuclear binding and what else a response below that of electrons
            means. On the electron scale a shower rich in ionisation may come out slightly negative.
        rear_leakage: Left through the rear.
        lateral_leakage: Left through the sides.
    """

    em_energy: Tensor
    hadronic_energy: Tensor
    invisible_energy: Tensor
    rear_leakage: Tensor
    lateral_leakage: Tensor


def only_core(radius: Tensor) -> Spread:
    """A sideways distribution of one radius [cm]."""
    return Spread(radius, radius, torch.ones_like(radius))


def take(events: T, index: Tensor | slice) -> T:
    """Return some of the events: of a tensor, or of a dataclass whose tensors all begin with the axis of the events."""
    if isinstance(events, torch.Tensor):
        return events[index]  # type: ignore[return-value]
    if is_dataclass(events) and not isinstance(events, type):
        return replace(events, **{field.name: take(getattr(events, field.name), index) for field in fields(events)})
    return events
