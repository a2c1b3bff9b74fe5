"""Events in blocks.

Events are simulated in whole blocks, each from a generator of its own, and cut to what is asked for: an event depends
on the seed and on its index, never on the number of events, shares, processes or threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calomlp.compute import flushed_denormals, threads
from calomlp.simulation import draws
from calomlp.simulation.beam import Axes, draw_beam
from calomlp.simulation.deposits import (
    PION,
    PROTON,
    Balance,
    Showers,
    balance,
    electrons,
    em_in_layers,
    hadrons,
    muons,
    photons,
    sample_layers,
    take,
)
from calomlp.simulation.layers import NODE_DISTANCE, Layers
from calomlp.simulation.readout import (
    Channels,
    Grid,
    Hits,
    cell_channels,
    cell_signals,
    grids,
    layer_channels,
    measure_cells,
    measure_layers,
)
from calomlp.simulation.request import BLOCK, Request

EVENTS_AT_ONCE = 128
"""Events whose cells are in memory together."""
CELLS_AT_ONCE = 2**24
"""Most cells in all steps of a section in memory together, in fewer events where there are many."""

PDG_ID = {"e-": 11, "e+": -11, "gamma": 22, "mu-": 13, "mu+": -13, "pi-": -211, "pi+": 211, "p": 2212}

Columns = dict[str, Any]
"""Arrays by branch name; with hits ``hit``, a dictionary of flat arrays and of ``counts``, their number by event."""


class Simulation:
    """A detector that is ready for blocks of events.

    Args:
        request: What to simulate.
        device: Where to compute; the random numbers of devices differ, their distributions do not.
    """

    def __init__(self, request: Request, device: str = "cpu") -> None:
        self._request = request
        self._device = torch.device(device)
        distance = 1 if request.hits else NODE_DISTANCE
        self._layers = Layers.of(request.detector, self._device, node_distance=distance)
        self._grids: list[Grid] = []
        self._cells: list[Channels] = []
        if request.hits:
            self._grids = grids(request.detector)
            self._cells = cell_channels(request.detector, self._grids, self._device)
        else:
            self._channels = layer_channels(request.detector, self._layers)

    @torch.no_grad()
    def block(self, number: int) -> Columns:
        """Simulate one block and keep the events that the request asks for.

        Returns:
            Columns of consecutive events: ``event_id`` (int64, index in the run), ``pdg_id`` (int32),
            ``true_energy`` [GeV], ``layer_energy`` [n, n_layers] (GeV on the electron scale), the truth of
            :class:`~calomlp.simulation.deposits.Showers` and :class:`~calomlp.simulation.deposits.Balance` under
            ``true_*``, with a momentum spread ``true_nominal_energy``; float32 unless noted. With hits also ``hit``.
        """
        first = number * BLOCK
        with threads(1), flushed_denormals():
            columns = self._simulate(first, block_generator(self._request.seed, number, self._device))
        events = self._request.event_range
        wanted = slice(max(events.start - first, 0), events.stop - first)
        return {name: (_cut(values, wanted) if name == "hit" else values[wanted]) for name, values in columns.items()}

    def _simulate(self, first: int, generator: torch.Generator) -> Columns:
        request = self._request
        beam = draw_beam(request, first, BLOCK, generator)
        names = [name for name, _ in request.particles]
        columns: Columns = {
            "event_id": np.arange(first, first + BLOCK, dtype=np.int64),
            "pdg_id": np.array([PDG_ID[name] for name in names], dtype=np.int32)[beam.kind.cpu().numpy()],
            "true_energy": beam.energy.cpu().numpy(),
        }
        if request.momentum_spread:
            columns["true_nominal_energy"] = beam.nominal.cpu().numpy()
        parts, hits = [], []
        for kind, name in enumerate(names):
            index = (beam.kind == kind).nonzero().squeeze(1)
            if len(index):
                showers = shower(name, self._layers, take(beam.axes, index), beam.energy[index], generator)
                part, measured = self._measure(showers, generator)
                parts.append((index, part))
                hits += [Hits(index[hit.event], *hit[1:]) for hit in measured]
        order = torch.cat([index for index, _ in parts]).argsort()
        for name in parts[0][1]:
            columns[name] = torch.cat([part[name] for _, part in parts])[order].cpu().numpy()
        if request.hits:
            columns["hit"] = _jagged(Hits.join(hits))
        return columns

    def _measure(self, showers: Showers, generator: torch.Generator) -> tuple[dict[str, Tensor], list[Hits]]:
        """Read out showers: columns of tensors, and hits where they are asked for."""
        hits: list[Hits] = []
        if self._grids:
            energy, leak, hits = self._measure_cells(showers, generator)
        else:
            signal, leak = sample_layers(showers, self._layers, generator)
            energy = measure_layers(signal, self._channels, generator)
        truth = leak._asdict()
        truth |= {name: getattr(showers, name) for name in ("em_fraction", "vertex_depth", "shower_max")}
        truth |= {name: getattr(showers.axes, name) for name in ("x", "y", "theta", "phi")}
        return {"layer_energy": energy, **{f"true_{name}": values for name, values in truth.items()}}, hits

    def _measure_cells(self, showers: Showers, generator: torch.Generator) -> tuple[Tensor, Balance, list[Hits]]:
        layers, device = self._layers, showers.energy.device
        energy = torch.zeros(len(showers.energy), self._request.detector.n_layers, device=device)
        balances, hits = [], []
        cells = max(grid.n**2 * (grid.steps.stop - grid.steps.start) for grid in self._grids)
        at_once = max(1, min(EVENTS_AT_ONCE, CELLS_AT_ONCE // cells))
        for first in range(0, len(energy), at_once):
            few = take(showers, slice(first, first + at_once))
            em = em_in_layers(few.em, layers, generator) if few.em else None
            common = draws.normal((len(few.energy),), generator)
            for grid, channels in zip(self._grids, self._cells, strict=True):
                signal, em = cell_signals(few, em, grid, layers, generator)
                place, measured = measure_cells(signal, channels, common, generator)
                event, layer, ix, iy = place.unbind(dim=1)
                hit = Hits(first + event, grid.layers.start + layer, grid.centre(ix), grid.centre(iy), measured)
                energy.index_put_((hit.event, hit.layer), measured, accumulate=True)
                hits.append(hit)
            balances.append(balance(few, em, layers))
        return energy, Balance(*map(torch.cat, zip(*balances, strict=True))), hits


def generate(request: Request, device: str = "cpu") -> Iterator[Columns]:
    """Simulate the events of a request, block by block; see :meth:`Simulation.block`."""
    simulation = Simulation(request, device)
    for number in request.blocks:
        yield simulation.block(number)


def shower(name: str, layers: Layers, axes: Axes, energy: Tensor, generator: torch.Generator) -> Showers:
    """Simulate the showers of one kind of particle."""
    if name in ("e-", "e+"):
        return electrons(layers, axes, energy, generator)
    if name == "gamma":
        return photons(layers, axes, energy, generator)
    if name in ("mu-", "mu+"):
        return muons(layers, axes, energy, generator)
    return hadrons(layers, axes, energy, PROTON if name == "p" else PION, generator)


def block_generator(seed: int, block: int, device: torch.device) -> torch.Generator:
    """Return the generator of one block.

    PyTorch's generator on the CPU keeps 32 bits of its seed. Blocks are counted from an origin that depends on ``seed``
    and the bits are mixed without loss (the finaliser of MurmurHash3), so that no two blocks of a run share a seed.
    """
    origin = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
    bits = (origin + block) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits = ((bits ^ bits >> shift) * factor) & 0xFFFFFFFF
    return torch.Generator(device).manual_seed(bits)


def _jagged(hits: Hits) -> Columns:
    """Hits of a whole block as arrays."""
    event, layer, x, y, energy = (column.cpu().numpy() for column in hits)
    return {
        "counts": np.bincount(event, minlength=BLOCK),
        "energy": energy,
        "layer": layer.astype(np.int16),
        "x": x,
        "y": y,
    }


def _cut(hits: Columns, wanted: slice) -> Columns:
    """Keep the hits of some events."""
    behind = np.concatenate(([0], hits["counts"].cumsum()))
    first, last, _ = wanted.indices(len(hits["counts"]))
    flat = slice(behind[first], behind[last])
    return {name: values[wanted] if name == "counts" else values[flat] for name, values in hits.items()}
