"""A report records what its numbers were made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.report import Report, read_report
from calomlp.evaluation.summary import merge
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers
from tests.evaluation.test_subjects import judged
from tests.plotting.toy_showers import write_showers

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")

SIMULATED = {
    "simulation": {
        "version": "0.1.0",
        "constants": {"n_layers": 6, "sections": []},
        "detector": {"name": "toy", "layers": [{"name": "front", "absorber": {"thickness": "0.3 cm"}}]},
        "seed": 7,
        "spectrum": {"index": -1.0, "energies_gev": [1.0, 100.0]},
    }
}


def simulated(folder: Path, provenance: Any, *, seed: int = 1, events: int = 2000) -> Source:
    path = write_showers(folder / f"{seed}.root", linear_showers(events, seed=seed), provenance=provenance, tree=True)
    return Source(str(path), None, path.name)


def sum_of(folder: Path, provenance: Any, **options: Any) -> Report:
    return judged(simulated(folder, provenance, **options), "sum(layer_energy)", bins="1,10,100")


def test_what_training_and_simulation_were_asked_for_is_recorded(make_root: Make, tmp_path: Path) -> None:
    settings = TrainingSettings(hidden="8,4", epochs=2, features=("layer_energy",), seed=3)
    model = fitted(make_root(linear_showers(5000), name="train.root"), settings)
    report = evaluated(model, [simulated(tmp_path, SIMULATED, seed=2)])
    training, simulation = report.context.settings["training"], report.context.settings["simulation"]
    asked = {name: training[name] for name in ("hidden", "activation", "loss", "seed", "features", "regress")}
    assert asked == {
        "hidden": "8,4",
        "activation": "silu",
        "loss": "huber",
        "seed": 3,
        "features": ["layer_energy"],
        "regress": "ratio",
    }
    assert training["epochs"] == 2
    assert training["events"] == model.envelope.n_train
    assert training["learning_rate"] == model.summary["learning_rate"] > 0  # chosen by the training
    assert training["parameters"] == training["ensemble"] * sum(
        (ins + 1) * outs for ins, outs in ((training["inputs"], 8), (8, 4), (4, 1))
    )
    assert simulation == {
        name: SIMULATED["simulation"][name]
        for name in ("detector", "seed", "spectrum")  # neither constants nor the version
    }
    path = tmp_path / "report.json"
    path.write_text(report.to_json())
    assert read_report(str(path), "report").context.settings == report.context.settings


def test_a_file_without_a_provenance_has_no_simulation(tmp_path: Path) -> None:
    assert sum_of(tmp_path, None).context.settings == {}


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[1]",
        '{"simulation": 3}',
        '{"simulation": {"seed": NaN}}',
        '{"simulation": {"seed": 1e999}}',
        '{"simulation": ' + 100_000 * "[" + 100_000 * "]" + "}",
        '{"simulation": {"name": "' + 2_000_000 * "x" + '"}}',
    ],
    ids=["no JSON", "a list", "a number", "NaN", "infinite", "deep", "huge"],
)
def test_a_broken_provenance_is_none(tmp_path: Path, text: str) -> None:
    report = sum_of(tmp_path, text)
    assert report.context.settings == {}
    assert report.to_json()


def test_reports_that_are_added_up_keep_what_they_have_in_common(tmp_path: Path) -> None:
    other: dict[str, Any] = json.loads(json.dumps(SIMULATED))
    other["simulation"]["seed"] = 8
    other["simulation"]["spectrum"]["index"] = 0.0
    parts = [sum_of(tmp_path, provenance, seed=i) for i, provenance in enumerate((SIMULATED, other))]
    merged = merge(parts).context.settings
    assert merged == {
        "simulation": {
            "detector": SIMULATED["simulation"]["detector"],
            "spectrum": {"energies_gev": [1.0, 100.0]},
        }
    }
    foreign = replace(parts[1], context=replace(parts[1].context, settings={}))
    assert merge([parts[0], foreign]).context.settings == {}
