"""How fast events come out of a file, beside uproot alone, on the same columns in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uproot

from calomlp.data.choice import Wanted, choose
from calomlp.data.dataset import Dataset
from calomlp.data.expressions import Expression
from calomlp.data.root import open_table
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sample import Recipe, Split
from calomlp.data.sources import Source
from calomlp.run import Run
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.output import write_dataset
from calomlp.simulation.request import Request, Spectrum

pytestmark = pytest.mark.benchmark

EVENTS, ROUNDS = 2_000_000, 7
COLUMNS = ["layer_energy", "true_energy"]


def bare(path: Path) -> int:
    """Read the columns with uproot alone."""
    return sum(len(chunk["true_energy"]) for chunk in uproot.iterate({path: "events"}, COLUMNS, library="np"))


def chunks(path: Path) -> int:
    """Read the columns as every command does."""
    with open_table(Source(str(path), None, path.name)) as table:
        return sum(len(chunk["true_energy"]) for _, chunk in table.chunks(COLUMNS))


def samples(path: Path) -> int:
    """Read the columns and make features, true energies and the split of them, as a training does."""
    target = Expression.parse("true_energy")
    source = Source(str(path), None, path.name)
    with open_rows(source, Layout()) as rows:
        recipe = Recipe(choose(rows, target, Wanted(tuple(COLUMNS[:1])))[0], target, Split())
    with Dataset([source], recipe, Run()).open(0) as file:
        return sum(len(chunk) for chunk in file.chunks())


READERS: dict[str, Callable[[Path], int]] = {"uproot": bare, "chunks": chunks, "samples": samples}


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_nearly_as_fast_as_uproot_alone(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"{container}.root"
    request = Request(load_detector("siw-ecal"), (("e-", 1.0),), Spectrum.parse("1:100"), EVENTS, 1)
    write_dataset(request, path, container, {}, Run())
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(ROUNDS):
        for name, reader in READERS.items():
            start = time.perf_counter()
            assert reader(path) == EVENTS
            seconds[name].append(time.perf_counter() - start)
    rates = {name: EVENTS / min(values) for name, values in seconds.items()}
    print(f"\n{container:<10} Mevents/s   of uproot", end="")
    for name, rate in rates.items():
        print(f"\n  {name:<8} {rate / 1e6:9.2f} {rate / rates['uproot']:11.2f}", end="")
    assert rates["chunks"] > 0.8 * rates["uproot"]
