"""Showers of hadrons, and muons.

A hadron ionises until it interacts; there its energy splits into electromagnetic cascades, which a few pi0 start, and
the rest, whose response is lower by h/e. Constants without a reference of their own were chosen such that a deep iron
scintillator stack reproduces the raw and the compensated pion resolution of the CALICE analogue HCAL,
57.6 %/sqrt(E) (+) 1.6 % and 44.3 %/sqrt(E) (+) 1.8 % (JINST 7 (2012) P09017, arXiv:1207.4210).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.beam import Axes
from calomlp.simulation.deposits import Component, Showers, Track, only_core
from calomlp.simulation.electromagnetic import NO_ENERGY, cascades
from calomlp.simulation.layers import Layers
from calomlp.simulation.profile import draw_profile, step_shares


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
