"""RNTuples, read page by page.

uproot reads whole clusters, of a gigabyte by ROOT's defaults and of any size from other writers, and reads them again
for every range of events in them. Here a range of events takes from each column the pages that it touches, so that the
memory is bounded by the range; and the checksums of the pages, which uproot passes over, are verified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import awkward as ak
import numpy as np
import xxhash
from awkward.contents import Content, ListOffsetArray, NumpyArray, RegularArray
from awkward.forms import Form, ListOffsetForm, RecordForm, RegularForm
from awkward.index import Index64
from numpy.typing import NDArray

from calomlp.data.columns import Branch, Column
from calomlp.data.damage import brief, check_packed

_UNTITLED = re.compile(r"_collection\d+")
"""Collections that ROOT's importer invents; their members are there under their own names, too."""

_CHECKSUM_BYTES = 8


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
        self._pages: dict[int, tuple[tuple[int, int], NDArray[Any]]] = {}  # the last one of each column
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
        form = self._forms[column.branch]
        if self._irregular & set(_numbers(form, column.keys)):  # these alone are left to uproot, cluster by cluster
            field = self._ntuple[column.branch]
            return column.finish(column.of(field.array(entry_start=start, entry_stop=stop, array_cache=None)))
        parts = []
        for cluster, (low, high) in enumerate(pairwise(self._edges.tolist())):
            first, last = max(start, low), min(stop, high)
            if first < last:
                parts.append(ak.Array(self._content(form, column.keys, cluster, first - low, last - low)))
        return column.finish(parts[0] if len(parts) == 1 else ak.concatenate(parts))

    def iterate(self, columns: Sequence[Column], start: int, stop: int, step: int) -> Iterator[dict[str, Any]]:
        """Yield columns by name, for ``step`` events at a time."""
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield {column.name: self.read(column, first, last) for column in columns}

    @cached_property
    def _irregular(self) -> set[int]:
        """The columns that were added while the file was written, or whose encoding changes from cluster to cluster."""
        records = self._ntuple.column_records
        several = {record.field_id for record in records if record.repr_idx}
        return {
            number for number, record in enumerate(records) if record.first_element_index or record.field_id in several
        }

    def _content(self, form: Any, keys: tuple[str, ...], cluster: int, start: int, stop: int) -> Content:
        """Read elements ``start`` to ``stop`` of what a form describes, counted from the beginning of the cluster."""
        if isinstance(form, RecordForm):
            return self._content(form.content(keys[0]), keys[1:], cluster, start, stop)
        if isinstance(form, RegularForm):
            content = self._content(form.content, keys, cluster, start * form.size, stop * form.size)
            return RegularArray(content, form.size, stop - start)
        number = _number(form)
        if isinstance(form, ListOffsetForm):
            edges = self._list_edges(cluster, number, start, stop)
            content = self._content(form.content, keys, cluster, int(edges[0]), int(edges[-1]))
            return ListOffsetArray(Index64(edges - edges[0]), content)
        if form.form_key.endswith("-cardinality"):
            return NumpyArray(np.diff(self._list_edges(cluster, number, start, stop)))
        return NumpyArray(self._elements(cluster, number, start, stop))

    def _list_edges(self, cluster: int, number: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return where lists begin and end; the file holds the ends only."""
        ends = self._elements(cluster, number, max(start - 1, 0), stop).astype(np.int64)
        edges = ends if start else np.concatenate([[0], ends])
        if edges[0] < 0 or (np.diff(edges) < 0).any():
            raise ValueError("its lists are damaged")
        return edges

    def _elements(self, cluster: int, number: int, start: int, stop: int) -> NDArray[Any]:
        """Read elements of a column out of the pages that hold them."""
        found = [np.empty(0, self._ntuple.get_field_metadata(number).dtype)]
        first = 0
        for index, page in enumerate(self._page_list(cluster, number)):
            last = first + page.num_elements
            if first < stop and start < last:
                found.append(self._page(cluster, number, index, page)[max(start - first, 0) : stop - first])
            first = last
        elements = np.concatenate(found)
        if len(elements) != stop - start:
            raise ValueError(f"it holds {first} numbers in cluster {cluster}, fewer than its events need")
        return elements

    def _page_list(self, cluster: int, number: int) -> list[Any]:
        columns = self._ntuple.page_link_list[cluster]
        return columns[number].pages if number < len(columns) else []

    def _page(self, cluster: int, number: int, index: int, page: Any) -> NDArray[Any]:
        where, values = self._pages.get(number, (None, np.empty(0)))
        if where == (cluster, index):
            return values
        column = self._ntuple.get_field_metadata(number)
        check_packed(page.locator.num_bytes, page.num_elements * column.nbits // 8, page.locator.offset)
        if self._size is not None:
            self._verify(page)
        values = np.empty(page.num_elements, column.dtype)
        self._ntuple.read_page(values, cluster, number, index, column)
        self._ntuple.post_process(values, column)
        self._pages[number] = (cluster, index), values
        return values

    def _verify(self, page: Any) -> None:
        start, stop = page.locator.offset, page.locator.offset + page.locator.num_bytes
        if stop > self._size:
            raise ValueError(f"its page at byte {start} lies beyond the end of the file")
        if page.has_checksum:
            data = self._ntuple.file.source.chunk(start, stop + _CHECKSUM_BYTES).raw_data
            if xxhash.xxh3_64_intdigest(data[:-_CHECKSUM_BYTES]) != int.from_bytes(data[-_CHECKSUM_BYTES:], "little"):
                raise ValueError(f"its page at byte {start} does not agree with its checksum")


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
