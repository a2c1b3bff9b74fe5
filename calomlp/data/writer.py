"""ROOT files out: a TTree or RNTuple with its provenance beside it, the same bytes for the same events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import awkward as ak
import numpy as np
import uproot
import uproot.writing._cascade
import uproot.writing._cascadentuple
import uproot.writing._cascadetree

from calomlp.data.root import DEFAULT_TREE, frozen_clock, open_file
from calomlp.data.sources import Source
from calomlp.errors import CalomlpError, InputError
from calomlp.provenance import canonical_json

PROVENANCE_KEY = "provenance"
_FLUSH_BYTES = 2**24
_LARGEST = 1_000_000
"""Characters of a provenance that is looked at; that of a detector with a hundred groups of layers has a tenth."""


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
        self._stack.enter_context(frozen_clock())
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


def read_origin(source: Source) -> dict[str, Any]:
    """Return the provenance of a file; empty for a file without one, or with one that cannot be read.

    Nothing depends on it but what figures say, so that a foreign text of this name is no reason to stop.
    """
    try:
        with open_file(source) as file:
            text = file.text(PROVENANCE_KEY)
        origin = json.loads(text) if len(text) <= _LARGEST else None
        canonical_json(origin)  # refuses numbers that are not finite, which a report cannot hold
    except Exception as error:  # uproot has no common error for damage
        if isinstance(error, CalomlpError) and not isinstance(error, InputError):  # a second signal
            raise
        return {}
    return origin if isinstance(origin, dict) else {}
