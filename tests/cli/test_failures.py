"""Whatever goes wrong: one line, the documented exit code, and nothing lost."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.cli import run
from tests.conftest import Run


def one_line(output: bytes) -> str:
    lines = output.decode().splitlines()
    assert len(lines) == 1, output.decode()
    return lines[0]


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("simulate", 2, "no detector was named: legal: ahcal"),
        ("simulate siw -o x", 2, "'siw' is neither a preset nor a file"),
        ("simulate siw-ecal -n many -o x", 2, "not a count"),
        ("simulate siw-ecal -E 5:1 -o x", 2, "lower edge"),
        ("simulate siw-ecal -E 0.01:1 -o x", 2, "from 0.1 GeV to 10 TeV"),
        ("simulate siw-ecal -p pi0 -o x", 2, "legal: e-, e+, gamma"),
        ("simulate siw-ecal --shard 4/4 -o x", 2, "shard"),
        ("simulate siw-ecal --shard half -o x", 2, "form i/n"),
        ("simulate siw-ecal --spectrum power -o x", 2, "legal: log, flat, or a power law such as E^-2"),
        ("simulate siw-ecal -o taken", 2, "--force"),
        ("train", 2, "no data were named"),
        ("train nosuch.root -o x", 3, "nosuch.root: no such file"),
        ("train taken -o x", 3, "taken: cannot be opened as a ROOT file"),
        ("train ELECTRONS:evnts -o x", 3, "did you mean 'events'"),
        ("train ELECTRONS -t tru_energy -o x", 3, "electrons.root:events: branch 'tru_energy' is not there"),
        ("train ELECTRONS --features layer_enrgy -o x", 3, "did you mean 'layer_energy'"),
        ("train ELECTRONS --features exec('x') -o x", 2, "unknown function 'exec'"),
        ("train ELECTRONS --loss hubert -o x", 2, "'huber'"),
        ("train ELECTRONS --hidden 0 -o x", 2, "hidden '0' is not legal"),
        ("train ELECTRONS --split 1,1,1 -o x", 2, "add up to 1"),
        ("train ELECTRONS --device tpu -o x", 2, "device 'tpu'"),
        ("train ELECTRONS --max-time soon -o x", 2, "not a duration"),
        ("train ELECTRONS --epoch 3 -o x", 2, "--epochs"),
        ("train ELECTRONS --regress direct --loss mse --optimiser sgd --lr 1e9 -o x", 5, "not finite in epoch 1"),
        ("train ELECTRONS --lr 0 -o x", 2, "legal are numbers above zero, or auto"),
        ("train ELECTRONS -t 5 -o x", 2, "reads no branch"),
        ("train ELECTRONS --features 3 -o x", 2, "reads no branch"),
        ("train ELECTRONS --max-time 1s", 2, "--max-time needs a place"),
        ("train NAN -o x", 3, "feature 'layer_energy[0]' is not finite in 1 of events"),
        ("train - -o x", 3, "nothing arrived"),
        ("train @nosuch -o x", 3, "list of files"),
        ("train root://127.0.0.1:1//x.root -o x", (3, 7), "x.root"),
        ("evaluate", 2, "no model was named"),
        ("evaluate nosuch", 3, "no such file (a model is wanted)"),
        ("evaluate ELECTRONS", 4, "not a model"),
        ("evaluate MODEL OTHER", 4, "does not fit this file"),
        ("evaluate MODEL nosuch.root", 3, "no such file"),
        ("evaluate MODEL -o taken", 2, "--force"),
        ("plot", 2, "no report was named"),
        ("plot taken -o f/", 4, "not a report"),
        ("plot MODEL -k resolution -o f/", 2, "legal: training, learning-curve"),
        ("plot REPORT -o f.gif", 2, "legal: pdf, svg, png"),
        ("plot REPORT -o f.png", 2, "choose one with --kind"),
        ("plot REPORT -k resolutions", 2, "did you mean 'resolution'"),
        ("trian", 2, "Did you mean 'train'"),
        ("train --config nosuch.toml", 2, "cannot read this configuration"),
        ("train --config bad.toml", 2, "unknown key 'epoch' in [train]: did you mean 'epochs'"),
    ],
)
def test_every_failure_is_one_line_with_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    artefacts: Path,
    command: str,
    code: int | tuple[int, ...],
    message: str,
) -> None:
    before = {path.name: path.read_bytes() for path in artefacts.iterdir() if path.is_file()}
    names = {"ELECTRONS": "electrons.root", "MODEL": "m", "REPORT": "r.json", "NAN": "nan.root", "OTHER": "other.root"}
    for name, path in names.items():
        command = command.replace(name, path)
    monkeypatch.chdir(artefacts)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr("sys.argv", ["calomlp"])
    found = run([*command.split(), *(["--quiet"] if " " in command else [])])
    output, error = capfdbinary.readouterr()
    line = one_line(error)
    assert message in line
    assert found in (code if isinstance(code, tuple) else (code,))
    assert line.startswith("calomlp")
    assert output == b""
    assert {path.name: path.read_bytes() for path in artefacts.iterdir() if path.is_file()} == before


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory, electrons: Path) -> Path:
    """A folder with one of everything, good and bad."""
    folder = tmp_path_factory.mktemp("artefacts")
    (folder / "electrons.root").write_bytes(electrons.read_bytes())
    (folder / "taken").write_text("precious")
    (folder / "bad.toml").write_text("[train]\nepoch = 3\n")
    columns = {"true_energy": np.ones(100), "layer_energy": np.ones((100, 3))}
    with uproot.recreate(folder / "other.root") as file:
        file.mktree("events", {"true_energy": columns["true_energy"]})
    columns["layer_energy"][5, 0] = np.nan
    with uproot.recreate(folder / "nan.root") as file:
        file.mktree("events", columns)
    assert run(["train", str(folder / "electrons.root"), "--epochs", "1", "-o", str(folder / "m"), "-q"]) == 0
    assert run(["evaluate", str(folder / "m"), "-o", str(folder / "r.json"), "-q"]) == 0
    return folder


def test_debug_shows_where_an_error_came_from(calomlp: Run) -> None:
    done = calomlp("train", "nosuch.root", "-o", "x", "--debug")
    assert b"Traceback" in done.stderr
    assert done.returncode == 3


def test_an_unforeseen_error_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("calomlp.streams.Streams.check_output", lambda *_, **__: 1 / 0)
    assert run(["simulate", "siw-ecal", "-o", "x"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("calomlp simulate: internal error: ZeroDivisionError: division by zero (--debug shows")
    assert len(error.splitlines()) == 1


def test_an_existing_output_is_replaced_with_force(calomlp: Run, tmp_path: Path) -> None:
    (tmp_path / "s.root").write_text("old")
    assert calomlp("simulate", "siw-ecal", "-n", 10, "-o", "s.root").returncode == 2
    assert (tmp_path / "s.root").read_text() == "old"
    assert calomlp("simulate", "siw-ecal", "-n", 10, "-o", "s.root", "--force").returncode == 0
    assert (tmp_path / "s.root").read_bytes().startswith(b"root")


def test_folders_of_outputs_are_made(calomlp: Run, tmp_path: Path) -> None:
    assert calomlp("simulate", "siw-ecal", "-n", 10, "-o", "a/b/s.root").returncode == 0
    assert (tmp_path / "a/b/s.root").exists()
