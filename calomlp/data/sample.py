"""From rows to arrays: features, true energy, weight and what decides the side of the split, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.cleaning import bad_columns, culprits, mark_missing, refusal, zero_bad, zero_features
from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet, per_event
from calomlp.data.reader import Table
from calomlp.data.rows import Layout, Rows
from calomlp.data.settings import REFUSE, SKIP, ZERO
from calomlp.data.sources import FileRecord
from calomlp.data.split import Split
from calomlp.data.tally import Tally
from calomlp.errors import ArtefactError, BadValueError, InputError, UsageError
from calomlp.settings import check_choice

MAX_BEAM_ENERGIES = 50
"""Up to this many distinct true energies are taken for the energies of a test beam, more for a spectrum."""

_GEV = {"GeV": 1.0, "MeV": 1e-3, "keV": 1e-6, "TeV": 1e3}

BY_ENERGY = "energy"
"""Splitting by this keeps the events of one true energy on one side."""


@dataclass(frozen=True)
class Recipe:
    """How events are made from a file: the part of a model that faces the data.

    Attributes:
        features: The columns of the matrix.
        target: Expression for the true energy [GeV].
        split: Shares of training, validation and test.
        split_by: Branch whose equal values stay on one side, or :data:`BY_ENERGY`; ``None`` to split event by event.
        cut: Condition that events must meet; ``None`` for all events.
        weight: Expression for the weight of an event; ``None`` if all weigh the same.
        layout: What one event is.
        missing: Values that stand for a missing one.
        on_bad: One of :data:`~calomlp.data.settings.ON_BAD`.
        left_out: Branches that an automatic choice of the features left out, with the reason.
    """

    features: FeatureSet
    target: Expression
    split: Split
    split_by: str | None = None
    cut: Expression | None = None
    weight: Expression | None = None
    layout: Layout = field(default_factory=Layout)
    missing: tuple[float, ...] = ()
    on_bad: str = REFUSE
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def branches(self) -> frozenset[str]:
        """Every branch that is read."""
        weighing = self.weight.branches if self.weight else frozenset()
        return self.features.branches | self.true_branches | weighing | self.split_branches

    @property
    def split_branches(self) -> frozenset[str]:
        """The branch that the split needs, if it needs one."""
        return frozenset({self.split_by} if self.split_by not in (None, BY_ENERGY) else ())

    @property
    def true_branches(self) -> frozenset[str]:
        """The branches that the true energy and the cut need."""
        return self.target.branches | (self.cut.branches if self.cut else frozenset())

    def check(self, rows: Rows, branches: frozenset[str] | None = None) -> None:
        """Refuse a file that lacks a branch of the recipe, or of some of them.

        Raises:
            ArtefactError: Naming the branch.
        """
        try:
            rows.require(self.branches if branches is None else branches)
        except InputError as error:
            raise ArtefactError(f"the model does not fit this file: {error}") from error

    def keyed(self, chunk: Chunk) -> Sample:
        """Return events with what decides the side of the split."""
        return replace(chunk.sample, key=self.keys(chunk.entries, chunk.branches))

    def keys(self, entries: NDArray[np.int64], branches: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return what decides the side of the split: entry numbers, or the values of a branch, shape [events]."""
        for branch in self.split_branches:
            return _group_keys(branches[branch], branch)
        return entries

    def sides(self, identity: str, sample: Sample) -> NDArray[np.uint8]:
        """Return the :class:`~calomlp.data.split.Side` of each event of a file."""
        if self.split_by == BY_ENERGY:
            return self.split.sides_by_energy(sample.true_energy)
        return self.split.sides(identity if self.split_by is None else "", sample.key)


@dataclass(frozen=True)
class Sample:
    """Events as arrays."""

    features: NDArray[np.float32]  # shape [events, columns]
    true_energy: NDArray[np.float32]  # shape [events], in GeV
    weight: NDArray[np.float32]  # shape [events]
    key: NDArray[np.int64]  # what decides the side of the split, shape [events]

    def __len__(self) -> int:
        return len(self.true_energy)

    def __getitem__(self, rows: Any) -> Sample:
        """Return some of the events: a slice, a mask, or positions."""
        return Sample(self.features[rows], self.true_energy[rows], self.weight[rows], self.key[rows])


