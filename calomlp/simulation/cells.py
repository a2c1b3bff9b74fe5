"""Signals of single cells, and the hits that are left of them.

In homogeneous sections the mean energy of every cell is the exact integral of the radial profile, and the energy is
shared between the cells with fluctuations. In sampling sections the signal comes in quanta, as from particles that
cross active layers: their number is Poisson distributed, and each falls somewhere on the radial profile. By the marking
theorem of Poisson processes the number in each cell is then an independent Poisson number whose mean is the exact
integral over the cell, for the price of the quanta instead of that of all cells.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.deposits import Component, Showers
from calomlp.simulation.detector import Detector
from calomlp.simulation.layers import Layers, Span, spans, steps_per_readout
from calomlp.simulation.sampling import InLayers, sample, share_sideways

QUANTUM_SPREAD = 0.81
"""Relative variance of the signal of one quantum; it makes quanta of e fluctuate like c^2 = (1 + 0.81) e per energy."""

_QUANTA_AT_ONCE = 2**20


class Grid(Span):
    """The cells of one section, [layers, n, n]."""

    @property
    def n(self) -> int:
        """Cells along x and along y."""
        return self.section.cells or 0

    @property
    def n_layers(self) -> int:
        """Readout layers."""
        return self.section.n_readouts

    @property
    def n_cells(self) -> int:
        """Cells in all layers."""
        return self.n_layers * self.n * self.n

    def edges(self, device: torch.device) -> Tensor:
        """Edges of the cells along x and along y [cm], [n + 1]."""
        half = self.section.half_width
        return torch.linspace(-half, half, self.n + 1, device=device)

    def centre(self, index: Tensor) -> Tensor:
        """Position of the middle of cells along x or y [cm]."""
        return (index + 0.5) * self.section.cell_size - self.section.half_width

    def column(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Number of the cell in its layer at a position [cm], and whether there is one."""
        size, half = self.section.cell_size, self.section.half_width
        ix, iy = (((position + half) / size).floor() for position in (x, y))
        inside = (torch.minimum(ix, iy) >= 0) & (torch.maximum(ix, iy) < self.n)
        return (ix * self.n + iy).long(), inside


def grids(detector: Detector) -> list[Grid]:
    """Cells of all sections."""
    return [Grid(*span) for span in spans(detector)]


