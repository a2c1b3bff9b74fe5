"""What is in a ROOT file: its trees, their branches, and what a bounded look at the numbers says about them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import awkward as ak
import numpy as np

from calomlp.data.columns import Column
from calomlp.data.names import energy_in
from calomlp.data.reader import RootFile, Table
from calomlp.errors import InputError
from calomlp.run import Interrupt

MAX_EVENTS = 100_000
"""At most so many events are read, from the beginning of a tree; fewer if they are large."""

_MAX_BYTES = 256 << 20
_MAX_TREES = 4  # that are described if none was named


@dataclass(frozen=True)
class Values:
    """What the numbers of a column are."""

    numbers: int  # how many were read
    min: float | None  # the least that is finite; None if none is
    mean: float | None  # of those that are finite
    max: float | None  # the largest that is finite
    non_finite: int  # how many are not finite
    zeros: float  # share of zeros
    constant: bool  # whether all are the same
    distinct: int | None  # how many are different, of plain numbers
    repeats: float | None  # share of events with the number of the event before, of plain numbers
    per_event: float  # mean number of elements in an event


@dataclass(frozen=True)
class BranchSummary:
    """A branch, or a member of a branch of records."""

    name: str  # as the feature language calls it
    type: str  # of its numbers, as numpy calls it; in C++ where it holds none
    column: Column | None = None  # its shape; None if it is not numeric or cannot be read
    values: Values | None = None  # what was found in it; None if nothing was
    problem: str = ""  # why it cannot be read

    @property
    def is_number(self) -> bool:
        """Whether it is one number in each event."""
        return self.column is not None and not self.column.jagged and not self.column.shape

    @property
    def is_array(self) -> bool:
        """Whether it is as many numbers in every event."""
        return self.column is not None and not self.column.jagged and bool(self.column.shape)

    @property
    def is_list(self) -> bool:
        """Whether the number of its elements varies from event to event."""
        return self.column is not None and self.column.jagged

    @property
    def looks_like_energy(self) -> bool:
        """Whether its name is that of an energy, be it measured or true."""
        return energy_in(self.name)

    @property
    def layout(self) -> str:
        """Its shape in words, such as ``number``, ``30``, ``list``, ``list of 3``, ``list of lists``."""
        if self.column is None:
            return "unreadable" if self.problem else "not numeric"
        sizes = ["x".join(map(str, self.column.shape))] if self.column.shape else []
        lists = ["list"] * self.column.jagged + ["lists"] * self.column.nested
        return " of ".join([*lists, *sizes]) or "number"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        body: dict[str, Any] = {"branch": self.name, "type": self.type, "layout": self.layout}
        if self.column is not None:
            body |= {"shape": list(self.column.shape), "jagged": self.column.jagged}
        if self.values is not None:
            body |= asdict(self.values)
        return body | ({"problem": self.problem} if self.problem else {})


@dataclass(frozen=True)
class TreeSummary:
    """A tree."""

    name: str  # with its folders
    kind: str  # its class
    events: int = 0  # how many it has
    events_read: int | None = None  # how many of them were looked at; None if its branches are not described
    branches: tuple[BranchSummary, ...] = ()  # all of them
    problem: str = ""  # why it cannot be read

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        body: dict[str, Any] = {"tree": self.name, "class": self.kind}
        if self.problem:
            return body | {"problem": self.problem}
        body["events"] = self.events
        if self.events_read is None:
            return body
        return body | {"events_read": self.events_read, "branches": [branch.as_dict() for branch in self.branches]}


def summarise(file: RootFile, interrupt: Interrupt) -> list[TreeSummary]:
    """Look into a file: into the tree that was named, else into the one that would be read, else into the first few.

    Args:
        file: An open file.
        interrupt: Looked at between reads.

    Returns:
        All trees of the file; the branches of those that were looked into.

    Raises:
        InputError: If it has no tree, or not the one that was named.
    """
    try:
        looked_into = {file.choose(frozenset()).source.tree}
    except InputError:
        if file.source.tree is not None or len(file.trees) < 2:
            raise
        looked_into = {*list(file.trees)[:_MAX_TREES]}
    named = {file.source.tree: file.trees.get(file.source.tree.partition(";")[0], "")} if file.source.tree else {}
    summaries = []
    for name, kind in {**file.trees, **named}.items():
        try:
            table = file.table(name)
            if name in looked_into:
                summaries.append(_describe(table, kind, interrupt))
            else:
                summaries.append(TreeSummary(name, kind, table.entries))
        except InputError as error:
            summaries.append(TreeSummary(name, kind, problem=str(error)))
    return summaries


def _describe(table: Table, kind: str, interrupt: Interrupt) -> TreeSummary:
    events = min(table.entries, MAX_EVENTS, table.events_in(_MAX_BYTES, list(table.columns.values())))
    branches = []
    for branch in table.branches:
        columns = [column for column in branch.columns() if table.columns[column.name] == column]
        branches += [_look(table, column, events) for column in columns]
        if not columns:
            branches.append(BranchSummary(branch.name, branch.typename, problem=branch.problem))
        interrupt.check()
    return TreeSummary(str(table.source.tree), kind, table.entries, events, tuple(branches))


def _look(table: Table, column: Column, events: int) -> BranchSummary:
    if not events:
        return BranchSummary(column.name, column.kind, column)
    try:
        return BranchSummary(column.name, column.kind, column, _values(table.read(column.name, 0, events)))
    except InputError as error:
        return BranchSummary(column.name, column.kind, problem=str(error).removeprefix(f"{table.source}: "))


def _values(read: Any) -> Values:
    numbers = ak.flatten(read, axis=None) if isinstance(read, ak.Array) else read
    flat = np.asarray(numbers, dtype=np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    distinct = repeats = None
    if not isinstance(read, ak.Array) and read.ndim == 1:
        distinct = len(np.unique(finite))
        repeats = np.count_nonzero(flat[1:] == flat[:-1]) / len(flat)
    with np.errstate(over="ignore"):
        mean = float(finite.mean()) if len(finite) else np.nan
    least, largest = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
    return Values(
        numbers=len(flat),
        min=least,
        mean=mean if np.isfinite(mean) else None,
        max=largest,
        non_finite=len(flat) - len(finite),
        zeros=1 - np.count_nonzero(flat) / max(len(flat), 1),
        constant=largest is not None and least == largest and len(finite) == len(flat),
        distinct=distinct,
        repeats=repeats,
        per_event=len(flat) / len(read),
    )
