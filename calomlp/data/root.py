"""ROOT files in: opening, trees of either kind, what tells damage, and the clock of the writer.

This is the one module that touches the inside of uproot, version 5, and what it does not do itself: to look at a file
before what it claims is believed, to read an RNTuple page by page, and to write the same bytes at any time.
"""

from __future__ import annotations

import datetime
import logging
import os
import queue
import re
import struct
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, Self

import awkward as ak
import numpy as np
import uproot
import uproot.writing._cascade
import uproot.writing._cascadentuple
import uproot.writing._cascadetree
import xxhash
from awkward.contents import Content, ListOffsetArray, NumpyArray, RegularArray
from awkward.forms import Form, ListOffsetForm, RecordForm, RegularForm
from awkward.index import Index64
from numpy.typing import NDArray
from uproot.compression import decompress
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.objects import AsObjects
from uproot.source.chunk import Chunk
from uproot.source.chunk import Source as UprootSource
from uproot.source.coalesce import CoalesceConfig, coalesce_requests
from uproot.source.cursor import Cursor
from uproot.source.futures import TrivialFuture

from calomlp.data.columns import Branch, Column, is_inherited
from calomlp.data.remote import Remote, brief
from calomlp.data.sources import Source, is_url, stamp
from calomlp.errors import CalomlpError, InputError, MissingDependencyError, did_you_mean
from calomlp.units import listed

logger = logging.getLogger(__name__)

DEFAULT_TREE = "events"
_TOGETHER = CoalesceConfig(max_request_bytes=1 << 30, min_first_request_bytes=1 << 30)  # what is asked for is bounded
_Look = Callable[[], tuple[int | None, Any]]
_CHUNK_BYTES = 32 << 20
_MIN_CHUNK_EVENTS, _MAX_CHUNK_EVENTS = 10, 1_000_000  # what is done once for a chunk costs little beside so many
_MAGIC = b"root"
_FOLDERS = ("TDirectory", "TDirectoryFile")
_MAX_LISTED, _MAX_NAME = 12, 60
_MAX_THREADS = 8  # unpack several gigabytes a second, beyond what else is done with them
_MAX_COMPRESSION = 1 << 15
"""No codec of ROOT packs more tightly: zstandard, the best of them at it, needs 4 bytes for 128 KiB of the same."""

_RECORD = struct.Struct(">ihi")  # bytes in the file, version, bytes when unpacked: how every record of a file begins
_DIMENSIONS = re.compile(r"(\[[^\]]*\])+$")
_UNTITLED = re.compile(r"_collection\d+")
"""Collections that ROOT's importer invents; their members are there under their own names, too."""

_CHECKSUM_BYTES = 8

_Map = Callable[..., Iterable[Any]]  # the built-in one, or that of a pool of threads
_Piece = tuple[int, int, int]  # a cluster, and a range of elements counted from its beginning


def _check_packed(packed: int, unpacked: int, start: int) -> None:
    """Refuse a piece of a file that would be larger when unpacked than it can be.

    Raises:
        ValueError: Saying where it lies.
    """
    if not 0 <= unpacked <= packed * _MAX_COMPRESSION:
        raise ValueError(f"the {packed} bytes at {start} claim to unpack to {unpacked}")


def _check_record(source: Any, start: int, size: int | None = None) -> None:
    """Refuse a record of a file by its first bytes.

    Args:
        source: The bytes of the file, from uproot.
        start: Where the record begins.
        size: Its size, if it is known from elsewhere.

    Raises:
        ValueError: Saying where it lies.
    """
    packed, _, unpacked = _RECORD.unpack(source.chunk(start, start + _RECORD.size).raw_data)
    if size is not None and packed != size:
        raise ValueError(f"{packed} bytes at {start}, where {size} should be")
    _check_packed(packed, unpacked, start)


