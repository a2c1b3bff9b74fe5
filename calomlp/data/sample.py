"""From files to arrays: features, target and side of the split, chunk by chunk or all at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet, per_event
from calomlp.data.reader import Table, open_table
from calomlp.data.record import FileRecord
from calomlp.data.sources import Source
from calomlp.data.split import Split
from calomlp.errors import ArtefactError, InputError, UsageError
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress

logger = logging.getLogger(__name__)

MAX_BEAM_ENERGIES = 50
"""Up to this many distinct true energies are taken for the energies of a test beam, more for a spectrum."""


@dataclass(frozen=True)
class Recipe:
    """How events are made from a file: the part of a model that faces the data.

    Attributes:
        features: The columns of the matrix.
        target: Expression for the true energy [GeV].
        split: Shares of training, validation and test.
        split_by: Branch whose equal values stay on one side; ``None`` to split event by event.
        cut: Condition that events must meet; ``None`` for all events.
    """

    features: FeatureSet
    target: Expression
    split: Split
    split_by: str | None = None
    cut: Expression | None = None

    @property
    def branches(self) -> frozenset[str]:
        """Every branch that is read."""
        grouped = {self.split_by} if self.split_by else set()
        return self.features.branches | self.true_branches | grouped

    @property
    def true_branches(self) -> frozenset[str]:
        """The branches that the true energy and the cut need."""
        return self.target.branches | (self.cut.branches if self.cut else frozenset())

    def check(self, table: Table) -> None:
        """Refuse a file that lacks a branch of the recipe.

        Raises:
            ArtefactError: Naming the branch.
        """
        try:
            table.require(self.branches)
        except InputError as error:
            raise ArtefactError(f"the model does not fit this file: {error}") from error


@dataclass(frozen=True)
class Sample:
    """Events in memory.

    Attributes:
        features: Shape [events, columns].
        true_energy: Shape [events], in GeV.
        side: :class:`~calomlp.data.split.Side` of each event, shape [events].
    """

    features: NDArray[np.float32]
    true_energy: NDArray[np.float32]
    side: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.true_energy)

    def first(self, events: int) -> Sample:
        """Return the first events."""
        return Sample(self.features[:events], self.true_energy[:events], self.side[:events])

    def select(self, mask: NDArray[np.bool_]) -> Sample:
        """Return the events where the mask is true."""
        return Sample(self.features[mask], self.true_energy[mask], self.side[mask])


def describe(table: Table) -> FileRecord:
    """Return what is remembered of an open file."""
    return FileRecord(table.source.label, table.source.tree or "", table.identity, table.entries)


def remember(records: list[FileRecord], record: FileRecord) -> None:
    """Add a file to those that are already known.

    Raises:
        InputError: If it is one of them under another name.
    """
    for other in records:
        if other.identity == record.identity:
            raise InputError(f"{record.path}: this is the same file as {other.path}: name it once")
    records.append(record)


def read_chunks(table: Table, recipe: Recipe) -> Iterator[tuple[int, Sample]]:
    """Read a file chunk by chunk.

    Yields:
        The number of events that were read, and those of them that pass the cut.

    Raises:
        InputError: If a value is not finite, or a true energy not above zero, in an event that passes the cut.
    """
    for start, everything in table.chunks(recipe.branches):
        entries, branches = select(table, recipe.cut, start, everything)
        energy = read_target(table, recipe.target, branches, len(entries))
        features = recipe.features.matrix(branches)
        _check_finite(table, features, recipe.features.columns, entries)
        _check_energy(table, recipe.target.text, energy, entries)
        if recipe.split_by is None:
            side = recipe.split.sides(table.identity, entries)
        else:
            side = recipe.split.sides("", _group_keys(branches[recipe.split_by], recipe.split_by))
        yield len(next(iter(everything.values()))), Sample(features, energy, side)


def parse_cut(text: str | None) -> Expression | None:
    """Read a cut; none, or an empty one, lets all events pass.

    Raises:
        UsageError: If it is not in the feature language or reads no branch.
    """
    if not text:
        return None
    cut = Expression.parse(text)
    if not cut.branches:
        raise UsageError(f"cut {text!r} reads no branch: it must depend on the event")
    return cut


def select(
    table: Table, cut: Expression | None, start: int, branches: Mapping[str, Any]
) -> tuple[NDArray[np.int64], Mapping[str, Any]]:
    """Return the entry numbers of the events of a chunk that pass a cut, and their branches.

    Args:
        table: Where the chunk comes from.
        cut: The condition; ``None`` lets all events pass.
        start: Entry number of the chunk's first event.
        branches: Branches by name.

    Raises:
        InputError: If the cut is not true or false in each event.
    """
    entries = np.arange(start, start + len(next(iter(branches.values()))))
    if cut is None:
        return entries, branches
    passes = per_event(cut, branches, len(entries))
    if passes.ndim != 1 or passes.dtype.kind != "b":
        raise InputError(f"{table.source}: cut {cut.text!r} is not one condition in each event, such as e_sum > 1")
    return entries[passes], {name: values[passes] for name, values in branches.items()}


def read_target(table: Table, target: Expression, branches: Mapping[str, Any], events: int) -> NDArray[np.float32]:
    """Return the true energies [GeV] of a chunk, shape [events], in the precision that they are kept in.

    Raises:
        InputError: If the target is an array in each event.
    """
    energy = per_event(target, branches, events)
    if energy.ndim != 1:
        raise InputError(f"{table.source}: target {target.text!r} is an array in each event: choose one element")
    with np.errstate(over="ignore"):  # what overflows is found and named by the check for finite values
        return energy.astype(np.float32)


def load(
    sources: Sequence[Source], recipe: Recipe, *, progress: Progress, interrupt: Interrupt
) -> tuple[Sample, tuple[FileRecord, ...]]:
    """Read files into memory, each into its place in one preallocated matrix.

    Args:
        sources: The files.
        recipe: What to read from them.
        progress: Told of every chunk.
        interrupt: Looked at after every chunk.

    Raises:
        InputError: If a file cannot be used.
    """
    records: list[FileRecord] = []
    for source in sources:  # every file is opened and checked before the first is read
        with open_table(source) as table:
            table.require(recipe.branches)
            remember(records, describe(table))
    total = sum(record.events for record in records)
    if not total:
        raise InputError(f"{', '.join(record.path for record in records)}: no events")
    sample = Sample(
        np.empty((total, len(recipe.features.columns)), dtype=np.float32),
        np.empty(total, dtype=np.float32),
        np.empty(total, dtype=np.uint8),
    )
    progress.start("reading", total, "events")
    start = 0
    for source in sources:
        with open_table(source) as table:
            for events, chunk in read_chunks(table, recipe):
                rows = slice(start, start + len(chunk))
                sample.features[rows] = chunk.features
                sample.true_energy[rows] = chunk.true_energy
                sample.side[rows] = chunk.side
                start = rows.stop
                progress.advance(events)
                interrupt.check()
    progress.finish()
    if recipe.cut:
        logger.info("%d of %d events pass the cut %s", start, total, recipe.cut.text)
    if not start:
        raise InputError(f"{', '.join(record.path for record in records)}: no event passes the cut")
    return sample.first(start), tuple(records)


def _group_keys(values: NDArray[np.generic], branch: str) -> NDArray[np.int64]:
    if values.ndim != 1:
        raise InputError(f"events cannot be split by {branch!r}: it is an array in each event")
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return values.astype(np.int64)


def _check_finite(
    table: Table, features: NDArray[np.float32], columns: Sequence[str], entries: NDArray[np.int64]
) -> None:
    finite = np.isfinite(features)
    if finite.all():
        return
    column = int(np.flatnonzero(~finite.all(axis=0))[0])
    rows = np.flatnonzero(~finite[:, column])
    raise InputError(
        f"{table.source}: feature {columns[column]!r} is not finite in {len(rows)} of events "
        f"{entries[0]} to {entries[-1]}, first in event {entries[rows[0]]}"
    )


def _check_energy(table: Table, target: str, energy: NDArray[np.floating], entries: NDArray[np.int64]) -> None:
    bad = np.flatnonzero(~(np.isfinite(energy) & (energy > 0)))
    if len(bad):
        raise InputError(
            f"{table.source}: true energy {target!r} is not finite and above zero in {len(bad)} of events "
            f"{entries[0]} to {entries[-1]}, first in event {entries[bad[0]]} ({energy[bad[0]]:g})"
        )
