"""Rows: what the events are, seen from the rest of the program.

Most often one is an entry of a tree, but a tree may hold an entry for every hit (``group_by``), or a collection of
objects that are to be calibrated one by one (``explode``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.names import counts_events
from calomlp.data.reader import Table
from calomlp.errors import BadValueError, InputError

TRUE_ENERGY = "true_energy"
"""Name of the column that is made of the true energy of a whole file."""

Chunk = tuple[NDArray[np.int64], dict[str, Any]]
"""Entry numbers that decide the split, shape [events], and columns by name."""


@dataclass(frozen=True)
class Layout:
    """What one event is."""

    explode: str = ""  # collection whose objects are the events; empty if the entries of the tree are
    group_by: str = ""  # branch whose equal values mark the entries that make up one event; empty if each entry is one
    tree: str = ""  # tree to take if a file has it and none was named


@dataclass(frozen=True)
class Piece:
    """Some entries, and the events in them."""

    entries: NDArray[np.int64]  # their numbers, shape [entries]
    columns: Mapping[str, Any]  # of the entries, by name
    counts: NDArray[np.int64] | None  # number of events in each entry, shape [entries]; None if each entry is one
    events: Mapping[str, Any]  # columns of the events, by name


class Rows:
    """The entries of a table, one event each, with the columns of its friends and what is known of the file.

    Attributes:
        source: Where they lie.
        identity: Of the file, wherever it is copied.
        entries: Number of events.
        columns: By name.

    Raises:
        InputError: If a friend has another number of entries.
    """

    def __init__(self, table: Table, friends: Sequence[Table] = ()) -> None:
        self.source = table.source
        self.identity = table.identity
        self.entries = table.entries
        self.columns: dict[str, Column] = {}
        self._table = table
        self._friends: dict[str, tuple[Table, str]] = {}  # by column: the friend, and what it calls the column
        self._numbers = [
            (friend, name)
            for friend in friends
            for name in friend.columns
            if counts_events(name) and name in table.columns and np.dtype(friend.columns[name].kind).kind in "iu"
        ]
        if self.source.true_energy is not None:
            self.columns[TRUE_ENERGY] = Column(TRUE_ENERGY)
        for name, column in table.columns.items():
            self.columns.setdefault(name, column)
        for friend in friends:
            if friend.entries != self.entries:
                raise InputError(
                    f"{friend.source}: has {friend.entries} entries and {self.source} {self.entries}: "
                    "these are no friends"
                )
            self._adopt(friend)

    def _adopt(self, friend: Table) -> None:
        """Add the columns of a friend, under the name of its tree where theirs are taken."""
        tree = str(friend.source.tree).rpartition("/")[2].partition(";")[0]
        for name, column in friend.columns.items():
            own = name if name not in self.columns else f"{tree}.{name}"
            if own not in self.columns:
                self.columns[own] = replace(column, name=own)
                self._friends[own] = friend, name

    def require(self, names: Iterable[str]) -> None:
        """Refuse branches that are not there, not numeric or damaged.

        Raises:
            InputError: With a did-you-mean.
        """
        for name in sorted(names):
            if name in self._friends:
                friend, theirs = self._friends[name]
                friend.require([theirs])
            elif not self._is_constant(name):
                self._require_own(name)

    def _require_own(self, name: str) -> None:
        try:
            self._table.require([name], self.columns)
        except InputError as error:
            if name != TRUE_ENERGY or name in self._table.columns:
                raise
            hint = "name another with --target, or the energy of a file with 10GeV=FILE or --target-from-name"
            raise InputError(f"{error}; {hint}") from error

    def chunks(self, names: Iterable[str]) -> Iterator[Chunk]:
        """Read columns in chunks of bounded memory.

        Args:
            names: Some of :attr:`columns`.

        Raises:
            InputError: If the file is damaged, or changes while it is read.
        """
        wanted = set(names)
        ours = {name for name in wanted if name not in self._friends and not self._is_constant(name)}
        numbers = {name for _, name in self._numbers} if wanted & self._friends.keys() else set()
        for start, columns in self._table.chunks(ours | numbers or self._cheapest()):
            stop = start + len(next(iter(columns.values())))
            if numbers:
                self._check_order(columns, start, stop)
            for name in wanted & self._friends.keys():
                friend, theirs = self._friends[name]
                columns[name] = friend.read(theirs, start, stop)
            if self._is_constant(TRUE_ENERGY):
                columns[TRUE_ENERGY] = np.full(stop - start, self.source.true_energy)
            yield np.arange(start, stop), columns

    @property
    def whole(self) -> Rows:
        """What the events are in: these rows themselves, unless an entry may hold several events, or none."""
        return self

    def pieces(self, names: Iterable[str]) -> Iterator[Piece]:
        """Read columns in chunks of bounded memory, of the events and of the entries that they are in.

        Args:
            names: Some of :attr:`columns`.

        Raises:
            InputError: If the file is damaged, or changes while it is read.
        """
        for entries, columns in self.chunks(names):
            yield Piece(entries, columns, None, columns)

    def _check_order(self, columns: Mapping[str, Any], start: int, stop: int) -> None:
        """Refuse friends whose entries are numbered in another way."""
        for friend, name in self._numbers:
            differ = np.asarray(columns[name] != friend.read(name, start, stop))
            if differ.any():
                raise BadValueError(
                    f"{friend.source}: {name} is not that of {self.source} in entry {start + int(np.argmax(differ))}: "
                    "entries of friends follow in the same order"
                )

    def _is_constant(self, name: str) -> bool:
        return name == TRUE_ENERGY and self.source.true_energy is not None

    def _cheapest(self) -> list[str]:
        """Return a column to read where only the number of events is asked for."""
        numbers = [name for name, column in self._table.columns.items() if not column.jagged and not column.shape]
        return (numbers or list(self._table.columns))[:1]
