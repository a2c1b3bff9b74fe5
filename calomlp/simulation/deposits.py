"""Showers of electrons, photons, hadrons and muons: their deposits in steps of depth, and what is visible of them.

A hadron ionises until it interacts; there its energy splits into electromagnetic cascades, which a few pi0 start, and
the rest, whose response is lower by h/e. Constants without a reference of their own were chosen such that a deep iron
scintillator stack reproduces the raw and the compensated pion resolution of the CALICE analogue HCAL,
57.6 %/sqrt(E) (+) 1.6 % and 44.3 %/sqrt(E) (+) 1.8 % (JINST 7 (2012) P09017, arXiv:1207.4210).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.beam import Axes
from calomlp.simulation.layers import Layers
from calomlp.simulation.profile import CascadeProfile, RadialSpread, draw_profile, radial_spread, step_shares

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


CONVERSION_LENGTH = 9.0 / 7.0
"""Mean free path of a photon before it converts [X0]."""
NO_ENERGY = 1e-9
"""What a cascade without energy gets [GeV], so that it has a logarithm."""


def electrons(layers: Layers, axes: Axes, energy: Tensor, generator: torch.Generator) -> Showers:
    """Simulate electrons that enter the front of the calorimeter.

    The profile is that of the medium in which the shower starts, the first section, at every energy: depth in radiation
    lengths is additive over sections, and the position of the maximum forms in the early cascade.

    Args:
        layers: The calorimeter.
        axes: Where they fly.
        energy: Of the electrons [GeV], [n].
        generator: Source of the random numbers.
    """
    profile = draw_profile(energy[:, None], layers.section_media.at(0), generator)
    return _showers(layers, axes, energy[:, None], torch.zeros_like(energy)[:, None], profile)


def photons(layers: Layers, axes: Axes, energy: Tensor, generator: torch.Generator) -> Showers:
    """Simulate photons: they convert after 9/7 X0 in the mean and share their energy evenly between two electrons.

    Args:
        layers: The calorimeter.
        axes: Where they fly.
        energy: Of the photons [GeV], [n].
        generator: Source of the random numbers.
    """
    n = len(energy)
    start = CONVERSION_LENGTH * draws.exponential((n, 1), generator)
    u = draws.uniform((n, 1), generator)
    pair = (energy[:, None] * torch.cat((u, 1.0 - u), dim=1)).clamp_(min=NO_ENERGY)  # [n, 2]
    profile = draw_profile(pair, layers.section_media.at(0), generator)
    return _showers(layers, axes, pair, start.expand(n, 2), profile)


def cascades(
    layers: Layers,
    path: Tensor,
    energy: Tensor,
    start: Tensor,
    profile: CascadeProfile,
    x: Tensor,
    y: Tensor,
) -> tuple[Component, Tensor]:
    """Deposit the energy of electromagnetic cascades.

    Args:
        layers: The calorimeter.
        path: Path per depth, [n].
        energy: Of the cascades [GeV], [n, k].
        start: Depth along the normal of the layers [X0], [n, k].
        profile: Their shapes, [n, k].
        x: Of their axes at the nodes [cm], broadcasts to [n, k, K].
        y: The same.

    Returns:
        The deposits, and the depth of the maximum of the largest cascade along the axis [X0], [n].
    """
    depth = (layers.x0_edges - start[..., None]).clamp_(min=0.0)
    depth.mul_(path[:, None, None])  # [n, k, S + 1]
    deposit = profile.shares(depth).mul_(energy[..., None])  # [n, k, S]
    middle = 0.5 * (depth[..., layers.nodes + 1] + depth[..., layers.nodes])  # [n, k, K]
    tau = middle * profile.tau_per_x0[..., None]
    spread = radial_spread(energy[..., None], tau, layers.media)
    largest = energy.argmax(dim=1, keepdim=True)
    maximum = (start * path[:, None] + profile.T).gather(1, largest).squeeze(1)
    return Component.of(energy.sum(dim=1), deposit, spread, x, y, layers), maximum


def _showers(layers: Layers, axes: Axes, energy: Tensor, start: Tensor, profile: CascadeProfile) -> Showers:
    x, y = axes.at(layers.middle[layers.nodes])
    path = axes.path
    em, maximum = cascades(layers, path, energy, start / path[:, None], profile, x[:, None], y[:, None])
    total = energy.sum(dim=1)
    return Showers(total, axes, em, torch.ones_like(total), torch.zeros_like(total), maximum)


@dataclass(frozen=True)
class Hadron:
    """Constants of a kind of hadron."""

    E0: float  # scale of the electromagnetic share [GeV]
    interaction_length: float  # mean free path in units of lambda_I, which is that of nucleons


PION = Hadron(E0=1.0, interaction_length=1.10)
PROTON = Hadron(E0=2.6, interaction_length=1.0)
"""A baryon keeps its number and makes fewer pi0: Gabriel et al., NIM A338 (1994) 336. Its energy is kinetic."""

EXPONENT = 0.83
"""Of the share of energy that is not electromagnetic, (E/E0)^(m-1): Gabriel et al.; Groom, NIM A572 (2007) 633."""

CASCADE_SHARES = (1.0, 0.6, 0.6)
"""Dirichlet concentrations of the electromagnetic cascades; the first one starts at the vertex."""
DISPLACEMENT = 0.6
"""Mean distance of the other cascades from the vertex [lambda_I]."""
SIDEWAYS = 2.5
"""Spread of their distance from the axis, in x and in y, per displacement [cm/lambda_I]."""
INTRINSIC_FLUCTUATION = 0.28
"""Fluctuation of the visible share of the non-electromagnetic energy, relative, times sqrt(E/GeV)."""
CMS_INTERACTION_LENGTH = 16.4
"""lambda_I [cm] of the brass and scintillator in which the radii of hadronic showers were tuned."""


def hadrons(layers: Layers, axes: Axes, energy: Tensor, hadron: Hadron, generator: torch.Generator) -> Showers:
    """Simulate hadrons that enter the front of the calorimeter.

    Those that do not interact inside punch through: all but their ionisation leaks.

    Args:
        layers: The calorimeter.
        axes: Where they fly.
        energy: Kinetic for protons, total for pions [GeV], [n].
        hadron: Its kind.
        generator: Source of the random numbers.
    """
    path = axes.path
    flight = hadron.interaction_length * draws.exponential(tuple(energy.shape), generator)  # [n], lambda_I
    vertex = flight / path  # along the normal
    track = _track(layers, path, vertex, energy, generator)
    shower_energy = (energy - track.loss.sum(dim=1)).clamp_(min=0.0)  # 0 if it stops before it interacts
    em_fraction = draw_em_fraction(shower_energy, hadron.E0, generator)
    x, y = (position[:, None] for position in axes.at(layers.middle[layers.nodes]))  # [n, 1, K]
    em, shower_max = _em_part(layers, path, vertex, em_fraction * shower_energy, (x, y), generator)
    other_energy = (1.0 - em_fraction) * shower_energy
    hadronic = _hadronic_part(layers, path, vertex, shower_energy, other_energy, (x, y), generator)
    fluctuation = (
        INTRINSIC_FLUCTUATION * draws.normal(tuple(energy.shape), generator) / other_energy.clamp(min=1e-3).sqrt()
    )
    visible = layers.h_over_e * (1.0 + fluctuation).clamp_(min=0.1)[:, None, None]  # [n, 1, S]
    return Showers(energy, axes, em, em_fraction, flight, shower_max, hadronic, visible, track)


def muons(layers: Layers, axes: Axes, energy: Tensor, generator: torch.Generator) -> Showers:
    """Simulate muons: minimum ionising particles, without radiation.

    Args:
        layers: The calorimeter.
        axes: Where they fly.
        energy: Of the muons [GeV], [n].
        generator: Source of the random numbers.
    """
    nothing = torch.zeros_like(energy)
    track = _track(layers, axes.path, torch.full_like(energy, math.inf), energy, generator)
    return Showers(energy, axes, None, nothing, nothing, nothing, track=track)


def mean_em_fraction(energy: Tensor, E0: float) -> Tensor:
    """Mean electromagnetic share f = 1 - (E/E0)^(m-1), at least 0.02, of a hadron of ``energy`` [GeV]."""
    return (1.0 - (energy / E0) ** (EXPONENT - 1.0)).clamp(min=0.02)


def draw_em_fraction(energy: Tensor, E0: float, generator: torch.Generator) -> Tensor:
    """Draw electromagnetic shares: a beta distribution of width 0.85/sqrt(E) (+) 0.10, skewed to large shares."""
    mean = mean_em_fraction(energy, E0)
    # Below a few GeV the width would exceed what a share can have.
    widest = 0.8 * (mean * (1.0 - mean)).sqrt()
    return draws.beta(mean, torch.minimum((0.85**2 / energy + 0.10**2).sqrt(), widest), generator)


def _track(layers: Layers, path: Tensor, vertex: Tensor, energy: Tensor, generator: torch.Generator) -> Track:
    """Ionise before the vertex.

    The signal has the shape of Moyal, narrower where one readout sums several gaps. A slow particle stops when its
    energy is lost.
    """
    behind = layers.lambda_edges[-1:]
    stop = torch.minimum(vertex, behind)
    _, to_vertex = layers.locate(stop, layers.section_at(stop))
    depth = torch.minimum(to_vertex, energy / path)  # [n], in MIP loss along the normal
    loss = torch.minimum(layers.mip_edges, depth[:, None]).diff() * path[:, None]  # [n, S]
    crossed = (loss @ layers.to_readout) / (layers.mip_edges.diff() @ layers.to_readout)  # [n, L], in layers
    excess = draws.moyal(tuple(crossed.shape), generator) - draws.MOYAL_MEAN
    relative = (1.0 + layers.mip_spread / draws.MOYAL_MEAN * excess).clamp_(min=0.0)
    return Track(loss, crossed * layers.mip_signal * relative)


def _em_part(
    layers: Layers,
    path: Tensor,
    vertex: Tensor,
    energy: Tensor,
    axis: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> tuple[Component, Tensor]:
    """Share the electromagnetic energy between cascades; also return the maximum of the largest [X0], [n]."""
    n, k = len(energy), len(CASCADE_SHARES)
    shares = draws.dirichlet(energy.new_tensor(CASCADE_SHARES).expand(n, k), generator)  # [n, k]
    displacement = DISPLACEMENT * draws.exponential((n, k), generator)
    displacement[:, 0] = 0.0
    sideways = SIDEWAYS * displacement * draws.normal((2, n, k), generator)  # [2, n, k], cm
    start = vertex[:, None] + displacement / path[:, None]  # [n, k], lambda_I along the normal
    section = layers.section_at(start)
    start_x0, _ = layers.locate(start, section)
    cascade_energy = (energy[:, None] * shares).clamp_(min=NO_ENERGY)
    profile = draw_profile(cascade_energy, layers.section_media.at(section), generator)
    x, y = (position + shift[..., None] for position, shift in zip(axis, sideways, strict=True))
    return cascades(layers, path, cascade_energy, start_x0, profile, x, y)


def _hadronic_part(
    layers: Layers,
    path: Tensor,
    vertex: Tensor,
    shower_energy: Tensor,
    energy: Tensor,
    axis: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> Component:
    """Deposit what is not electromagnetic along a gamma distribution in lambda_I behind the vertex.

    Its shape is that of the hadronic component of Bock et al., NIM 186 (1981) 533, with a logarithmic energy dependence
    as in the CMS fast simulation, from which the radius that holds half of the energy is taken too.
    """
    n = len(energy)
    log_energy = shower_energy.clamp(min=1.0).log()
    alpha = (0.38 + 0.28 * log_energy) * (0.30 * draws.normal((n,), generator)).exp()
    beta = (1.05 - 0.03 * log_energy).clamp(min=0.4) * (0.20 * draws.normal((n,), generator)).exp()
    widening = (0.40 * draws.normal((n,), generator)).exp()
    depth = (layers.lambda_edges - vertex[:, None]).clamp_(min=0.0) * path[:, None]  # [n, S + 1]
    deposit = step_shares(alpha, beta, depth).mul_(energy[:, None])
    middle = 0.5 * (depth[:, layers.nodes + 1] + depth[:, layers.nodes])  # [n, K]
    radius = torch.addcmul(
        1.9 + 0.034 * log_energy[:, None], middle, 7.8 - 1.6 * log_energy[:, None].clamp(max=4.3)
    )  # [n, K], cm
    scale = layers.interaction_length[layers.nodes] / CMS_INTERACTION_LENGTH
    radius.mul_(widening[:, None]).clamp_(1.0, 25.0).mul_(scale)
    return Component.of(energy, deposit[:, None], only_core(radius[:, None]), *axis, layers)
