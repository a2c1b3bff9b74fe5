"""Trained at a few beam energies, a model is not worse than the line at others, between them and an octave beyond."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.training.prepare import folds_of
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.beam_energies import QUICK, SLOW, points
from tests.benchmarks.showers import Beam
from tests.conftest import fitted, linear_showers

Make = Callable[..., Source]


def check(beam: Beam, folder: Path, train: int, test: int) -> None:
    failures = [point.failure() for point in points(beam, folder, train, test) if not point.known]
    assert list(filter(None, failures)) == []


@pytest.mark.parametrize(
    "beam", [QUICK[0], *(pytest.param(beam, marks=pytest.mark.landing) for beam in QUICK[1:])], ids=str
)
def test_unseen_energies_are_not_worse_than_with_the_line(tmp_path: Path, beam: Beam) -> None:
    check(beam, tmp_path, 2000, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("beam", SLOW, ids=lambda beam: f"{beam} {beam.points}")
def test_unseen_energies_with_hits_and_many_energies(tmp_path: Path, beam: Beam) -> None:
    check(beam, tmp_path, 3000, 1500)


def beam_showers(energies: list[float], events: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Linear showers of these energies, of which a count says what its energy is, and nothing more."""
    columns = linear_showers(events, seed=seed)
    beam = np.array(energies, np.float32)[np.arange(events) % len(energies)]
    noise = np.random.default_rng(seed).standard_normal((events, 6))
    share = beam[:, None] / 6
    columns["layer_energy"] = (share + 0.1 * np.sqrt(share) * noise).astype(np.float32)
    columns["true_energy"] = beam
    columns["count"] = np.random.default_rng(seed + 1).poisson(100 * beam**0.7).astype(np.float32)
    return columns


@pytest.mark.parametrize("energies", [[10.0], [3.0, 10.0, 30.0], pytest.param([5.0, 20.0], marks=pytest.mark.slow)])
def test_a_count_that_tells_the_energy_is_not_learned_by_heart(make_root: Make, energies: list[float]) -> None:
    settings = TrainingSettings(features=("layer_energy", "count"), energies=("layer_energy",))
    model = fitted(make_root(beam_showers(energies, 6000)), settings)
    if len(energies) == 1:
        assert model.summary["kept"] == 0
    others = [energies[0] / 2, float(np.sqrt(energies[0] * energies[-1])), 2 * energies[-1]]
    test = beam_showers(others, 6000, seed=5)
    features = np.column_stack([test["layer_energy"], test["count"]])
    found = model.regressor.estimates(features)
    for energy in others:
        rows = test["true_energy"] == np.float32(energy)
        ours, line = (float(values[rows].median()) / energy for values in (found.regressor, found.anchor))
        assert ours == pytest.approx(line, abs=0.02)


def test_folds_of_a_beam_are_energies_and_the_ends_are_in_none_that_is_left_out() -> None:
    beams = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    assert folds_of(beams.astype(np.float32), beams).tolist() == [4, 0, 1, 2, 3, 0, 4]
    assert folds_of(beams[:2].astype(np.float32), beams[:2]).tolist() == [0, 1]
    assert folds_of(beams[:1].astype(np.float32), beams[:1]).tolist() == [4]
