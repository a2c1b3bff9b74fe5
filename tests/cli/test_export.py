"""A model as an ONNX file: verified, described, or not written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp import cli
from calomlp.data.sources import Source
from calomlp.model.file import read_model
from tests.conftest import SAMPLE_DATA, Run

onnx: Any = pytest.importorskip("onnx", reason="pip install '.[onnx]'")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")

Captured = pytest.CaptureFixture[str]


def exported(folder: Path) -> Path:
    """Train a small model on the electrons of the sample data, export it, and return the folder."""
    data, model = str(SAMPLE_DATA / "electrons.root"), str(folder / "model.safetensors")
    options = ["--epochs", "2", "--hidden", "8", "--ensemble", "2", "--loss", "gaussian-nll"]
    assert cli.run(["train", data, "-q", "-o", model, *options]) == 0
    assert cli.run(["export", model, "-q", "-o", str(folder / "model.onnx")]) == 0
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("export"))


def metadata(path: Path) -> dict[str, Any]:
    texts = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    return {key: json.loads(text) if text[0] in "[{" else text for key, text in texts.items()}


def test_the_metadata_say_what_goes_in_and_what_comes_out(folder: Path) -> None:
    found = metadata(folder / "model.onnx")
    model = read_model(str(folder / "model.safetensors"), "model")
    columns = found["calomlp.columns"]
    assert [column["name"] for column in columns] == model.recipe.features.columns
    assert columns[29]["expression"] == "layer_energy"
    assert columns[29]["energy"]
    assert not columns[30]["energy"]
    assert columns[3]["median"] == model.envelope.features[3].median
    assert [output["name"] for output in found["calomlp.outputs"]] == ["calo_energy", "calo_anchor", "calo_sigma"]
    assert {output["unit"] for output in found["calomlp.outputs"]} == {"GeV"}
    assert found["calomlp.range"]["energy_max"] == model.envelope.energy_max
    assert found["calomlp.model"] == model.weights_mark()
    assert (found["calomlp.schema"], found["calomlp.opset"]) == ("calomlp.onnx/1", "13")
    assert found["calomlp.provenance"]["calomlp"]


def test_what_was_verified_is_recorded(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    assert cli.run(["export", str(folder / "model.safetensors"), "-o", str(tmp_path / "m.onnx")]) == 0
    output, error = capsys.readouterr()
    record = json.loads(output)
    assert (record["action"], record["artefact"], record["path"]) == ("export", "onnx", str(tmp_path / "m.onnx"))
    verification = record["contract"]["verification"]
    assert (verification["events"], verification["origin"]) == (4000, "events of the training files")
    assert 0 < max(verification["deviations"].values()) < 1e-4
    assert metadata(tmp_path / "m.onnx")["calomlp.verification"] == verification
    assert "deviates from the model by at most" in error


def test_other_data_need_no_truth(folder: Path, tmp_path: Path, capsys: Captured, make_root: Any) -> None:
    layers = np.random.default_rng(1).uniform(0, 1, (50, 30)).astype(np.float32)
    layers[7] = np.nan
    source = make_root({"layer_energy": layers})
    path = tmp_path / "m.onnx"
    assert cli.run(["export", str(folder / "model.safetensors"), "--data", source.path, "-o", str(path)]) == 0
    verification = json.loads(capsys.readouterr().out)["contract"]["verification"]
    assert (verification["events"], verification["origin"]) == (49, "events of --data")


def test_without_the_training_files_events_are_drawn(tmp_path: Path, calomlp: Run) -> None:
    (tmp_path / "gone.root").write_bytes((SAMPLE_DATA / "electrons.root").read_bytes())
    assert calomlp("train", "gone.root", "--epochs", 1, "-q", "-o", "m.safetensors").returncode == 0
    (tmp_path / "gone.root").unlink()
    done = calomlp("export", "m.safetensors", "-o", "m.onnx")
    assert done.returncode == 0, done.stderr
    assert b"warning: compared on drawn events: gone.root" in done.stderr
    origin = json.loads(done.stdout)["contract"]["verification"]["origin"]
    assert origin == "events drawn inside and beyond the range of the features"


def test_the_same_command_gives_the_same_bytes_also_through_pipes(folder: Path, calomlp: Run) -> None:
    model = (folder / "model.safetensors").read_bytes()
    first, second = (calomlp("export", "-", "-o", "-", "-q", input=model) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stderr == b""
    assert first.stdout == second.stdout
    onnx.checker.check_model(onnx.load_from_string(first.stdout))


def test_beyond_the_tolerance_nothing_is_written(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "m.onnx"
    command = ["export", str(folder / "model.safetensors"), "--tolerance", "1e-12", "-o", str(path)]
    assert cli.run(command) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("calomlp export: error: calo_energy of the graph deviates from the model by ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "no model was named"),
        ("nosuch.safetensors", 3, "nosuch.safetensors: no such file"),
        ("model.onnx", 4, "model.onnx: not a model written by calomlp train"),
        ("model.safetensors --tolerance 0", 2, "--tolerance 0: a share of the energy is between 0 and 1"),
        ("model.safetensors --data nosuch.root", 3, "nosuch.root: no such file"),
        ("model.safetensors --data other.root", 4, "the model does not fit this file"),
        ("model.safetensors --data empty.root", 3, "no event to compare on"),
        ("model.safetensors -o model.onnx", 2, "model.onnx exists already"),
        ("model.safetensors -o model.safetensors --force", 2, "this command reads this file too"),
    ],
)
def test_what_cannot_be_exported(
    folder: Path,
    make_root: Callable[..., Source],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    arguments: str,
    code: int,
    message: str,
) -> None:
    for name, columns in {
        "other.root": {"x": np.ones(3)},
        "empty.root": {"layer_energy": np.full((3, 30), np.nan, np.float32)},
    }.items():
        (folder / name).write_bytes(Path(make_root(columns, name=name).path).read_bytes())
    monkeypatch.chdir(folder)
    assert cli.run(["export", *(arguments if "-o" in arguments else f"{arguments} -o new.onnx").split()]) == code
    output, error = capsys.readouterr()
    assert output == ""
    (line,) = error.splitlines()
    assert line.startswith("calomlp export: error: ")
    assert message in line
    assert not (folder / "new.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages(folder: Path, tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from calomlp.cli import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "export", str(folder / "model.safetensors"), "-o", str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr == (
        "calomlp export: error: export needs packages that are not installed: pip install 'calomlp[onnx]'\n"
    )


def test_a_terminal_shows_the_contract_in_80_columns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    from calomlp.cli.export import ExportSettings, run
    from calomlp.cli.session import Session

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with Session("calomlp export", force=False, json=False, quiet=False) as session:
        session.json = False
        run(session, ExportSettings(model=str(folder / "model.safetensors"), output="m.onnx"))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for part in ("m.onnx: ONNX, opset 13", "calo_sigma float32", "events of the training files", "layer_energy[29] 29"):
        assert part in words
