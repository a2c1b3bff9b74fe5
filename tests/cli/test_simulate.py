"""``calomlp simulate`` as a shell runs it: files, bad requests, processes, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.cli import run
from calomlp.run import SIGNALS
from calomlp.simulation.request import BLOCK
from tests.conftest import Run


def events(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["events"].arrays()


def provenance(path: Path) -> dict[str, Any]:
    with uproot.open(path) as file:
        document: dict[str, Any] = json.loads(str(file["provenance"]))
    return document


def test_a_mixture_with_hits_in_a_changed_detector(calomlp: Run, tmp_path: Path) -> None:
    done = calomlp(
        *("simulate", "siw-ecal", "-p", "e-:1,mu-:3", "-E", "5,10", "-n", 400, "--hits", "--momentum-spread", 0.01),
        *("--set", "layers.front.repeat=5", "--set", "readout.threshold=0.6MIP", "--angle", "0:10", "-o", "a.root"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["artefact"], record["path"], record["events"]) == ("dataset", "a.root", 400)
    found = events(tmp_path / "a.root")
    assert len(found) == 400
    assert found["layer_energy"].to_numpy().shape == (400, 25)
    assert np.mean(found["pdg_id"] == 13) == pytest.approx(0.75, abs=0.1)
    assert set(found["true_nominal_energy"].tolist()) == {5.0, 10.0}
    np.testing.assert_allclose(ak.sum(found["hit_energy"], axis=1), np.sum(found["layer_energy"], axis=1), rtol=1e-4)
    assert ak.max(found["hit_layer"]) == 24
    physics = provenance(tmp_path / "a.root")["simulation"]
    assert physics["particles"] == {"e-": 1.0, "mu-": 3.0}
    assert physics["detector"]["layers"][0]["repeat"] == 5
    assert physics["detector"]["layers"][0]["readout"]["threshold"] == "0.6 MIP"


def test_a_pipe_gets_the_same_events_as_a_file(calomlp: Run, tmp_path: Path) -> None:
    command = ("simulate", "crystal-ecal", "-n", 100)
    assert calomlp(*command, "-o", "a.root").returncode == 0
    (tmp_path / "b.root").write_bytes(calomlp(*command).stdout)
    first, second = (events(tmp_path / f"{name}.root") for name in "ab")
    assert ak.array_equal(first, second)
    with uproot.open(tmp_path / "a.root") as one, uproot.open(tmp_path / "b.root") as other:
        assert one.file.uuid == other.file.uuid


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_the_number_of_processes_changes_no_byte(calomlp: Run, tmp_path: Path, container: str) -> None:
    command = ("simulate", "siw-ecal", "-p", "e-,pi-", "-E", "1:10", "-n", BLOCK + 100, "--container", container)
    for jobs in "12":
        (tmp_path / jobs).mkdir()
        done = calomlp(*command, "--hits", "-o", "a.root", env={"CALOMLP_SIMULATE_JOBS": jobs}, cwd=tmp_path / jobs)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "1/a.root").read_bytes() == (tmp_path / "2/a.root").read_bytes()


def test_shards_are_the_whole_in_parts(calomlp: Run, tmp_path: Path) -> None:
    small = ("siw-ecal", "--set", "layers.repeat=3", "--hits")
    command = ("simulate", *small, "-p", "gamma,p", "-E", "1:10", "-n", BLOCK + 200, "--seed", 5)
    assert calomlp(*command, "-o", "whole.root").returncode == 0
    for i in range(2):
        assert calomlp(*command, "--shard", f"{i}/2", "-o", f"{i}.root").returncode == 0
    whole, shards = events(tmp_path / "whole.root"), ak.concatenate([events(tmp_path / f"{i}.root") for i in range(2)])
    assert whole.fields == shards.fields
    for name in whole.fields:
        assert ak.array_equal(whole[name], shards[name]), name


def test_a_detector_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = resources.files("calomlp.simulation").joinpath("presets/siw-ecal.toml").read_text()
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(preset)
    Path("link").symlink_to("mine.toml")
    assert run(["simulate", "mine.toml", "-n", "10", "-o", "link", "--force", "-q"]) == 2
    assert "link: this command reads this file too: choose another name" in capsys.readouterr().err
    assert Path("mine.toml").read_text() == preset
    Path("siw-ecal").touch()  # the name of a preset is that of no file
    assert run(["simulate", "siw-ecal", "-n", "10", "-o", "siw-ecal", "--force", "-q"]) == 0


BAD = {
    "-p pi0": "does not simulate 'pi0'",
    "-p e-:0": "'0' is not a weight",
    "-p e-,e-": "'e-' is named twice",
    "-E 0.05": "energy 0.05 GeV is not legal: from 0.1 GeV to 10 TeV",
    "-E 1:20000": "energy 20000 GeV is not legal",
    "-E 5:1": "the lower edge must be below the upper edge",
    "-E ten": "neither a range such as 1:100 nor points",
    "--spectrum E^99": "spectrum E^99 is not legal",
    "--spectrum lgo": "did you mean 'log'",
    "--momentum-spread 0.5": "momentum spread 0.5 is not legal",
    "--impact here": "impact 'here' is not legal",
    "--angle 70": "angle '70' is not legal",
    "-n 0": "not a count",
    "-n 1e15": "number of events 1000000000000000 is not legal",
    "--seed -1": "seed -1 is not legal",
    "--shard 3/3": "shard 3 of 3 is not legal",
    "--shard 0/99 -n 10": "99 shards of 10 events are not legal",
    "--shard half": "not of the form i/n",
    "--jobs -1": "number of processes -1 is not legal",
    "--device tpu": "device 'tpu' is not available here",
    "--hits --set response.c_em=0": "with hits, c_em = 0 is not legal",
    "--hits --set layers.cells=100 --set readout.threshold=0": "threshold is missing",
    "--set layers.absorber.thickness=3": "thickness = 3 has no unit",
    "--set layers.repeat=1000 --set layers.absorber.thickness=10mm": "X0 in all are not legal: at most 3000 X0",
    "--set readout.photo_electrons=9/MIP --set readout.saturation=0.5pixels": "at least 1 pixel",
}


@pytest.mark.parametrize("flags", BAD)
def test_a_bad_request_is_one_line_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code = run(["simulate", "siw-ecal", *flags.split(), "-o", "x.root", "-q"])
    output, error = capsys.readouterr()
    assert code == 2, error
    assert error.startswith("calomlp simulate: error: ")
    assert BAD[flags] in error
    assert len(error.splitlines()) == 1
    assert output == ""
    assert list(tmp_path.iterdir()) == []


def test_hits_without_cells_are_refused(calomlp: Run, tmp_path: Path) -> None:
    (tmp_path / "bare.toml").write_text(
        'name = "bare"\nlayers = [{ name = "a", sensor = { material = "Si", thickness = "1 mm", active = true } }]'
    )
    done = calomlp("simulate", "bare.toml", "-n", 10, "--hits", "-o", "x.root")
    assert done.returncode == 2
    assert b"layers 'a' have no cells, without which there are no hits; give cells and cell_size" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert calomlp("simulate", "bare.toml", "-n", 10, "-o", "y.root").returncode == 0
    assert not (tmp_path / "x.root").exists()


# Processes and signals

LONG = ["simulate", "siw-ecal", "-n", "100M", "--jobs", "2", "-o", "s.root"]


class Running:
    """A long simulation in two processes, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "calomlp", *LONG],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_hear_signals,  # noqa: PLW1509 - the tests have one thread
        )
        self._wait_for(lambda: len(self.others()) == 4 and any(folder.glob("*.part")))
        time.sleep(1.0)  # until blocks arrive

    def others(self) -> dict[int, int]:
        """Live processes besides the one that writes, with their parents: two that simulate, and what starts them."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            pid = int(status.parent.name)
            if int(fields[3]) == self.process.pid != pid and fields[0] != "Z":
                found[pid] = int(fields[1])
        return found

    @staticmethod
    def _wait_for(condition: Any) -> None:
        for _ in range(600):
            if condition():
                return
            time.sleep(0.05)
        pytest.fail("the processes did not start")

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the last line of standard error."""
        _, error = self.process.communicate(timeout=60)
        for _ in range(40):
            if not self.others():
                break
            time.sleep(0.05)
        return self.process.returncode, (error.splitlines() or [""])[-1]


