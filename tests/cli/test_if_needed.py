"""Work that is done already is not done again: --if-needed, alone and in a Makefile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLE_DATA, Run

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CHAIN = (
    ("simulate", "siw-ecal", "-n", "3000", "-E", "1:50", "-o", "s.root"),
    ("train", "s.root", "--epochs", "1", "--hidden", "4", "-o", "m.safetensors"),
    ("evaluate", "m.safetensors", "--all", "-o", "r.json"),
    ("plot", "r.json", "-o", "f/", "--format", "png", "--kind", "linearity"),
)
SOURCES = {"train": "s.root", "evaluate": "m.safetensors", "plot": "r.json"}


Status = Callable[..., str]


@pytest.fixture
def status(calomlp: Run) -> Status:
    """Run a command with --if-needed and return the status in its record."""

    def run(*arguments: object) -> str:
        done = calomlp(*arguments, "--if-needed")
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["status"])

    return run


def test_nothing_is_done_twice_until_an_input_is_newer(status: Status, tmp_path: Path) -> None:
    assert [status(*command) for command in CHAIN] == ["done"] * 4
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert [status(*command) for command in CHAIN] == ["notneeded"] * 4
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    for command in CHAIN[1:]:
        later = max(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) + 10**9
        os.utime(tmp_path / SOURCES[command[0]], ns=(later, later))
        assert status(*command) == "done", command


def test_the_configuration_is_an_input(status: Status, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[simulate]\nevents = 50\n")
    command = ("simulate", "siw-ecal", "-o", "s.root", "--config", "c.toml")
    assert [status(*command), status(*command)] == ["done", "notneeded"]
    later = (tmp_path / "s.root").stat().st_mtime_ns + 10**9
    os.utime(config, ns=(later, later))
    assert status(*command) == "done"


def test_gates_are_checked_on_the_report_that_is_there(calomlp: Run, tmp_path: Path) -> None:
    for command in CHAIN[:3]:
        assert calomlp(*command).returncode == 0
    done = calomlp(*CHAIN[2], "--require", "events > 1e9", "--if-needed")
    assert done.returncode == 6
    assert b"not met: events > 1e9" in done.stderr
    assert calomlp(*CHAIN[2], "--require", "events > 1", "--if-needed").returncode == 0
    assert (tmp_path / "r.json").exists()


def test_a_pipe_has_no_time(calomlp: Run) -> None:
    done = calomlp("simulate", "siw-ecal", "-n", "10", "--if-needed")
    assert done.returncode == 2
    assert b"--if-needed looks at the time of the output" in done.stderr


@pytest.mark.parametrize("dry", [True, pytest.param(False, marks=pytest.mark.landing)], ids=["read", "run"])
def test_the_makefile_of_the_readme_runs_on_the_sample_data(tmp_path: Path, dry: bool) -> None:
    found = re.search(r"```make\n(.*?)```", README, flags=re.DOTALL)
    assert found
    if shutil.which("make") is None:
        pytest.skip("no make")
    (tmp_path / "Makefile").write_text(found[1])
    shutil.copytree(SAMPLE_DATA, tmp_path / "sample_data")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["make", "-C", str(tmp_path), *(["--dry-run"] if dry else [])]
    for expected in ("calomlp train", "calomlp train" if dry else "up to date"):
        done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (tmp_path / "report.html").exists() != dry
