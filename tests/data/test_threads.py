"""Baskets and pages that several threads unpack."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.data import root
from calomlp.data.root import open_table
from calomlp.data.sources import Source
from calomlp.errors import InputError

EVENTS, PARTS = 2000, 20
COLUMNS = ["array", "list", "number"]


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of many small baskets, or of many small pages."""
    path = tmp_path_factory.mktemp("threads") / "f.root"
    rng = np.random.default_rng(1)
    columns = {
        "number": rng.normal(size=EVENTS).round(2),
        "array": rng.normal(size=(EVENTS, 3)).round(2),
        "list": ak.unflatten(rng.normal(size=5 * EVENTS).round(2), np.full(EVENTS, 5)),
    }
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        if request.param == "ttree":
            kinds = {"number": np.float64, "array": np.dtype(("f8", (3,))), "list": "var * float64"}
            tree, part = file.mktree("events", kinds), columns
        else:
            part = ak.Array(columns)
            tree = file.mkrntuple("events", part.layout.form)
        for _ in range(PARTS):
            tree.extend(part)
    return path


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Any:
    yield
    # a signal may leave some that never began, and on a busy machine one that was told to end takes its time
    workers = [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name and thread.is_alive()]
    for thread in workers:
        thread.join(timeout=10)
    assert not [thread for thread in workers if thread.is_alive()]


def source(path: Path) -> Source:
    return Source(str(path), None, path.name)


def test_the_number_of_threads_does_not_matter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(root, "_CHUNK_BYTES", 500_000)
    read = []
    for threads in (1, 2, 8):
        monkeypatch.setattr(root, "_MAX_THREADS", threads)
        with open_table(source(path)) as table:
            read.append([chunk for _, chunk in table.chunks(COLUMNS)])
    assert len(read[0]) > 3
    for other in read[1:]:
        for one, two in zip(read[0], other, strict=True):
            assert all(ak.array_equal(one[name], two[name]) for name in COLUMNS)


def test_what_fails_in_a_thread_is_said(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    block = data.index(b"ZS\x01", len(data) // 2) + 9  # of what zstandard packed, behind the head that ROOT puts there
    data[block : block + 8] = bytes(8)
    damaged = tmp_path / "damaged.root"
    damaged.write_bytes(data)
    message = r"damaged\.root:events: branch '\w+' cannot be read after event"
    with open_table(source(damaged)) as table, pytest.raises(InputError, match=message):
        list(table.chunks(COLUMNS))


def test_whoever_stops_early_leaves_nothing_running(path: Path) -> None:
    with open_table(source(path)) as table:
        next(table.chunks(COLUMNS))
    with pytest.raises(ZeroDivisionError), open_table(source(path)) as table:
        for _ in table.chunks(COLUMNS):
            raise ZeroDivisionError


def test_a_signal_in_the_middle_ends_it(path: Path) -> None:
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(KeyboardInterrupt), open_table(source(path)) as table:
        while True:
            list(table.chunks(COLUMNS))
    signal.signal(signal.SIGALRM, previous)
