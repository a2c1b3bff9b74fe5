"""A simulated data set: events, streamed to a ROOT file with their provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calomlp.errors import CalomlpError
from calomlp.provenance import fingerprint
from calomlp.provenance import provenance as software
from calomlp.run import Interrupt, Run
from calomlp.simulation.request import Request, provenance
from calomlp.simulation.workers import choose_jobs, generate_in_processes


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
