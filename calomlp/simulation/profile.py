"""Longitudinal profile of electromagnetic cascades: GFlash.

G. Grindhammer and S. Peters, "The parameterized simulation of electromagnetic showers in homogeneous and sampling
calorimeters", hep-ex/0001020. The energy of a cascade follows a gamma distribution in the depth t [X0]::

    dE/dt = E beta (beta t)^(alpha-1) exp(-beta t)/Gamma(alpha),    beta = (alpha - 1)/T

with its maximum at T. T and alpha are log-normal and correlated from cascade to cascade; their means and widths depend
on y = E/Ec, on Z, and in sampling media on the sampling frequency Fs and on e/mip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from calomlp.simulation import draws

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calomlp.simulation.detector import Section

COARSE_SAMPLING = 0.3
"""Below this many layers per X0 the sampling corrections leave their range: the medium counts as homogeneous."""

# The parametrisation ends where ln y does not determine a shape any more, some 60 MeV in lead and 140 MeV in iron.
MIN_LOG_Y = 1.9
MAX_SIGMA = 0.5
MIN_T = 0.5
MIN_ALPHA = 1.1


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
    """What the profile needs to know of media; all tensors have one shape.

    Args:
        critical_energy: Ec [GeV].
        Z: Mass-weighted atomic number.
        layer_depth: 1/Fs [X0], 0 in homogeneous media.
        transition: 1 - e/mip, 0 in homogeneous media.
        fluctuations: Constants of the widths, in a last axis of length 5.
    """

    critical_energy: Tensor
    Z: Tensor
    layer_depth: Tensor
    transition: Tensor
    fluctuations: Tensor

    @classmethod
    def of(cls, sections: Sequence[Section]) -> Media:
        """Media of the sections of a detector, shape [n_sections]."""
        sampling = [section.sampling_frequency for section in sections]
        fine = [COARSE_SAMPLING <= frequency < math.inf for frequency in sampling]
        return cls(
            critical_energy=torch.tensor([section.medium.critical_energy for section in sections]),
            Z=torch.tensor([section.medium.Z for section in sections]),
            layer_depth=torch.tensor([is_fine / frequency for is_fine, frequency in zip(fine, sampling, strict=True)]),
            transition=torch.tensor(
                [is_fine * (1.0 - section.e_over_mip) for is_fine, section in zip(fine, sections, strict=True)]
            ),
            fluctuations=torch.tensor([_SAMPLING if is_fine else _HOMOGENEOUS for is_fine in fine]),
        )

    def at(self, index: Tensor | int) -> Media:
        """Media of the sections with these indices."""
        return Media(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def log_y(self, energy: Tensor) -> Tensor:
        """Ln y, y = energy/Ec, held inside the range of the parametrisation."""
        return (energy / self.critical_energy).log().clamp(min=MIN_LOG_Y)


@dataclass(frozen=True)
class Profile:
    """Shapes of cascades.

    Args:
        T: Depth of the maximum, counted from the start of the cascade [X0].
        alpha: Exponent of the gamma distribution.
    """

    T: Tensor
    alpha: Tensor

    def contained(self, depth: Tensor) -> Tensor:
        """Share of the energy that is deposited before ``depth``.

        Args:
            depth: Counted from the start of the cascade; [..., n_depths] where T and alpha are [...].
        """
        beta = (self.alpha - 1.0) / self.T
        return gamma_share(self.alpha[..., None], beta[..., None], depth)


def gamma_share(alpha: Tensor, beta: Tensor, depth: Tensor) -> Tensor:
    """Share P(alpha, beta depth) of a gamma profile that lies before ``depth``; everything broadcasts."""
    share: Tensor = torch.special.gammainc(alpha, beta * depth)
    return share


def mean_profile(energy: Tensor, media: Media) -> Profile:
    """Shape of the mean of many cascades; ``energy`` and ``media`` broadcast."""
    log_y = media.log_y(energy)
    T = log_y - 0.858 - 0.59 * media.layer_depth - 0.53 * media.transition
    alpha = 0.21 + (0.492 + 2.38 / media.Z) * log_y - 0.444 * media.layer_depth
    return Profile(T.clamp(min=MIN_T), alpha.clamp(min=MIN_ALPHA))


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
    return Profile(
        T=(mean_T * (sigma_T * (common + opposite)).exp()).clamp(min=MIN_T),
        alpha=(mean_alpha * (sigma_alpha * (common - opposite)).exp()).clamp(min=MIN_ALPHA),
    )
