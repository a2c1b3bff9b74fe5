"""A training on two thousand events that starts from one on many, beside one on these events alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.report import Report
from calomlp.model.file import Model
from calomlp.run import Interrupt
from calomlp.training.checkpoint import Watch
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.showers import PIONS
from tests.conftest import evaluated, quietly

pytestmark = pytest.mark.benchmark

CHANGES = ("layers.absorber.thickness=21mm", "readout.noise=0.2MIP")  # 17.4 mm and 0.12 MIP in the preset
SEEDS = (1, 2, 3)


def fitted(source: Source, seed: int, init: Model | None = None) -> Model:
    settings = TrainingSettings(seed=seed)
    return train([source], settings, quietly(), watch=Watch(Interrupt()), init=init)


def width(report: Report) -> float:
    """Return the ratio of the regressor's sigma_68 to that of the calibrated sum, averaged over the inner bins."""
    curves = {curve.name: curve for curve in report.curves}
    pairs = zip(curves["regressor"].bins, curves["sum"].bins, strict=True)
    inner = [(ours, plain) for ours, plain in pairs if ours.estimates and not ours.edge]
    return float(np.mean([a.estimates["sigma_68"].value / b.estimates["sigma_68"].value for a, b in inner]))


def test_a_start_from_simulation_beats_two_thousand_events_alone(tmp_path: Path) -> None:
    other = replace(PIONS, changes=CHANGES)
    simulation = PIONS.simulated(tmp_path, 1_000_000, 1)
    beam = other.simulated(tmp_path, 2_900, 2)  # of which 2000 are for training
    test = other.simulated(tmp_path, 60_000, 3)
    first = fitted(simulation, 1)
    print("\n  sigma_68 of the regressor over that of the sum:  alone   from simulation", end="")
    for seed in SEEDS:
        widths = [width(evaluated(model, [test])) for model in (fitted(beam, seed), fitted(beam, seed, first))]
        print(f"\n  seed {seed}: {widths[0]:44.3f} {widths[1]:17.3f}", end="")
        assert widths[1] < widths[0]
