"""Showers of charged pions in the layers of a calorimeter.

A pion ionises until it interacts; there its energy splits into electromagnetic cascades, which a few pi0 start, and the
rest, whose response is lower by h/e. Constants without a reference of their own were chosen such that a deep iron
scintillator stack reproduces the raw and the compensated pion resolution of the CALICE analogue HCAL,
57.6 %/sqrt(E) (+) 1.6 % and 44.3 %/sqrt(E) (+) 1.8 % (JINST 7 (2012) P09017, arXiv:1207.4210).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.deposits import Deposits
from calomlp.simulation.profile import draw_profile, gamma_share

if TYPE_CHECKING:
    from calomlp.simulation.detector import Hadrons, Readout
    from calomlp.simulation.layers import Layers

INTERACTION_LENGTH = 1.10
"""Mean free path of pions in units of lambda_I, which is that of nucleons; pions interact more rarely."""

E0, EXPONENT = 1.0, 0.83
"""Non-electromagnetic share (E/E0)^(m-1) of pions: Gabriel et al., NIM A338 (1994) 336; Groom, NIM A572 (2007) 633."""

CASCADE_SHARES = (1.0, 0.6, 0.6)
"""Dirichlet concentrations of the electromagnetic cascades; the first one starts at the vertex."""
DISPLACEMENT = 0.6
"""Mean distance of the other cascades from the vertex [lambda_I]."""
INTRINSIC_FLUCTUATION = 0.28
"""Fluctuation of the visible share of the non-electromagnetic energy, relative, times sqrt(E/GeV)."""


@dataclass(frozen=True)
class _Part:
    """One component of the showers of n pions; energies in GeV."""

    visible: Tensor  # [n, L] in each layer, before sampling fluctuations
    deposited: Tensor  # [n] including what is not visible
    leakage: Tensor  # [n]


def pions(layers: Layers, readout: Readout, hadrons: Hadrons, energy: Tensor, generator: torch.Generator) -> Deposits:
    """Simulate charged pions that enter the front of the calorimeter.

    Those that do not interact inside punch through: all but their ionisation leaks.

    Args:
        layers: The calorimeter.
        readout: Its electromagnetic sampling constant.
        hadrons: Its hadronic constants.
        energy: Of the pions [GeV], [n].
        generator: Source of the random numbers.
    """
    vertex = INTERACTION_LENGTH * draws.exponential(tuple(energy.shape), generator)  # [n], lambda_I
    track_loss, track_signal = _track(layers, hadrons, vertex, energy, generator)  # [n], [n, L]
    shower_energy = energy - track_loss
    em_fraction = draw_em_fraction(shower_energy, generator)
    em, shower_max = _em_part(layers, vertex, em_fraction * shower_energy, generator)
    hadronic = _hadronic_part(layers, hadrons, vertex, shower_energy, (1.0 - em_fraction) * shower_energy, generator)
    signal = layers.sample(em.visible, readout.c_em, generator)
    signal += layers.sample(hadronic.visible, hadrons.c_had, generator)
    signal += track_signal
    visible = hadronic.visible.sum(dim=1)
    return Deposits(
        signal=signal,
        em_fraction=em_fraction,
        vertex_depth=vertex,
        shower_max=shower_max,
        em_energy=em.deposited,
        hadronic_energy=track_loss + visible,
        invisible_energy=hadronic.deposited - visible,
        leakage=em.leakage + hadronic.leakage,
    )


def mean_em_fraction(energy: Tensor) -> Tensor:
    """Mean electromagnetic share f = 1 - (E/E0)^(m-1), at least 0.02, of a pion of ``energy`` [GeV]."""
    return (1.0 - (energy / E0) ** (EXPONENT - 1.0)).clamp(min=0.02)


def draw_em_fraction(energy: Tensor, generator: torch.Generator) -> Tensor:
    """Draw electromagnetic shares: a beta distribution of width 0.85/sqrt(E) (+) 0.10, skewed to large shares."""
    mean = mean_em_fraction(energy)
    # Below a few GeV the width would exceed what a share can have.
    widest = 0.8 * (mean * (1.0 - mean)).sqrt()
    return draws.beta(mean, torch.minimum((0.85**2 / energy + 0.10**2).sqrt(), widest), generator)


def _track(
    layers: Layers, hadrons: Hadrons, vertex: Tensor, energy: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Ionise before the vertex: the energy lost [n] and the signal per layer [n, L].

    The signal has the shape of Moyal, narrower where one readout sums several gaps. A slow pion stops when its energy
    is lost.
    """
    _, to_vertex = layers.locate(vertex, layers.section_at(vertex))
    loss = torch.minimum(to_vertex, energy).clamp(max=float(layers.mip_edges[-1]))
    crossed = torch.minimum(layers.mip_edges, loss[:, None]).diff() / layers.mip_edges.diff()  # [n, L], share of layer
    spread = (1.0 - hadrons.mip_peak) / draws.MOYAL_MEAN / layers.mip_crossings.sqrt()  # [L]
    excess = draws.moyal(tuple(crossed.shape), generator) - draws.MOYAL_MEAN  # [n, L]
    return loss, crossed * layers.mip_signal * (1.0 + spread * excess)


