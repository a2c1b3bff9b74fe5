"""Showers of electrons, positrons and photons."""

from __future__ import annotations

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.beam import Axes
from calomlp.simulation.deposits import Component, Showers
from calomlp.simulation.layers import Layers
from calomlp.simulation.profile import CascadeProfile, draw_profile, radial_spread

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
