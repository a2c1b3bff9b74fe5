"""Simulated events for benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calomlp.data.sources import Source
from calomlp.run import Run
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.output import write_dataset
from calomlp.simulation.request import Request, Spectrum


@dataclass(frozen=True)
class Beam:
    """What is simulated."""

    detector: str
    particle: str = "e-"
    low: float = 1
    high: float = 100
    hits: bool = False
    shape: str = "log"
    changes: tuple[str, ...] = ()
    points: tuple[float, ...] = ()  # energies instead of a spectrum

    def __str__(self) -> str:
        return f"{self.detector} {self.particle}{', hits' if self.hits else ''}"

    def simulated(self, folder: Path, events: int, seed: int) -> Source:
        """Simulate a data set, unless it is there already, and return it as a source."""
        points = ",".join(f"{energy:.4g}" for energy in self.points)
        text = "-".join(
            map(str, (self.detector, self.particle, self.hits, self.shape, *self.changes, points, events, seed))
        )
        path = folder / f"{text.replace('/', '_')}.root"
        if not path.exists():
            request = Request(
                load_detector(self.detector, self.changes),
                ((self.particle, 1.0),),
                Spectrum.parse(points or f"{self.low}:{self.high}", shape=self.shape),
                events,
                seed,
                hits=self.hits,
            )
            write_dataset(request, path, "ttree", {}, Run())
        return Source(str(path), None, path.name)


ELECTRONS = Beam("siw-ecal")
PIONS = Beam("ahcal", "pi-", 4)
PION_HITS = Beam("ahcal", "pi-", 4, hits=True)
CRYSTAL = Beam("crystal-ecal")
SHASHLIK = Beam("shashlik")