def _em_part(layers: Layers, vertex: Tensor, energy: Tensor, generator: torch.Generator) -> tuple[_Part, Tensor]:
    """Share the electromagnetic energy between cascades; also return the maximum of the largest [X0], [n]."""
    n, k = len(energy), len(CASCADE_SHARES)
    shares = draws.dirichlet(energy.new_tensor(CASCADE_SHARES).expand(n, k), generator)  # [n, k]
    displacement = DISPLACEMENT * draws.exponential((n, k), generator)
    displacement[:, 0] = 0.0
    start = vertex[:, None] + displacement  # [n, k], lambda_I
    section = layers.section_at(start)
    start_x0, _ = layers.locate(start, section)
    cascade_energy = energy[:, None] * shares
    profile = draw_profile(cascade_energy, layers.media.at(section), generator)
    contained = profile.contained((layers.x0_edges - start_x0[..., None]).clamp_(min=0.0))  # [n, k, L + 1]
    before_edge = torch.einsum("nk,nkl->nl", cascade_energy, contained)  # [n, L + 1]
    deposited = before_edge[:, -1]
    largest = shares.argmax(dim=1, keepdim=True)
    shower_max = (start_x0 + profile.T).gather(1, largest).squeeze(1)
    return _Part(before_edge.diff().clamp_(min=0.0), deposited, energy - deposited), shower_max


def _hadronic_part(
    layers: Layers,
    hadrons: Hadrons,
    vertex: Tensor,
    shower_energy: Tensor,
    energy: Tensor,
    generator: torch.Generator,
) -> _Part:
    """Deposit what is not electromagnetic along a gamma distribution in lambda_I behind the vertex.

    Its shape is that of the hadronic component of Bock et al., NIM 186 (1981) 533, with a logarithmic energy dependence
    as in the CMS fast simulation.
    """
    n = len(energy)
    log_energy = shower_energy.clamp(min=1.0).log()
    alpha = (0.38 + 0.28 * log_energy) * (0.30 * draws.normal((n,), generator)).exp()
    beta = (1.05 - 0.03 * log_energy).clamp(min=0.4) * (0.20 * draws.normal((n,), generator)).exp()
    depth = (layers.lambda_edges - vertex[:, None]).clamp_(min=0.0)  # [n, L + 1]
    contained = gamma_share(alpha[:, None], beta[:, None], depth)
    fluctuation = INTRINSIC_FLUCTUATION * draws.normal((n,), generator) * energy.sqrt()
    visible = torch.maximum(energy + fluctuation, 0.1 * energy) / hadrons.e_over_h  # [n]
    deposited = energy * contained[:, -1]
    return _Part(visible[:, None] * contained.diff().clamp_(min=0.0), deposited, energy - deposited)
