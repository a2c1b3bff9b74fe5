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
        true_energy: True energy of all its events [GeV], where it was given for the file.
        friends: Trees with the same entries that were read beside it, as ``file.root:tree``.
    """

    path: str
    tree: str
    identity: str
    events: int
    true_energy: float | None = None
    friends: tuple[str, ...] = ()
