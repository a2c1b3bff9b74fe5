"""Energy deposits of a block of particles in steps of depth, and what is visible of them after sharing and sampling."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.beam import Axes
from calomlp.simulation.layers import Layers
from calomlp.simulation.profile import RadialSpread

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """Mean energy deposits of one kind: k sub-showers in each of n events, in S steps of depth."""

    total: Tensor  # energy that the component carries, whether it is deposited or leaks [GeV], [n]
    energy: Tensor  # deposited in each step, infinitely far to the sides [GeV], [n, k, S]
    spread: RadialSpread  # to the sides at the nodes of the layers, [n, k, K]
    x: Tensor  # of the axis at the nodes [cm], broadcasts to [n, k, K]
    y: Tensor  # the same
    inside: Tensor  # energy that stays within the sides of the calorimeter [GeV], [n, k, S]

    @classmethod
    def of(cls, total: Tensor, energy: Tensor, spread: RadialSpread, x: Tensor, y: Tensor, layers: Layers) -> Component:
        """RadialSpread deposits in the layers of a calorimeter."""
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
    """Balance of the energy of n particles [GeV], each [n]; the five sum to the energy of the particle.

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


def only_core(radius: Tensor) -> RadialSpread:
    """A sideways distribution of one radius [cm]."""
    return RadialSpread(radius, radius, torch.ones_like(radius))


def take(events: T, index: Tensor | slice) -> T:
    """Return some of the events: of a tensor, or of a dataclass whose tensors all begin with the axis of the events."""
    if isinstance(events, torch.Tensor):
        return events[index]  # type: ignore[return-value]
    if is_dataclass(events) and not isinstance(events, type):
        return replace(events, **{field.name: take(getattr(events, field.name), index) for field in fields(events)})
    return events


_NOTHING = 1e-10
"""A variance or quantum [GeV] so small that it makes no fluctuation."""


@dataclass(frozen=True)
class InLayers:
    """Electromagnetic energy in readout layers [GeV].

    Args:
        inside: Deposited within the sides, [n, L].
        outside: Lost through the sides at the depth of each layer, [n, L].
        scale: Energy of the layers after the sharing over its mean, [n, L]; None where nothing is shared.
    """

    inside: Tensor
    outside: Tensor
    scale: Tensor | None = None


def em_in_layers(em: Component, layers: Layers, generator: torch.Generator) -> InLayers:
    """Sum electromagnetic deposits to layers; homogeneous ones share their energy with fluctuations.

    T and alpha alone leave the energy in slices of 0.5 X0 a factor two too steady; a Dirichlet draw whose variance is
    that of quanta of energy kappa = 1.2 Ec restores the slice fluctuations of full Geant4 in PbWO4. In sampling media
    the sampling fluctuations are larger by far and no such draw is needed.
    """
    deposit = em.energy.sum(dim=1) @ layers.to_readout
    inside = em.inside.sum(dim=1) @ layers.to_readout
    if not bool(layers.kappa.any()):
        return InLayers(inside, deposit - inside)
    kappa = layers.kappa
    drawn = torch.where(kappa > 0.0, kappa * draws.gamma(deposit / kappa.clamp(min=_NOTHING), generator), deposit)
    drawn *= (deposit.sum(dim=1) / drawn.sum(dim=1).clamp(min=1e-30))[:, None]
    scale = drawn / deposit.clamp(min=_NOTHING)
    return InLayers(inside * scale, (deposit - inside) * scale, scale)


def share_sideways(parts: Tensor, energy: Tensor, spots: Tensor, generator: torch.Generator) -> Tensor:
    """Fluctuate how the energy of a homogeneous layer is shared sideways, at a fixed sum.

    A cascade consists of 93 ln(Z) E^0.876 energy spots (Grindhammer & Peters, hep-ex/0001020), whose number in each
    cell fluctuates; a Dirichlet draw has the same variance.

    Args:
        parts: Mean energies of the cells and, last, of what is outside [GeV], [C + 1, n, L].
        energy: Of the cascades [GeV], [n].
        spots: Of a cascade of 1 GeV, [L].
        generator: Source of the random numbers.
    """
    quantum = energy[:, None].clamp(min=_NOTHING) ** (1.0 - 0.876) / spots  # [n, L]
    drawn = draws.gamma(parts / quantum, generator)
    return drawn * (parts.sum(dim=0) / drawn.sum(dim=0).clamp(min=1e-30))


def sample(deposit: Tensor, variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the visible energy of deposits, sigma^2 = variance x energy.

    A gamma distribution has positive values and adds up: draws per layer give the same fluctuation as one draw for
    their sum.

    Args:
        deposit: Mean visible energies [GeV].
        variance: Square of the sampling constant [GeV], broadcasts.
        generator: Source of the random numbers.
    """
    variance = variance.clamp(min=_NOTHING)
    return draws.gamma(deposit / variance, generator).mul_(variance)


def sample_layers(showers: Showers, layers: Layers, generator: torch.Generator) -> tuple[Tensor, Balance]:
    """Draw the visible energy of readout layers [GeV, electron scale], [n, L], and balance the energies."""
    em = em_in_layers(showers.em, layers, generator) if showers.em else None
    signal = torch.zeros(len(showers.energy), len(layers.kappa), device=showers.energy.device)
    if em and showers.em:
        shared = layers.spots > 0.0
        if bool(shared.any()):
            em = _share_at_the_sides(em, showers.em.total, layers.spots, shared, generator)
        signal += sample(em.inside, layers.em_variance, generator)
    if showers.hadronic:
        visible = (showers.hadronic.inside * showers.visible).sum(dim=1)
        signal += sample(visible @ layers.to_readout, layers.hadronic_variance, generator)
    if showers.track:
        signal += showers.track.signal * (showers.on_axis(layers).float() @ layers.to_readout > 0.0)
    return signal, balance(showers, em, layers)


def _share_at_the_sides(
    em: InLayers, energy: Tensor, spots: Tensor, shared: Tensor, generator: torch.Generator
) -> InLayers:
    parts = torch.stack((em.inside, em.outside.clamp(min=0.0)))[..., shared]
    inside, outside = em.inside.clone(), em.outside.clone()
    inside[:, shared], outside[:, shared] = share_sideways(parts, energy, spots[shared], generator)
    return InLayers(inside, outside, em.scale)


def balance(showers: Showers, em: InLayers | None, layers: Layers) -> Balance:
    """Say where the energy went; the rear gets what nothing else took."""
    nothing = torch.zeros_like(showers.energy)
    em_energy, lateral = (em.inside.sum(dim=1), em.outside.sum(dim=1)) if em else (nothing, nothing)
    hadronic, invisible = nothing, nothing
    if showers.hadronic:
        inside = showers.hadronic.inside.sum(dim=(1, 2))
        hadronic = (showers.hadronic.inside * showers.visible).sum(dim=(1, 2))
        invisible = inside - hadronic
        lateral = lateral + showers.hadronic.energy.sum(dim=(1, 2)) - inside
    if showers.track:
        loss = showers.track.loss
        ionisation = (loss * showers.on_axis(layers)).sum(dim=1)
        hadronic = hadronic + ionisation
        lateral = lateral + loss.sum(dim=1) - ionisation
    rear = showers.energy - em_energy - hadronic - invisible - lateral
    return Balance(em_energy, hadronic, invisible, rear.clamp_(min=0.0), lateral)
