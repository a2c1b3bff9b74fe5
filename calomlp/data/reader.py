"""ROOT files in: open the file, find the tree, read its columns in chunks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from calomlp.data.columns import Branch, Column
from calomlp.data.damage import brief, check_packed, check_record
from calomlp.data.remote import Remote, RemoteSource
from calomlp.data.rntuple import RNTuple
from calomlp.data.sources import Source, is_url, stamp
from calomlp.data.ttree import TTree
from calomlp.errors import CalomlpError, InputError, MissingDependencyError, did_you_mean
from calomlp.units import listed

logger = logging.getLogger(__name__)

DEFAULT_TREE = "events"
_Look = Callable[[], tuple[int | None, Any]]
_READERS: dict[str, type[TTree | RNTuple]] = {
    **dict.fromkeys(("TTree", "TNtuple", "TNtupleD"), TTree),
    "ROOT::RNTuple": RNTuple,
}
_CHUNK_BYTES = 32 << 20
_MIN_CHUNK_EVENTS, _MAX_CHUNK_EVENTS = 10, 1_000_000  # what is done once for a chunk costs little beside so many
_MAGIC = b"root"
_FOLDERS = ("TDirectory", "TDirectoryFile")
_MAX_LISTED, _MAX_NAME = 12, 60
_MAX_THREADS = 8  # unpack several gigabytes a second, beyond what else is done with them


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say what it was that uproot, which has no common error for damage, could not read inside the block."""
    try:
        yield
    except CalomlpError:
        raise
    except Exception as error:
        raise InputError(f"{what} cannot be read: {brief(error)}") from error


class Table:
    """A TTree or RNTuple that is open for reading.

    Attributes:
        source: Where it lies; its tree is filled in.
        entries: Number of events.
        identity: What identifies the file and tree wherever it is copied: the UUID that ROOT wrote into it.

    Args:
        source: Where it lies.
        reader: What reads it.
        uuid: That of the file.
        unchanged: Raises an InputError if the file is not what it was.
    """

    def __init__(self, source: Source, reader: TTree | RNTuple, uuid: str, unchanged: Callable[[], None]) -> None:
        self.source = source
        self.entries = reader.entries
        known = int(uuid.replace("-", ""), 16) != 0  # some writers leave it out
        self.identity = f"{uuid if known else source.label}:{source.tree}"
        self._reader = reader
        self._unchanged = unchanged

    @cached_property
    def branches(self) -> list[Branch]:
        """All branches, numeric or not, whether they can be read or not.

        Raises:
            InputError: If the description of the tree is damaged.
        """
        with _naming(f"{self.source}:"):
            return self._reader.branches

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The numeric columns: branches, and members of branches that hold records."""
        columns: dict[str, Column] = {}
        for branch in self.branches:
            for column in branch.columns():
                columns.setdefault(column.name, column)
        return columns

    def require(self, names: Iterable[str], alternatives: Iterable[str] = ()) -> None:
        """Refuse branches that are not there, not numeric or damaged.

        Args:
            names: The branches.
            alternatives: What else may be proposed in the place of one that is not there.

        Raises:
            InputError: With a did-you-mean.
        """
        for name in sorted(names):
            if name not in self.columns:
                raise InputError(f"{self.source}: {self._refusal(name, alternatives)}")
            with _naming(f"{self.source}: branch {name!r}"):
                self._reader.check(self.columns[name])

    def _refusal(self, name: str, alternatives: Iterable[str]) -> str:
        for branch in self.branches:
            if branch.name == name and branch.problem:
                return f"branch {name!r} cannot be read: {branch.typename}: {branch.problem}"
            if branch.name == name and not any(branch.columns()):
                return f"branch {name!r} is not numeric: {branch.typename}"
        members = [column for column in self.columns if column.startswith(f"{name}.")]
        if members:
            return f"branch {name!r} is a collection: {did_you_mean('', members)}"
        return f"branch {name!r} is not there: {did_you_mean(name, [*self.columns, *alternatives])}"

    def chunks(self, names: Iterable[str], stop: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read columns in chunks of bounded memory.

        Args:
            names: Columns to read, all of them in :attr:`columns`.
            stop: Number of events after which to stop; all of them if it is not given.

        Yields:
            The number of the first event of the chunk, and the columns by name: numpy arrays of shape [events, ...], or
            awkward arrays where they are jagged.

        Raises:
            InputError: If the file is damaged, or changes while it is read.
        """
        columns = [self.columns[name] for name in sorted(names)]
        stop = self.entries if stop is None else min(stop, self.entries)
        if not columns or not stop:
            return
        start = step = 0
        try:
            step = min(max(self.events_in(_CHUNK_BYTES, columns), _MIN_CHUNK_EVENTS), _MAX_CHUNK_EVENTS)
            with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), _MAX_THREADS)) as pool:
                for chunk in self._reader.iterate(columns, 0, stop, step, pool):
                    self._unchanged()
                    yield start, chunk
                    start += len(next(iter(chunk.values())))
        except CalomlpError:
            raise
        except Exception as error:
            self._unchanged()
            raise InputError(f"{self.source}: {self._culprit(columns, start, step, error)}") from error
        if start != stop:
            raise InputError(f"{self.source}: declares {self.entries} events, but only {start} can be read")

    def read(self, name: str, start: int, stop: int) -> Any:
        """Return one column of the events from ``start`` to ``stop``, all at once.

        Raises:
            InputError: If it is damaged.
        """
        with _naming(f"{self.source}: branch {name!r}"):
            values = self._reader.read(self.columns[name], start, min(stop, self.entries))
        self._unchanged()
        return values

    def events_in(self, size: int, columns: Sequence[Column]) -> int:
        """Return the number of events, at least one, whose columns fill so many bytes of memory.

        Raises:
            InputError: If the description of the tree is damaged.
        """
        numbers = sum(int(np.prod(column.shape)) for column in columns if not column.jagged)
        with _naming(f"{self.source}:"):
            per_event = max(8 * numbers, self._reader.bytes_per_event(columns), 1)  # packed numbers take eight bytes
        return max(1, int(size / per_event))

    def _culprit(self, columns: Sequence[Column], start: int, step: int, error: Exception) -> str:
        """Say which column it was that could not be read."""
        for column in columns if step else ():
            try:
                self._reader.read(column, start, min(start + step, self.entries))
            except Exception as own:  # noqa: BLE001 - whatever it is, it is being reported
                return f"branch {column.name!r} cannot be read after event {start}: {brief(own)}"
        return f"cannot be read after event {start}: {brief(error)}"