class _RemoteSource(UprootSource):  # type: ignore[misc]
    """Source of bytes through which uproot reads a remote file.

    Args:
        url: Its URL.
        remote: The file.
        options: Those of uproot, none of which matters here.
    """

    def __init__(self, url: str, *, remote: Remote, **options: Any) -> None:  # noqa: ARG002
        super().__init__()
        self._file_path = url
        self._remote = remote

    def chunk(self, start: int, stop: int) -> Chunk:
        """Return a range of bytes."""
        return Chunk(self, start, stop, TrivialFuture(self._remote.read([(start, stop)])[0]))

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Chunk]) -> list[Chunk]:
        """Return ranges of bytes, and tell the queue that they are there; those side by side are read in one."""
        chunks: list[Chunk] = coalesce_requests(
            ranges, lambda wider: TrivialFuture(self._remote.read(wider)), self, notifications, _TOGETHER
        )
        return chunks

    @property
    def closed(self) -> bool:
        """Never: what is to be closed is the file."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class TTree:
    """A TTree that is open for reading.

    Attributes:
        entries: Number of events.

    Args:
        tree: From uproot.
        size: Size of the file [byte]; ``None`` if that would have to be asked for over a network.

    Raises:
        ValueError: If the number of events makes no sense.
    """

    def __init__(self, tree: Any, size: int | None) -> None:
        self._tree = tree
        self._size = size
        self._checked: set[str] = set()
        self.entries = int(tree.num_entries)  # some writers make it a floating-point number
        held = {branch.num_entries for branch in tree.branches}
        if held and self.entries not in held:
            raise ValueError(f"it declares {self.entries} events, but its branches hold {max(held)}")

    @cached_property
    def branches(self) -> list[Branch]:
        """All branches that hold data themselves."""
        return [self._describe(branch, path, name) for branch, path, name in _tree_leaves(self._tree)]

    def _describe(self, branch: Any, path: str, name: str) -> Branch:
        typename = "unknown"
        try:
            interpretation = branch.interpretation
            typename = str(interpretation.typename)
            form = _form(interpretation, branch.file)
            if isinstance(interpretation, AsObjects):  # whose form promises nothing: it has to be tried
                self._check_baskets(branch)
                branch.array(entry_stop=1, array_cache=None)
        except Exception as error:  # noqa: BLE001 - uproot has no common error for what it cannot read
            return Branch(name, path, typename, None, brief(error))
        return Branch(name, path, typename, form)

    def check(self, column: Column) -> None:
        """Refuse a column whose baskets do not fit into the file or do not make up the events.

        This is what keeps a damaged file from filling the memory, or from being waited for.

        Raises:
            ValueError: Saying what is wrong.
        """
        branch = self._tree[column.branch]
        for other in (branch, branch.count_branch):  # what counts the elements is read, too
            if other is not None and other.cache_key not in self._checked:
                self._check_baskets(other)
                self._checked.add(other.cache_key)

    def _check_baskets(self, branch: Any) -> None:
        edges = np.asarray(branch.entry_offsets, dtype=np.float64)
        if edges[0] != 0 or edges[-1] != self.entries or (np.diff(edges) < 0).any():
            raise ValueError(f"it holds {edges[-1]:.0f} events, its tree {self.entries}")
        baskets = len(edges) - 1 - len(branch.embedded_baskets)
        starts, sizes = (np.asarray(branch.member(f"fBasket{name}")[:baskets], np.int64) for name in ("Seek", "Bytes"))
        if len(np.unique(starts)) < baskets or (starts <= 0).any() or (sizes <= 0).any():
            raise ValueError("its list of baskets is damaged")
        if self._size is None:
            return
        if (starts + sizes > self._size).any():
            raise ValueError("its baskets lie beyond the end of the file")
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            _check_record(branch.file.source, start, size)

    def bytes_per_event(self, columns: Sequence[Column]) -> float:
        """Return how much memory an event takes on average."""
        total = 0
        for path in {column.branch for column in columns}:
            branch = self._tree[path]
            total += branch.uncompressed_bytes + sum(basket.uncompressed_bytes for basket in branch.embedded_baskets)
        return total / max(self.entries, 1)

    def read(self, column: Column, start: int, stop: int) -> Any:
        """Return one column of the events from ``start`` to ``stop``."""
        self.check(column)
        records = self._tree[column.branch].array(entry_start=start, entry_stop=stop, array_cache=None)
        return column.finish(column.of(records))

    def iterate(
        self, columns: Sequence[Column], start: int, stop: int, step: int, pool: Executor
    ) -> Iterator[dict[str, Any]]:
        """Yield columns by name, for ``step`` events at a time; a basket is unpacked once, however large it is."""
        for column in columns:
            self.check(column)
        paths = sorted({column.branch for column in columns})
        wanted = [(path, self._tree[path].interpretation) for path in paths]  # a name alone would be an expression
        options = {"entry_start": start, "entry_stop": stop, "step_size": step, "how": dict}
        for read in self._tree.iterate(wanted, decompression_executor=pool, **options):
            yield {column.name: column.finish(column.of(read[column.branch])) for column in columns}


def _form(interpretation: Any, file: Any) -> Form:
    """Return the layout of a branch; uproot reads arrays in a list of leaves, but does not know their form."""
    jagged = isinstance(interpretation, AsJagged)
    dtype = getattr(interpretation.content if jagged else interpretation, "to_dtype", None)
    if dtype is None or dtype.base.names is None:
        return interpretation.awkward_form(file)
    leaves = ak.from_numpy(np.empty(0, dtype), regulararray=True).layout.form
    return ListOffsetForm("i64", leaves) if jagged else leaves


def _tree_leaves(parent: Any, path: str = "", name: str = "", own: str = "") -> Iterator[tuple[Any, str, str]]:
    """Yield the branches below a tree or branch that hold data, with their paths and names.

    A branch of a split object is called ``object.member``, whether ROOT repeated the object's name in it or not, and
    without the dimensions that ROOT appended.
    """
    for branch in parent.branches:
        here_own = branch.name.removesuffix(".")
        if path:
            here_own = _DIMENSIONS.sub("", here_own)
            here = f"{name}.{here_own.removeprefix(f'{own}.')}"
        else:
            here = here_own
        here_path = f"{path}/{branch.name}" if path else branch.name
        if branch.branches:
            yield from _tree_leaves(branch, here_path, here, here_own)
        elif not (path and is_inherited(here_own)):
            yield branch, here_path, here


class RNTuple:
    """An RNTuple that is open for reading.

    Attributes:
        entries: Number of events.

    Args:
        ntuple: From uproot.
        size: Size of the file [byte]; ``None`` if that would have to be asked for over a network.
    """

    def __init__(self, ntuple: Any, size: int | None) -> None:
        self._ntuple = ntuple
        self._size = size
        self._edges = np.cumsum([0, *(cluster.num_entries for cluster in ntuple.cluster_summaries)])
        self._last_page: dict[int, dict[tuple[int, int], NDArray[Any]]] = {}  # of each column
        self.entries = int(self._edges[-1])

    @cached_property
    def branches(self) -> list[Branch]:
        """The fields of the top level."""
        paths = [field.path for field in self._ntuple.all_fields if field.path]
        fields = [field for field in self._ntuple.fields if not _UNTITLED.fullmatch(field.name)]
        return [self._describe(field, paths) for field in fields]

    def _describe(self, field: Any, paths: list[str]) -> Branch:
        try:
            form = self._ntuple.field_form(field.field_id, paths)
        except Exception as error:  # noqa: BLE001 - uproot has no common error for types that it cannot interpret
            return Branch(field.name, field.name, field.typename, None, brief(error))
        return Branch(field.name, field.name, field.typename, form)

    @cached_property
    def _forms(self) -> dict[str, Any]:
        return {branch.path: branch.form for branch in self.branches}

    def check(self, column: Column) -> None:
        """Refuse a column whose pages do not make up the events.

        Raises:
            ValueError: Saying what is wrong.
        """
        form, factor = self._forms[column.branch], 1
        while isinstance(form, RegularForm):
            form, factor = form.content, factor * form.size
        if not isinstance(form, RecordForm):  # of a record, every member would have to be asked
            for cluster, entries in enumerate(np.diff(self._edges).tolist()):
                held = sum(page.num_elements for page in self._page_list(cluster, _number(form)))
                if held != entries * factor and _number(form) not in self._irregular:
                    raise ValueError(f"it holds {held} numbers for {entries} events in cluster {cluster}")

    def bytes_per_event(self, columns: Sequence[Column]) -> float:
        """Return how much memory an event takes on average."""
        total = 0
        for number in {
            number for column in columns for number in _column_numbers(self._forms[column.branch], column.keys)
        }:
            pages = (self._page_list(cluster, number) for cluster in range(len(self._edges) - 1))
            elements = sum(page.num_elements for page in chain.from_iterable(pages))
            total += elements * self._ntuple.get_field_metadata(number).dtype.itemsize
        return total / max(self.entries, 1)

    def read(self, column: Column, start: int, stop: int) -> Any:
        """Return one column of the events from ``start`` to ``stop``."""
        return self._read(column, start, stop, map)

    def iterate(
        self, columns: Sequence[Column], start: int, stop: int, step: int, pool: Executor
    ) -> Iterator[dict[str, Any]]:
        """Yield columns by name, for ``step`` events at a time; the threads of a pool unpack the pages."""
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield {column.name: self._read(column, first, last, pool.map) for column in columns}

    def _read(self, column: Column, start: int, stop: int, run: _Map) -> Any:
        form = self._forms[column.branch]
        if self._irregular & set(
            _column_numbers(form, column.keys)
        ):  # these alone are left to uproot, cluster by cluster
            field = self._ntuple[column.branch]
            return column.finish(column.of(field.array(entry_start=start, entry_stop=stop, array_cache=None)))
        pieces = [
            (cluster, max(start, low) - low, min(stop, high) - low)
            for cluster, (low, high) in enumerate(pairwise(self._edges.tolist()))
            if max(start, low) < min(stop, high)
        ]
        return column.finish(ak.Array(self._content(form, column.keys, pieces, run)))

    @cached_property
    def _irregular(self) -> set[int]:
        """The columns that were added while the file was written, or whose encoding changes from cluster to cluster."""
        records = self._ntuple.column_records
        several = {record.field_id for record in records if record.repr_idx}
        return {
            number for number, record in enumerate(records) if record.first_element_index or record.field_id in several
        }

    def _content(self, form: Any, keys: tuple[str, ...], pieces: list[_Piece], run: _Map) -> Content:
        """Read what a form describes, of all pieces one after the other."""
        if isinstance(form, RecordForm):
            return self._content(form.content(keys[0]), keys[1:], pieces, run)
        if isinstance(form, RegularForm):
            inner = [(cluster, start * form.size, stop * form.size) for cluster, start, stop in pieces]
            length = sum(stop - start for _, start, stop in pieces)
            return RegularArray(self._content(form.content, keys, inner, run), form.size, length)
        if isinstance(form, ListOffsetForm):
            inner, lengths = self._lists(_number(form), pieces, run)
            offsets = np.cumsum(np.concatenate([[0], lengths]))
            return ListOffsetArray(Index64(offsets), self._content(form.content, keys, inner, run))
        if form.form_key.endswith("-cardinality"):
            return NumpyArray(self._lists(_number(form), pieces, run)[1])
        return NumpyArray(self._elements(_number(form), pieces, run))

    def _lists(self, number: int, pieces: list[_Piece], run: _Map) -> tuple[list[_Piece], NDArray[np.int64]]:
        """Return where the elements of lists lie, and how many each has; the file holds the ends of lists only."""
        ends = self._elements(number, [(cluster, max(start - 1, 0), stop) for cluster, start, stop in pieces], run)
        ends = ends.astype(np.int64)
        inner, lengths = [], []
        for cluster, start, stop in pieces:
            held = stop - max(start - 1, 0)
            edges, ends = ends[:held] if start else np.concatenate([[0], ends[:held]]), ends[held:]
            if edges[0] < 0 or (np.diff(edges) < 0).any():
                raise ValueError("its lists are damaged")
            inner.append((cluster, int(edges[0]), int(edges[-1])))
            lengths.append(np.diff(edges))
        return inner, np.concatenate(lengths)

    def _elements(self, number: int, pieces: list[_Piece], run: _Map) -> NDArray[Any]:
        """Read elements of a column out of the pages that hold them."""
        column = self._ntuple.get_field_metadata(number)
        wanted = {}
        for cluster, start, stop in pieces:
            first = 0
            for index, page in enumerate(self._page_list(cluster, number)):
                last = first + page.num_elements
                if max(first, start) < min(last, stop):
                    wanted[cluster, index] = page, slice(max(start - first, 0), stop - first)
                first = last
            if first < stop:
                raise ValueError(f"it holds {first} numbers in cluster {cluster}, fewer than its events need")
        values = self._last_page.get(number, {})
        new = {key: page for key, (page, _) in wanted.items() if key not in values}
        chunks = self._fetch(new.values(), column)
        values = values | dict(zip(new, run(self._unpack, new.values(), chunks, repeat(column)), strict=True))
        if wanted:
            self._last_page[number] = {key: values[key] for key in list(wanted)[-1:]}
        return np.concatenate([np.empty(0, column.dtype), *(values[key][part] for key, (_, part) in wanted.items())])

    def _fetch(self, pages: Iterable[Any], column: Any) -> list[Any]:
        """Ask for the bytes of pages, of all at once because they may lie behind a network."""
        ranges = []
        for page in pages:
            start, packed = page.locator.offset, page.locator.num_bytes
            _check_packed(packed, page.num_elements * column.nbits // 8, start)
            stop = start + packed + (_CHECKSUM_BYTES if page.has_checksum else 0)
            if self._size is not None and stop > self._size:
                raise ValueError(f"its page at byte {start} lies beyond the end of the file")
            ranges.append((start, stop))
        return list(self._ntuple.file.source.chunks(ranges, queue.Queue()))

    def _unpack(self, page: Any, chunk: Any, column: Any) -> NDArray[Any]:
        """Return the numbers in the bytes of a page."""
        start, packed = page.locator.offset, page.locator.num_bytes
        if page.has_checksum:
            data = chunk.raw_data
            if xxhash.xxh3_64_intdigest(data[:packed]) != int.from_bytes(data[packed:], "little"):
                raise ValueError(f"its page at byte {start} does not agree with its checksum")
        size = -(-page.num_elements * column.nbits // 8)
        if packed < size:
            chunk = decompress(chunk, Cursor(start), {}, packed, size)
        values = np.empty(page.num_elements, column.dtype)
        values.view(np.uint8)[:size] = chunk.raw_data[:size]
        self._ntuple.deserialize_page_decompressed_buffer(values, column)
        self._ntuple.post_process(values, column)
        return values

    def _page_list(self, cluster: int, number: int) -> list[Any]:
        columns = self._ntuple.page_link_list[cluster]
        return columns[number].pages if number < len(columns) else []


def _number(form: Form) -> int:
    """Return the number of a column from the key that uproot gave its form, such as ``column-12``."""
    return int(str(form.form_key).split("-")[1])


def _column_numbers(form: Any, keys: tuple[str, ...]) -> Iterator[int]:
    """Yield the numbers of the columns that are read for one column of ours."""
    if isinstance(form, RecordForm):
        yield from _column_numbers(form.content(keys[0]), keys[1:])
    elif isinstance(form, RegularForm):
        yield from _column_numbers(form.content, keys)
    else:
        yield _number(form)
        if isinstance(form, ListOffsetForm):
            yield from _column_numbers(form.content, keys)


_READERS: dict[str, type[TTree | RNTuple]] = {
    **dict.fromkeys(("TTree", "TNtuple", "TNtupleD"), TTree),
    "ROOT::RNTuple": RNTuple,
}


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say what it was that uproot, which has no common error for damage, could not read inside the block."""
    try:
        yield
    except CalomlpError:
        raise
    except Exception as error:
        raise InputError(f"{what} cannot be read: {brief(error)}") from error


