"""Request of a simulation: detector, particles, energies, impact points, number of events, seed, share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from calomlp import __version__
from calomlp.errors import UsageError, did_you_mean
from calomlp.simulation.detector import HADRONS, Detector

BLOCK = 2048
"""Events per block, each of which has random numbers of its own."""

MIN_ENERGY, MAX_ENERGY = 0.1, 1e4
"""Range of energies [GeV] in which Geant4 trusts the shower parametrisation; outside it means nothing."""

MAX_EVENTS = 2**32 * BLOCK
"""Most events of a run: there are no more different random numbers for blocks."""

MAX_CELLS_WITHOUT_THRESHOLD = 10_000
"""More cells than that are not written for every event, signal or not."""

MAX_ANGLE = 60.0
"""Largest angle to the normal of the layers [degrees]; beyond, a shower is not wide any more but cut by the sides."""

MAX_DISTANCE = 1e4
"""Farthest impact point from the centre, and widest beam [cm]."""

MAX_INDEX = 10.0
"""Steepest power law of a spectrum; beyond, all events are at one of its edges."""

MAX_WEIGHT = 1e6
"""Largest weight of a particle in a mixture, and the inverse of the smallest."""

MIN_SAMPLING = 0.01
"""Smallest sampling constant with hits [sqrt(GeV)]: the number of quanta grows with the inverse of its square."""

SHAPES = {"log": -1.0, "flat": 0.0}
"""Named spectra of a range, as exponents of dN/dE ~ E^index."""


@dataclass(frozen=True)
class Spectrum:
    """Distribution of the nominal energy.

    Args:
        energies: Lower and upper edge of a range, or points [GeV]; event ``i`` has the point ``i`` modulo their number,
            so that all points get the same number of events.
        index: Exponent of dN/dE ~ E^index in a range; None for points.
    """

    energies: tuple[float, ...]
    index: float | None = None

    def __post_init__(self) -> None:
        for energy in self.energies:
            if not MIN_ENERGY <= energy <= MAX_ENERGY:
                legal = f"from {MIN_ENERGY:g} GeV to {MAX_ENERGY / 1e3:g} TeV"
                raise UsageError(f"energy {energy:g} GeV is not legal: {legal}, where showers are parametrised")
        if self.index is not None and not (len(self.energies) == 2 and self.energies[0] < self.energies[1]):
            raise UsageError(f"energy range {str(self)!r}: the lower edge must be below the upper edge")
        if self.index is not None and not abs(self.index) <= MAX_INDEX:
            raise UsageError(f"spectrum E^{self.index:g} is not legal: from E^{-MAX_INDEX:g} to E^{MAX_INDEX:g}")

    def __str__(self) -> str:
        return ("," if self.index is None else ":").join(f"{energy:g}" for energy in self.energies)

    @classmethod
    def parse(cls, text: str, *, shape: str = "log") -> Spectrum:
        """Read ``1:100`` (a range), ``10`` or ``5,10,20`` (points).

        Args:
            text: Energies in GeV.
            shape: Of a range: ``log`` (flat in ln E), ``flat`` (flat in E) or ``E^-2``; points have none, but it must
                be legal.

        Raises:
            UsageError: The text is no spectrum, or its energies are not legal.
        """
        power = re.fullmatch(r"E\^([-+]?[0-9.]+)", shape)
        try:
            index = float(power[1]) if power else SHAPES[shape]
        except (KeyError, ValueError):
            message = f"unknown spectrum shape {shape!r}; {did_you_mean(shape, SHAPES)}, or a power law such as E^-2"
            raise UsageError(message) from None
        separator = ":" if ":" in text else ","
        try:
            energies = tuple(float(part) for part in text.split(separator))
        except ValueError as error:
            message = f"energies {text!r} are neither a range such as 1:100 nor points such as 10 or 5,10,20 [GeV]"
            raise UsageError(message) from error
        return cls(energies, index if separator == ":" else None)


@dataclass(frozen=True)
class Impact:
    """Distribution of the impact point on the front of the calorimeter.

    Args:
        x: Mean position [cm].
        y: The same.
        sigma: Width of the beam in x and in y [cm]; 0 is a point, None is uniform over the central cell.
    """

    x: float = 0.0
    y: float = 0.0
    sigma: float | None = None

    @classmethod
    def parse(cls, text: str) -> Impact:
        """Read ``cell``, ``x,y`` or ``x,y,sigma`` [cm].

        Raises:
            UsageError: The text is none of these.
        """
        if text == "cell":
            return cls()
        try:
            x, y, sigma, *rest = [*(float(part) for part in text.split(",")), 0.0]
        except ValueError:
            rest = [math.nan]
        if rest not in ([], [0.0]) or not (max(abs(x), abs(y)) <= MAX_DISTANCE and 0.0 <= sigma <= MAX_DISTANCE):
            legal = "cell, a point x,y or a Gaussian beam x,y,sigma [cm]"
            raise UsageError(f"impact {text!r} is not legal: {legal}, at most {MAX_DISTANCE / 100:g} m away")
        return cls(x, y, sigma)


def parse_angle(text: str) -> tuple[float, float]:
    """Read an angle to the normal of the layers, ``10``, or a range ``0:20`` [degrees].

    Raises:
        UsageError: The text is neither, or beyond what can be simulated.
    """
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    low, high = (numbers * 2)[:2] if len(numbers) in (1, 2) else (math.nan, math.nan)
    if not 0.0 <= low <= high <= MAX_ANGLE:
        raise UsageError(f"angle {text!r} is not legal: 10 or a range 0:20, from 0 to {MAX_ANGLE:g} degrees")
    return low, high


def parse_particles(text: str) -> tuple[tuple[str, float], ...]:
    """Read a particle, ``e-``, or a mixture with weights, ``e-:1,pi-:3``.

    Raises:
        UsageError: A weight is not a number above zero, or a particle is named twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            value = math.nan
        if not 1.0 / MAX_WEIGHT <= value <= MAX_WEIGHT:
            legal = f"from {1.0 / MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            raise UsageError(f"particles {text!r}: {weight!r} is not a weight {legal}; write e-:1,pi-:3")
        if name in shares:
            raise UsageError(f"particles {text!r}: {name!r} is named twice")
        shares[name] = value
    return tuple(shares.items())


