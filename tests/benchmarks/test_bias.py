"""The response after trainings on three spectra, with the settings as they are: the same, and one."""

from __future__ import annotations

from pathlib import Path

import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import evaluate
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress
from calomlp.simulation.dataset import write_dataset
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.request import Request, Spectrum
from calomlp.training.settings import TrainingSettings
from tests.conftest import fitted

pytestmark = pytest.mark.benchmark

EVENTS = 300_000
LIMIT = 0.005
SPARSE = 2.0  # GeV; a flat spectrum up to 100 GeV has one event in a hundred below


def simulated(path: Path, detector: str, particle: str, energies: str, shape: str, seed: int) -> Source:
    spectrum = Spectrum.parse(energies, shape=shape)
    request = Request(load_detector(detector), ((particle, 1.0),), spectrum, EVENTS, seed)
    write_dataset(request, path, "ttree", {}, progress=Progress(), interrupt=Interrupt())
    return Source(str(path), None, path.name)


@pytest.mark.parametrize(("detector", "particle", "energies"), [("siw-ecal", "e-", "1:100"), ("ahcal", "pi-", "4:100")])
@pytest.mark.parametrize("shape", ["flat", "log", "E^-2"])
def test_the_response_is_one(tmp_path: Path, detector: str, particle: str, energies: str, shape: str) -> None:
    model = fitted(simulated(tmp_path / "train.root", detector, particle, energies, shape, 1), TrainingSettings())
    test = simulated(tmp_path / "test.root", detector, particle, energies, "log", 9)
    report = evaluate(
        model, [test], use_all=False, skip_bad_files=False, seed=1, progress=Progress(), interrupt=Interrupt()
    )
    inner = [bin_ for bin_ in report.curves[0].bins if bin_.estimates and not bin_.edge]
    deviations = {bin_.energy: bin_.estimates["core_mean"].value - 1 for bin_ in inner}
    worst = max(deviations, key=lambda energy: abs(deviations[energy]))
    print(f"\n{detector} {shape}: {100 * deviations[worst]:+.2f} % at {worst:.1f} GeV", end="")
    usual = {energy: value for energy, value in deviations.items() if shape != "flat" or energy > SPARSE}
    assert max(map(abs, usual.values())) < LIMIT
