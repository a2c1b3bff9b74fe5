"""Training on more events than fit into memory: the peak, and the result beside that of a training in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from calomlp.model.file import Model, read_model
from tests.benchmarks.commands import run
from tests.benchmarks.showers import ELECTRONS

pytestmark = pytest.mark.benchmark

EVENTS = 20_000_000


def trained(data: Path, folder: Path, memory: str) -> tuple[Model, float]:
    """Train in a process of its own; return the model and the peak of the memory that was resident [GB]."""
    model = folder / f"{memory}.safetensors"
    options = ("--memory", memory, "--cache", "cache", "--epochs", 1, "-q", "-o", model.name)
    used = run(folder, "train", data, *options)
    return read_model(str(model), model.name), used.memory / 1e9


def test_twenty_million_events_in_half_a_gigabyte(tmp_path: Path) -> None:
    data = Path(ELECTRONS.simulated(tmp_path, EVENTS, 1).path)
    disk, peak = trained(data, tmp_path, "512MB")
    memory, other_peak = trained(data, tmp_path, "64GB")
    print(f"\n{EVENTS} events: {peak:.2f} GB with --memory 512MB, {other_peak:.2f} GB with all events in memory")
    assert peak < 1.2
    assert disk.history == memory.history
    for name, value in disk.regressor.state_dict().items():
        assert (value == memory.regressor.state_dict()[name]).all()
