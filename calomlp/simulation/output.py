"""A simulated data set: blocks of events from several processes, streamed to a ROOT file with their provenance."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from calomlp.errors import CalomlpError
from calomlp.provenance import fingerprint
from calomlp.provenance import provenance as software
from calomlp.run import Interrupt, Run
from calomlp.simulation.request import Request, provenance

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


def write_dataset(
    request: Request,
    path: Path,
    container: str,
    settings: Mapping[str, Any],
    run: Run,
    *,
    jobs: int = 0,
    device: str = "cpu",
) -> None:
    """Generate a request block by block and write it.

    Args:
        request: What to simulate.
        path: The file to write.
        container: ``ttree`` or ``rntuple``.
        settings: The resolved settings that the events depend on, for the provenance.
        run: Told of every block.
        jobs: Number of processes, 0 to choose it.
        device: Where to compute; on a GPU this process does.

    Raises:
        UsageError: If there is no such device.
        Interrupted: If a signal arrives.
    """
    blocks = _generate(request, jobs or choose_jobs(request), device)
    from calomlp.data.writer import DatasetWriter  # noqa: PLC0415 - loads while the processes start

    physics = provenance(request)
    details = software(simulation=physics, settings=dict(settings))
    run.progress.start("simulating", len(request.event_range), "events")
    where = device.partition(":")[0]
    identity = fingerprint(physics if where == "cpu" else {**physics, "device": where})
    with DatasetWriter(path, container=container, identity=identity, provenance=details) as writer:
        for block in _until_signalled(blocks, run.interrupt):
            writer.extend(block)
            run.progress.advance(len(block["event_id"]))
    run.progress.finish()


def _until_signalled(blocks: Iterator[dict[str, Any]], interrupt: Interrupt) -> Iterator[dict[str, Any]]:
    try:
        for block in blocks:
            interrupt.check()
            yield block
    except CalomlpError:
        interrupt.check()  # a signal to all processes of a job ends those that simulate first
        raise


def _generate(request: Request, jobs: int, device: str) -> Iterator[dict[str, Any]]:
    if device != "cpu":
        from calomlp.compute import find_device  # noqa: PLC0415 - loads the tensor library

        find_device(device)
    elif jobs > 1:
        return generate_in_processes(request, jobs)
    from calomlp.simulation.generate import generate  # noqa: PLC0415 - with several processes, only they need tensors

    return generate(request, device)