def cell_signals(
    showers: Showers, em: InLayers | None, grid: Grid, layers: Layers, generator: torch.Generator
) -> tuple[Tensor, InLayers | None]:
    """Draw the visible energies of the cells of one section.

    Args:
        showers: n events.
        em: Their electromagnetic energy in layers.
        grid: The cells.
        layers: The calorimeter.
        generator: Source of the random numbers.

    Returns:
        Energies on the electron scale [GeV], [n, layers of the section, n_x, n_y], and the electromagnetic energy in
        layers after the sharing between the cells.
    """
    n = len(showers.energy)
    signal = torch.zeros(n, grid.n_cells, device=showers.energy.device)
    if showers.em and em:
        if grid.section.homogeneous:
            cells, em = _shared(showers.em, em, grid, layers, generator)
            signal += cells.view(n, -1)
        else:
            quanta = _Quanta(showers.em, showers.em.energy, grid, layers.em_variance[grid.layers])
            quanta.add_to(signal, generator)
    if showers.hadronic:
        visible = showers.hadronic.energy * showers.visible
        _Quanta(showers.hadronic, visible, grid, layers.hadronic_variance[grid.layers]).add_to(signal, generator)
    if showers.track:
        per_readout = steps_per_readout(grid.section)
        middle = layers.middle[grid.steps][per_readout // 2 :: per_readout]  # [layers]
        x, y = showers.axes.at(middle)
        column, inside = grid.column(x, y)
        cell = torch.arange(grid.n_layers, device=column.device) * grid.n**2 + column.where(inside, 0)
        signal.scatter_add_(1, cell, showers.track.signal[:, grid.layers] * inside)
    return signal.view(n, grid.n_layers, grid.n, grid.n), em


def _shared(
    component: Component, em: InLayers, grid: Grid, layers: Layers, generator: torch.Generator
) -> tuple[Tensor, InLayers]:
    """Share the energy of homogeneous layers between their cells and what is outside."""
    edges = grid.edges(component.energy.device)[:, None, None, None]  # [n + 1, 1, 1, 1]
    in_steps = component.at_steps(grid.steps)
    shares = in_steps.spread.in_cells(edges - in_steps.x, edges - in_steps.y)  # [n_x, n_y, n, k, steps]
    cells = shares.mul_(in_steps.energy).sum(dim=3) @ layers.to_readout[grid.steps, grid.layers]
    if em.scale is not None:
        cells *= em.scale[:, grid.layers]
    cells = cells.flatten(0, 1)  # [cells, n, layers]
    total = (em.inside + em.outside)[:, grid.layers]
    outside = (total - cells.sum(dim=0)).clamp_(min=0.0)
    parts = share_sideways(torch.cat((cells, outside[None])), component.total, layers.spots[grid.layers], generator)
    inside_all, outside_all = em.inside.clone(), em.outside.clone()
    inside_all[:, grid.layers], outside_all[:, grid.layers] = parts[:-1].sum(dim=0), parts[-1]
    signal = sample(parts[:-1], layers.em_variance[grid.layers], generator)
    return signal.permute(1, 2, 0).contiguous(), InLayers(inside_all, outside_all, em.scale)


class _Quanta:
    """Quanta of one component in one section.

    Args:
        component: Whose sideways distribution they follow.
        visible: Mean visible energy in each step, infinitely far to the sides [GeV], [n, k, S].
        grid: The cells.
        variance: Of the sampling, per energy, equal in all layers of the section [GeV], [layers].
    """

    def __init__(self, component: Component, visible: Tensor, grid: Grid, variance: Tensor) -> None:
        self._component = component.at_steps(grid.steps)
        self._visible = visible[..., grid.steps]
        self._grid = grid
        self._energy = variance[0] / (1.0 + QUANTUM_SPREAD)  # of one quantum [GeV]

    def add_to(self, signal: Tensor, generator: torch.Generator) -> None:
        """Draw the quanta and add what they give to the cells, [n, cells]."""
        behind = draws.poisson(self._visible / self._energy, generator).long().flatten().cumsum(0)
        counts = torch.zeros(signal.numel(), device=signal.device)
        total = int(behind[-1])
        for first in range(0, total, _QUANTA_AT_ONCE):
            quantum = torch.arange(first, min(first + _QUANTA_AT_ONCE, total), device=behind.device)
            self._scatter(torch.searchsorted(behind, quantum, right=True), counts, generator)
        hit = counts.nonzero().squeeze(1)
        shape = counts[hit] / QUANTUM_SPREAD
        signal.view(-1)[hit] += draws.gamma(shape, generator) * (QUANTUM_SPREAD * self._energy)

    def _scatter(self, place: Tensor, counts: Tensor, generator: torch.Generator) -> None:
        """Count quanta per cell; ``place`` numbers their event, sub-shower and step."""
        _, k, steps = self._visible.shape
        event, step = place // (k * steps), place % steps
        u = draws.uniform((3, len(place)), generator)
        in_core = u[0] < self._component.spread.core_share.flatten()[place]
        spread = self._component.spread
        radius = torch.where(in_core, spread.core.flatten()[place], spread.tail.flatten()[place])
        # r/R = sqrt(u/(1 - u)) inverts the share within r, r^2/(r^2 + R^2).
        radius *= (u[1] / (1.0 - u[1]).clamp_(min=1e-7)).sqrt_()
        angle = u[2].mul_(2.0 * math.pi)
        shape = self._visible.shape
        x = self._component.x.expand(shape).flatten()[place] + radius * angle.cos()
        y = self._component.y.expand(shape).flatten()[place] + radius * angle.sin()
        column, inside = self._grid.column(x, y)
        layer = step // steps_per_readout(self._grid.section)
        cell = (event * self._grid.n_layers + layer) * self._grid.n**2 + column
        counts += torch.bincount(cell[inside], minlength=len(counts))


class Hits(NamedTuple):
    """Cells that were read out, ordered by event."""

    event: Tensor  # number of the event in its block
    layer: Tensor  # readout layer of the detector
    x: Tensor  # middle of the cell [cm]
    y: Tensor  # the same
    energy: Tensor  # measured, on the electron scale [GeV]

    @classmethod
    def join(cls, parts: list[Hits]) -> Hits:
        """Join hits and order them by event."""
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        order = columns[0].argsort(stable=True)
        return cls(*(column[order] for column in columns))
