"""What checks are made of: rows with a target and a tolerance, simulated samples, widths and fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calomlp.simulation import Detector, Request, Spectrum, load_detector
from calomlp.simulation.detector import MATERIALS, Plate
from calomlp.simulation.generate import generate
from calomlp.simulation.profile import CascadeProfile, Media, RadialSpread, draw_profile, mean_profile, radial_spread
from calomlp.simulation.request import Impact, parse_particles

Array = NDArray[Any]
POINTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Row:
    """One number of a check: expected within ``tolerance`` of ``target``.

    ``reason`` says why it is known to be off; such a row must fail.
    """

    what: str
    found: float
    target: float
    tolerance: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        return bool(abs(self.found - self.target) <= self.tolerance)


@dataclass(frozen=True)
class Check:
    """One claim of the literature, with the numbers that it is made of."""

    number: int
    claim: str
    source: str
    suite: str
    rows: Callable[[], Iterator[Row]]


CHECKS: list[Check] = []

Rows = Callable[[], Iterator[Row]]


def check(number: int, claim: str, source: str, *, suite: str = "") -> Callable[[Rows], Rows]:
    """Register a function that yields rows as a check, of the fast suite or of a marker's."""

    def register(rows: Rows) -> Rows:
        CHECKS.append(Check(number, claim, source, suite, rows))
        return rows

    return register


# What the checks are made of


def simulate(
    detector: Detector,
    particle: str,
    energies: Sequence[float],
    events: int,
    *,
    hits: bool = False,
    impact: Impact | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Simulate ``events`` of each energy and join the blocks; hits are flat, with the ``event`` that they belong to."""
    request = Request(
        detector,
        parse_particles(particle),
        Spectrum(tuple(energies)),
        events * len(energies),
        seed,
        hits=hits,
        impact=impact or Impact(),
    )
    blocks = list(generate(request))
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name != "hit"}
    if hits:
        columns |= {name: np.concatenate([block["hit"][name] for block in blocks]) for name in blocks[0]["hit"]}
        columns["event"] = np.arange(len(columns["event_id"])).repeat(columns["counts"])
    return columns


def crystal(*changes: str) -> Detector:
    """PbWO4 crystals, infinitely wide and read out without error."""
    detector = load_detector("crystal-ecal", changes)
    sections = [replace(s, cells=None, cell_size=math.inf, readout=type(s.readout)()) for s in detector.sections]
    return replace(detector, sections=tuple(replace(s, response=replace(s.response, c_em=0.0)) for s in sections))


def slices(depth: float, step: float, *changes: str) -> Detector:
    """The same in slices of ``step`` X0."""
    length = 10 * MATERIALS["PbWO4"].radiation_length * step
    return crystal(f"layers.repeat={round(depth / step)}", f"layers.crystal.thickness={length}mm", *changes)


def deep_ahcal(layers: int = 80, *, wide: bool = True, quiet: bool = True) -> Detector:
    """The AHCAL with more layers, without sides, and without what the readout adds."""
    detector = load_detector("ahcal", [f"layers.repeat={layers}"])
    section = detector.sections[0]
    if wide:
        section = replace(section, cells=None, cell_size=math.inf)
    if quiet:  # c_em of the measured 22 % with the photo-electrons inside
        section = replace(section, readout=type(section.readout)(), response=replace(section.response, c_em=0.22))
    return replace(detector, sections=(section,))


def medium(*names: str) -> Media:
    """Equal thicknesses of materials, the last one active."""
    parts = tuple(Plate(name, MATERIALS[name], 1.0, active=name == names[-1]) for name in names)
    section = replace(load_detector("crystal-ecal").sections[0], slices=parts)
    return Media.of([section], torch.device("cpu")).at(0)


@cache
def drawn(energy: float) -> CascadeProfile:
    return draw_profile(torch.full((200_000,), energy), medium("PbWO4"), torch.Generator().manual_seed(1))


def core(values: Array) -> tuple[float, float]:
    """Mean and sigma of the Gaussian core: iterated truncation at 2 sigma, corrected for the tails cut away."""
    mean, sigma = np.median(values), 1.4826 * np.median(np.abs(values - np.median(values)))
    for _ in range(20):
        inside = values[np.abs(values - mean) < 2.0 * sigma]
        mean, sigma = inside.mean(), inside.std() / 0.8796
    return float(mean), float(sigma)


def resolution(energy: Array, true: Array, points: Sequence[float]) -> tuple[Array, Array]:
    """Response and relative width of the core at each point."""
    mean, sigma = np.array([core(energy[true == np.float32(point)]) for point in points]).T
    return mean / np.array(points), sigma / mean


def terms(points: Sequence[float], width: Array, *, noise: bool = False) -> list[float]:
    """Terms a [%], c [%] (and n [GeV]) of the sum in quadrature, by least squares of the relative squares."""
    energy = np.array(points)
    columns = np.stack([1 / energy, np.ones_like(energy), *([energy**-2.0] if noise else [])], axis=1)
    squares = np.linalg.lstsq(columns / width[:, None] ** 2, np.ones_like(energy), rcond=None)[0]
    a, c, *n = np.sign(squares) * np.sqrt(np.abs(squares))
    return [100 * a, 100 * c, *n]


def sums(detector: Detector, particle: str, points: Sequence[float], events: int, **how: Any) -> tuple[Array, Array]:
    """Response and width of the plain sum of layers."""
    columns = simulate(detector, particle, points, events, **how)
    return resolution(columns["layer_energy"].sum(axis=1), columns["true_energy"], points)


def radial(media: Media, energy: float, depth: float = 60.0) -> tuple[RadialSpread, torch.Tensor]:
    """Sideways distribution of the mean shower at many depths, and the share of the energy at each."""
    profile = mean_profile(torch.tensor([energy]), media)
    edges = torch.linspace(0.0, depth, 600)
    share = profile.shares(edges[None])[0]
    tau = 0.5 * (edges[1:] + edges[:-1]) * profile.tau_per_x0
    spread = radial_spread(torch.tensor([energy]), tau, media)
    return spread, share


def line(check: Check, row: Row) -> str:
    """One line of the table."""
    mark = f" **Off:** {row.reason}." if row.reason else ""
    numbers = f"{row.found:.4g} | {row.target:.4g} | {row.tolerance:.2g}"
    return f"| {check.number} | {check.claim} | {row.what} | {numbers} | {check.source}.{mark} |"
