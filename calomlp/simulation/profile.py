"""Longitudinal profile of electromagnetic cascades: GFlash.

G. Grindhammer and S. Peters, "The parameterized simulation of electromagnetic showers in homogeneous and sampling
calorimeters", hep-ex/0001020. The energy of a cascade follows a gamma distribution in the depth t [X0]::

    dE/dt = E beta (beta t)^(alpha-1) exp(-beta t)/Gamma(alpha),    beta = (alpha - 1)/T

with its maximum at T. T and alpha are log-normal and correlated from cascade to cascade; their means and widths depend
on y = E/Ec, on Z, and in sampling media on the sampling frequency Fs and on e/mip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.detector import Section

COARSE_SAMPLING = 0.3
"""Below this many layers per X0 the sampling corrections leave their range: the medium counts as homogeneous."""

# The parametrisation ends where ln y does not determine a shape any more, some 50 MeV in lead and 140 MeV in iron.
MIN_LOG_Y = 1.9
MAX_SIGMA = 0.5
MIN_T = 0.5
MIN_ALPHA = 1.1

NARROW = 2.0
"""Longest step in units of 1/beta over which three nodes integrate a profile to 1e-4."""


class _Fluctuations(NamedTuple):
    """1/sigma(ln T) = T0 + T1 ln y, 1/sigma(ln alpha) = alpha0 + alpha1 ln y, correlation rho0 - 0.023 ln y."""

    T0: float
    T1: float
    alpha0: float
    alpha1: float
    rho0: float


_HOMOGENEOUS = _Fluctuations(T0=-1.4, T1=1.26, alpha0=-0.58, alpha1=0.86, rho0=0.705)
_SAMPLING = _Fluctuations(T0=-2.5, T1=1.25, alpha0=-0.82, alpha1=0.79, rho0=0.784)


@dataclass(frozen=True)
class Media:
    """What the profile needs to know of media; all tensors have one shape."""

    critical_energy: Tensor  # ec [GeV]
    moliere_radius: Tensor  # R_M [cm]
    Z: Tensor  # mass-weighted atomic number
    layer_depth: Tensor  # 1/Fs [X0], 0 in homogeneous media
    transition: Tensor  # 1 - e/mip, 0 in homogeneous media
    fluctuations: Tensor  # constants of the widths, in a last axis of length 5

    @classmethod
    def of(cls, sections: Sequence[Section], device: torch.device) -> Media:
        """Media of the sections of a detector, shape [n_sections]."""
        rows = []
        for section in sections:
            fine = COARSE_SAMPLING <= section.sampling_frequency < math.inf
            medium = section.medium
            rows.append(
                (
                    medium.critical_energy,
                    medium.moliere_radius,
                    medium.Z,
                    fine / section.sampling_frequency,
                    fine * (1.0 - section.e_over_mip),
                    *(_SAMPLING if fine else _HOMOGENEOUS),
                )
            )
        columns = torch.tensor(rows, device=device)
        critical_energy, moliere_radius, Z, layer_depth, transition = columns[:, :5].unbind(dim=1)
        return cls(critical_energy, moliere_radius, Z, layer_depth, transition, columns[:, 5:])

    def at(self, index: Tensor | int) -> Media:
        """Media of the sections with these indices."""
        return Media(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def log_y(self, energy: Tensor) -> Tensor:
        """Ln y, y = energy/Ec, held inside the range of the parametrisation."""
        return (energy / self.critical_energy).log().clamp(min=MIN_LOG_Y)


@dataclass(frozen=True)
class Profile:
    """Shapes of cascades."""

    T: Tensor  # depth of the maximum, counted from the start of the cascade [X0]
    alpha: Tensor  # exponent of the gamma distribution
    tau_per_x0: Tensor  # relative depth tau, on which the radial profile depends, per radiation length of depth

    @classmethod
    def of(cls, T: Tensor, alpha: Tensor, mean_alpha: Tensor) -> Profile:
        """Profile of one cascade among many: tau is counted from its own centre of gravity, T alpha/(alpha - 1)."""
        T, alpha = T.clamp(min=MIN_T), alpha.clamp(min=MIN_ALPHA)
        return cls(T, alpha, (alpha - 1.0) / (T * alpha) * (mean_alpha / (mean_alpha - 1.0)))

    def shares(self, depth: Tensor) -> Tensor:
        """Share of the energy that is deposited in each step of depth; see :func:`step_shares`."""
        return step_shares(self.alpha, (self.alpha - 1.0) / self.T, depth)


def step_shares(alpha: Tensor, beta: Tensor, depth: Tensor) -> Tensor:
    """Integrate gamma profiles over steps of depth.

    Three-point Gauss-Legendre sums are four times as fast as incomplete gamma functions and good to 2e-4 of the
    energy at worst. The first two steps of a profile, which may be singular where it begins, and profiles that are
    narrower than the steps are exact.

    Args:
        alpha: Exponents, [...].
        beta: Inverse depth scales, [...].
        depth: Boundaries of the steps, counted from the start of each profile and 0 before it, [..., S + 1]; the first
            one is 0.

    Returns:
        Shares, [..., S]; their sum is at most 1.
    """
    before, behind = depth[..., :-1], depth[..., 1:]
    middle, half = 0.5 * (before + behind), 0.5 * (behind - before)
    constant = (alpha * beta.log() - torch.lgamma(alpha))[..., None]
    exponent, rate = (alpha - 1.0)[..., None], -beta[..., None]
    density = torch.zeros_like(half)
    for node, weight in ((-math.sqrt(0.6), 5 / 9), (0.0, 8 / 9), (math.sqrt(0.6), 5 / 9)):
        t = torch.add(middle, half, alpha=node)
        f = torch.addcmul(torch.addcmul(constant, t.log(), exponent), t, rate).exp_()
        density += f.mul_(weight)
    last = half.shape[-1]
    begin = torch.searchsorted(depth.contiguous(), torch.zeros_like(depth[..., :1]), right=True)  # first boundary > 0
    edges = depth.gather(-1, torch.cat((begin, begin + 1), dim=-1).clamp_(max=last))
    exact = torch.special.gammainc(alpha[..., None], beta[..., None] * edges)
    exact[..., 1:] -= exact[..., :1].clone()
    shares = torch.where(before > edges[..., :1], density.mul_(half), 0.0)
    shares.scatter_add_(-1, torch.cat((begin - 1, begin), dim=-1).clamp_(max=last - 1), exact)
    narrow = 2.0 * beta * half.amax(dim=-1) > NARROW
    if bool(narrow.any()):
        scaled = beta[narrow][:, None] * depth[narrow]
        shares[narrow] = torch.special.gammainc(alpha[narrow][:, None], scaled).diff(dim=-1)
    return shares.div_(shares.sum(dim=-1, keepdim=True).clamp_(min=1.0))


def mean_profile(energy: Tensor, media: Media) -> Profile:
    """Shape of the mean of many cascades; ``energy`` and ``media`` broadcast."""
    log_y = media.log_y(energy)
    T = log_y - 0.858 - 0.59 * media.layer_depth - 0.53 * media.transition
    alpha = (0.21 + (0.492 + 2.38 / media.Z) * log_y - 0.444 * media.layer_depth).clamp(min=MIN_ALPHA)
    return Profile.of(T, alpha, alpha)


def draw_profile(energy: Tensor, media: Media, generator: torch.Generator) -> Profile:
    """Draw the shapes of individual cascades.

    Args:
        energy: Of each cascade [GeV].
        media: In which each cascade starts; broadcasts with ``energy``.
        generator: Source of the random numbers.
    """
    log_y = media.log_y(energy)
    mean_T = (log_y - 0.812 - 0.55 * media.layer_depth - 0.69 * media.transition).clamp(min=MIN_T)
    mean_alpha = (0.81 + (0.458 + 2.26 / media.Z) * log_y - 0.476 * media.layer_depth).clamp(min=MIN_ALPHA)
    T0, T1, alpha0, alpha1, rho0 = media.fluctuations.unbind(dim=-1)
    sigma_T = (T0 + T1 * log_y).clamp(min=1.0 / MAX_SIGMA).reciprocal()
    sigma_alpha = (alpha0 + alpha1 * log_y).clamp(min=1.0 / MAX_SIGMA).reciprocal()
    rho = rho0 - 0.023 * log_y
    common = ((1.0 + rho) / 2.0).sqrt() * draws.normal(tuple(log_y.shape), generator)
    opposite = ((1.0 - rho) / 2.0).sqrt() * draws.normal(tuple(log_y.shape), generator)
    return Profile.of(
        mean_T * (sigma_T * (common + opposite)).exp(),
        mean_alpha * (sigma_alpha * (common - opposite)).exp(),
        mean_alpha,
    )
