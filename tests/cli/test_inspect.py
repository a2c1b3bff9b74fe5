"""What is in a file, be it data, a model or a report, and what a detector amounts to: for people and for programs."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from calomlp import cli
from calomlp.cli.inspect import InspectSettings, run
from calomlp.cli.session import Session
from calomlp.data.sources import Source
from calomlp.model.file import read_header
from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector_file import parse_detector
from calomlp.streams import STDIN
from tests.conftest import Run

Make = Callable[..., Source]
Inspected = Callable[..., tuple[int, bytes, bytes]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Return what a terminal of 80 columns would show."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(source: str) -> str:
        with Session("calomlp inspect", force=False, json=False, quiet=False) as session:
            session.json = False
            run(session, InspectSettings(source=source))
        return capsys.readouterr().out

    return show


def record(calomlp: Run, *arguments: str | Path) -> dict[str, Any]:
    done = calomlp("inspect", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_program_gets_one_line_with_the_constants_and_the_detector(calomlp: Run) -> None:
    found = record(calomlp, "siw-ecal")
    assert found["schema"] == "calomlp.record/1"
    assert (found["action"], found["status"], found["artefact"]) == ("inspect", "done", "detector")
    assert found["n_layers"] == 30
    assert found["sections"] == load_detector("siw-ecal").constants()["sections"]
    assert parse_detector(found["detector"]) == load_detector("siw-ecal")


def test_changes_are_seen(calomlp: Run) -> None:
    found = record(calomlp, "siw-ecal", "--set", "layers.front.repeat=5", "--set", "layers.absorber.material=Pb")
    assert found["n_layers"] == 25
    assert found["detector"]["layers"][1]["absorber"]["material"] == "Pb"


@pytest.mark.parametrize("name", PRESETS)
def test_a_table_fits_80_columns_and_has_all_units(shown: Callable[[str], str], name: str) -> None:
    lines = shown(name).splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert text.startswith(f"{name}: ")
    assert "particles: e-, e+, gamma, mu-" in text
    for section in load_detector(name).sections:
        assert section.name in text
    for label in ("depth of a layer [lambda]", "R_M [cm]", "Fs [layers/X0]", "c_em [% sqrt(GeV)]", "1 MIP [MeV]"):
        assert label in text
    assert "\\" not in text


def test_numbers_of_the_table(shown: Callable[[str], str]) -> None:
    rows = {line[:28].strip(): line[28:].split() for line in shown("siw-ecal").splitlines()}
    assert rows["readout layers"] == ["10", "10", "10"]
    assert rows["depth of a layer [X0]"] == ["0.417", "0.817", "1.22"]
    assert rows["f_mip [%]"] == ["5.13", "2.88", "2.00"]
    assert rows["e/mip"] == ["0.704", "0.704", "0.704"]


def test_a_detector_of_many_groups_and_few_words_is_shown_in_several_tables(
    shown: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "many.toml"
    sensor = 'sensor = { material = "Si", thickness = "1 mm", active = true }'
    file.write_text('name = "many"\n' + "".join(f'[[layers]]\nname = "group-{i}"\n{sensor}\n' for i in range(9)))
    text = shown(str(file))
    assert text.startswith("many\n\n9 readout layers, 0.9 cm")
    assert text.count("group of layers") == 3
    assert all(f"group-{i}" in text for i in range(9))
    assert max(map(len, text.splitlines())) <= 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, electrons: Path) -> Path:
    """A folder with one of everything, good and bad."""
    folder = tmp_path_factory.mktemp("inspect")
    data = electrons.read_bytes()
    contents = {
        "good.root": data,
        "cut.root": data[:99999],
        "empty.root": b"",
        "model": b'\x10\0\0\0\0\0\0\0{"__metadata__":',
        "empty.safetensors": b"",
        "foreign": safetensors.torch.save({"x": torch.ones(1)}),
        "list": safetensors.torch.save({"x": torch.ones(1)}, {"calomlp": "[]"}),
        "newer": safetensors.torch.save({"x": torch.ones(1)}, {"calomlp": '{"schema": "calomlp.model/9"}'}),
        "hollow": safetensors.torch.save({"x": torch.ones(1)}, {"calomlp": '{"schema": "calomlp.model/1"}'}),
        "report": b'{"schema": "calomlp.report/2"}',
        "other.json": b'{"a": 1}',
        "array.json": b"[1, 2]",
        "cut.json": b'{"schema": "calomlp.rep',
        "page.md": b"# Energy resolution\n",
        "table.tsv": b"line\tcurve\n",
        "text": b"root: a user, and no magic number\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "nothing was named: give a ROOT file, a model, a report, a TOML file, or a detector: legal: ahcal"),
        ("siw", 2, "'siw' is neither a preset nor a file"),
        ("siw-ecal --set layers.abosrber.thickness=3mm", 2, "no 'abosrber' in layers; did you mean 'absorber'"),
        ("siw-ecal --set nonsense", 2, "--set nonsense: not PATH=VALUE"),
        ("siw-ecal --set readout.noise=0.2", 2, 'readout: noise = 0.2 has no unit: write "0.2 MIP"'),
        (
            "page.md",
            2,
            "page.md: none of what inspect shows, which are ROOT files, models, reports as JSON",
        ),
        ("table.tsv", 2, "table.tsv: none of what inspect shows"),
        ("text", 2, "not a readable TOML file"),
        ("model", 4, "model: not a model written by calomlp train"),
        ("empty.safetensors", 4, "empty.safetensors: not a model written by calomlp train"),
        ("foreign", 4, "foreign: not a model written by calomlp train"),
        ("list", 4, "list: this model is damaged"),
        ("newer", 4, "newer: has schema 'calomlp.model/9', this version reads 'calomlp.model/1'"),
        ("hollow", 4, "hollow: this model is damaged: KeyError"),
        ("hollow --set a=1", 2, "--set changes a detector, which hollow is not"),
        ("nosuch.safetensors", 3, "nosuch.safetensors: no such file"),
        ("report", 4, "report: does not follow its schema at $: 'options' is a required property"),
        ("other.json", 4, "other.json: has schema None, this version reads 'calomlp.report/2'"),
        ("array.json", 4, "array.json: has schema None, this version reads 'calomlp.report/2'"),
        ("cut.json", 4, "cut.json: not a report written by calomlp evaluate (not JSON)"),
        ("nosuch.json", 3, "nosuch.json: no such file"),
        ("good.root --set layers.absorber.thickness=3mm", 2, "--set changes a detector, which good.root is not"),
        ("*.root", 2, "*.root stands for 3 files: name one of them, such as cut.root"),
        ("none*.root", 3, "no file matches this pattern"),
        ("nosuch.root", 3, "nosuch.root: no such file"),
        ("good.root:evnts", 3, "good.root: no tree 'evnts': did you mean 'events'? legal: events"),
        ("empty.root", 3, "empty.root: cannot be opened as a ROOT file: it is empty"),
        ("cut.root", 3, "cut.root: is truncated: 99999 bytes are left of"),
        ("-", 3, "nothing arrived"),
    ],
)
def test_what_cannot_be_inspected(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    arguments: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert cli.run(["inspect", *arguments.split()]) == code
    output, error = capfdbinary.readouterr()
    assert output == b""
    (line,) = error.decode().splitlines()
    assert line.startswith("calomlp inspect: error: ")
    assert message in line


def test_a_program_gets_one_line_with_trees_branches_and_suggestions(calomlp: Run, electrons: Path) -> None:
    found = record(calomlp, electrons)
    assert (found["action"], found["status"], found["artefact"]) == ("inspect", "done", "dataset")
    assert found["path"] == str(electrons)
    (tree,) = found["trees"]
    assert (tree["tree"], tree["class"], tree["events"], tree["events_read"]) == ("events", "TTree", 4000, 4000)
    layers = next(branch for branch in tree["branches"] if branch["branch"] == "layer_energy")
    assert (layers["layout"], layers["shape"], layers["type"]) == ("30", [30], "float32")
    assert layers["numbers"] == 120_000
    assert found["suggestions"]["target"] == "true_energy"
    assert found["suggestions"]["layers"] == ["layer_energy"]


def test_the_suggested_command_runs(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    (tmp_path / "my showers.root").write_bytes(electrons.read_bytes())
    command = record(calomlp, "my showers.root")["suggestions"]["command"]
    program, *arguments = shlex.split(command)
    assert program == "calomlp"
    done = calomlp(*arguments, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.safetensors").exists()


def test_a_file_through_a_pipe(calomlp: Run, electrons: Path) -> None:
    done = calomlp("inspect", "-", input=electrons.read_bytes())
    found = json.loads(done.stdout)
    assert found["path"] == STDIN
    assert shlex.split(found["suggestions"]["command"])[2] == "-"
    done = calomlp("inspect", "-", input=f"{electrons}\n".encode())
    assert json.loads(done.stdout)["path"] == str(electrons)


def test_inspecting_imports_no_torch(electrons: Path) -> None:
    code = (
        f"import sys; from calomlp.cli import run; run(['inspect', {str(electrons)!r}]); print('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[1] == "False"


def test_a_terminal_shows_the_branches_in_80_columns(shown: Callable[[str], str], electrons: Path) -> None:
    lines = shown(str(electrons)).splitlines()
    assert max(map(len, lines[1:-1])) <= 80
    assert lines[0] == str(electrons)
    (layers,) = (line.split() for line in lines if line.startswith(" layer_energy"))
    assert layers[1:3] == ["float32", "30"]
    assert "true energy: true_energy" in lines
    assert lines[-1] == f"calomlp train {electrons} -t true_energy -o model.safetensors"


def test_a_terminal_shows_some_branches_of_very_many(shown: Callable[[str], str], make_root: Make) -> None:
    columns = {f"cell_{number}[cm]_with_a_name_that_goes_on_for_long": np.arange(3.0) for number in range(300)}
    source = make_root(columns | {"true_energy": np.arange(1.0, 4), "a.x": np.ones(3), "a.y": np.full(3, np.nan)})
    text = shown(source.path)
    lines = text.splitlines()
    assert max(map(len, lines[1:-1])) <= 80
    assert "and 243 more, all in --json" in text
    assert "cell_0[cm]_with" in text
    assert any(line.startswith(" true_energy") for line in lines)


def test_members_are_shown_below_their_collection(shown: Callable[[str], str], make_root: Make) -> None:
    source = make_root({"hits.e": np.arange(3.0), "hits.x": np.array([1, np.nan, 2]), "b": np.ones(3)})
    rows = [line.split() for line in shown(source.path).splitlines()]
    assert ["hits"] in rows
    assert [".e", "float64", "0", "1", "2", "33.3"] in rows
    assert [".x", "float64", "1", "1.5", "2", "0", "1"] in rows
    assert ["b", "float64", "=", "1", "0"] in rows


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory, electrons: Path) -> Path:
    """A folder with a model and its report."""
    folder = tmp_path_factory.mktemp("artefacts")
    model, report = folder / "m.safetensors", folder / "r.json"
    assert cli.run(["train", str(electrons), "--epochs", "2", "--hidden", "8", "-q", "-o", str(model)]) == 0
    assert cli.run(["evaluate", str(model), "-q", "-o", str(report)]) == 0
    return folder


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Inspected:
    """Run the command in this process; return exit code, standard output and standard error."""

    def inspect(name: str | Path, piped: bytes = b"") -> tuple[int, bytes, bytes]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
        code = cli.run(["inspect", str(name)])
        return code, *capfdbinary.readouterr()

    return inspect


def test_a_program_gets_all_that_a_model_records(inspected: Inspected, artefacts: Path) -> None:
    path = artefacts / "m.safetensors"
    code, output, _ = inspected(path)
    found = json.loads(output)
    assert (code, found["schema"], found["artefact"], found["path"]) == (0, "calomlp.record/1", "model", str(path))
    assert found["model"] == read_header(str(path), "m")
    assert found["suggestions"] == {"command": f"calomlp evaluate {path} -o report.json"}


def test_a_program_gets_a_report_without_its_histograms(inspected: Inspected, artefacts: Path) -> None:
    path = artefacts / "r.json"
    code, output, _ = inspected(path)
    found, document = json.loads(output), json.loads(path.read_text())
    assert (code, found["schema"], found["artefact"], found["path"]) == (0, "calomlp.record/1", "report", str(path))
    assert found["report"]["events"] == sum(bin_["events"] for bin_ in document["curves"][0]["bins"])
    for key in ("schema", "options", "bins", "comparisons", "notes"):
        assert found["report"][key] == document[key]
    for key in ("files", "envelope", "provenance"):
        assert found["report"]["context"][key] == document["context"][key]
    assert "statistics" not in found["report"]
    for mine, other in zip(found["report"]["curves"], document["curves"], strict=True):
        assert (mine["label"], mine["fit"], mine["linearity"]) == (other["label"], other["fit"], other["linearity"])
        assert [bin_["estimates"] for bin_ in mine["bins"]] == [bin_["estimates"] for bin_ in other["bins"]]
    assert found["suggestions"] == {"command": f"calomlp plot {path} -o figures/"}


@pytest.mark.parametrize("name", ["m.safetensors", "r.json"])
def test_an_artefact_through_a_pipe(inspected: Inspected, artefacts: Path, name: str) -> None:
    path = artefacts / name
    _, by_name, _ = inspected(path)
    code, by_record, _ = inspected("-", by_name)
    assert (code, by_record) == (0, by_name)
    code, output, _ = inspected("-", path.read_bytes())
    found, expected = json.loads(output), json.loads(by_name)
    assert (code, found["path"]) == (0, STDIN)
    assert found[found["artefact"]] == expected[expected["artefact"]]
    assert shlex.split(found["suggestions"]["command"])[2] == "-"
    code, output, error = inspected("-", path.read_bytes()[:2000])
    assert (code, output) == (4, b"")
    assert error.startswith(b"calomlp inspect: error: <stdin>: not a ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value"), [("provenance", {"packages": 5}), ("provenance", {"command": 5}), ("notes", [1])]
)
def test_a_report_that_was_changed_by_hand(
    inspected: Inspected, artefacts: Path, tmp_path: Path, key: str, value: object
) -> None:
    path = tmp_path / "r.json"
    document = json.loads((artefacts / "r.json").read_text())
    holder = document if key in document else document["context"]
    assert key in holder
    holder[key] = value
    path.write_text(json.dumps(document))
    code, output, error = inspected(path)
    assert (code, output) == (4, b"")
    assert len(error.splitlines()) == 1


def test_a_model_that_begins_like_text(inspected: Inspected, artefacts: Path) -> None:
    data = (artefacts / "m.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    length = int.from_bytes(b" {", "little")
    code, output, _ = inspected("-", length.to_bytes(8, "little") + data[8:end].ljust(length) + data[end:])
    assert (code, json.loads(output)["artefact"]) == (0, "model")


@pytest.mark.parametrize("name", ["m.safetensors", "r.json"])
def test_a_terminal_shows_an_artefact_in_80_columns(
    shown: Callable[[str], str], artefacts: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(artefacts)
    text = shown(name)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\n\n\n" not in text
    beginnings = {
        "m.safetensors": ("m.safetensors: model, calomlp.model/1", "Features", "Training", "Files", 'hidden = "8"'),
        "r.json": (
            "r.json: report, calomlp.report/2",
            "Files",
            "Resolution: σ/μ = a/√E",
            "Linearity",
            "What it comes to",
        ),
    }
    for beginning in beginnings[name]:
        assert any(line.startswith(beginning) for line in lines), beginning


def test_the_command_after_a_model_runs(shown: Callable[[str], str], artefacts: Path) -> None:
    _, *arguments = shlex.split(shown(str(artefacts / "m.safetensors")).splitlines()[-1])
    assert cli.run([*arguments[:-1], str(artefacts / "next.json"), "-q"]) == 0
    assert (artefacts / "next.json").exists()
