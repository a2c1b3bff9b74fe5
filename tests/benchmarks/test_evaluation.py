"""The rate of evaluating energies of another reconstruction, beside bare uproot and numpy; and its memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.data.sample import plain_recipe
from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import evaluate
from calomlp.evaluation.options import EvaluateSettings
from calomlp.evaluation.subjects import parse_estimate
from calomlp.run import Run

pytestmark = pytest.mark.benchmark

FILES, EVENTS = 5, 20_000_000
RATIO = 0.7  # bins, checks and errors cost more than one histogram
MEMORY = 1.0  # GB, with the 0.4 that the imports take


def written(path: Path, seed: int) -> Path:
    """Write events of a calorimeter with 10 %/sqrt(E): true energy and that of a cluster."""
    rng = np.random.default_rng(seed)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("events", {"true_energy": "f4", "cluster_energy": "f4"})
        for _ in range(0, EVENTS, 1_000_000):
            energy = np.exp(rng.uniform(0, np.log(100), 1_000_000))
            cluster = energy + 0.1 * np.sqrt(energy) * rng.standard_normal(len(energy))
            tree.extend({"true_energy": energy.astype(np.float32), "cluster_energy": cluster.astype(np.float32)})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A hundred million events."""
    folder = tmp_path_factory.mktemp("clusters")
    return [written(folder / f"{number}.root", number) for number in range(FILES)]


def bare(files: list[Path]) -> None:
    """Read both columns, and fill one histogram of the response."""
    counts = np.zeros(1000, dtype=np.int64)
    names = {str(path): "events" for path in files}
    for chunk in uproot.iterate(names, ["true_energy", "cluster_energy"], library="np", step_size="32 MB"):
        counts += np.histogram(chunk["cluster_energy"] / chunk["true_energy"], 1000, (0, 2))[0]
    assert counts.sum() > 0


def ours(files: list[Path]) -> None:
    report = evaluate(
        [parse_estimate("cluster_energy")],
        plain_recipe("true_energy"),
        [Source(str(path), None, path.name) for path in files],
        EvaluateSettings(),
        Run(),
    )
    assert report.events == FILES * EVENTS


def test_rate_beside_a_bare_histogram(files: list[Path]) -> None:
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(3):
        for name, read in (("bare", bare), ("ours", ours)):
            start = time.perf_counter()
            read(files)
            seconds[name].append(time.perf_counter() - start)
    ratios = [one / other for one, other in zip(seconds["bare"], seconds["ours"], strict=True)]
    rates = {name: FILES * EVENTS / min(values) / 1e6 for name, values in seconds.items()}
    print(f"\nMevents/s: {rates['bare']:.1f} bare, {rates['ours']:.1f} calomlp; ratios {np.round(ratios, 2)}", end="")
    assert np.median(ratios) > RATIO


def test_a_hundred_million_events_in_bounded_memory(files: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "calomlp", "evaluate", "--estimate", "cluster_energy", *map(str, files)]
    start = time.perf_counter()
    subprocess.run([*command, "-o", str(tmp_path / "r.json")], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"\n100 million events in {time.perf_counter() - start:.0f} s, {peak:.2f} GB at most", end="")
    assert peak < MEMORY
