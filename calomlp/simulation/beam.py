"""The particles that enter the calorimeter: energies, kinds, impact points, directions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.detector import LayerGroup
from calomlp.simulation.request import Request, Spectrum


@dataclass(frozen=True)
class Axes:
    """Straight lines along which n particles fly."""

    x: Tensor  # impact point on the front of the calorimeter [cm], [n]
    y: Tensor  # the same, [n]
    theta: Tensor  # angle to the normal of the layers [rad], [n]
    phi: Tensor  # azimuth [rad], [n]

    @property
    def path(self) -> Tensor:
        """Path per depth, 1/cos(theta), [n]."""
        return self.theta.cos().reciprocal()

    def at(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Position at distances from the front [cm], two tensors [n, K] for K distances."""
        radius = self.theta.tan()[:, None] * depth
        return (
            self.x[:, None] + radius * self.phi.cos()[:, None],
            self.y[:, None] + radius * self.phi.sin()[:, None],
        )


@dataclass(frozen=True)
class Beam:
    """n particles of a block."""

    nominal: Tensor  # energy that was asked for [GeV], [n]
    energy: Tensor  # energy of the particle, after the momentum spread [GeV], [n]
    kind: Tensor  # index in the request's list of particles, [n]
    axes: Axes  # where they fly


def draw_beam(request: Request, first: int, n: int, generator: torch.Generator) -> Beam:
    """Draw the particles of the block that starts with event ``first``."""
    nominal = draw_energies(request.spectrum, first, n, generator)
    energy = nominal
    if request.momentum_spread:
        # Within four standard deviations, so that no energy comes near zero.
        shift = draws.normal((n,), generator).clamp_(-4.0, 4.0)
        energy = nominal * (1.0 + request.momentum_spread * shift)
    kind = torch.zeros(n, dtype=torch.long, device=generator.device)
    if len(request.particles) > 1:
        weights = torch.tensor([weight for _, weight in request.particles], dtype=torch.float64)
        steps = (weights.cumsum(0) / weights.sum())[:-1].to(kind.device, torch.float32)
        kind = torch.searchsorted(steps, draws.uniform((n,), generator), right=True)
    return Beam(nominal, energy, kind, _draw_axes(request, n, generator))


def draw_energies(spectrum: Spectrum, first: int, n: int, generator: torch.Generator) -> Tensor:
    """Nominal energies [GeV] of ``n`` events from event ``first`` on, [n]."""
    if spectrum.index is None:
        points = torch.tensor(spectrum.energies, device=generator.device)
        return points[torch.arange(first, first + n, device=generator.device) % len(points)]
    low, high = spectrum.energies
    u = draws.uniform((n,), generator).double()
    power, width = spectrum.index + 1.0, math.log(high / low)  # the integral of E^index is that of exp(power ln E)
    log_energy = torch.log1p(math.expm1(power * width) * u) / power if power else width * u
    return (low * log_energy.exp()).float().clamp_(low, high)


def _draw_axes(request: Request, n: int, generator: torch.Generator) -> Axes:
    impact, (low, high) = request.impact, (math.radians(angle) for angle in request.angle)
    zero = torch.zeros(n, device=generator.device)
    x, y = zero + impact.x, zero + impact.y
    if impact.sigma is None:
        low_edge, size = _central_cell(request.detector.sections[0])
        x, y = (low_edge + size * draws.uniform((n,), generator) for _ in range(2))
    elif impact.sigma:
        x, y = (centre + impact.sigma * draws.normal((n,), generator) for centre in (x, y))
    theta, phi = zero + low, zero
    if high > low:  # isotropic between the two
        cosine = math.cos(high) + (math.cos(low) - math.cos(high)) * draws.uniform((n,), generator)
        theta, phi = cosine.acos(), 2.0 * math.pi * draws.uniform((n,), generator)
    return Axes(x, y, theta, phi)


def _central_cell(section: LayerGroup) -> tuple[float, float]:
    """Lower edge and size [cm] of the cell at the beam; for an even number of cells, the one above it."""
    if section.cells is None:
        return 0.0, 0.0
    return (-0.5 * section.cell_size if section.cells % 2 else 0.0), section.cell_size
