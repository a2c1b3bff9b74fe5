"""Inputs by name: paths, globs, ``file.root:tree``, ``@list.txt``, URLs and ``-``."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from calomlp.errors import InputError
from calomlp.streams import STDIN, Streams

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TREE_SUFFIX = re.compile(r"^(?P<path>.*\.root[^:/]*):(?P<tree>[^:]+)$")


@dataclass(frozen=True)
class Source:
    """One ROOT file to read, and the tree in it if one was named.

    Attributes:
        path: Path or URL.
        tree: Name of the tree, or ``None`` for the only suitable one.
        label: What messages call the file.
    """

    path: str
    tree: str | None
    label: str

    def __str__(self) -> str:
        return f"{self.label}:{self.tree}" if self.tree else self.label


def resolve(names: Iterable[str], streams: Streams, *, tree: str | None = None) -> list[Source]:
    """Turn what a user wrote into the files to read, in order and without repeats.

    Args:
        names: Paths, quoted globs, ``file.root:tree``, ``@list.txt`` (one name per line, ``#`` comments), URLs, ``-``.
        streams: Where ``-`` is read.
        tree: Tree for all the names that do not say one themselves.

    Raises:
        InputError: If a file does not exist or a glob matches nothing.
    """
    found: dict[tuple[str, str | None], Source] = {}
    for name in names:
        for source in _resolve_one(name, streams, tree):
            found[(source.path, source.tree)] = source
    if not found:
        raise InputError("no input file was named")
    return list(found.values())


def _resolve_one(name: str, streams: Streams, tree: str | None) -> list[Source]:
    if name == "-":
        piped = streams.read_piped()
        if piped.spooled:
            return [Source(piped.paths[0], tree, STDIN)]
        return [source for path in piped.paths for source in _resolve_listed(path, streams, tree)]
    if name.startswith("@"):
        return [source for line in _lines(name[1:]) for source in _resolve_listed(line, streams, tree)]
    match = None if Path(name).is_file() else _TREE_SUFFIX.match(name)
    path, tree = (match["path"], match["tree"]) if match else (name, tree)
    if is_url(path):
        return [Source(path, tree, path)]
    if Path(path).is_file():
        return [Source(path, tree, path)]
    if glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            raise InputError(f"{path}: no file matches this pattern")
        return [Source(matched, tree, matched) for matched in matches]
    reason = "this is a folder: quote a pattern such as 'folder/*.root'" if Path(path).is_dir() else "no such file"
    raise InputError(f"{path}: {reason}")


def _resolve_listed(name: str, streams: Streams, tree: str | None) -> list[Source]:
    if name == "-" or name.startswith("@"):
        raise InputError(f"{name}: a list of files cannot name another list")
    return _resolve_one(name, streams, tree)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read this list of files ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def is_url(path: str) -> bool:
    """Tell whether a path leads to another machine, or in any case through a protocol."""
    return _URL.match(path) is not None


def stamp(source: Source) -> tuple[int, int] | None:
    """Return size and time of change of a file; ``None`` if it lies elsewhere."""
    if is_url(source.path):
        return None
    try:
        state = Path(source.path).stat()
    except OSError:
        return -1, 0
    return state.st_size, state.st_mtime_ns