def describe(rows: Rows | Table) -> FileRecord:
    """Return what is remembered of an open file."""
    source = rows.source
    friends = tuple(map(str, source.friends))
    return FileRecord(source.label, source.tree or "", rows.identity, rows.entries, source.true_energy, friends)


def remember(known: dict[str, FileRecord], record: FileRecord) -> None:
    """Add a file to those that are already known, by their identities.

    Raises:
        InputError: If it is one of them under another name.
    """
    if other := known.get(record.identity):
        raise InputError(f"{record.path}: this is the same file as {other.path}: name it once")
    known[record.identity] = record


@dataclass(frozen=True)
class Chunk:
    """Events of a part of a file."""

    read: int  # number of events that were read; those that are not used are left out of everything else
    entries: NDArray[np.int64]  # entry numbers, shape [events]
    branches: Mapping[str, Any]  # branches by name, with NaN in the place of what is missing
    sample: Sample  # features, true energy and weights

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, rows: NDArray[np.bool_]) -> Chunk:
        """Return some of the events."""
        if rows.all():
            return self
        branches = {name: values[rows] for name, values in self.branches.items()}
        return Chunk(self.read, self.entries[rows], branches, self.sample[rows])


def read_events(rows: Rows, recipe: Recipe, tally: Tally, more: frozenset[str] = frozenset()) -> Iterator[Chunk]:
    """Read a file chunk by chunk.

    Args:
        rows: The open file.
        recipe: What is made of it.
        tally: Counts what is read and what is left out.
        more: Branches that are wanted beside those of the recipe.

    Raises:
        InputError: If an event that passes the cut has a bad value, and the recipe says to refuse it.
    """
    energies = recipe.features.energy_columns
    for events, entries, branches in selected(rows, recipe, recipe.branches | more, tally):
        tally.events += events
        tally.cut += events - len(entries)
        energy = read_target(rows, recipe.target, branches, len(entries))
        cleaned, touched = zero_bad(branches, tally) if recipe.on_bad == ZERO else (branches, False)
        sample = Sample(
            recipe.features.matrix(cleaned),
            energy,
            _weights(rows, recipe, cleaned, len(entries)),
            recipe.keys(entries, cleaned),
        )
        good = _good(rows, recipe, sample, entries, cleaned, tally, touched)
        chunk = Chunk(events, entries, cleaned, sample)[good]
        if len(energies):
            tally.empty += int(np.count_nonzero(~chunk.sample.features[:, energies].any(axis=1)))
        yield chunk


def parse_target(text: str, unit: str | None) -> Expression:
    """Read the true energy, and turn it into GeV.

    Raises:
        UsageError: If it is not in the feature language or reads no branch, or the unit is none of energy.
    """
    unit = unit or "GeV"
    check_choice("unit", unit, tuple(_GEV))
    target = Expression.parse(text if unit == "GeV" else f"({text}) * {_GEV[unit]:g}")
    if not target.branches:
        raise UsageError(f"target {text!r} reads no branch: it must depend on the event")
    return target


def plain_recipe(target: str) -> Recipe:
    """Return a recipe that makes no features, but has the true energy [GeV]."""
    return Recipe(FeatureSet(()), parse_target(target, "GeV"), Split())


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


def selected(
    rows: Rows, recipe: Recipe, names: Iterable[str], tally: Tally
) -> Iterator[tuple[int, NDArray[np.int64], Mapping[str, Any]]]:
    """Read branches of the events that pass the cut, with NaN in the place of what is missing.

    Args:
        rows: The open file.
        recipe: Holds the cut.
        names: The branches, among them those of the cut.
        tally: Counts missing values.

    Yields:
        The number of events that were read, the entry numbers of those that pass, and their branches by name.

    Raises:
        InputError: If the cut is not true or false in each event.
    """
    for entries, read in rows.chunks(names):
        branches = mark_missing(read, recipe.missing, tally) if recipe.missing else read
        if recipe.cut is None:
            yield len(entries), entries, branches
            continue
        good = passes(rows, recipe.cut, branches, len(entries))
        yield len(entries), entries[good], {name: values[good] for name, values in branches.items()}


