"""From visible to measured energies: calibration, photo-statistics, saturation, noise, threshold, in this order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.cells import Grid
from calomlp.simulation.detector import Detector, Section
from calomlp.simulation.layers import Layers, spans
from calomlp.simulation.profile import mean_profile
from calomlp.simulation.radial import radial_spread

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
    sections, device = detector.sections, layers.kappa.device
    count = torch.tensor([section.n_readouts for section in sections], device=device)
    smear = torch.tensor([section.readout.calibration_smear for section in sections], device=device)
    constants = Channels(*torch.stack([torch.tensor(_constants(section)) for section in sections], dim=1).to(device))
    cells = torch.tensor([float(section.readout.summed_cells) for section in sections], device=device)
    wide = Channels(*(values.repeat_interleave(count) for values in vars(constants).values()))
    cells, smear = cells.repeat_interleave(count), smear.repeat_interleave(count)
    generator = torch.Generator().manual_seed(detector.calibration_seed)
    deviates = draws.normal((detector.n_layers,), generator).to(device)
    calibration = 1.0 + smear / effective_cells(detector).to(device).sqrt() * deviates
    alive = _alive(detector).to(device)
    unlimited = torch.full_like(cells, math.inf)
    return Channels(
        calibration * alive,
        wide.non_uniformity,
        wide.photo_electrons,
        wide.excess_noise,
        unlimited,
        unlimited,
        unlimited,
        wide.noise * cells.sqrt() * alive,
        wide.coherent_noise * cells * alive,
        -unlimited,
    )


def cell_channels(detector: Detector, all_grids: list[Grid], device: torch.device) -> list[Channels]:
    """Channels of the cells of each section; calibration is [layers, n, n], the other constants are numbers."""
    generator = torch.Generator().manual_seed(detector.calibration_seed)
    alive = _alive(detector)
    found = []
    for grid in all_grids:
        readout, shape = grid.section.readout, (grid.n_layers, grid.n, grid.n)
        calibration = 1.0 + readout.calibration_smear * draws.normal(shape, generator)
        calibration *= draws.uniform(shape, generator) >= readout.dead_cells
        calibration *= alive[grid.layers, None, None]
        constants = torch.tensor(_constants(grid.section), device=device).unbind()
        found.append(Channels(calibration.to(device), *constants[1:]))
    return found


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


def _constants(section: Section) -> list[float]:
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
