"""What is looked at on request: importance, worst events, single energies, the Crystal Ball."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.data.sources import Source
from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.evaluate import evaluate, predictions
from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.options import EvaluateSettings, Options
from calomlp.evaluation.report import REGRESSOR
from calomlp.evaluation.subjects import Trained
from calomlp.evaluation.widths import crystal_ball
from calomlp.model.file import Model
from calomlp.run import Run
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")


def with_useless_feature(events: int, seed: int = 1) -> dict[str, np.ndarray]:
    useless = np.random.default_rng(seed).random(events, dtype=np.float32)
    return {**linear_showers(events, seed=seed), "useless": useless}


@pytest.fixture
def model(make_root: Make) -> Model:
    source = make_root(with_useless_feature(10_000), name="train.root")
    return fitted(source, TrainingSettings(features=("layer_energy", "useless"), hidden="8", epochs=2))


def test_importance_tells_what_matters(model: Model, make_root: Make) -> None:
    report = evaluated(model, [make_root(with_useless_feature(3000, 2), name="test.root")], importance=True)
    layers, useless = report.importance
    assert (layers.feature, useless.feature) == ("layer_energy", "useless")
    assert layers.increase.value > 20 * layers.increase.error > 0
    assert abs(useless.increase.value) < 0.05
    again = evaluated(model, [make_root(with_useless_feature(3000, 2), name="test.root")], importance=True)
    assert again.importance == report.importance


def test_the_worst_events_are_listed_with_file_and_entry(model: Model, make_root: Make) -> None:
    columns = with_useless_feature(3000, 2)
    columns["layer_energy"][[17, 1234]] = 0
    columns["true_energy"][[17, 1234]] = 80, 90
    report = evaluated(model, [make_root(columns, name="test.root")], worst=2)
    first, second = report.statistics.worst.events
    assert (first.file, first.entry, second.entry) == ("test.root", 1234, 17)
    assert first.deviation == pytest.approx((first.energy - 90) / np.sqrt(90), rel=1e-5)


def test_energies_of_single_events_are_written(model: Model, make_root: Make, tmp_path: Path) -> None:
    sources = [make_root(with_useless_feature(n, n), name=f"{n}.root") for n in (1500, 700)]
    path = tmp_path / "energies.root"
    subjects = (Trained(REGRESSOR, model),)
    with predictions(path, sources, ["x"]) as keep:
        report = evaluate(subjects, model.recipe, sources, EvaluateSettings(), Run(), keep=keep)
    with uproot.open(path) as file:
        written = file["events"].arrays(library="np")
        assert json.loads(file["provenance"])["files"] == ["1500.root", "700.root"]
    assert np.bincount(written["file"]).tolist() == [1500, 700]
    assert written["entry"].tolist() == [*range(1500), *range(700)]
    features = np.column_stack([with_useless_feature(700, 700)[name] for name in ("layer_energy", "useless")])
    assert written["regressor"][1500:] == pytest.approx(model.regressor.energies(features), rel=1e-6)
    assert set(written) == {"file", "entry", "true_energy", "regressor", "anchor", "sum", "in_domain"}
    total = sum(bin_.histogram.mean * bin_.events for bin_ in report.curves[0].bins)
    assert np.sum(written["regressor"] / written["true_energy"]) == pytest.approx(total, abs=1e-2)


def test_what_the_crystal_ball_is_made_of_is_found_again() -> None:
    x = np.linspace(-3, 3, 200_001)
    density = crystal_ball(x, 1.0, 0.1, 1.2, 3.0, 2.0, 6.0)
    rng = np.random.default_rng(2)
    sample = np.interp(rng.random(200_000), np.cumsum(density) / density.sum(), x)
    found = estimate_all(Histogram.of(sample), Options(width="crystal_ball"))
    assert found["crystal_ball_mean"].value == pytest.approx(1, abs=4 * found["crystal_ball_mean"].error)
    assert found["crystal_ball_sigma"].value == pytest.approx(0.1, abs=4 * found["crystal_ball_sigma"].error)
    assert found["crystal_ball_sigma"].error < 0.001
    assert found["resolution"].value == pytest.approx(0.1, rel=0.01)
    assert found["rms"].value > 0.12


def test_the_crystal_ball_is_continuous_and_has_no_kink() -> None:
    for turn in (1 - 0.12, 1 + 0.2):
        x = turn + 1e-6 * np.array([-2, -1, 0, 1, 2])
        density = crystal_ball(x, 1.0, 0.1, 1.2, 3.0, 2.0, 6.0)
        slopes = np.diff(density) / np.diff(x)
        assert slopes == pytest.approx(slopes[0], rel=1e-3)
