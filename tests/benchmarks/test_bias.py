"""The response after trainings on three spectra, with the settings as they are: the same, and one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from calomlp.model.spread import Spread
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.showers import ELECTRONS, PIONS, Beam
from tests.conftest import evaluated, fitted

pytestmark = pytest.mark.benchmark

EVENTS = 300_000
LIMIT = 0.005
SIGMAS = 3  # nearer to an edge of the training range it acts as a prior


@pytest.mark.parametrize("beam", [ELECTRONS, PIONS], ids=str)
@pytest.mark.parametrize("shape", ["flat", "log", "E^-2"])
def test_the_response_is_one(tmp_path: Path, beam: Beam, shape: str) -> None:
    model = fitted(replace(beam, shape=shape).simulated(tmp_path, EVENTS, 1), TrainingSettings())
    test = beam.simulated(tmp_path, EVENTS, 9)
    report = evaluated(model, [test])
    spread = Spread(**model.summary["anchor_spread"])
    low, high = (end + side * SIGMAS * spread.variance(end) ** 0.5 for end, side in ((beam.low, 1), (beam.high, -1)))
    inner = [bin_ for bin_ in report.curves[0].bins if bin_.energy_low > low and bin_.energy_high < high]
    deviations = {bin_.energy: bin_.estimates["core_mean"].value - 1 for bin_ in inner}
    worst = max(deviations, key=lambda energy: abs(deviations[energy]))
    print(f"\n{beam} {shape}: {100 * deviations[worst]:+.2f} % at {worst:.1f} GeV", end="")
    assert abs(deviations[worst]) < LIMIT
