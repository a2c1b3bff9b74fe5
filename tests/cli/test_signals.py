"""Signals, with real processes: a run that is stopped says so in its exit code, and the same command finishes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calomlp.run import SIGNALS
from tests.conftest import Run, run_here

TRAIN = ["train", "electrons.root", "--epochs", "40", "-o", "m.safetensors"]


@pytest.fixture
def folder(tmp_path: Path, electrons: Path) -> Path:
    (tmp_path / "electrons.root").write_bytes(electrons.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, electrons: Path) -> bytes:
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "electrons.root").write_bytes(electrons.read_bytes())
    assert run_here(*TRAIN, cwd=folder).returncode == 0
    return (folder / "m.safetensors").read_bytes()


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "calomlp", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_signals,  # noqa: PLW1509 - the tests have one thread
    )


def _hear_signals() -> None:
    """Undo what a test run in the background inherits: there, shells have SIGINT ignored."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)


def stop_after(process: subprocess.Popen[str], word: str, signum: int, times: int = 1) -> tuple[int, str]:
    """Send a signal as soon as a word appears on standard error; return exit code and what else was said."""
    assert process.stderr is not None
    while word not in (line := process.stderr.readline()):
        assert line, "the process ended before it could be stopped"
    for _ in range(times):
        os.kill(process.pid, signum)
        time.sleep(0.01)
    _, rest = process.communicate(timeout=60)
    return process.returncode, rest


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        signal.SIGUSR1,
        *(pytest.param(other, marks=pytest.mark.landing) for other in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)),
    ],
)
def test_a_stopped_training_goes_on_to_the_same_bytes(
    calomlp: Run, folder: Path, uninterrupted: bytes, signum: signal.Signals
) -> None:
    code, rest = stop_after(start(folder, TRAIN), "epoch 3/", signum)
    assert code == 85
    assert "run the same command again" in rest.splitlines()[-1]
    assert {path.name for path in folder.iterdir()} == {"electrons.root", "m.safetensors.checkpoint"}
    done = calomlp(*TRAIN, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert b"going on from m.safetensors.checkpoint" in done.stderr
    assert {path.name for path in folder.iterdir()} == {"electrons.root", "m.safetensors"}
    assert (folder / "m.safetensors").read_bytes() == uninterrupted


def test_without_a_place_for_a_checkpoint_the_run_is_lost(folder: Path) -> None:
    process = start(folder, [*TRAIN[:-1], "-"])
    code, rest = stop_after(process, "epoch 3/", signal.SIGTERM)
    assert code == 143
    assert "interrupted by SIGTERM, nothing was written" in rest
    assert {path.name for path in folder.iterdir()} == {"electrons.root"}


def test_a_stopped_simulation_leaves_nothing(folder: Path) -> None:
    process = start(folder, ["simulate", "siw-ecal", "-n", "100M", "-o", "s.root"])
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted by SIGINT" in error
    assert {path.name for path in folder.iterdir()} == {"electrons.root"}


def test_a_budget_of_time_ends_with_a_model(calomlp: Run, folder: Path) -> None:
    done = calomlp(*TRAIN, "--epochs", "1000000", "--stop-after", "0.5s", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended"].startswith("the time is over")
    assert {path.name for path in folder.iterdir()} == {"electrons.root", "m.safetensors"}


def test_the_time_limit_of_a_batch_job(calomlp: Run, folder: Path) -> None:
    done = calomlp(*TRAIN, "--max-time", "0.2s", cwd=folder)
    assert done.returncode == 85
    assert b"the time is over" in done.stderr
    assert (folder / "m.safetensors.checkpoint").exists()


@pytest.mark.parametrize(
    ("kills", "every"), [(2, "0.02s"), pytest.param(12, "0.05s", marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, kills: int, every: str
) -> None:
    command = [*TRAIN, "--epochs", str(40 + 5 * kills), "--checkpoint-every", every]
    whole = tmp_path_factory.mktemp("whole")
    (whole / "electrons.root").write_bytes((folder / "electrons.root").read_bytes())
    assert run_here(*command, cwd=whole).returncode == 0

    moments = random.Random(kills)
    left = set()
    for _ in range(kills):
        process = start(folder, command)
        assert process.stderr is not None
        while "epoch " not in process.stderr.readline():
            assert process.poll() is None, "the process ended before it could be killed"
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        left |= {path.name for path in folder.iterdir()}
    assert "m.safetensors" not in left
    assert "m.safetensors.checkpoint" in left
    last = run_here(*command, cwd=folder)
    assert last.returncode == 0, last.stderr
    assert b"going on from m.safetensors.checkpoint" in last.stderr
    assert {path.name for path in folder.iterdir()} == {"electrons.root", "m.safetensors"}
    assert (folder / "m.safetensors").read_bytes() == (whole / "m.safetensors").read_bytes()
