"""Blocks of events from several processes, in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from calomlp.errors import CalomlpError
from calomlp.simulation.request import Request

_WORTH_A_PROCESS = 16
"""Blocks of layers that are simulated in the time that a process takes to start."""


def choose_jobs(request: Request) -> int:
    """Number of processes that finish soonest, at most one for each core that this process may use."""
    blocks = len(request.blocks)
    return max(1, min(len(os.sched_getaffinity(0)), blocks if request.hits else blocks // _WORTH_A_PROCESS))


def generate_in_processes(request: Request, jobs: int) -> Iterator[dict[str, Any]]:
    """Simulate the blocks of a request in ``jobs`` processes, which start at once, and yield them in order.

    Every process has each ``jobs``-th block and waits with the next one until this one is fetched, so that no more than
    a few blocks are in memory at a time.

    Raises:
        CalomlpError: If a process dies.
    """
    # Workers are forked from a server that has loaded everything once and has no other threads; this process, which
    # may have some, is never forked.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["calomlp.simulation.generate"])
    readers, processes = [], []
    for i in range(min(jobs, len(request.blocks))):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(request, request.blocks[i::jobs], writer), daemon=True)
        process.start()
        writer.close()
        readers.append(reader)
        processes.append(process)
    return _in_turn(len(request.blocks), readers, processes)


def _in_turn(n_blocks: int, readers: list[Connection], processes: list[ForkServerProcess]) -> Iterator[dict[str, Any]]:
    try:
        for i in range(n_blocks):
            yield _receive(readers[i % len(readers)])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _receive(reader: Connection) -> dict[str, Any]:
    try:
        block = reader.recv()
    except (EOFError, OSError) as error:  # between two blocks, in the middle of one
        raise CalomlpError("a simulating process died, perhaps for lack of memory; try fewer --jobs") from error
    if isinstance(block, BaseException):
        raise block
    return block  # type: ignore[no-any-return]


def _work(request: Request, numbers: range, writer: Connection) -> None:
    """Simulate blocks and send them; end when nobody listens any more."""
    from calomlp.simulation.generate import Simulation  # noqa: PLC0415 - the parent process needs no tensors

    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)  # a terminal signals all; the process that writes the file decides
    try:
        simulation = Simulation(request)
        for number in numbers:
            writer.send(simulation.block(number))
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001 - raised again by the process that asked
        writer.send(error)
