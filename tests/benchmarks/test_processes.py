"""How much faster two processes train than one, each with one thread; a busy machine says nothing of it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.showers import ELECTRONS

pytestmark = pytest.mark.benchmark

ROUNDS = 3
TRAIN = ("calomlp", "train", "--threads", "1", "--epochs", "4", "--batch-size", "4096", "--hidden", "128,128")
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m")


def test_two_processes_are_faster_than_one(tmp_path: Path) -> None:
    data = ELECTRONS.simulated(tmp_path, 400_000, 1).path
    print("\n  one process   two processes [events/s]   ratio")
    ratios = []
    for _ in range(ROUNDS):
        one, two = (speed((*launcher, *TRAIN, data), tmp_path) for launcher in ((), TORCHRUN))
        ratios.append(two / one)
        print(f"{one:13.0f} {two:15.0f} {ratios[-1]:18.2f}")
    assert np.median(ratios) > 1.6


def speed(command: tuple[str, ...], folder: Path) -> float:
    """Return the events that are trained on in a second, with the validation after each epoch."""
    ends, events = [], 0
    arguments = [sys.executable, "-m", *command, "--force", "-o", str(folder / "m.safetensors")]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"training on (\d+) events", line):
                events = int(found[1])
            if re.search(r"epoch \d+/", line):
                ends.append(time.perf_counter())
    assert process.returncode == 0
    return float(events / np.median(np.diff(ends)))
