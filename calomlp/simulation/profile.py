"""Longitudinal and radial profiles of electromagnetic cascades: GFlash.

G. Grindhammer and S. Peters, "The parameterized simulation of electromagnetic showers in homogeneous and sampling
calorimeters", hep-ex/0001020. The energy of a cascade follows a gamma distribution in the depth t [X0]::

    dE/dt = E beta (beta t)^(alpha-1) exp(-beta t)/Gamma(alpha),    beta = (alpha - 1)/T

with its maximum at T. T and alpha are log-normal and correlated from cascade to cascade; their means and widths depend
on y = E/Ec, on Z, and in sampling media on the sampling frequency Fs and on e/mip. At the relative depth tau the energy
is spread around the axis as the sum of a core and a tail, both of the form 2 r R^2/(r^2 + R^2)^2, with radii that grow
with tau.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.detector import LayerGroup

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
    """Constants of media for profiles; all tensors have one shape."""

    critical_energy: Tensor  # ec [GeV]
    moliere_radius: Tensor  # R_M [cm]
    Z: Tensor  # mass-weighted atomic number
    layer_depth: Tensor  # 1/Fs [X0], 0 in homogeneous media
    transition: Tensor  # 1 - e/mip, 0 in homogeneous media
    fluctuations: Tensor  # constants of the widths, in a last axis of length 5

    @classmethod
    def of(cls, sections: Sequence[LayerGroup], device: torch.device) -> Media:
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
class CascadeProfile:
    """Shapes of cascades."""

    T: Tensor  # depth of the maximum, counted from the start of the cascade [X0]
    alpha: Tensor  # exponent of the gamma distribution
    tau_per_x0: Tensor  # relative depth tau, on which the radial profile depends, per radiation length of depth

    @classmethod
    def of(cls, T: Tensor, alpha: Tensor, mean_alpha: Tensor) -> CascadeProfile:
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


def mean_profile(energy: Tensor, media: Media) -> CascadeProfile:
    """Shape of the mean of many cascades; ``energy`` and ``media`` broadcast."""
    log_y = media.log_y(energy)
    T = log_y - 0.858 - 0.59 * media.layer_depth - 0.53 * media.transition
    alpha = (0.21 + (0.492 + 2.38 / media.Z) * log_y - 0.444 * media.layer_depth).clamp(min=MIN_ALPHA)
    return CascadeProfile.of(T, alpha, alpha)


def draw_profile(energy: Tensor, media: Media, generator: torch.Generator) -> CascadeProfile:
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
    return CascadeProfile.of(
        mean_T * (sigma_T * (common + opposite)).exp(),
        mean_alpha * (sigma_alpha * (common - opposite)).exp(),
        mean_alpha,
    )


MAX_TAU = 10.0
"""Relative depth beyond which the profile is not wide any more but wrong; hardly any energy is left there."""
MIN_CORE, MIN_TAIL = 0.02, 0.05
"""Smallest radii in units of R_M; the sampling corrections reach below them at the start of a cascade."""


@dataclass(frozen=True)
class RadialSpread:
    """Sideways distribution of energy; the tensors have one shape.

    Args:
        core: Radius of the core, which holds half of its energy [cm].
        tail: The same of the tail.
        core_share: Share of the energy that is in the core.
    """

    core: Tensor
    tail: Tensor
    core_share: Tensor

    def at(self, steps: slice) -> RadialSpread:
        """Distributions at some of the steps of depth, the last axis."""
        core = self.core[..., steps]
        tail = core if self.tail is self.core else self.tail[..., steps]
        return RadialSpread(core, tail, self.core_share[..., steps])

    def in_cells(self, x_edges: Tensor, y_edges: Tensor) -> Tensor:
        """Share of the energy in each cell of a grid, [n_x, n_y, ...]; see :func:`cell_shares`."""
        core = cell_shares(self.core, x_edges, y_edges)
        if self.tail is self.core:
            return core
        tail = cell_shares(self.tail, x_edges, y_edges)
        return core.sub_(tail).mul_(self.core_share).add_(tail)


def radial_spread(energy: Tensor, tau: Tensor, media: Media) -> RadialSpread:
    """Core and tail at the relative depth ``tau``.

    The constants were fitted to GEANT3 showers of 0.4-400 GeV; sampling corrections are added to the homogeneous values
    of the mean medium.

    Args:
        energy: Of each cascade [GeV], [..., 1].
        tau: Depth in units of the mean depth of its energy, [..., S].
        media: At these depths, [S].
    """
    tau = tau.clamp(max=MAX_TAU)
    log_energy = energy.log()
    Z, per_layer, transition = media.Z, media.layer_depth, media.transition
    core = tau * (0.1162 - 0.000381 * Z) + (0.0251 + 0.00319 * log_energy)
    from_knee = tau - 0.645
    tail = (from_knee * -2.59).exp_().add_((from_knee * (0.3585 + 0.0421 * log_energy)).exp_())
    tail *= 0.659 - 0.00309 * Z
    falling = (0.401 + 0.00187 * Z - tau) / (1.313 - 0.0686 * log_energy).clamp(min=0.3)
    core_share = falling.sub_(falling.exp()).exp_().mul_(2.632 - 0.00094 * Z)
    if bool(per_layer.any()):
        start = (-tau).exp_()
        core += start * (0.0397 * per_layer) - 0.0203 * transition
        tail -= start * (0.495 * per_layer) + 0.14 * transition
        from_peak = tau.sub_(1.0)
        peak = (from_peak * from_peak).neg_().exp_()
        core_share += transition * (0.348 - 0.642 * per_layer * peak)
    return RadialSpread(
        core=core.clamp_(min=MIN_CORE).mul_(media.moliere_radius),
        tail=tail.clamp_(min=MIN_TAIL).mul_(media.moliere_radius),
        core_share=core_share.clamp_(0.0, 1.0),
    )


def cell_shares(radius: Tensor, x_edges: Tensor, y_edges: Tensor) -> Tensor:
    """Integrate the density R^2/(pi (x^2 + y^2 + R^2)^2) over the cells of a grid, exactly.

    With s = sqrt(x^2 + R^2) the primitive function is x/s [arctan(y2/s) - arctan(y1/s)]/(2 pi), plus the same with x
    and y exchanged. The difference of the arctangents is taken at once, as the angle of (s^2 + y1 y2, s (y2 - y1)).

    Args:
        radius: R [cm], [...].
        x_edges: Edges of the cells relative to the axis of the shower, ascending [cm], [n_x + 1, ...].
        y_edges: The same along y, [n_y + 1, ...].

    Returns:
        Shares, [n_x, n_y, ...], from 0 to 1; over an infinite plane they sum to 1.
    """
    squared = radius * radius
    shares = _sides(squared, x_edges, y_edges).diff(dim=0)
    shares += _sides(squared, y_edges, x_edges).diff(dim=0).transpose(0, 1)
    return shares.clamp_(0.0, 1.0)  # far from the axis, the difference of the sides is nothing but rounding


def _sides(squared: Tensor, edges: Tensor, others: Tensor) -> Tensor:
    low, high = others[None, :-1], others[None, 1:]  # [1, m, ...]
    s_squared = (squared + edges * edges)[:, None]  # [n + 1, 1, ...]
    s = s_squared.sqrt()
    angle = s * (high - low)  # [n + 1, m, ...]
    torch.atan2(angle, s_squared + low * high, out=angle)
    return angle.mul_((0.5 / math.pi * edges[:, None]) / s)
