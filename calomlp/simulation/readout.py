"""Signals of single cells, and measured energies: calibration, photo-statistics, saturation, noise, threshold.

In homogeneous sections the mean energy of every cell is the exact integral of the radial profile, and the energy is
shared between the cells with fluctuations. In sampling sections the signal comes in quanta, as from particles that
cross active layers: their number is Poisson distributed, and each falls somewhere on the radial profile. By the marking
theorem of Poisson processes the number in each cell is then an independent Poisson number whose mean is the exact
integral over the cell, for the price of the quanta instead of that of all cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.deposits import Component, InLayers, Showers, sample, share_sideways
from calomlp.simulation.detector import Detector, LayerGroup
from calomlp.simulation.layers import Layers, Span, spans, steps_per_readout
from calomlp.simulation.profile import mean_profile, radial_spread

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


REFERENCE_ENERGY = 10.0
"""Electron energy [GeV] at which the sharing of a layer's energy between cells is taken."""


@dataclass(frozen=True)
class Channels:
    """Constants of readout channels; they broadcast to the signals, whose first axis is that of the events."""

    calibration: Tensor  # factors around 1, 0 where a channel is dead
    non_uniformity: Tensor  # spread of the response from event to event
    photo_electrons: Tensor  # per GeV; 0 without photo-statistics
    excess_noise: Tensor  # factor of their variance
    pixels: Tensor  # that can fire; infinite without
    assumed_pixels: Tensor  # the number that the correction for saturation takes
    largest: Tensor  # largest signal [GeV]; infinite without a limit
    noise: Tensor  # [GeV]
    coherent_noise: Tensor  # common to the channels of a layer [GeV]
    threshold: Tensor  # [GeV]; minus infinity where all channels are read out

    def respond(self, signal: Tensor, calibration: Tensor, common: Tensor, generator: torch.Generator) -> Tensor:
        """Turn visible energies [GeV] into those before noise.

        Args:
            signal: Visible energies on the electron scale.
            calibration: Of their channels.
            common: Standard normal number of each event.
            generator: Source of the random numbers.
        """
        signal = signal * calibration * (1.0 + self.non_uniformity * common)
        if bool((self.photo_electrons > 0.0).any()):
            per_gev = self.photo_electrons / self.excess_noise
            counted = draws.poisson(signal.clamp(min=0.0) * per_gev, generator) / per_gev.clamp(min=1e-9)
            signal = torch.where(self.photo_electrons > 0.0, counted, signal)
        if bool(self.pixels.isfinite().any()):
            fired = -torch.expm1(-signal * self.photo_electrons / self.pixels) * self.pixels
            share = torch.minimum(fired, self.assumed_pixels - 0.5) / self.assumed_pixels  # one pixel stays in doubt
            corrected = -torch.log1p(-share) * self.assumed_pixels / self.photo_electrons.clamp(min=1e-9)
            signal = torch.where(self.pixels.isfinite(), corrected, signal)
        return torch.minimum(signal, self.largest)


def layer_channels(detector: Detector, layers: Layers) -> Channels:
    """Channels of whole layers, [L], where cells are not simulated.

    Many cells share the energy of a layer: their calibration errors average out, their noise adds up, and neither
    saturation nor a threshold nor a dead cell has a meaning.
    """
    device = layers.kappa.device
    sections = [section for section in detector.sections for _ in range(section.n_readouts)]
    constants = Channels(*torch.tensor([_constants(section) for section in sections], device=device).unbind(dim=1))
    smear = torch.tensor([section.readout.calibration_smear for section in sections], device=device)
    cells = torch.tensor([float(section.readout.summed_cells) for section in sections], device=device)
    generator = torch.Generator().manual_seed(detector.calibration_seed)
    deviates = draws.normal((detector.n_layers,), generator).to(device)
    calibration = 1.0 + smear / effective_cells(detector).to(device).sqrt() * deviates
    alive = _alive(detector).to(device)
    unlimited = torch.full_like(cells, math.inf)
    return replace(
        constants,
        calibration=calibration * alive,
        pixels=unlimited,
        assumed_pixels=unlimited,
        largest=unlimited,
        noise=constants.noise * cells.sqrt() * alive,
        coherent_noise=constants.coherent_noise * cells * alive,
        threshold=-unlimited,
    )


