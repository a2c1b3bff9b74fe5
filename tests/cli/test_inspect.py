"""What is in a file and what a detector amounts to, for people and for programs."""

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

from calomlp import cli
from calomlp.cli.inspect import InspectSettings, run
from calomlp.cli.session import Session
from calomlp.data.sources import Source
from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector_file import parse_detector
from calomlp.streams import STDIN
from tests.conftest import Run

Make = Callable[..., Source]


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
    assert text.startswith("many\n9 readout layers, 0.9 cm")
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
        "report": b'{"schema": "calomlp.report/1"}',
        "text": b"root: a user, and no magic number\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "nothing was named: give a ROOT file, a TOML file, or a detector: legal: ahcal, combined"),
        ("siw", 2, "'siw' is neither a preset nor a file"),
        ("siw-ecal --set layers.abosrber.thickness=3mm", 2, "no 'abosrber' in layers; did you mean 'absorber'"),
        ("siw-ecal --set nonsense", 2, "--set nonsense: not PATH=VALUE"),
        ("siw-ecal --set readout.noise=0.2", 2, 'readout: noise = 0.2 has no unit: write "0.2 MIP"'),
        ("text", 2, "not a readable TOML file"),
        ("model", 2, "model is a model: so far, only ROOT files and detectors can be inspected"),
        ("report", 2, "report is a report: so far, only ROOT files and detectors can be inspected"),
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