def _hear_signals() -> None:
    """Undo what a test run in the background inherits: there, shells have SIGINT ignored."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("signum", "code", "everyone"), [(signal.SIGTERM, 143, False), (signal.SIGINT, 130, True)], ids=["one", "all"]
)
def test_a_signal_leaves_neither_file_nor_process_behind(
    tmp_path: Path, signum: signal.Signals, code: int, everyone: bool
) -> None:
    running = Running(tmp_path)
    if everyone:  # as a terminal and a batch system do
        os.killpg(running.process.pid, signum)
    else:
        os.kill(running.process.pid, signum)
    assert running.end() == (code, f"calomlp simulate: error: interrupted by {signum.name}, nothing was written")
    assert running.others() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_is_missed(tmp_path: Path) -> None:
    running = Running(tmp_path)
    simulating = [pid for pid, parent in running.others().items() if parent != running.process.pid]
    assert len(simulating) == 2
    os.kill(simulating[0], signal.SIGKILL)
    code, line = running.end()
    assert line == ("calomlp simulate: error: a simulating process died, perhaps for lack of memory; try fewer --jobs")
    assert code == 1
    assert running.others() == {}
    assert list(tmp_path.iterdir()) == []


def test_when_the_writer_is_killed_the_others_end_too(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.process.kill()
    running.end()
    assert running.others() == {}