class RootFile:
    """A ROOT file that is open for reading.

    Attributes:
        source: Where it lies.

    Args:
        source: Where it lies.
        directory: From uproot.
        look: Returns the size of the file as it is now, if that is known, and what tells this version from another.
    """

    def __init__(self, source: Source, directory: Any, look: _Look) -> None:
        self.source = source
        self._directory = directory
        self._look = look
        self._stamp = look()
        size, end = self._stamp[0], directory.file.fEND
        if size is not None and size < end:
            raise InputError(f"{source.label}: is truncated: {size} bytes are left of {end}")
        self._near = None if is_url(source.path) else size  # a file whose every record may be looked at beforehand
        if self._near and directory.file.fSeekInfo:  # the description of classes
            check_record(directory.file.source, directory.file.fSeekInfo)
        self._tables: dict[str, Table] = {}
        self._classes: set[str] = set()
        self._keys: dict[str, dict[int, Any]] = {}  # by name and cycle: older versions of an object lie beside it
        for name, key in _walk(directory, "", set()):
            self._classes.add(key.fClassName)
            if key.fClassName in _READERS:
                self._keys.setdefault(name, {})[key.fCycle] = key

    @property
    def trees(self) -> dict[str, str]:
        """The classes of all TTrees and RNTuples by their names, with their folders."""
        return {name: cycles[max(cycles)].fClassName for name, cycles in self._keys.items()}

    def text(self, name: str) -> str:
        """Return a text beside the trees; if it cannot be read, the error is uproot's."""
        return str(self._directory[name])

    def table(self, name: str) -> Table:
        """Open a tree.

        Args:
            name: Its name, which may end in a cycle, ``tree;2``; without, it is the newest.

        Raises:
            InputError: If it is not there, or cannot be read.
        """
        plain, _, cycle = name.partition(";")
        cycles = self._keys.get(plain, {})
        number = int(cycle) if cycle.isdecimal() else max(cycles, default=0)
        if number not in cycles or (cycle and not cycle.isdecimal()):
            legal = [f"{plain};{number}" for number in cycles] if cycles else self.trees
            raise InputError(f"{self.source.label}: no tree {name!r}: {did_you_mean(name, legal)}")
        if name not in self._tables:
            self._tables[name] = self._open(replace(self.source, tree=name), cycles, number)
        return self._tables[name]

    def _open(self, source: Source, cycles: dict[int, Any], number: int) -> Table:
        key = cycles[number]
        try:
            check_packed(key.fNbytes, key.fObjlen, key.fSeekKey)
            reader = _READERS[key.fClassName](key.get(), self._near)
            return Table(source, reader, str(self._directory.file.uuid), self.check_unchanged)
        except CalomlpError:
            raise
        except Exception as error:
            older = max((cycle for cycle in cycles if cycle < number), default=None)
            hint = f" (an older version is {source.label}:{source.tree};{older})" if older is not None else ""
            raise InputError(f"{source}: cannot be read: {brief(error)}{hint}") from error

    def choose(self, wanted: frozenset[str], preferred: str = "") -> Table:
        """Open the tree that was named, the preferred one, ``events``, the only one, else the only one that will do.

        Raises:
            InputError: If that leaves none, or several.
        """
        label = self.source.label
        if not self.trees:
            raise InputError(f"{label}: holds no TTree or RNTuple, but {self._content()}")
        if self.source.tree is not None:
            return self.table(self.source.tree)
        if preferred in self.trees:
            return self.table(preferred)
        default = [name for name in self.trees if name.lower() == DEFAULT_TREE]
        if DEFAULT_TREE in default or len(default) == 1:
            return self.table(DEFAULT_TREE if DEFAULT_TREE in default else default[0])
        if len(self.trees) == 1:
            return self.table(*self.trees)
        fitting = [table for table in self._readable() if wanted and wanted <= table.columns.keys()]
        if len(fitting) == 1:
            logger.info("%s: %s is the only tree with %s", label, fitting[0].source.tree, ", ".join(sorted(wanted)))
            return fitting[0]
        lack = f", none of which has {', '.join(sorted(wanted))}" if wanted and not fitting else ""
        raise InputError(f"{label}: has several trees{lack}, choose one as {label}:TREE: {self._list()}")

    def _readable(self) -> Iterator[Table]:
        for name in self.trees:
            with suppress(InputError):  # one of those that nobody asked for
                yield self.table(name)

    def _list(self) -> str:
        shown = []
        for name in list(self.trees)[:_MAX_LISTED]:
            try:
                entries = self.table(name).entries
                shown.append(f"{name} ({entries} event{'s' * (entries != 1)})")
            except InputError:
                shown.append(f"{name} (cannot be read)")
        more = f" and {len(self.trees) - _MAX_LISTED} more" if len(self.trees) > _MAX_LISTED else ""
        return ", ".join(shown) + more

    def _content(self) -> str:
        if self._classes:
            return f"only {listed([name[:_MAX_NAME] for name in sorted(self._classes)])}"
        return "no objects at all: it is empty, or the program that wrote it did not close it"

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was when it was opened.

        Raises:
            InputError: If it has changed, or is not there any more.
        """
        if self._look() != self._stamp:
            raise InputError(f"{self.source.label}: has changed while it was read")


@contextmanager
def open_file(source: Source) -> Iterator[RootFile]:
    """Open a ROOT file.

    Raises:
        InputError: If the file cannot be opened, or is no ROOT file.
        MissingDependencyError: If the scheme of a URL needs a package that is not installed.
    """
    with ExitStack() as stack:
        try:
            file = RootFile(source, *stack.enter_context(_directory(source)))
        except CalomlpError:  # a second signal, which may arrive anywhere, or a server that does not answer
            raise
        except ImportError as error:
            raise MissingDependencyError(
                f"{source.label}: reading this needs a package that is not installed: pip install 'calomlp[http]', "
                f"'calomlp[xrootd]' or what is named here: {brief(error)}"
            ) from error
        except Exception as error:
            raise InputError(f"{source.label}: cannot be opened as a ROOT file: {brief(error)}") from error
        yield file


@contextmanager
def _directory(source: Source) -> Iterator[tuple[Any, _Look]]:
    if is_url(source.path):
        with (
            Remote(source.path) as remote,
            uproot.open({source.path: None}, handler=RemoteSource, remote=remote) as directory,
        ):
            yield directory, remote.stamp
        return
    # By its path, uproot opens a file anew for every read, and another file may lie there by then.
    with Path(source.path).open("rb") as handle:
        head = handle.read(len(_MAGIC))
        if head != _MAGIC:
            raise ValueError(f"it begins with {head!r}" if head else "it is empty")
        with uproot.open(handle, use_threads=False) as directory:
            yield directory, partial(stamp, source)


@contextmanager
def open_table(source: Source, wanted: frozenset[str] = frozenset(), preferred: str = "") -> Iterator[Table]:
    """Open a file and find its tree: the one that was named, else ``events``, else the only one.

    Args:
        source: The file.
        wanted: Branches that will be asked for; of several trees, the only one that has them all is taken.
        preferred: Tree to take if it is there and none was named.

    Raises:
        InputError: If the file cannot be opened, is not a ROOT file, or has no such tree.
        MissingDependencyError: If the scheme of a URL needs a package that is not installed.
    """
    with open_file(source) as file:
        yield file.choose(wanted, preferred)


def _walk(directory: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield all objects with their folders; one that cannot be read is passed over, and none is entered twice."""
    for name in directory.keys(recursive=False, cycle=True):
        key = directory.key(name)
        path = f"{prefix}{key.fName}"
        yield path, key
        if key.fClassName in _FOLDERS and key.fSeekKey not in seen:
            seen.add(key.fSeekKey)
            try:
                folder = key.get()
            except CalomlpError:
                raise
            except Exception:  # noqa: BLE001, S112 - uproot has no common error for damage
                continue
            yield from _walk(folder, f"{path}/", seen)
