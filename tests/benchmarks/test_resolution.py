"""What the regressor reaches on simulated detectors, measured on events that no training has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.report import Report
from calomlp.plotting.sections import fit_table, linearity_table, resolution_table
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.showers import CRYSTAL, ELECTRONS, PION_HITS, PIONS, SHASHLIK, Beam
from tests.conftest import evaluated, fitted

NO_WORSE = 1.005
"""A regressor from a few hundred events is not wider than the line by more than this, in any of some samples."""


def report_of(training: Source, test: Source) -> Report:
    model = fitted(training, TrainingSettings())
    report = evaluated(model, [test])
    for table in (resolution_table(report), fit_table(report), linearity_table(report)):
        print("\n".join(" | ".join(row) for row in ("", table.header, *table.rows)))
    return report


@pytest.mark.slow
@pytest.mark.physics
def test_electrons_in_the_silicon_tungsten_calorimeter(events_folder: Path) -> None:
    training, test = (ELECTRONS.simulated(events_folder, 200_000, seed) for seed in (1, 2))
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


@pytest.mark.slow
@pytest.mark.physics
def test_pions_in_the_scintillator_steel_calorimeter(events_folder: Path) -> None:
    training, test = (PIONS.simulated(events_folder, 200_000, seed) for seed in (1, 2))
    regressor, _, plain = report_of(training, test).curves
    for one, other in zip(regressor.bins, plain.bins, strict=True):
        if one.energy_high > 8 and one.energy_low < 70:
            ratio = one.estimates["resolution"].value / other.estimates["resolution"].value
            assert ratio < 0.9, one.energy


@pytest.mark.benchmark
@pytest.mark.parametrize("beam", [ELECTRONS, CRYSTAL, SHASHLIK, PIONS, PION_HITS], ids=str)
def test_no_worse_than_sum_line_and_tuned_trees_at_any_energy(beam: Beam, events_folder: Path) -> None:
    measure = pytest.importorskip("tests.benchmarks.measure", exc_type=ImportError)
    energies, curves = measure.bins(beam, events_folder)
    ours = curves.pop("regressor")
    print(f"\n{beam}\n  E [GeV]   regressor  {' '.join(f'{name:>9}' for name in curves)}")
    for number, energy in enumerate(energies):
        width, error = ours[number]
        others = [curve[number] for curve in curves.values()]
        print(f"{energy:9.2f} {100 * width:11.2f}  {' '.join(f'{100 * other:9.2f}' for other, _ in others)}")
        for other, of_other in others:
            assert width < other + (error**2 + of_other**2) ** 0.5


@pytest.mark.benchmark
@pytest.mark.parametrize("beam", [ELECTRONS, CRYSTAL, SHASHLIK, PIONS], ids=str)
def test_few_events_do_no_worse_than_the_line(beam: Beam, events_folder: Path) -> None:
    measure = pytest.importorskip("tests.benchmarks.measure", exc_type=ImportError)
    ratios = measure.few_events(beam, events_folder, 500)
    print(f"\n{beam}: {' '.join(f'{ratio:.3f}' for ratio in ratios)} of the width of the line")
    assert max(ratios) < NO_WORSE
