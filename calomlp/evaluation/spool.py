"""What one process says of its files, kept on disk until another one writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from calomlp.streams import temporary_beside

_INSIDE = "/"  # between the name of a collection and that of what its objects have; no branch has it


@contextmanager
def spooled(name: str, blocks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write blocks to a file, which is there as long as the context; the value is its path.

    Args:
        name: What the file is called after, on a disk that the reader can see too.
        blocks: Arrays by name, or mappings of arrays, as the writer of data sets takes them.
    """
    with temporary_beside(Path(name)) as path:
        with path.open("wb") as file:
            for block in blocks:
                _put(file, block)
        yield str(path)


def read_spool(path: str) -> Iterator[dict[str, Any]]:
    """Yield the blocks of a file one by one."""
    with Path(path).open("rb") as file:
        while file.peek(1):
            yield _get(file)


def _put(file: BinaryIO, block: Mapping[str, Any]) -> None:
    flat: dict[str, NDArray[Any]] = {}
    for name, values in block.items():
        inside = isinstance(values, Mapping)
        flat |= {f"{name}{_INSIDE}{each}": values[each] for each in values} if inside else {name: values}
    np.save(file, np.array(list(flat)))
    for values in flat.values():
        np.save(file, values)


def _get(file: BinaryIO) -> dict[str, Any]:
    block: dict[str, Any] = {}
    for key in np.load(file):
        name, _, inside = str(key).partition(_INSIDE)
        if inside:
            block.setdefault(name, {})[inside] = np.load(file)
        else:
            block[name] = np.load(file)
    return block
