"""The order of events, and tables in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calomlp.training import events as module
from calomlp.training.events import Events, EventsInFile, EventsInMemory, Table


def table(n: int, width: int = 3) -> Events:
    columns = torch.arange(n, dtype=torch.float32)
    return Events.of(columns[:, None].repeat(1, width), *(columns for _ in range(5)))


def order(events: Table, **options: int) -> list[list[int]]:
    batches = events.batches(**{"batch_size": 64, "seed": 1, "epoch": 0} | options)
    return [batch.true_energy.int().tolist() for batch in batches]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WINDOW", 512)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 * 7 * 8)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("n", [1, 63, 64, 511, 512, 513, 519, 520, 1024, 5000, 5119, 5121])
@pytest.mark.parametrize("batch_size", [1, 64, 100, 1000])
def test_every_event_comes_once_in_an_epoch(n: int, batch_size: int) -> None:
    batches = order(table(n), batch_size=batch_size)
    assert sorted(event for batch in batches for event in batch) == list(range(n))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


@pytest.mark.usefixtures("small_windows")
def test_the_order_depends_on_seed_and_epoch_only() -> None:
    events = table(5000)
    first = order(events)
    assert order(events) == first
    assert order(events, epoch=1) != first
    assert order(events, seed=2) != first
    for skip in (1, 7, 8, 9, 30, len(first) - 1, len(first)):
        assert order(events, skip=skip) == first[skip:]


@pytest.mark.usefixtures("small_windows")
def test_a_batch_comes_from_many_places() -> None:
    batch = np.array(order(table(50_000))[0])
    assert len(np.unique(batch // 8)) > 40  # blocks of eight
    assert batch.std() == pytest.approx(50_000 / np.sqrt(12), rel=0.3)


@pytest.mark.usefixtures("small_windows")
def test_batches_from_a_file_are_those_from_memory(tmp_path: Path) -> None:
    events = table(5000)
    memory, disk = EventsInMemory(5000, torch.device("cpu")), EventsInFile(tmp_path)
    for part in events.table.split(700):
        memory.add(Events(part))
        disk.add(Events(part))
    held, mapped = memory.collected(), disk.collected()
    assert not list(tmp_path.iterdir())
    assert order(held) == order(mapped) == order(events)
    assert order(mapped, skip=9) == order(events)[9:]
    assert torch.equal(torch.cat([part.table for part in mapped.parts()]), events.table)
