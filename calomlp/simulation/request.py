"""What a simulation run is asked for: detector, particle, energies, number of events, seed, share of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calomlp import __version__
from calomlp.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from calomlp.simulation.detector import Detector

MIN_ENERGY = 0.1
"""Lowest energy [GeV]: below, the shower parametrisations mean nothing."""

RANGE_SHAPES = ("log", "flat")


@dataclass(frozen=True)
class Spectrum:
    """Distribution of the true energy.

    Args:
        shape: ``log`` (flat in ln E), ``flat`` (flat in E) or ``points``: event ``i`` has the energy ``i`` modulo the
            number of points, so that all points get the same number of events.
        energies: Lower and upper edge of a range, or the points [GeV].
    """

    shape: str
    energies: tuple[float, ...]

    def __post_init__(self) -> None:
        for energy in self.energies:
            if not (math.isfinite(energy) and energy >= MIN_ENERGY):
                raise UsageError(f"energy {energy:g} GeV is not legal: finite and at least {MIN_ENERGY} GeV")
        if self.shape in RANGE_SHAPES:
            if len(self.energies) != 2 or not self.energies[0] < self.energies[1]:
                raise UsageError(f"energy range {str(self)!r}: the lower edge must be below the upper edge")
        elif self.shape != "points":
            raise UsageError(f"unknown spectrum {self.shape!r}; {did_you_mean(self.shape, RANGE_SHAPES)}")
        elif not self.energies:
            raise UsageError("a spectrum of points needs at least one energy")

    def __str__(self) -> str:
        return (":" if self.shape in RANGE_SHAPES else ",").join(f"{energy:g}" for energy in self.energies)

    @classmethod
    def parse(cls, text: str, *, shape: str = "log") -> Spectrum:
        """Read ``1:100`` (a range), ``10`` or ``5,10,20`` (points).

        Args:
            text: Energies in GeV.
            shape: Shape of a range, ``log`` or ``flat``; points have none, but the name must be legal.

        Raises:
            UsageError: The text is no spectrum, or its energies are not legal.
        """
        if shape not in RANGE_SHAPES:
            raise UsageError(f"unknown spectrum shape {shape!r}; {did_you_mean(shape, RANGE_SHAPES)}")
        separator = ":" if ":" in text else ","
        try:
            energies = tuple(float(part) for part in text.split(separator))
        except ValueError as error:
            message = f"energies {text!r} are neither a range such as 1:100 nor points such as 10 or 5,10,20 [GeV]"
            raise UsageError(message) from error
        return cls(shape if separator == ":" else "points", energies)


@dataclass(frozen=True)
class Request:
    """A simulation run, or one share of it.

    Args:
        detector: Where.
        particle: ``e-``, ``e+``, and the hadrons that the detector declares.
        spectrum: True energies.
        events: Number of events of the whole run.
        seed: All random numbers follow from it.
        shard: ``(i, n)``: the ``i``-th of ``n`` shares, counted from 0; together they are the run.
    """

    detector: Detector
    particle: str
    spectrum: Spectrum
    events: int
    seed: int
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        legal = self.detector.particles
        if self.particle not in legal:
            where = f"detector {self.detector.name!r}"
            raise UsageError(f"{where} does not simulate {self.particle!r}; {did_you_mean(self.particle, legal)}")
        if self.events < 1:
            raise UsageError(f"number of events {self.events} is not legal: at least 1")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is not legal: at least 0")
        index, count = self.shard
        if not 0 <= index < count:
            raise UsageError(f"shard {index} of {count} is not legal: counted from 0, below the number of shards")
        if count > self.events:
            raise UsageError(f"{count} shards of {self.events} events are not legal: each needs an event")

    @property
    def event_range(self) -> range:
        """Events of this share, counted from 0 in the run."""
        index, count = self.shard
        return range(self.events * index // count, self.events * (index + 1) // count)


def provenance(request: Request) -> dict[str, Any]:
    """Return all that the events depend on, JSON-serialisable and the same whenever it is called."""
    return {
        "version": __version__,
        "detector": request.detector.as_dict(),
        "constants": request.detector.constants(),
        "particle": request.particle,
        "spectrum": {"shape": request.spectrum.shape, "energies_gev": list(request.spectrum.energies)},
        "events": request.events,
        "seed": request.seed,
        "shard": list(request.shard),
    }
