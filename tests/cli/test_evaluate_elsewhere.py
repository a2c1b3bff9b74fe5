"""A model on other data than those it was trained on: another tree, unit, truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.conftest import Run, linear_showers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A training in MeV, and files from elsewhere."""
    showers = linear_showers(5000)
    layers, energy = showers["layer_energy"], showers["true_energy"]
    for name, tree, columns in (
        ("mev", "raw", {"layer_energy": layers, "E": 1000 * energy}),
        ("gev", "other", {"layer_energy": layers, "truth": energy}),
        ("beam_20GeV", "other", {"layer_energy": layers * (20 / energy)[:, None]}),
    ):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file.mktree(tree, columns)
    with uproot.recreate(tmp_path / "two.root") as file:
        file.mktree("raw", {"layer_energy": layers, "E": 1000 * energy})
        file.mktree("zzz", {"layer_energy": np.zeros((3, 6)), "E": np.ones(3)})
    return tmp_path


@pytest.fixture
def model(folder: Path, calomlp: Run) -> str:
    done = calomlp("train", "mev.root", "-t", "E", "--unit", "MeV", "--epochs", "2", "-o", "m.safetensors")
    assert done.returncode == 0, done.stderr
    assert folder.is_dir()
    return "m.safetensors"


@pytest.mark.parametrize(
    "arguments",
    [
        ("mev.root",),
        ("mev.root", "--unit", "MeV"),
        ("gev.root", "-t", "truth"),
        ("gev.root", "-t", "truth * 1000", "--unit", "MeV"),
        ("two.root",),  # the tree of the training is taken
        ("20GeV=beam_20GeV.root",),
        ("beam_20GeV.root", "--target-from-name", "_([0-9]+)GeV"),
    ],
)
def test_where_the_truth_is_elsewhere(calomlp: Run, model: str, folder: Path, arguments: tuple[str, ...]) -> None:
    done = calomlp("evaluate", model, *arguments, "--all", "-o", "r.json")
    assert done.returncode == 0, done.stderr
    assert b"units" not in done.stderr
    report = json.loads((folder / "r.json").read_text())
    assert sum(bin_["events"] for bin_ in report["curves"][0]["bins"]) == 5000
    responses = [bin_["estimates"]["median"]["value"] for bin_ in report["curves"][0]["bins"] if bin_["estimates"]]
    assert responses == pytest.approx([1] * len(responses), abs=0.1)


def test_a_wrong_unit_is_noticed(calomlp: Run, model: str) -> None:
    done = calomlp("evaluate", model, "mev.root", "--unit", "GeV", "--all", "-o", "r.json")
    assert done.returncode == 0
    assert b"the median response is 0.00" in done.stderr