class OpenTree:
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
            _check_record(directory.file.source, directory.file.fSeekInfo)
        self._tables: dict[str, OpenTree] = {}
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

    def table(self, name: str) -> OpenTree:
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

    def _open(self, source: Source, cycles: dict[int, Any], number: int) -> OpenTree:
        key = cycles[number]
        try:
            _check_packed(key.fNbytes, key.fObjlen, key.fSeekKey)
            reader = _READERS[key.fClassName](key.get(), self._near)
            return OpenTree(source, reader, str(self._directory.file.uuid), self.check_unchanged)
        except CalomlpError:
            raise
        except Exception as error:
            older = max((cycle for cycle in cycles if cycle < number), default=None)
            hint = f" (an older version is {source.label}:{source.tree};{older})" if older is not None else ""
            raise InputError(f"{source}: cannot be read: {brief(error)}{hint}") from error

    def choose(self, wanted: frozenset[str], preferred: str = "") -> OpenTree:
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

    def _readable(self) -> Iterator[OpenTree]:
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
            uproot.open({source.path: None}, handler=_RemoteSource, remote=remote) as directory,
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
def open_table(source: Source, wanted: frozenset[str] = frozenset(), preferred: str = "") -> Iterator[OpenTree]:
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


@contextmanager
def frozen_clock() -> Iterator[None]:
    """Make uproot stamp ROOT's first day instead of now, because it offers no way to choose the time."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:  # noqa: ARG003 - the signature of datetime.now
            return cls(1995, 1, 1)

    modules = [uproot.writing._cascade, uproot.writing._cascadetree, uproot.writing._cascadentuple]  # noqa: SLF001
    before = [module.datetime for module in modules]
    for module in modules:
        module.datetime = types.SimpleNamespace(datetime=Clock)
    try:
        yield
    finally:
        for module, original in zip(modules, before, strict=True):
            module.datetime = original
