"""At energies that it has not seen, a model is not worse than the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.beam_energies import BEAMS, points
from tests.benchmarks.showers import Beam

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("beam", BEAMS, ids=lambda beam: f"{beam} {beam.points}")
def test_no_energy_is_worse_than_with_the_line(events_folder: Path, beam: Beam) -> None:
    measured = points(beam, events_folder)
    for point in measured:
        (response, width), (of_line, line_width) = point.model, point.line
        print(f"\n{point.energy:8.3g} GeV {response:.3f} ({of_line:.3f}) {width:.4f} ({line_width:.4f})", end="")
    assert [failure for point in measured if not point.known and (failure := point.failure())] == []
