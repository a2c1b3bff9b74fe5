"""RNTuples, read page by page.

uproot reads whole clusters, of a gigabyte by ROOT's defaults and of any size from other writers, and reads them again
for every range of events in them. Here a range of events takes from each column the pages that it touches, so that the
memory is bounded by the range; and the checksums of the pages, which uproot passes over, are verified.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property
from itertools import chain, pairwise, repeat
from typing import Any

import awkward as ak
import numpy as np
import xxhash
from awkward.contents import Content, ListOffsetArray, NumpyArray, RegularArray
from awkward.forms import Form, ListOffsetForm, RecordForm, RegularForm
from awkward.index import Index64
from numpy.typing import NDArray
from uproot.compression import decompress
from uproot.source.cursor import Cursor

from calomlp.data.columns import Branch, Column
from calomlp.data.damage import brief, check_packed

_UNTITLED = re.compile(r"_collection\d+")
"""Collections that ROOT's importer invents; their members are there under their own names, too."""

_CHECKSUM_BYTES = 8

_Map = Callable[..., Iterable[Any]]  # the built-in one, or that of a pool of threads
_Piece = tuple[int, int, int]  # a cluster, and a range of elements counted from its beginning


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
        for number in {number for column in columns for number in _numbers(self._forms[column.branch], column.keys)}:
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
        if self._irregular & set(_numbers(form, column.keys)):  # these alone are left to uproot, cluster by cluster
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
            check_packed(packed, page.num_elements * column.nbits // 8, start)
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


def _numbers(form: Any, keys: tuple[str, ...]) -> Iterator[int]:
    """Yield the numbers of the columns that are read for one column of ours."""
    if isinstance(form, RecordForm):
        yield from _numbers(form.content(keys[0]), keys[1:])
    elif isinstance(form, RegularForm):
        yield from _numbers(form.content, keys)
    else:
        yield _number(form)
        if isinstance(form, ListOffsetForm):
            yield from _numbers(form.content, keys)
