"""Events per second, from the command line to the ROOT file, beside what exact random numbers alone would cost."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from calomlp.compute import threads
from calomlp.simulation.detector_file import load_detector

pytestmark = pytest.mark.benchmark


def plain_cost(n_layers: int, events: int = 8192) -> float:
    """Seconds per event on one thread for an incomplete gamma function and an exact gamma number in each layer."""
    alpha, depth = torch.full((events, 1), 3.9), torch.linspace(0.0, 24.0, n_layers)
    shape = 400.0 * torch.rand(events, n_layers) ** 6  # from far tails to the maximum
    with threads(1):
        start = time.perf_counter()
        torch.special.gammainc(alpha, 0.5 * depth)
        torch._standard_gamma(shape)
        return (time.perf_counter() - start) / events


@pytest.mark.parametrize(
    ("detector", "particle", "events", "hits"),
    [
        ("siw-ecal", "e-", 4_000_000, False),
        ("ahcal", "pi-", 1_000_000, False),
        ("siw-ecal", "e-", 40_000, True),
        ("ahcal", "pi-", 20_000, True),
    ],
)
def test_speed(tmp_path: Path, detector: str, particle: str, events: int, hits: bool) -> None:
    output = tmp_path / "a.root"
    command = [
        "simulate",
        detector,
        "-p",
        particle,
        "-n",
        str(events),
        "-o",
        str(output),
        *(["--hits"] if hits else []),
    ]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "calomlp", *command], check=True, capture_output=True)
    seconds = (time.perf_counter() - start) / events
    ratio = seconds / plain_cost(load_detector(detector).n_layers)
    what = f"{particle} in {detector}{' with hits' if hits else ''}"
    print(f"\n{what}: {1 / seconds:.3g} events/s, {ratio:.2f} of the plain numbers of one thread", end="")
    assert output.stat().st_size > 100 * events