@dataclass(frozen=True)
class Request:
    """A simulation run, or one share of it.

    Args:
        detector: Where.
        particles: Names with their weights, of those that the detector can simulate.
        spectrum: Nominal energies; kinetic for protons.
        events: Number of events of the whole run.
        seed: All random numbers follow from it.
        shard: ``(i, n)``: the ``i``-th of ``n`` shares, counted from 0; together they are the run.
        hits: Whether single cells are simulated.
        momentum_spread: Relative spread of the particles' energy around the nominal one.
        impact: Where the particles hit the front.
        angle: Smallest and largest angle to the normal of the layers [degrees]. A single angle tilts the calorimeter in
            x, a range is filled isotropically.
    """

    detector: Detector
    particles: tuple[tuple[str, float], ...]
    spectrum: Spectrum
    events: int
    seed: int
    shard: tuple[int, int] = (0, 1)
    hits: bool = False
    momentum_spread: float = 0.0
    impact: Impact = Impact()
    angle: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        legal = self.detector.particles
        for particle, _ in self.particles:
            if particle not in legal:
                where = f"detector {self.detector.name!r}"
                hint = f"; for hadrons give c_had and e_over_h in {where}" if particle in HADRONS else ""
                raise UsageError(f"{where} does not simulate {particle!r}; {did_you_mean(particle, legal)}{hint}")
        if not 1 <= self.events <= MAX_EVENTS:
            raise UsageError(f"number of events {self.events} is not legal: from 1 to {MAX_EVENTS:.1e}")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is not legal: at least 0")
        index, count = self.shard
        if not 0 <= index < count:
            raise UsageError(f"shard {index} of {count} is not legal: counted from 0, below the number of shards")
        if count > self.events:
            raise UsageError(f"{count} shards of {self.events} events are not legal: each needs an event")
        if not 0.0 <= self.momentum_spread <= 0.2:
            raise UsageError(f"momentum spread {self.momentum_spread:g} is not legal: from 0 to 0.2")
        if self.hits:
            self._check_cells()

    def _check_cells(self) -> None:
        sections = self.detector.sections
        for section in sections:
            where = f"detector {self.detector.name!r}: layers {section.name!r}"
            if section.cells is None:
                raise UsageError(f"{where} have no cells, without which there are no hits; give cells and cell_size")
            sampled = {"c_em": None if section.homogeneous else section.c_em, "c_had": section.c_had or None}
            for name, value in sampled.items():
                if value is not None and value < MIN_SAMPLING:
                    raise UsageError(f"{where}: with hits, {name} = {value:g} is not legal: at least {MIN_SAMPLING:g}")
        all_read = sum(s.n_readouts * (s.cells or 0) ** 2 for s in sections if not s.readout.threshold)
        if all_read > MAX_CELLS_WITHOUT_THRESHOLD:
            where = f"detector {self.detector.name!r}: readout: threshold"
            raise UsageError(f"{where} is missing: each event would have {all_read} hits; give it in MIP or GeV")

    @property
    def event_range(self) -> range:
        """Events of this share, counted from 0 in the run."""
        index, count = self.shard
        return range(self.events * index // count, self.events * (index + 1) // count)

    @property
    def blocks(self) -> range:
        """Blocks that hold the events of this share."""
        return range(self.event_range.start // BLOCK, -(-self.event_range.stop // BLOCK))


def provenance(request: Request) -> dict[str, Any]:
    """Return all that the events depend on, JSON-serialisable and the same whenever it is called."""
    impact = request.impact
    return {
        "version": __version__,
        "detector": request.detector.as_dict(),
        "constants": request.detector.constants(),
        "particles": dict(request.particles),
        "spectrum": {"index": request.spectrum.index, "energies_gev": list(request.spectrum.energies)},
        "momentum_spread": request.momentum_spread,
        "impact_cm": "cell" if impact.sigma is None else [impact.x, impact.y, impact.sigma],
        "angle_degrees": list(request.angle),
        "hits": request.hits,
        "events": request.events,
        "seed": request.seed,
        "shard": list(request.shard),
    }
