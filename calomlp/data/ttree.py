"""TTrees: their branches under natural names, checked against the file before they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from awkward.forms import Form, ListOffsetForm
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.objects import AsObjects

from calomlp.data.columns import Branch, Column, is_inherited
from calomlp.data.damage import brief, check_record

_DIMENSIONS = re.compile(r"(\[[^\]]*\])+$")


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
        return [self._describe(branch, path, name) for branch, path, name in _leaves(self._tree)]

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
            check_record(branch.file.source, start, size)

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


def _leaves(parent: Any, path: str = "", name: str = "", own: str = "") -> Iterator[tuple[Any, str, str]]:
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
            yield from _leaves(branch, here_path, here, here_own)
        elif not (path and is_inherited(here_own)):
            yield branch, here_path, here
