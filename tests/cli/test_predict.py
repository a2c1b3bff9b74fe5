"""`calomlp predict` at a shell: what it takes, what it makes, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.cli import run
from calomlp.data.sources import Source
from calomlp.errors import ExitCode
from calomlp.model.file import read_model, write_model
from calomlp.run import Interrupt
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import Run, fitted, linear_showers
from tests.processes import ends, srun

MODEL, WIDE, GROUPED = "m.safetensors", "wide.safetensors", "grouped.safetensors"
FILES = {"a.root": 300, "b.root": 200}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, and files without truth."""
    folder = tmp_path_factory.mktemp("predict")
    with uproot.recreate(folder / "train.root") as file:
        file.mktree("events", {**linear_showers(3000), "id": np.arange(3000)})
    source = Source(str(folder / "train.root"), None, "train.root")
    layers = TrainingSettings(features=("layer_energy",), epochs=1, ensemble=1)
    groups = replace(layers, features=("sum(layer_energy)",), target="true_energy[0]", group_by="id")
    for name, settings in {MODEL: layers, WIDE: replace(layers, loss="gaussian-nll"), GROUPED: groups}.items():
        write_model(folder / name, fitted(source, settings))
    for name, events in FILES.items():
        with uproot.recreate(folder / name) as file:
            columns = {"layer_energy": linear_showers(events, seed=events)["layer_energy"]}
            file.mktree("events", {**columns, "run": np.full(events, events), "event": np.arange(events)})
            file.mktree("beam", {"spill": np.arange(events) // 10})
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder with the same files, in which commands run."""
    for name in (MODEL, WIDE, GROUPED, *FILES):
        (tmp_path / name).symlink_to(trained / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def energies(path: Path, name: str = "calo_energy") -> np.ndarray:
    with uproot.open(path) as file:
        found: np.ndarray = file["events"][name].array(library="np")
    return found


def expected(name: str) -> np.ndarray:
    return read_model(MODEL, MODEL).regressor.energies(linear_showers(FILES[name], seed=FILES[name])["layer_energy"])


def test_energies_of_one_file_are_its_friends(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", MODEL, "a.root", "--keep", "run,event", "--keep", "event", "-o", "e.root"]) == ExitCode.OK
    record = json.loads(capfd.readouterr().out)
    inside = energies(folder / "e.root", "calo_in_domain")
    assert record | {"seconds": 0} == {
        "schema": "calomlp.record/1",
        "action": "predict",
        "status": "done",
        "artefact": "dataset",
        "path": "e.root",
        "entries": 300,
        "events": 300,
        "cut": 0,
        "not_measured": 0,
        "outside_domain": int(np.count_nonzero(~inside)),
        "seconds": 0,
    }
    assert energies(folder / "e.root") == pytest.approx(expected("a.root"), rel=1e-5)
    assert energies(folder / "e.root", "event").tolist() == list(range(300))
    joined = ["--estimate", "calo_energy", "-t", "sum(layer_energy)", "--friend", "e.root", "a.root", "-o", "r.json"]
    assert run(["evaluate", *joined]) == ExitCode.OK
    assert json.loads(capfd.readouterr().out)["events"] == 300


def test_several_files_become_a_folder_or_one_tree(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", MODEL, "[ab].root", "-o", "out/"]) == ExitCode.OK
    assert json.loads(capfd.readouterr().out)["files"] == ["out/a.root", "out/b.root"]
    for name in FILES:
        assert energies(folder / "out" / name) == pytest.approx(expected(name), rel=1e-5)
    assert run(["predict", MODEL, "[ab].root", "-o", "out/"]) == ExitCode.USAGE
    assert "a.root exists already" in capfd.readouterr().err
    assert run(["predict", MODEL, "b.root", "a.root", "-o", "one.root"]) == ExitCode.OK
    both = np.concatenate([expected("b.root"), expected("a.root")])
    assert energies(folder / "one.root") == pytest.approx(both, rel=1e-5)
    assert energies(folder / "one.root", "calo_file").tolist() == [0] * 200 + [1] * 300


def test_more_models_in_the_place_of_data(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", MODEL, f"other={WIDE}", WIDE, "a.root", "-o", "e.root"]) == ExitCode.OK
    assert set(json.loads(capfd.readouterr().out)["models"]) == {"other", "wide"}
    with uproot.open(folder / "e.root") as file:
        names = set(file["events"].keys())
    assert {"calo_energy", "calo_sigma_other", "calo_sigma_wide"} < names
    assert "calo_sigma" not in names
    assert (energies(folder / "e.root", "calo_energy_other") == energies(folder / "e.root", "calo_energy_wide")).all()


def test_the_options_of_data(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = [
        "--friend",
        ":beam",
        "--cut",
        "spill > 4",
        "--keep",
        "spill",
        "--missing",
        "17",
        "--container",
        "rntuple",
    ]
    (folder / "list.txt").write_text("a.root:events\n")
    assert run(["predict", MODEL, "@list.txt", *options, "-o", "e.root"]) == ExitCode.OK
    told = capfd.readouterr()
    assert "60 events do not pass the cut spill > 4: their energy is NaN" in told.err
    assert json.loads(told.out)["cut"] == 60
    found = energies(folder / "e.root")
    spill = np.arange(300) // 10
    passing = (spill > 4) & (spill != 17)  # what is missing passes nothing
    assert np.isnan(found).tolist() == (~passing).tolist()
    assert found[passing] == pytest.approx(expected("a.root")[passing], rel=1e-5)
    assert energies(folder / "e.root", "spill").tolist() == spill.tolist()


def test_pipes_carry_models_data_and_energies(calomlp: Run, folder: Path) -> None:
    data = (folder / "a.root").read_bytes()
    done = calomlp("predict", MODEL, "-", "-o", "-", input=data)
    assert done.returncode == 0, done.stderr
    (folder / "e.root").write_bytes(done.stdout)
    assert energies(folder / "e.root") == pytest.approx(expected("a.root"), rel=1e-5)
    again = calomlp("predict", "-", "a.root", "-o", "f.root", input=(folder / MODEL).read_bytes())
    assert again.returncode == 0, again.stderr
    assert (energies(folder / "e.root") == energies(folder / "f.root")).all()
    named = calomlp("predict", MODEL, "-", "-o", "out/", input=b"a.root\nb.root\n")
    assert json.loads(named.stdout)["files"] == ["out/a.root", "out/b.root"]
    first = (folder / "f.root").read_bytes()
    (folder / "f.root").unlink()
    calomlp("predict", "-", "a.root", "-o", "f.root", input=(folder / MODEL).read_bytes())
    assert (folder / "f.root").read_bytes() == first


def test_a_file_that_cannot_be_read_is_left_out_of_a_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.root").write_bytes(b"root of all evil")
    options = ["predict", MODEL, "broken.root", "a.root", "-o", "out/"]
    assert run(options) == ExitCode.INPUT
    assert "broken.root: cannot be opened" in capfd.readouterr().err
    assert not [*folder.glob("out/*")]
    assert run([*options, "--on-bad-file", "skip"]) == ExitCode.OK
    told = capfd.readouterr()
    assert "warning: broken.root is left out: cannot be opened" in told.err
    assert [path.name for path in (folder / "out").iterdir()] == ["a.root"]
    assert json.loads(told.out)["entries"] == 300
    assert json.loads(told.out)["files"] == ["out/a.root"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), ExitCode.USAGE, "no model was named"),
        ((MODEL,), ExitCode.USAGE, "no data were named"),
        (("a.root", "b.root"), ExitCode.ARTEFACT, "a.root: not a model"),
        ((MODEL, "c.root"), ExitCode.INPUT, "c.root: no such file"),
        ((MODEL, "a.root:evnts"), ExitCode.INPUT, "no tree 'evnts': did you mean 'events'"),
        ((MODEL, "a.root:beam"), ExitCode.ARTEFACT, "branch 'layer_energy' is not there"),
        ((MODEL, "a.root", "--keep", "rnu"), ExitCode.INPUT, "branch 'rnu' is not there: did you mean 'run'"),
        ((MODEL, "a.root", "--keep", "layer_energy"), ExitCode.USAGE, "not one number in each entry"),
        ((MODEL, "a.root", "--cut", "true_energy > 1"), ExitCode.INPUT, "--cut '' takes all events"),
        ((MODEL, "a.root", "--on-bad-file", "skip"), ExitCode.USAGE, "name a folder"),
        ((MODEL, "a.root", f"x={WIDE}", f"x={MODEL}"), ExitCode.USAGE, "two models are called 'x'"),
        ((MODEL, "a.root", GROUPED), ExitCode.ARTEFACT, "other --explode or --group-by than m.safetensors"),
        ((MODEL, "a.root", "--container", "xml"), ExitCode.USAGE, "'xml' is not one of"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_done_is_one_line(
    arguments: tuple[str, ...], code: ExitCode, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", *arguments, "-o", "e.root"]) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert why in line
    assert not [*Path().glob("*e.root*")]


@pytest.mark.parametrize("output", ["a.root", "./", MODEL])
def test_what_is_read_is_never_written(folder: Path, output: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = (folder / output).read_bytes() if output != "./" else b""
    assert run(["predict", MODEL, "a.root", "-o", output, "--force"]) == ExitCode.USAGE
    assert "this command reads this file too" in capfd.readouterr().err
    assert not before or (folder / output).read_bytes() == before


def test_two_files_of_one_name_need_two_folders(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "more").mkdir()
    (folder / "more/a.root").symlink_to(folder / "b.root")
    assert run(["predict", MODEL, "a.root", "more/a.root", "-o", "out/"]) == ExitCode.USAGE
    assert "more/a.root and a.root would both become out/a.root" in capfd.readouterr().err


def test_a_signal_leaves_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def signals() -> Iterator[int]:
        yield 0
        while True:
            yield signal.SIGTERM

    arriving, check = signals(), Interrupt.check

    def checked(self: Interrupt) -> None:
        if next(arriving):
            signal.raise_signal(signal.SIGTERM)
        check(self)

    monkeypatch.setattr(Interrupt, "check", checked)
    assert run(["predict", MODEL, "a.root", "b.root", "-o", "e.root"]) == ExitCode.SIGTERM
    assert "interrupted by SIGTERM, nothing was written" in capfd.readouterr().err
    assert not [*folder.glob("*e.root*")]


def test_several_processes_are_refused(folder: Path) -> None:
    first, second = ends(srun(folder, 2, "predict", MODEL, "a.root", "-o", "e.root"))
    assert first[0] == second[0] == ExitCode.USAGE
    assert "only train can be: give each job of an array some of the files" in first[2]
    assert second[1:] == ("", "")
    ((code, _, said),) = ends(srun(folder, 1, "predict", MODEL, "a.root", "-o", "e.root"))
    assert code == 0, said
