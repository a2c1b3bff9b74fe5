"""A simulated data set: events, streamed to a ROOT file with their provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calomlp.data.writer import DatasetWriter
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress
from calomlp.provenance import fingerprint
from calomlp.provenance import provenance as software
from calomlp.simulation.generate import generate
from calomlp.simulation.request import Request, provenance


def write_dataset(
    request: Request,
    path: Path,
    container: str,
    settings: Mapping[str, Any],
    *,
    progress: Progress,
    interrupt: Interrupt,
) -> None:
    """Generate a request block by block and write it.

    Args:
        request: What to simulate.
        path: The file to write.
        container: ``ttree`` or ``rntuple``.
        settings: The resolved settings, for the provenance.
        progress: Told of every block.
        interrupt: Looked at after every block.

    Raises:
        Interrupted: If a signal arrives.
    """
    physics = provenance(request)
    details = software(simulation=physics, settings=dict(settings))
    progress.start("simulating", len(request.event_range), "events")
    with DatasetWriter(path, container=container, identity=fingerprint(physics), provenance=details) as writer:
        for block in generate(request):
            writer.extend(block)
            progress.advance(len(block["event_id"]))
            interrupt.check()
    progress.finish()
