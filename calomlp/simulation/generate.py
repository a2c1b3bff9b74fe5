"""Events in blocks.

Events are simulated in whole blocks of :data:`BLOCK`, each from a generator of its own, and cut to what is asked for:
an event depends on the seed and on its index, never on the number of events, shares or threads.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.electromagnetic import electrons
from calomlp.simulation.hadronic import pions
from calomlp.simulation.layers import Layers
from calomlp.simulation.readout import draw_calibration, read_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calomlp.simulation.deposits import Deposits
    from calomlp.simulation.request import Request, Spectrum
from calomlp.threads import threads

BLOCK = 4096
"""Events per block."""

PDG_ID = {"e-": 11, "e+": -11, "pi-": -211, "pi+": 211}

Columns = dict[str, np.ndarray[Any, np.dtype[Any]]]


def generate(request: Request) -> Iterator[Columns]:
    """Simulate the events of a request, block by block.

    Yields:
        Columns of up to :data:`BLOCK` consecutive events: ``event_id`` (int64, index in the run), ``pdg_id`` (int32),
        ``true_energy`` [GeV], ``layer_energy`` [n, n_layers] (GeV on the electron scale), and the truth of
        :class:`~calomlp.simulation.deposits.Deposits` under ``true_*``; float32 unless noted.
    """
    detector = request.detector
    layers = Layers.of(detector)
    calibration = draw_calibration(
        detector.readout, detector.n_layers, calibration_generator(detector.readout.calibration_seed)
    )
    events = request.event_range
    for block in range(events.start // BLOCK, -(-events.stop // BLOCK)):
        first = block * BLOCK
        wanted = slice(max(events.start - first, 0), events.stop - first)
        with threads(1):
            columns = _simulate_block(request, layers, calibration, block)
        yield {name: values[wanted] for name, values in columns.items()}


def calibration_generator(seed: int) -> torch.Generator:
    """Return the generator of what is fixed for a detector, whatever run it is in."""
    state = np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))


def block_generator(seed: int, block: int) -> torch.Generator:
    """Return the generator of one block.

    PyTorch's generator on the CPU keeps 32 bits of its seed. Blocks are counted from an origin that depends on ``seed``
    and the bits are mixed without loss (the finaliser of MurmurHash3), so that no two blocks of a run share a seed.
    """
    origin = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
    bits = (origin + block) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits = ((bits ^ bits >> shift) * factor) & 0xFFFFFFFF
    return torch.Generator().manual_seed(bits)


def draw_energies(spectrum: Spectrum, first: int, generator: torch.Generator) -> Tensor:
    """True energies [GeV] of the block that starts with event ``first``, [BLOCK]."""
    if spectrum.shape == "points":
        points = torch.tensor(spectrum.energies)
        return points[torch.arange(first, first + BLOCK) % len(points)]
    low, high = spectrum.energies
    u = draws.uniform((BLOCK,), generator)
    energies = low * (high / low) ** u if spectrum.shape == "log" else low + (high - low) * u
    return energies.clamp_(low, high)


@torch.no_grad()
def _simulate_block(request: Request, layers: Layers, calibration: Tensor, block: int) -> Columns:
    first = block * BLOCK
    generator = block_generator(request.seed, block)
    energy = draw_energies(request.spectrum, first, generator)  # [BLOCK]
    deposits = _shower(request, layers, energy, generator)
    measured = read_out(deposits.signal, layers, request.detector.readout, calibration, generator)  # [BLOCK, L]
    truth = {field.name: getattr(deposits, field.name) for field in fields(deposits) if field.name != "signal"}
    return {
        "event_id": np.arange(first, first + BLOCK, dtype=np.int64),
        "pdg_id": np.full(BLOCK, PDG_ID[request.particle], dtype=np.int32),
        "true_energy": energy.numpy(),
        "layer_energy": measured.numpy(),
        **{f"true_{name}": values.numpy() for name, values in truth.items()},
    }


def _shower(request: Request, layers: Layers, energy: Tensor, generator: torch.Generator) -> Deposits:
    detector = request.detector
    if detector.hadrons and request.particle in detector.hadrons.particles:
        return pions(layers, detector.readout, detector.hadrons, energy, generator)
    return electrons(layers, detector.readout, energy, generator)
