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

from calomlp.data.reader import DEFAULT_TREE
from calomlp.provenance import canonical_json

PROVENANCE_KEY = "provenance"
_FLUSH_BYTES = 2**24
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
            uproot.recreate(stream, compression=uproot.ZSTD(1), uuid_function=lambda: uuid.UUID(identity))
        )
        self._tree: Any = None
        self._pending: list[Mapping[str, Any]] = []
        self._pending_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
            self._file[PROVENANCE_KEY] = self._provenance
        self._stack.close()

    def extend(self, columns: Mapping[str, Any]) -> None:
        """Append events.

        Args:
            columns: Arrays of shape [events] or [events, n] by branch name. Jagged branches ``hit_*`` are a mapping
                ``hit`` of flat arrays and of ``counts``, the number of elements in each event.
        """
        self._pending.append(columns)
        self._pending_bytes += sum(_size(values) for values in columns.values())
        if self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        names = self._pending[0]
        columns = {name: _join([part[name] for part in self._pending]) for name in names}
        self._pending, self._pending_bytes = [], 0
        if self._container == "rntuple":
            array = ak.Array(dict(_fields(columns)))
            if self._tree is None:
                self._tree = self._file.mkrntuple(DEFAULT_TREE, array.layout.form)
            self._tree.extend(array)
        else:
            if self._tree is None:
                self._tree = self._file.mktree(DEFAULT_TREE, {name: _kind(values) for name, values in columns.items()})
            self._tree.extend(columns)


def _size(values: Any) -> int:
    return sum(map(_size, values.values())) if isinstance(values, Mapping) else int(values.nbytes)


def _join(parts: list[Any]) -> Any:
    """Join the same column of several blocks; a mapping becomes a jagged array of records."""
    if not isinstance(parts[0], Mapping):
        return np.concatenate(parts)
    flat = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    counts = flat.pop("counts")
    return ak.unflatten(ak.zip(flat), counts)


def _kind(values: Any) -> Any:
    return values.type.content if isinstance(values, ak.Array) else np.dtype((values.dtype, values.shape[1:]))


def _fields(columns: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Columns with the names that a TTree gives to the fields of records."""
    for name, values in columns.items():
        if isinstance(values, ak.Array):
            yield from ((f"{name}_{field}", values[field]) for field in values.fields)
        else:
            yield name, values


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
