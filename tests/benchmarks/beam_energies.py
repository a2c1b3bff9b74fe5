"""Response and width at energies that no training has seen: `python -m tests.benchmarks.beam_energies > TABLE`."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.showers import Beam
from tests.conftest import fitted, read, together

TRAIN, TEST = 3000, 2000  # events at each energy
RESPONSE, WIDTH = 0.02, 1.03
"""The median response may be further from one by so much than that of the line, and the width so much larger."""

TEN = (5, 7, 10, 14, 20, 28, 40, 50, 60, 80)
BEAMS = (
    Beam("siw-ecal", points=(3, 10, 30)),
    Beam("siw-ecal", points=(2, 5, 10, 25, 60)),
    Beam("siw-ecal", points=(2, 6, 20, 60), hits=True),
    Beam("ahcal", points=(3, 10, 30)),
    Beam("ahcal", "pi-", points=(5, 15, 50)),
    Beam("ahcal", "pi-", points=(5, 15, 50), hits=True),
    Beam("ahcal", "pi-", points=(5, 10, 20, 40, 60), hits=True),
    Beam("ahcal", "pi-", points=TEN),
    Beam("ahcal", "pi-", points=TEN, hits=True),
    Beam("combined", "pi-", points=(5, 15, 50)),
)
QUICK = (BEAMS[0], BEAMS[4])
SLOW = (BEAMS[2], BEAMS[5], BEAMS[7])


@dataclass(frozen=True)
class Point:
    """Median response, and sigma_68 over it, at one energy."""

    energy: float  # in GeV
    known: bool  # whether it was in the training
    events: int
    model: tuple[float, float]
    line: tuple[float, float]

    def failure(self) -> str:
        """Say what is worse than with the line, by more than is allowed and two standard errors; nothing if none is."""
        (response, width), (of_line, line_width) = self.model, self.line
        error = 1.25 * width / math.sqrt(self.events)
        allowed = abs(of_line - 1) + RESPONSE + 2 * error
        if abs(response - 1) > allowed:
            return f"response {response:.3f} at {self.energy:.3g} GeV, that of the line is {of_line:.3f}"
        if width > WIDTH * line_width * (1 + 2 / math.sqrt(self.events)):
            return f"width {width:.4f} at {self.energy:.3g} GeV, that of the line is {line_width:.4f}"
        return ""


def around(energies: tuple[float, ...]) -> tuple[float, ...]:
    """Return these energies, those in the middle between them, and up to an octave beyond."""
    middles = [math.sqrt(low * high) for low, high in pairwise(energies)]
    low, high = energies[0], energies[-1]
    return tuple(sorted([low / 2, low / 2**0.5, *energies, *middles, high * 2**0.5, high * 2]))


def points(beam: Beam, folder: Path, train: int = TRAIN, test: int = TEST) -> list[Point]:
    """Train at the energies of a beam, with settings as they are, and measure there, between and beyond."""
    energies = around(beam.points)
    model = fitted(beam.simulated(folder, train * len(beam.points), 1), TrainingSettings())
    source = replace(beam, points=energies).simulated(folder, test * len(energies), 2)
    events = together(read([source], model.recipe))
    found = model.regressor.estimates(events.features)
    measured = []
    for energy in np.unique(events.true_energy).tolist():
        rows = events.true_energy == energy
        model_, line = (_centre_and_width(values.numpy()[rows] / energy) for values in (found.regressor, found.anchor))
        known = bool(np.isclose(beam.points, energy).any())
        measured.append(Point(energy, known, int(rows.sum()), model_, line))
    return measured


def _centre_and_width(response: NDArray[np.float32]) -> tuple[float, float]:
    low, median, high = np.quantile(response, [0.1587, 0.5, 0.8413]).tolist()
    return median, (high - low) / 2 / median


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| events | training [GeV] | E [GeV] | response | of the line | width [%] | of the line [%] |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for beam in BEAMS:
        for point in points(beam, folder):
            energies = ", ".join(f"{energy:g}" for energy in beam.points)
            mark = "" if point.known else " (unseen)"
            (response, width), (of_line, line_width) = point.model, point.line
            numbers = f"{response:.3f} | {of_line:.3f} | {100 * width:.2f} | {100 * line_width:.2f}"
            yield f"| {beam} | {energies} | {point.energy:.3g}{mark} | {numbers} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for line in table(Path(sys.argv[1]) if sys.argv[1:] else Path(made)):
            print(line, flush=True)