def passes(rows: Rows, cut: Expression, branches: Mapping[str, Any], events: int) -> NDArray[np.bool_]:
    """Return which events of a chunk pass a cut, shape [events].

    Raises:
        InputError: If the cut is not true or false in each event.
    """
    found = per_event(cut, branches, events)
    if found.ndim != 1 or found.dtype.kind != "b":
        raise BadValueError(f"{rows.source}: cut {cut.text!r} is not one condition in each event, such as e_sum > 1")
    return found


def read_target(rows: Rows, target: Expression, branches: Mapping[str, Any], events: int) -> NDArray[np.float32]:
    """Return the true energies [GeV] of a chunk, shape [events], in the precision that they are kept in.

    Raises:
        InputError: If the target is an array in each event.
    """
    return _number(rows, target, branches, events, "target")


def _number(
    rows: Rows, expression: Expression, branches: Mapping[str, Any], events: int, what: str
) -> NDArray[np.float32]:
    values = per_event(expression, branches, events)
    if values.ndim != 1:
        raise BadValueError(f"{rows.source}: {what} {expression.text!r} is an array in each event: choose one element")
    with np.errstate(over="ignore"):  # what overflows is found and named by the check for finite values
        return values.astype(np.float32, copy=False)


def _weights(rows: Rows, recipe: Recipe, branches: Mapping[str, Any], events: int) -> NDArray[np.float32]:
    if recipe.weight is None:
        return np.ones(events, dtype=np.float32)
    return _number(rows, recipe.weight, branches, events, "weight")


def _group_keys(values: NDArray[np.generic], branch: str) -> NDArray[np.int64]:
    if values.ndim != 1:
        raise BadValueError(f"events cannot be split by {branch!r}: it is an array in each event")
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return values.astype(np.int64)


def _good(
    rows: Rows,
    recipe: Recipe,
    sample: Sample,
    entries: NDArray[np.int64],
    branches: Mapping[str, Any],
    tally: Tally,
    touched: Any,
) -> NDArray[np.bool_]:
    """Find bad values, and refuse them, leave their events out, or take zero for them; tell which events are left.

    Args:
        rows: Where the events come from.
        recipe: Says what is to be done.
        sample: The events.
        entries: Their entry numbers.
        branches: What the features are made of.
        tally: Counts them.
        touched: Events in which a branch has been set to zero already.
    """
    bad_features = ~np.isfinite(sample.features)
    if recipe.on_bad == ZERO and (bad_features.any() or np.any(touched)):
        zero_features(recipe.features.columns, sample.features, bad_features, touched, tally)
        bad_features[:] = False
    found = bad_columns(recipe.features.columns, sample.features, bad_features)
    for what, expression, values, least in (
        ("true energy {!r} is not finite and above zero", recipe.target, sample.true_energy, np.nextafter(0, 1)),
        ("weight {!r} is not finite and at least zero", recipe.weight, sample.weight, 0),
    ):
        if expression is None or not len(values) or (values.min() >= least and values.max() < np.inf):
            continue  # which is not so for NaN, and is faster than the look at each event
        bad = ~(np.isfinite(values) & (values >= least))
        if bad.any():
            found.append((what.format(expression.text), expression.text, bad, values))
    if not found:
        return np.ones(len(sample), dtype=np.bool_)
    if recipe.on_bad != SKIP:
        raise refusal(str(rows.source), found[0], entries, "--on-bad skip leaves such events out")
    for name, number in culprits(recipe.features.branches, branches, [(name, bad) for _, name, bad, _ in found]):
        tally.count_bad(name, number)
    good: NDArray[np.bool_] = ~np.logical_or.reduce([bad for _, _, bad, _ in found])
    tally.left_out += int(np.count_nonzero(~good))
    return good
