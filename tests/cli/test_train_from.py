"""A training that is done again from what its model records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import Run


@pytest.fixture
def model(calomlp: Run, electrons: Path, tmp_path: Path) -> Path:
    done = calomlp("train", electrons, "--hidden", "8", "--epochs", "2", "--dropout", "0.1", "-o", "first.safetensors")
    assert done.returncode == 0, done.stderr
    return tmp_path / "first.safetensors"


def weights(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = load_file(path)
    return found


def test_the_same_weights_from_the_recorded_settings_and_files(calomlp: Run, model: Path, tmp_path: Path) -> None:
    done = calomlp("train", "--from", model, "-o", "again.safetensors")
    assert done.returncode == 0, done.stderr
    first, again = weights(model), weights(tmp_path / "again.safetensors")
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_flags_and_the_configuration_come_before_what_is_recorded(calomlp: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[train]\nhidden = "4"\ndropout = 0.2\n')
    for order in (("--config", "c.toml", "--from", model), ("--from", model, "--config", "c.toml")):
        done = calomlp("train", *order, "--dropout", "0.3", "--dump-config")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.decode().splitlines()
        assert {'hidden = "4"', "dropout = 0.3", "epochs = 2"} <= set(lines)


def test_other_files_are_trained_on_if_they_are_named(calomlp: Run, model: Path, pions: Path) -> None:
    done = calomlp("train", pions, "--from", model, "-o", "pions.safetensors")
    assert done.returncode == 0, done.stderr
    told = json.loads(calomlp("inspect", "pions.safetensors").stdout)
    document = told["model"]
    assert [Path(file["path"]).name for file in document["files"]] == [pions.name]
    assert document["settings"]["hidden"] == "8"


def test_a_model_of_a_pipe_needs_files(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    piped = calomlp("train", "-", "--epochs", "1", "-o", "piped.safetensors", input=electrons.read_bytes())
    assert piped.returncode == 0, piped.stderr
    done = calomlp("train", "--from", "piped.safetensors", "-o", "again.safetensors")
    assert done.returncode == 2
    assert b"no data were named" in done.stderr
    assert not (tmp_path / "again.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "code", "message"), [("nowhere", 3, "cannot open"), ("report.json", 4, "not a model")]
)
def test_what_is_no_model_is_one_line(calomlp: Run, tmp_path: Path, name: str, code: int, message: str) -> None:
    (tmp_path / "report.json").write_text("{}")
    done = calomlp("train", "--from", name, "-o", "again.safetensors")
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr.decode()
