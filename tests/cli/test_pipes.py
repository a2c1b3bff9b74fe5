"""The contract of the streams: what goes to standard output, what to standard error, and how commands are chained."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uproot
from safetensors import safe_open

from calomlp.model.file import read_model
from tests.conftest import Run

CALOMLP = f"{sys.executable} -m calomlp"
CONTROL = b"\x1b"


def shell(line: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = ["bash", "-euo", "pipefail", "-c", line.replace("calomlp ", f"{CALOMLP} ")]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False, **options)


def record(output: bytes) -> dict[str, Any]:
    lines = output.decode().splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    assert found["schema"] == "calomlp.record/1"
    return found


CHAIN = (
    "simulate siw-ecal -n 3000 -o s.root",
    "train - --epochs 2 -o m.safetensors",
    "evaluate - -o r.json",
    "plot - -o figs/ --kind linearity",
)


def test_records_pass_from_command_to_command_and_the_same_commands_give_the_same_bytes(
    calomlp: Run, tmp_path: Path
) -> None:
    for name in ("processes", "here"):
        (tmp_path / name).mkdir()
    done = shell(" | ".join(f"calomlp {command}" for command in CHAIN), tmp_path / "processes")
    assert done.returncode == 0, done.stderr
    assert record(done.stdout) | {"seconds": 0} == {
        "schema": "calomlp.record/1",
        "action": "plot",
        "status": "done",
        "artefact": "figures",
        "path": "figs/",
        "files": ["figs/linearity.pdf"],
        "seconds": 0,
    }
    assert CONTROL not in done.stderr
    said = b""
    for command in CHAIN:
        said = calomlp(*command.split(), input=said, cwd=tmp_path / "here").stdout
    for folder in (tmp_path / "processes", tmp_path / "here"):
        assert {path.name for path in folder.iterdir()} == {"s.root", "m.safetensors", "r.json", "figs"}
    for name in ("s.root", "m.safetensors", "r.json", "figs/linearity.pdf"):
        assert (tmp_path / "processes" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


def test_bytes_pass_from_command_to_command(calomlp: Run, tmp_path: Path) -> None:
    done = shell(
        "calomlp simulate siw-ecal -n 3000 -o - | calomlp train - --epochs 2 -o - > m.safetensors",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    model = read_model(str(tmp_path / "m.safetensors"), "m")
    assert model.files[0].path == "<stdin>"
    made = calomlp("simulate", "siw-ecal", "-n", 2000, "--seed", 2).stdout
    made = calomlp("evaluate", "m.safetensors", "-", input=made).stdout
    assert calomlp("plot", "-", "--kind", "linearity", input=made).stdout.startswith(b"%PDF")
    assert {path.name for path in tmp_path.iterdir()} == {"m.safetensors"}


def test_lines_with_paths_name_the_files(calomlp: Run) -> None:
    records = [
        calomlp("simulate", "siw-ecal", "-n", 3000, "--shard", f"{i}/2", "-o", f"s{i}.root").stdout for i in range(2)
    ]
    train = ("train", "-", "--epochs", 1, "-o")
    by_name = calomlp(*train, "a.safetensors", input=b"s0.root\ns1.root\n")
    by_record = calomlp(*train, "b.safetensors", input=b"".join(records))
    assert record(by_name.stdout)["events"] == record(by_record.stdout)["events"]


def test_standard_output_holds_the_record_and_standard_error_plain_lines(calomlp: Run, electrons: Path) -> None:
    done = calomlp("train", electrons, "--epochs", 2, "-o", "m.safetensors")
    assert record(done.stdout)["epochs"] == 2
    lines = done.stderr.decode().splitlines()
    assert all(line.startswith("calomlp train: ") for line in lines)
    assert sum(": epoch " in line for line in lines) == 2
    assert CONTROL not in done.stderr


def test_quiet_leaves_only_warnings(calomlp: Run, electrons: Path) -> None:
    done = calomlp("train", electrons, "--epochs", 2, "-o", "m.safetensors", "--quiet")
    assert all(b"warning" in line for line in done.stderr.splitlines())


def drained(leader: int) -> bytes:
    """Return all that was written to a terminal that nobody writes to any more, and close it."""
    parts = []
    with suppress(OSError):  # how Linux says that this was all
        while part := os.read(leader, 65536):
            parts.append(part)
    os.close(leader)
    return b"".join(parts)


def test_a_terminal_gets_a_summary_and_a_log_file_a_record(tmp_path: Path, electrons: Path) -> None:
    outputs = []
    for arguments in (["train", str(electrons), "--epochs", "1", "-o", "m"], ["evaluate", "m"]):
        leader, follower = pty.openpty()
        command = [sys.executable, "-m", "calomlp", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE, check=True
        )
        os.close(follower)
        outputs.append(drained(leader).decode())
        assert CONTROL not in done.stderr  # not a terminal
    assert "parameters, best of 1 epochs" in outputs[0]
    assert "Response and resolution" in outputs[1]
    assert "schema" not in outputs[1]


def test_lines_on_a_terminal_break_between_words(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "calomlp", "train", "a/rather/long/path/to/showers.root", "--loss", "hubr"]
    environment = os.environ | {"COLUMNS": "40"}
    subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=follower, check=False)
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert len(shown.splitlines()) > 2
    assert all(len(line) <= 40 for line in shown.splitlines())
    assert "'quantiles' (see calomlp train --help)" in " ".join(shown.split())


def test_binary_is_not_written_to_a_terminal() -> None:
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "calomlp", "simulate", "siw-ecal"], stdout=follower, stderr=subprocess.PIPE, check=False
    )
    os.close(follower)
    os.close(leader)
    assert done.returncode == 2
    assert b"does not go to a terminal" in done.stderr


def test_a_reader_that_goes_away_is_a_broken_pipe(tmp_path: Path) -> None:
    done = shell("set +e; calomlp simulate siw-ecal -n 20k | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}", tmp_path)
    assert done.stdout == b"141\n"
    assert done.stderr == b""


def test_a_data_set_tells_what_made_it(calomlp: Run, tmp_path: Path) -> None:
    calomlp("simulate", "ahcal", "-p", "pi-", "-E", "5,10", "-n", 100, "-o", "p.root")
    with uproot.open(tmp_path / "p.root") as file:
        provenance = json.loads(str(file["provenance"]))
        assert set(file["events"]["true_energy"].array()) == {5, 10}
    assert provenance["simulation"]["particles"] == {"pi-": 1.0}
    assert provenance["settings"]["energy"] == "5,10"
    assert provenance["command"][:3] == ["calomlp", "simulate", "ahcal"]


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_both_containers_train_the_same_model(calomlp: Run, tmp_path: Path, container: str) -> None:
    calomlp("simulate", "siw-ecal", "-n", 2000, "--container", container, "-o", "s.root")
    done = calomlp("train", "s.root", "--epochs", 1, "-o", "m.safetensors")
    assert done.returncode == 0, done.stderr
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        assert file.get_tensor("anchor_weights").shape == (30,)


def test_markdown(calomlp: Run, electrons: Path) -> None:
    calomlp("train", electrons, "--epochs", 1, "-o", "m")
    page = calomlp("evaluate", "m", "--format", "md").stdout.decode()
    assert page.startswith("# Energy resolution")
    assert "| linear anchor" in page
