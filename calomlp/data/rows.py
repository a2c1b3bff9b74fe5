"""Events: entries of a tree, groups of its entries (``group_by``), or objects in them (``explode``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.names import counts_events
from calomlp.data.root import OpenTree, open_table
from calomlp.data.sources import FileRecord, Source
from calomlp.errors import BadValueError, InputError, did_you_mean

TRUE_ENERGY = "true_energy"
"""Name of the column that is made of the true energy of a whole file."""

_MAX_ROWS_OF_AN_EVENT = 20_000_000
_ROWS_LOOKED_AT = 2_000_000
_SUSPICIOUS_DESCENTS = 0.01
_TORN = 0.05  # groups that come back, where files that were joined begin to count anew at most a few times


@dataclass(frozen=True)
class Layout:
    """Layout of events in a tree."""

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

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number of the entry that each event is in, shape [events]."""
        return self.entries if self.counts is None else np.repeat(self.entries, self.counts)

    def __len__(self) -> int:
        return len(self.entries) if self.counts is None else int(self.counts.sum())


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

    def __init__(self, table: OpenTree, friends: Sequence[OpenTree] = ()) -> None:
        self.source = table.source
        self.identity = table.identity
        self.entries = table.entries
        self.columns: dict[str, Column] = {}
        self._table = table
        self._friends: dict[str, tuple[OpenTree, str]] = {}  # by column: the friend, and what it calls the column
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

    def _adopt(self, friend: OpenTree) -> None:
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

    def chunks(self, names: Iterable[str]) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
        """Yield columns of the events by name, with the numbers of their entries, which decide the split."""
        for piece in self.pieces(names):
            yield piece.numbers, dict(piece.events)

    def pieces(self, names: Iterable[str]) -> Iterator[Piece]:
        """Read some of :attr:`columns` in chunks of bounded memory, of the events and of the entries that they are in.

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
            yield Piece(np.arange(start, stop), columns, None, columns)

    @property
    def whole(self) -> Rows:
        """What the events are in: these rows themselves, unless an entry may hold several events, or none."""
        return self

    @property
    def record(self) -> FileRecord:
        """Record of the file, for a model or a report."""
        source = self.source
        friends = tuple(map(str, source.friends))
        return FileRecord(source.label, source.tree or "", self.identity, self.entries, source.true_energy, friends)

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
        numbers = [name for name, column in self._table.columns.items() if column.is_number]
        return (numbers or list(self._table.columns))[:1]


class Exploded(Rows):
    """The objects of a collection, one event each; what belongs to their whole entry is repeated for each of them.

    The objects of one entry have its entry number, and so are on the same side of the split.

    Args:
        rows: The entries.
        collection: ``Photon`` for ``Photon_pt``, ``Photon.pt``.

    Raises:
        InputError: If there is no such collection.
    """

    def __init__(self, rows: Rows, collection: str) -> None:
        self.source, self.identity = rows.source, rows.identity
        self._rows = rows
        members = _members(rows.columns, collection)
        if not members:
            own = {name.rpartition(mark)[0] for name, column in rows.columns.items() if column.jagged for mark in "._"}
            raise InputError(f"{self.source}: no collection {collection!r}: {did_you_mean(collection, own - {''})}")
        self._members = frozenset(members)
        self._ruler = min(members, key=lambda name: (members[name].nested, np.dtype(members[name].kind).itemsize, name))
        inner = {name: replace(column, jagged=column.nested, nested=False) for name, column in members.items()}
        self.columns = rows.columns | inner
        self.require = rows.require  # type: ignore[method-assign]
        self.entries = sum(int(np.sum(ak.num(chunk[self._ruler]))) for _, chunk in rows.chunks([self._ruler]))

    @property
    def whole(self) -> Rows:
        """The entries."""
        return self._rows

    def pieces(self, names: Iterable[str]) -> Iterator[Piece]:
        """Read columns, as :meth:`Rows.pieces` does; entries without objects are there, too.

        Raises:
            InputError: If the members of the collection have not the same number of objects.
        """
        wanted = sorted(names)
        for entries, columns in self._rows.chunks({*wanted, self._ruler}):
            counts = np.asarray(ak.num(columns[self._ruler]))
            owner = np.arange(len(entries)).repeat(counts)
            exploded = {}
            for name in wanted:
                if name not in self._members:
                    exploded[name] = columns[name][owner]
                    continue
                if not np.array_equal(ak.num(columns[name]), counts):
                    raise InputError(f"{self.source}: {name} and {self._ruler} have not the same number of objects")
                flat = ak.flatten(columns[name], axis=1)
                exploded[name] = flat if self.columns[name].jagged else ak.to_numpy(flat)
            yield Piece(entries, columns, counts, exploded)


class Grouped(Rows):
    """Groups of entries that follow each other and have the same value of a branch, one event each.

    Every column but this branch becomes a list: its values in the entries of the group.

    Attributes:
        branch: The branch.

    Args:
        rows: The entries.
        branch: The branch, a number in each entry.

    Raises:
        InputError: If there is no such branch.
    """

    def __init__(self, rows: Rows, branch: str) -> None:
        self.source, self.identity = rows.source, rows.identity
        self._rows, self.branch = rows, branch
        rows.require([branch])
        if not rows.columns[branch].is_number:
            raise InputError(f"{self.source}: entries cannot be grouped by {branch!r}: it is not one number in each")
        self._energy = rows.source.true_energy
        numbers = {branch} if self._energy is None else {branch, TRUE_ENERGY}
        self.columns = {
            name: column if name in numbers else replace(column, jagged=True, nested=column.jagged)
            for name, column in rows.columns.items()
        }
        self.require = rows.require  # type: ignore[method-assign]
        self.entries = self._count()

    def _count(self) -> int:
        """Return the number of groups.

        Raises:
            BadValueError: If they are torn apart.
        """
        groups = 0
        heads = []
        last = None
        for entries, columns in self._rows.chunks([self.branch]):
            values = columns[self.branch]
            heads_here = values[_heads(values, last)]
            groups += len(heads_here)
            last = values[-1]
            if entries[0] < _ROWS_LOOKED_AT:
                heads.append(heads_here)
        if heads:
            seen = np.concatenate(heads)
            descents = np.count_nonzero(seen[1:] < seen[:-1])
            repeated = len(seen) - len(np.unique(seen))
            if repeated > _TORN * len(seen) and descents > _SUSPICIOUS_DESCENTS * len(seen):
                raise BadValueError(
                    f"{self.source}: {self.branch} goes up and down and comes back to {repeated} of {len(seen)} "
                    "values: the entries of an event have to follow each other, so sort the file first"
                )
        return groups

    def pieces(self, names: Iterable[str]) -> Iterator[Piece]:
        """Read columns, as :meth:`Rows.pieces` does; a group that goes on in the next chunk waits for it.

        Raises:
            InputError: If a group does not end.
        """
        wanted = sorted({*names, self.branch})
        start = 0
        pending: dict[str, Any] = {}
        for _, read in self._rows.chunks(wanted):
            columns = {name: ak.concatenate([pending[name], read[name]]) for name in wanted} if pending else read
            heads = np.flatnonzero(_heads(np.asarray(columns[self.branch]), None))
            last = int(heads[-1])
            pending = {name: columns[name][last:] for name in wanted}
            if len(pending[self.branch]) > _MAX_ROWS_OF_AN_EVENT:
                raise InputError(
                    f"{self.source}: more than {_MAX_ROWS_OF_AN_EVENT} entries have the same {self.branch}: "
                    "is this the number of an event?"
                )
            if len(heads) > 1:
                yield self._group({name: columns[name][:last] for name in wanted}, heads, start)
                start += len(heads) - 1
        if pending:
            heads = np.array([0, len(pending[self.branch])])
            yield self._group(pending, heads, start)

    def _group(self, columns: Mapping[str, Any], heads: NDArray[np.int64], start: int) -> Piece:
        """Return what lies between the heads of groups, the last of which is where the next one begins."""
        counts = np.diff(heads)
        grouped = {name: ak.unflatten(_as_lists(values), counts) for name, values in columns.items()}
        grouped[self.branch] = np.asarray(columns[self.branch])[heads[:-1]]
        if self._energy is not None:
            grouped[TRUE_ENERGY] = np.full(len(counts), self._energy)
        return Piece(np.arange(start, start + len(counts)), grouped, None, grouped)


def _heads(values: NDArray[Any], before: Any) -> NDArray[np.bool_]:
    """Return where another value begins; ``before`` is the one before the first."""
    heads = np.ones(len(values), dtype=np.bool_)
    heads[1:] = values[1:] != values[:-1]
    if before is not None:
        heads[0] = values[0] != before
    return heads


def _as_lists(values: Any) -> ak.Array:
    return values if isinstance(values, ak.Array) else ak.from_numpy(values, regulararray=True)


def _members(columns: Mapping[str, Column], collection: str) -> dict[str, Column]:
    """Return the columns of a collection: ``Photon.pt``, or ``Photon_pt`` if there are none of that kind."""
    for mark in "._":
        members = {name: col for name, col in columns.items() if col.jagged and name.startswith(f"{collection}{mark}")}
        if members:
            return members
    return {}


class Joined(Rows):
    """Groups of entries, with the columns of trees that have one entry for each group: found by their number.

    Args:
        rows: The groups.
        friends: The trees; each has the branch that the groups are made by, and every number once.
    """

    def __init__(self, rows: Grouped, friends: Sequence[OpenTree]) -> None:
        self.source, self.identity, self.entries = rows.source, rows.identity, rows.entries
        self._rows, self._key = rows, rows.branch
        self._friends = {}
        self.columns = dict(rows.columns)
        self._places: dict[str, tuple[NDArray[Any], NDArray[np.int64]]] = {}  # by friend: ascending, and their entries
        for friend in friends:
            self._adopt(friend)
            numbers = friend.read(self._key, 0, friend.entries)
            order = np.argsort(numbers, kind="stable")
            self._places[str(friend.source)] = numbers[order], order

    def _require_own(self, name: str) -> None:
        self._rows.require([name])

    def pieces(self, names: Iterable[str]) -> Iterator[Piece]:
        """Read columns, as :meth:`Rows.pieces` does; those of friends are kept in memory, a number for each event.

        Raises:
            InputError: If a group is not in a friend.
        """
        wanted = set(names)
        lent = {name: self._friends[name] for name in wanted & self._friends.keys()}
        whole = {name: friend.read(theirs, 0, friend.entries) for name, (friend, theirs) in lent.items()}
        for entries, columns in self._rows.chunks({*(wanted - lent.keys()), self._key}):
            for name, (friend, _) in lent.items():
                columns[name] = whole[name][self._find(friend, columns[self._key])]
            yield Piece(entries, columns, None, columns)

    def _find(self, friend: OpenTree, wanted: NDArray[Any]) -> NDArray[np.int64]:
        """Return the entries of a friend that have these numbers."""
        numbers, order = self._places[str(friend.source)]
        place = np.searchsorted(numbers, wanted).clip(max=len(numbers) - 1)
        missing = numbers[place] != wanted
        if missing.any():
            raise InputError(
                f"{friend.source}: has no entry with {self._key} {wanted[missing][0]:g}, which {self.source} has"
            )
        return np.asarray(order[place])


def _is_numbered(table: OpenTree, branch: str) -> bool:
    """Tell whether every entry of a table has its own number, so that it is one for a whole group of entries."""
    column = table.columns.get(branch)
    if column is None or not column.is_number or not table.entries:
        return False
    numbers = table.read(branch, 0, table.entries)
    return len(np.unique(numbers)) == len(numbers)


@contextmanager
def open_rows(source: Source, layout: Layout, wanted: frozenset[str] = frozenset()) -> Iterator[Rows]:
    """Open a file, its friends, and see in them the events that a layout says.

    Args:
        source: The file.
        layout: What an event is.
        wanted: Branches that will be asked for; of several trees, the only one that has them all is taken.

    Raises:
        InputError: If the file cannot be used.
        MissingDependencyError: If the scheme of a URL needs a package that is not installed.
    """
    with ExitStack() as stack:
        wanted = wanted - {TRUE_ENERGY} if source.true_energy is not None else wanted
        table = stack.enter_context(open_table(source, frozenset() if source.friends else wanted, layout.tree))
        friends = [stack.enter_context(open_table(friend)) for friend in source.friends]
        if layout.group_by:
            each = [friend for friend in friends if not _is_numbered(friend, layout.group_by)]
            others = [friend for friend in friends if friend not in each]
            groups = Grouped(Rows(table, each), layout.group_by)
            rows: Rows = Joined(groups, others) if others else groups
        else:
            rows = Rows(table, friends)
        yield Exploded(rows, layout.explode) if layout.explode else rows
