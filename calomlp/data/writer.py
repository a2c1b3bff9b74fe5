"""ROOT files out: a TTree or RNTuple with a provenance string beside it, the same bytes for the same events."""

from __future__ import annotations

import datetime
import types
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import awkward as ak
import numpy as np
import uproot
import uproot.writing._cascade
import uproot.writing._cascadentuple
import uproot.writing._cascadetree
from numpy.typing import NDArray

from calomlp.data.reader import DEFAULT_TREE
from calomlp.provenance import canonical_json

PROVENANCE_KEY = "provenance"
_FLUSH_EVENTS = 65_536
_ROOT_EPOCH = datetime.datetime(1995, 1, 1)  # noqa: DTZ001 - ROOT stores local time without a zone


class DatasetWriter:
    """Writes columns to a tree named ``events``; a context manager.

    The file's UUID is given and its timestamps are fixed, so that the same command makes the same bytes, and a model
    recognises the file that it was trained on even when it was made again.

    Args:
        path: The file.
        container: ``ttree`` or ``rntuple``.
        identity: 32 hexadecimal digits that stand for the events, and become the UUID of the file.
        provenance: Written beside the tree as JSON.
    """

    def __init__(self, path: Path, *, container: str, identity: str, provenance: Mapping[str, Any]) -> None:
        self._container = container
        self._provenance = canonical_json(provenance)
        self._stack = ExitStack()
        self._stack.enter_context(_frozen_clock())
        stream = self._stack.enter_context(path.open("w+b"))  # given a path, ROOT would write it into the file
        self._file = self._stack.enter_context(
            uproot.recreate(stream, compression=uproot.ZSTD(3), uuid_function=lambda: uuid.UUID(identity))
        )
        self._tree: Any = None
        self._pending: list[Mapping[str, NDArray[Any]]] = []
        self._pending_events = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
            self._file[PROVENANCE_KEY] = self._provenance
        self._stack.close()

    def extend(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append events: arrays of shape [events] or [events, n] by branch name."""
        self._pending.append(columns)
        self._pending_events += len(next(iter(columns.values())))
        if self._pending_events >= _FLUSH_EVENTS:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        columns = {name: np.concatenate([part[name] for part in self._pending]) for name in self._pending[0]}
        self._pending, self._pending_events = [], 0
        if self._container == "rntuple":
            array = ak.Array(columns)
            if self._tree is None:
                self._tree = self._file.mkrntuple(DEFAULT_TREE, array.layout.form)
            self._tree.extend(array)
        else:
            if self._tree is None:
                kinds = {name: np.dtype((values.dtype, values.shape[1:])) for name, values in columns.items()}
                self._tree = self._file.mktree(DEFAULT_TREE, kinds)
            self._tree.extend(columns)


@contextmanager
def _frozen_clock() -> Iterator[None]:
    """Make uproot stamp ROOT's first day instead of now, because it offers no way to choose the time."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:  # noqa: ARG003 - the signature of datetime.now
            return cls(*_ROOT_EPOCH.timetuple()[:6])

    frozen = types.SimpleNamespace(datetime=Clock)
    with ExitStack() as stack:
        for module in (uproot.writing._cascade, uproot.writing._cascadetree, uproot.writing._cascadentuple):  # noqa: SLF001
            stack.enter_context(mock.patch.object(module, "datetime", frozen))
        yield
