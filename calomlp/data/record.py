"""A file as it is remembered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileRecord:
    """A file as a model or report remembers it.

    Attributes:
        path: Where it lay, ``<stdin>`` if it came through a pipe.
        tree: The tree that was read.
        identity: UUID and tree; the same wherever the file is copied.
        events: Number of events in it.
    """

    path: str
    tree: str
    identity: str
    events: int
