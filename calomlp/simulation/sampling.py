"""From mean deposits to what is visible of them: fluctuations of sharing and sampling, and the balance of energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.deposits import Balance, Component, Showers
from calomlp.simulation.layers import Layers

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
