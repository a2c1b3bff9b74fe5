"""What the tests of the simulation share: samples, detectors without readout effects, media."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from calomlp.simulation import Detector, Request, Spectrum, load_detector
from calomlp.simulation.detector import MATERIALS, Plate, Readout
from calomlp.simulation.generate import generate
from calomlp.simulation.profile import Media, RadialSpread
from calomlp.simulation.request import parse_particles
from calomlp.units import Quantity

if TYPE_CHECKING:
    from calomlp.simulation.detector import LayerGroup

Array = NDArray[Any]
Columns = dict[str, Any]

PARTS = ("em_energy", "hadronic_energy", "invisible_energy", "rear_leakage", "lateral_leakage")


def request(detector: Detector | str, particles: str, energies: str, n: int, *, seed: int = 1, **how: Any) -> Request:
    detector = load_detector(detector) if isinstance(detector, str) else detector
    return Request(detector, parse_particles(particles), Spectrum.parse(energies), n, seed, **how)


def columns_of(wanted: Request) -> Columns:
    """Events of all blocks; hits as flat arrays ``hit_*``, with ``hit_event``, the row that each belongs to."""
    return join(list(generate(wanted)))


def join(blocks: list[Columns]) -> Columns:
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name != "hit"}
    if "hit" in blocks[0]:
        columns |= {f"hit_{name}": np.concatenate([b["hit"][name] for b in blocks]) for name in blocks[0]["hit"]}
        columns["hit_event"] = np.arange(len(columns["event_id"])).repeat(columns["hit_counts"])
    return columns


def simulate(detector: Detector | str, particles: str, energies: str, n: int, **how: Any) -> Columns:
    return columns_of(request(detector, particles, energies, n, **how))


def with_readout(detector: Detector | str, **readout: Any) -> Detector:
    """A detector whose readout does nothing but what is said."""
    detector = load_detector(detector) if isinstance(detector, str) else detector
    return replace(detector, sections=tuple(replace(s, readout=Readout(**readout)) for s in detector.sections))


def perfect(detector: Detector | str) -> Detector:
    """A detector that reads out every visible energy as it is."""
    return with_readout(detector, threshold=Quantity(1e-12, "GeV"))


def only(detector: Detector, **changes: Any) -> Detector:
    """The first group of layers, changed."""
    return replace(detector, sections=(replace(detector.sections[0], **changes),))


def wide(detector: Detector) -> Detector:
    """The same detector without sides."""
    sections = tuple(replace(section, cells=None, cell_size=math.inf) for section in detector.sections)
    return replace(detector, sections=sections)


def media_of(*sections: LayerGroup) -> Media:
    return Media.of(sections, torch.device("cpu"))


def medium(*names: str) -> Media:
    """Media of equal thicknesses of materials, the last one active."""
    parts = tuple(Plate(name, MATERIALS[name], 1.0, active=name == names[-1]) for name in names)
    return media_of(replace(load_detector("crystal-ecal").sections[0], slices=parts)).at(0)


def contained(spread: RadialSpread, radius: torch.Tensor | float) -> torch.Tensor:
    """Share of the energy within a radius [cm]; everything broadcasts."""
    square = torch.as_tensor(radius) ** 2
    core, tail = (square / (square + r.square()) for r in (spread.core, spread.tail))
    return tail + spread.core_share * (core - tail)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(left: Columns, right: Columns) -> None:
    assert list(left) == list(right)
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


def pull(a: Array, b: Array) -> float:
    """Difference of two means in units of its error."""
    a, b = a.astype(float), b.astype(float)
    return float((a.mean() - b.mean()) / math.sqrt(a.var() / len(a) + b.var() / len(b)))
