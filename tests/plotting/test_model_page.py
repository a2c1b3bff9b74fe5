"""What a model says of itself: everything that it records, and nothing that stops at what it does not know."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from calomlp.cli.train import TrainSettings
from calomlp.plotting.inspect_sections import evaluate_command, model_sections
from calomlp.plotting.render import text_blocks
from calomlp.plotting.sections import Table
from calomlp.settings import load_config
from calomlp.training.training_settings import TrainingSettings

FEATURES = ("layer_energy", "sum(hit_energy[hit_layer > 20])", "quantile(hit_energy, 0.9)", "top(hit_energy, 5)")
SETTINGS = replace(TrainingSettings(), features=FEATURES, hidden="32", cut='where(a > 1, b, c) & "é"', seed=7)


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "schema": "calomlp.model/1",
        "features": [
            {"expression": "layer_energy", "shape": [3, 4], "energy": True},
            {"expression": "depth", "shape": [], "energy": False},
        ],
        "target": "beam_energy / 1000",
        "split": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 7},
        "split_by": "run_number",
        "cut": "sum(layer_energy) > 1",
        "weight": "w",
        "layout": {"explode": "Photon", "group_by": "eventID"},
        "missing": [-999.0],
        "on_bad": "skip",
        "architecture": {
            "n_columns": 13,
            "energy_columns": list(range(12)),
            "hidden": [32],
            "activation": "silu",
            "dropout": 0.0,
            "target": "ratio",
            "members": 3,
        },
        "files": [{"path": "run1.root", "tree": "raw/hits", "identity": "x", "events": 12000}],
        "envelope": {
            "energy_min": 5.0,
            "energy_max": 80.0,
            "n_train": 7200,
            "n_validation": 1200,
            "n_test": 2400,
            "features": [{"name": f"x[{i}]", "low": -0.5, "median": i / 3, "high": 1e9} for i in range(40)],
        },
        "history": [
            {
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "validation_loss": 1.1 / epoch,
                "validation_resolution": 0.2,
                "learning_rate": 1e-3,
            }
            for epoch in range(1, 7)
        ],
        "summary": {
            "loss": "huber",
            "epochs": 6,
            "best_epoch": 4,
            "validation_loss": 0.275,
            "ended": "all epochs done",
            "parameters": 513,
            "batch_size": 128,
            "learning_rate": 1.77e-3,
            "schedule": "one-cycle",
            "threads": 1,
            "sum_scale": 1.25,
            "anchor_spread": {"stochastic": 0.55, "noise": 0.1, "constant": 0.02},
            "sides": {
                "training": {"events": 7200, "loss": 0.26, "resolution": 0.11},
                "test": {"events": 2400, "loss": 0.28, "resolution": 0.115},
            },
            "kept": 0.934,
            "closure": [
                {"energy": 10.0, "before": 1.012, "after": 0.999},
                {"energy": 40.0, "before": 0.99, "after": 1.0},
            ],
            "overtraining": "overtrained: by much",
            "data": {
                "events": 12000,
                "cut": 1000,
                "bad": {"e1": 7},
                "left_out": 7,
                "files": {"run9.root": "it is empty"},
            },
        },
        "settings": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(SETTINGS).items()
        },
        "provenance": {"calomlp": "0.1.0", "command": ["calomlp", "train", "run1.root"]},
    }


def text_of(document: dict[str, Any]) -> str:
    return "\n".join(block for block in text_blocks(model_sections(document, "m")) if isinstance(block, str))


def table_of(document: dict[str, Any], title: str) -> Table:
    tables = [block for block in text_blocks(model_sections(document, "m")) if isinstance(block, Table)]
    return next(table for table in tables if table.title == title)


def test_everything_is_told(document: dict[str, Any]) -> None:
    text = " ".join(text_of(document).split())
    for told in (
        "m: model, calomlp.model/1 made by calomlp 0.1.0",
        "calomlp train run1.root",
        "anchor * exp(network) [GeV]",
        "14 inputs: shares of the anchor (12), other columns (1), logarithm of the anchor",
        "hidden layers of 32 with silu; 513 parameters",
        "55.0 %/sqrt(E) (+) 0.1 GeV/E (+) 2.0 %",
        "beam_energy / 1000, 5 to 80 GeV",
        "sum(layer_energy) > 1",
        "0.6 training, 0.2 validation, 0.2 test; seed 7; equal run_number on one side",
        "7 200 training, 1 200 validation, 2 400 test",
        "huber, 0.275 on the validation side",
        "6, the best is 4; ended: all epochs done",
        "adamw, learning rate up to 0.00177, one-cycle; batches of 128",
    ):
        assert told in text
    assert table_of(document, "Features").rows == (("layer_energy", "3 x 4", "yes"), ("depth", "", "–"))
    assert table_of(document, "Files").rows == (("run1.root", "raw/hits", "12\N{NO-BREAK SPACE}000"),)
    ranges = table_of(document, "Range of their columns in training").rows
    assert ranges[1] == ("x[1]", "-0.5", "0.3333", "1e+09")
    assert ranges[30:] == (("and 10 more, all in --json", "", "", ""),)
    epochs = table_of(document, "Training").rows
    assert [row[0] for row in epochs] == ["1", "4 (best)", "6"]
    assert epochs[1] == ("4 (best)", "0.25", "0.275", "20.00", "0.001")


def test_the_schedule_is_that_which_was_used(document: dict[str, Any]) -> None:
    document["settings"] |= {"optimiser": "gd", "schedule": "cosine"}
    document["summary"]["schedule"] = "constant"
    assert "gd, learning rate up to 0.00177, constant;" in " ".join(text_of(document).split())


@pytest.mark.parametrize(
    ("target", "formula"),
    [("log", "exp(network) [GeV] (log)"), ("direct", " network [GeV] (direct)"), ("new", "not known here [GeV] (new)")],
)
def test_what_the_network_stands_for(document: dict[str, Any], target: str, formula: str) -> None:
    document["architecture"] |= {"target": target, "hidden": [], "dropout": 0.1}
    text = text_of(document)
    assert formula in text
    assert "13 inputs; no hidden layer, dropout 0.1" in text


def test_a_network_that_was_never_better_than_the_start(document: dict[str, Any]) -> None:
    document["summary"] |= {"best_epoch": 0, "validation_loss": 0.9}
    assert "6, none better than the start" in text_of(document)
    assert [row[:3] for row in table_of(document, "Training").rows] == [
        ("0 (best)", "–", "0.9"),
        ("1", "1", "1.1"),
        ("6", "0.1667", "0.1833"),
    ]


def test_what_is_not_known_is_shown_and_nothing_else_changes(document: dict[str, Any]) -> None:
    newer = deepcopy(document)
    newer |= {"weight": "1 / true_energy", "explode": ["a", "b"], "empty": None, "long": {"x": "y" * 9000}}
    for part in ("architecture", "split", "envelope", "summary", "provenance"):
        newer[part]["new"] = {"a": [1]}
    newer["features"][0]["new"] = newer["files"][0]["new"] = newer["history"][0]["new"] = 1
    newer["settings"]["new"] = "set"
    assert table_of(newer, "Features") == table_of(document, "Features")
    text = text_of(newer)
    assert " weight          1 / true_energy\n" in text
    assert ' explode         ["a", "b"]\n' in text
    assert " empty " not in text
    assert len(text) < len(text_of(document)) + 1000
    assert 'new = "set"' in text


def test_settings_that_were_changed_can_be_read_as_a_configuration(document: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[train]" + text_of(document).partition("[train]")[2], encoding="utf-8")
    found = load_config(str(config), "train", {"train": TrainSettings})
    assert found == {"features": list(FEATURES), "hidden": "32", "cut": SETTINGS.cut, "seed": 7}


def test_settings_that_are_all_defaults(document: dict[str, Any]) -> None:
    document["settings"] = json.loads(json.dumps(asdict(TrainingSettings())))  # tuples become lists
    assert "All settings are the defaults." in text_of(document)


def test_the_next_command_needs_data_where_the_test_events_are_gone(document: dict[str, Any]) -> None:
    assert evaluate_command(document, "my m") == "calomlp evaluate 'my m' -o report.json"
    document["envelope"]["n_test"] = 0
    assert evaluate_command(document, "m") == "calomlp evaluate m DATA.root -o report.json"
    document["envelope"]["n_test"] = 5
    document["files"][0]["path"] = "<stdin>"
    assert evaluate_command(document, "-") == "calomlp evaluate - DATA.root -o report.json"


@pytest.mark.parametrize("missing", ["features", "architecture", "settings", "provenance", "summary"])
def test_what_must_be_there(document: dict[str, Any], missing: str) -> None:
    del document[missing]
    with pytest.raises(KeyError, match=missing):
        model_sections(document, "m")


def test_what_an_event_is_and_what_was_left_out(document: dict[str, Any]) -> None:
    text = " ".join(text_of(document).split())
    for fact in (
        "an event is an object of Photon in the entries with one eventID",
        "bad values leave their event out; -999 stands for a missing value",
        "1000 of 12000 events do not pass the cut and are left out",
        "7 of 12000 events have a bad value and are left out: e1 in 7",
        "run9.root is left out: it is empty",
        "7 200 training, 1 200 validation, 2 400 test",
        "training 11.00 % (loss 0.26, 7 200 events); test 11.50 % (loss 0.28, 2 400 events)",
        "513 parameters in 3 networks",
        "the median response is within 1.20 % of one before the correction, 0.10 % after it",
        "kept 93 % of what the network adds to the start",
        "verdict overtrained: by much",
    ):
        assert fact in text
