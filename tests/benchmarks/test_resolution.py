"""What the regressor reaches on simulated detectors, measured on events that no training has seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import evaluate
from calomlp.evaluation.report import Report
from calomlp.interrupt import Interrupt
from calomlp.plotting.tables import fit_table, linearity_table, resolution_table
from calomlp.progress import Progress
from calomlp.training.settings import TrainingSettings
from tests.conftest import fitted

pytestmark = [pytest.mark.slow, pytest.mark.physics]

Simulated = Callable[..., Source]


def report_of(training: Source, test: Source) -> Report:
    model = fitted(training, TrainingSettings())
    report = evaluate(
        model, [test], use_all=False, skip_bad_files=False, seed=1, progress=Progress(), interrupt=Interrupt()
    )
    for table in (resolution_table(report), fit_table(report), linearity_table(report)):
        print("\n".join(" | ".join(row) for row in ("", table.header, *table.rows)))
    return report


def test_electrons_in_the_silicon_tungsten_calorimeter(simulated: Simulated) -> None:
    training, test = (simulated("siw-ecal", "e-", "1:100", 200_000, seed) for seed in (1, 2))
    regressor, anchor, plain = report_of(training, test).curves
    # CALICE, arXiv:0811.2354: (16.6 +- 0.1) %/sqrt(E) (+) (1.1 +- 0.1) %
    assert plain.fit is not None
    assert plain.fit.stochastic.value == pytest.approx(0.166, abs=0.01)
    assert regressor.linearity is not None
    for one, other in zip(regressor.bins, anchor.bins, strict=True):
        if one.edge or not one.estimates:
            continue
        if one.energy_low >= 2:
            assert one.estimates["core_mean"].value / regressor.linearity.response == pytest.approx(1, abs=0.005)
        narrower = one.estimates["resolution"].value - other.estimates["resolution"].value
        error = (one.estimates["resolution"].error ** 2 + other.estimates["resolution"].error ** 2) ** 0.5
        assert narrower < error


def test_pions_in_the_scintillator_steel_calorimeter(simulated: Simulated) -> None:
    training, test = (simulated("ahcal", "pi-", "4:100", 200_000, seed) for seed in (1, 2))
    regressor, _, plain = report_of(training, test).curves
    for one, other in zip(regressor.bins, plain.bins, strict=True):
        if one.energy_high > 8 and one.energy_low < 70:
            ratio = one.estimates["resolution"].value / other.estimates["resolution"].value
            assert ratio < 0.9, one.energy