def cell_channels(detector: Detector, all_grids: list[Grid], device: torch.device) -> list[Channels]:
    """Channels of the cells of each section; calibration is [layers, n, n], the other constants are numbers."""
    generator = torch.Generator().manual_seed(detector.calibration_seed)
    alive = _alive(detector)
    channels = []
    for grid in all_grids:
        readout, shape = grid.section.readout, (grid.n_layers, grid.n, grid.n)
        calibration = 1.0 + readout.calibration_smear * draws.normal(shape, generator)
        calibration *= draws.uniform(shape, generator) >= readout.dead_cells
        calibration *= alive[grid.layers, None, None]
        constants = torch.tensor(_constants(grid.section), device=device).unbind()
        channels.append(Channels(calibration.to(device), *constants[1:]))
    return channels


def measure_layers(signal: Tensor, channels: Channels, generator: torch.Generator) -> Tensor:
    """Measure layer energies [GeV], [n, L]; noise makes some of them negative."""
    n, shape = len(signal), tuple(signal.shape)
    measured = channels.respond(signal, channels.calibration, draws.normal((n, 1), generator), generator)
    noise = torch.hypot(channels.noise, channels.coherent_noise)
    return torch.addcmul(measured, draws.normal(shape, generator), noise)


def measure_cells(
    signal: Tensor, channels: Channels, common: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Measure the cells of one section.

    Args:
        signal: Visible energies [GeV], [n, layers, n, n]; overwritten.
        channels: Of the cells.
        common: Standard normal number of each event, [n].
        generator: Source of the random numbers.

    Returns:
        Which cells are read out, [hits, 4], and their energies [GeV], [hits].
    """
    hit = signal.flatten().nonzero().squeeze(1)
    per_event = signal[0].numel()
    calibration = channels.calibration.flatten()[hit % per_event]
    measured = channels.respond(signal.view(-1)[hit], calibration, common[hit // per_event], generator)
    signal.view(-1)[hit] = measured
    if bool(channels.noise > 0.0):
        signal.add_(draws.normal(tuple(signal.shape), generator).mul_(channels.noise))
    if bool(channels.coherent_noise > 0.0):
        signal.add_(draws.normal((*signal.shape[:2], 1, 1), generator).mul_(channels.coherent_noise))
    read = (signal > channels.threshold) & (channels.calibration != 0.0)
    place = read.nonzero()
    return place, signal[read]


def effective_cells(detector: Detector) -> Tensor:
    """Number of cells that share the energy of each layer in a 10 GeV shower, 1/sum of squared shares, [L].

    The shares are the exact integrals of the mean radial profile around the middle of a cell.
    """
    layers = Layers.of(detector)
    energy = torch.tensor([REFERENCE_ENERGY])
    profile = mean_profile(energy, layers.section_media.at(0))
    deposit = profile.shares(layers.x0_edges[None])[0].clamp_(min=1e-30)  # [S]
    middle = 0.5 * (layers.x0_edges[1:] + layers.x0_edges[:-1])
    spread = radial_spread(energy, middle * profile.tau_per_x0, layers.media)  # [S]
    number = []
    for span in spans(detector):
        section = span.section
        if section.cells is None:
            number.append(torch.ones(section.n_readouts))
            continue
        centre = 0.0 if section.cells % 2 else 0.5 * section.cell_size
        half = section.half_width
        edges = torch.linspace(-half, half, section.cells + 1)[:, None] - centre
        shares = spread.at(span.steps).in_cells(edges, edges)  # [n, n, steps]
        layer = ((shares * deposit[span.steps]) @ layers.to_readout[span.steps, span.layers]).flatten(0, 1)
        number.append((layer / layer.sum(dim=0)).square().sum(dim=0).reciprocal())
    return torch.cat(number).clamp_(min=1.0)


def _alive(detector: Detector) -> Tensor:
    alive = torch.ones(detector.n_layers)
    alive[list(detector.dead_layers)] = 0.0
    return alive


def _constants(section: LayerGroup) -> list[float]:
    """Constants of one channel in the order of :class:`Channels`."""
    readout = section.readout
    limit = readout.saturation
    pixels = limit.value if limit and limit.unit == "pixels" else math.inf
    largest = section.energy(limit) if limit and limit.unit != "pixels" else math.inf
    photo_electrons = section.photo_electrons_per_gev
    return [
        1.0,
        readout.non_uniformity,
        photo_electrons if math.isfinite(photo_electrons) else 0.0,
        readout.excess_noise,
        pixels,
        pixels * (1.0 + readout.saturation_error),
        largest,
        section.energy(readout.noise),
        section.energy(readout.coherent_noise),
        section.energy(readout.threshold) if readout.threshold else -math.inf,
    ]
