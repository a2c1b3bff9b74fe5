"""Training on more events than fit into memory: the peak, and the result beside that of a training in memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from calomlp.model.file import Model, read_model
from tests.benchmarks.showers import ELECTRONS
from tests.conftest import ROOT

pytestmark = pytest.mark.benchmark

EVENTS = 20_000_000


def trained(data: Path, folder: Path, memory: str) -> tuple[Model, float]:
    """Train in a process of its own; return the model and the peak of the memory that was resident [GB]."""
    model = folder / f"{memory}.safetensors"
    options = ["--memory", memory, "--cache", str(folder / "cache"), "--epochs", "1", "-q", "-o", str(model)]
    command = [sys.executable, "-m", "calomlp", "train", str(data), *options]
    process = os.posix_spawn(sys.executable, command, {**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return read_model(str(model), model.name), usage.ru_maxrss * 1024 / 1e9


def test_twenty_million_events_in_half_a_gigabyte(tmp_path: Path) -> None:
    data = Path(ELECTRONS.simulated(tmp_path, EVENTS, 1).path)
    disk, peak = trained(data, tmp_path, "512MB")
    memory, other_peak = trained(data, tmp_path, "64GB")
    print(f"\n{EVENTS} events: {peak:.2f} GB with --memory 512MB, {other_peak:.2f} GB with all events in memory")
    assert peak < 1.2
    assert disk.history == memory.history
    for name, value in disk.regressor.state_dict().items():
        assert (value == memory.regressor.state_dict()[name]).all()
