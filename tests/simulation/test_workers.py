"""Blocks from several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from calomlp.errors import CalomlpError
from calomlp.simulation.output import choose_jobs, generate_in_processes
from calomlp.simulation.request import BLOCK
from tests.simulation.tools import columns_of, join, request, same

RUN = request("siw-ecal", "e-,pi-", "1:20", 3 * BLOCK + 5)
LONG = request("siw-ecal", "e-", "1:20", 10_000 * BLOCK)


@pytest.mark.parametrize("jobs", [2, 9])
def test_processes_give_the_same_blocks_in_the_same_order(jobs: int) -> None:
    same(join(list(generate_in_processes(RUN, jobs))), columns_of(RUN))
    assert multiprocessing.active_children() == []


def test_who_asks_no_more_leaves_no_process_behind() -> None:
    blocks = generate_in_processes(LONG, 2)
    next(blocks)
    assert len(multiprocessing.active_children()) == 2
    blocks.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_dies_is_missed(which: int) -> None:
    blocks = generate_in_processes(LONG, 2)
    next(blocks)
    victim = sorted(child.pid or 0 for child in multiprocessing.active_children())[which]
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(CalomlpError, match="a simulating process died, perhaps for lack of memory; try fewer --jobs"):
        for _ in range(200):
            next(blocks)
    assert multiprocessing.active_children() == []


def test_processes_do_not_run_ahead_of_who_asks() -> None:
    blocks = generate_in_processes(LONG, 2)
    next(blocks)
    children = [Path(f"/proc/{child.pid}/stat") for child in multiprocessing.active_children()]
    for _ in range(100):
        before = [cpu_time(child) for child in children]
        time.sleep(0.3)
        if [cpu_time(child) for child in children] == before:
            break
    else:
        pytest.fail("the processes go on although nobody asks")
    blocks.close()  # type: ignore[attr-defined]


def cpu_time(status: Path) -> list[str]:
    return status.read_text().rpartition(")")[2].split()[11:13]


def test_what_goes_wrong_in_a_process_is_said_by_the_one_that_asked() -> None:
    broken = request("siw-ecal", "e-", "1:20", 2 * BLOCK)
    object.__setattr__(broken, "particles", (("x", 1.0),))
    with pytest.raises(KeyError, match="x"):
        list(generate_in_processes(broken, 2))


@pytest.mark.parametrize(
    ("how", "cores", "jobs"),
    [
        ({"n": 1000}, 8, 1),
        ({"n": 20 * BLOCK}, 8, 1),
        ({"n": 40 * BLOCK}, 8, 2),
        ({"n": 1000 * BLOCK}, 8, 8),
        ({"n": 1000 * BLOCK, "shard": (0, 25)}, 8, 2),
        ({"n": 1000, "hits": True}, 8, 1),
        ({"n": 3 * BLOCK, "hits": True}, 8, 3),
        ({"n": 100 * BLOCK, "hits": True}, 1, 1),
    ],
)
def test_as_many_processes_as_are_worth_it(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], cores: int, jobs: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert choose_jobs(request("siw-ecal", "e-", "10", **how)) == jobs
