"""Events as arrays: the recipe that makes them, their sides, and what becomes of values that are missing or not finite.

The side of an event is decided by a hash, which does not depend on files, chunks or workers, or by its energy.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import reduce
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet, per_event
from calomlp.data.flags import REFUSE, SKIP, ZERO
from calomlp.data.rows import Layout, Piece, Rows
from calomlp.data.sources import Tally
from calomlp.errors import ArtefactError, BadValueError, InputError, UsageError
from calomlp.settings import check_choice
from calomlp.units import ENERGY_UNITS


class Side(IntEnum):
    """Part of the data that an event belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Split:
    """Shares of the events for training, validation and test; they add up to one.

    Attributes:
        train: Share that the weights are fitted to.
        validation: Share that decides when to stop.
        test: Share that nothing but the evaluation sees.
        seed: Another seed gives another, independent split.
        validation_energies: True energies [GeV] whose events are for validation, where events are split by energy.
        test_energies: True energies [GeV] whose events are for the test then.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    validation_energies: tuple[float, ...] = ()
    test_energies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        legal = self.train > 0 and self.validation > 0 and self.test >= 0 and abs(sum(shares) - 1) < 1e-9
        if not legal:
            raise UsageError(
                f"split {shares} is not legal: three shares for train, validation and test that add up to 1, "
                "the first two above zero"
            )

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Split:
        """Read ``0.7,0.1,0.2``.

        Raises:
            UsageError: If these are not three shares that add up to one.
        """
        try:
            train, validation, test = (float(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"split {text!r} is not three numbers such as 0.7,0.1,0.2") from None
        return cls(train, validation, test, seed)

    def sides(self, identity: str, keys: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the :class:`Side` of each event.

        Args:
            identity: What identifies the file, empty when the keys are unique over all files.
            keys: Entry numbers in the file, or the values of the branch that events are grouped by, shape [events].
        """
        digest = hashlib.sha256(f"{self.seed}:{identity}".encode()).digest()
        salt = np.uint64(int.from_bytes(digest[:8], "little"))
        fraction = _mix(keys.astype(np.uint64) ^ salt).astype(np.float64) / 2.0**64
        return np.searchsorted([self.train, self.train + self.validation], fraction, side="right").astype(np.uint8)

    def by_energy(self, distinct: NDArray[np.float32]) -> Split:
        """Decide which true energies are for validation and for the test.

        The lowest and the highest are for training, so that nothing is tested beyond the range; the others are taken
        evenly, and another seed takes others.

        Args:
            distinct: The true energies [GeV] in ascending order.

        Raises:
            InputError: If these are too few.
        """
        inner = distinct[1:-1]
        n_validation, n_test = (
            max(1, round(share * len(distinct))) if share else 0 for share in (self.validation, self.test)
        )
        held = n_validation + n_test
        if held > len(inner):
            raise InputError(
                f"{len(distinct)} true energies are too few to split by energy: {held + 2} are needed, two to train on"
            )
        taken = [float(inner[(self.seed + i * len(inner) // held) % len(inner)]) for i in range(held)]
        validation = taken[:: max(1, held // n_validation)][:n_validation]
        test = [energy for energy in taken if energy not in validation]
        return replace(self, validation_energies=tuple(sorted(validation)), test_energies=tuple(sorted(test)))

    def sides_by_energy(self, true_energy: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the :class:`Side` of each event by its true energy [GeV], shape [events]."""
        side = np.full(len(true_energy), Side.TRAIN, dtype=np.uint8)
        side[np.isin(true_energy, np.array(self.validation_energies, np.float32))] = Side.VALIDATION
        side[np.isin(true_energy, np.array(self.test_energies, np.float32))] = Side.TEST
        return side


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): every bit of the input moves every bit out."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


MAX_BEAM_ENERGIES = 50
"""Up to this many distinct true energies are taken for the energies of a test beam, more for a spectrum."""

BY_ENERGY = "energy"
"""Splitting by this keeps the events of one true energy on one side."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """Recipe of events from a file: the part of a model that faces the data.

    Attributes:
        features: The columns of the matrix.
        target: Expression for the true energy [GeV].
        split: Shares of training, validation and test.
        split_by: Branch whose equal values stay on one side, or :data:`BY_ENERGY`; ``None`` to split event by event.
        cut: Condition that events must meet; ``None`` for all events.
        weight: Expression for the weight of an event; ``None`` if all weigh the same.
        layout: What one event is.
        missing: Values that stand for a missing one.
        on_bad: One of :data:`~calomlp.data.flags.ON_BAD`.
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

    def keys(self, entries: Numbers, branches: Mapping[str, Any]) -> Numbers:
        """Return what decides the side of the split: entry numbers, or the values of a branch, shape [events]."""
        for branch in self.split_branches:
            values = branches[branch]
            if values.ndim != 1:
                raise BadValueError(f"events cannot be split by {branch!r}: it is an array in each event")
            if values.dtype.kind == "f":
                return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
            return np.asarray(values.astype(np.int64))
        return entries

    def sides(self, identity: str, sample: Sample) -> NDArray[np.uint8]:
        """Return the :class:`~calomlp.data.sample.Side` of each event of a file."""
        if self.split_by == BY_ENERGY:
            return self.split.sides_by_energy(sample.true_energy)
        return self.split.sides(identity if self.split_by is None else "", sample.key)


def parse_target(text: str, unit: str | None) -> Expression:
    """Read the true energy, and turn it into GeV.

    Raises:
        UsageError: If it is not in the feature language or reads no branch, or the unit is none of energy.
    """
    unit = unit or "GeV"
    check_choice("unit", unit, tuple(dict.fromkeys(("GeV", *ENERGY_UNITS))))
    target = Expression.parse(text if unit == "GeV" else f"({text}) * {float(ENERGY_UNITS[unit]):g}")
    if not target.branches:
        raise UsageError(f"target {text!r} reads no branch: it must depend on the event")
    return target


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


def plain_recipe(target: str) -> Recipe:
    """Return a recipe that makes no features, but has the true energy [GeV]."""
    return Recipe(FeatureSet(()), parse_target(target, "GeV"), Split())


@dataclass(frozen=True)
class Sample:
    """Events as arrays."""

    features: NDArray[np.float32]  # shape [events, columns]
    true_energy: NDArray[np.float32]  # shape [events], in GeV
    weight: NDArray[np.float32]  # shape [events]
    key: Numbers  # what decides the side of the split, shape [events]

    def __len__(self) -> int:
        return len(self.true_energy)

    def __getitem__(self, rows: Any) -> Sample:
        """Return some of the events: a slice, a mask, or positions."""
        return Sample(self.features[rows], self.true_energy[rows], self.weight[rows], self.key[rows])


@dataclass(frozen=True)
class Chunk:
    """Events of a part of a file."""

    entries: Numbers  # entry numbers, shape [events]
    branches: Mapping[str, Any]  # branches by name, with NaN in the place of what is missing
    sample: Sample  # features, true energy and weights

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, rows: Mask) -> Chunk:
        """Return some of the events."""
        if rows.all():
            return self
        branches = {name: values[rows] for name, values in self.branches.items()}
        return Chunk(self.entries[rows], branches, self.sample[rows])


class Selected(NamedTuple):
    """Events of a piece of a file that pass the cut."""

    piece: Piece
    places: Numbers  # of the events among those of the piece, shape [events]
    branches: Mapping[str, Any]  # by name, with NaN in the place of what is missing


def selected(rows: Rows, recipe: Recipe, names: frozenset[str], tally: Tally) -> Iterator[Selected]:
    """Read branches of the events that pass the cut, the branches of which are among them.

    Raises:
        InputError: If the cut is not true or false in each event.
    """
    for piece in rows.pieces(names):
        events, branches, places = len(piece), piece.events, np.arange(len(piece))
        tally.events += events
        if recipe.missing:
            branches = {name: _without_marks(values, recipe.missing, tally) for name, values in branches.items()}
        if recipe.cut is not None and events:
            passed = per_event(recipe.cut, branches, events)
            if passed.ndim != 1 or passed.dtype.kind != "b":
                cut = recipe.cut.text
                raise BadValueError(f"{rows.source}: cut {cut!r} is not one condition in each event, such as e_sum > 1")
            tally.cut += events - int(np.count_nonzero(passed))
            places, branches = places[passed], {name: values[passed] for name, values in branches.items()}
        yield Selected(piece, places, branches)


def make_chunk(some: Selected, recipe: Recipe, tally: Tally, source: str) -> Chunk:
    """Return the events of a selection as arrays.

    Raises:
        BadValueError: If an event has a bad value, and the recipe says to refuse it.
    """
    entries = some.piece.numbers[some.places]
    energy = true_energies(some, recipe, source)
    branches, matrix, bad = clean(recipe.features, some.branches, recipe.on_bad, tally)
    problem = f"true energy {recipe.target.text!r} is not finite and above zero"
    bad += _below_or_not_finite(problem, recipe.target, energy, np.nextafter(0, 1))
    weight = np.ones(len(entries), np.float32)
    if recipe.weight is not None:
        weight = _number(recipe.weight, branches, len(entries), f"{source}: weight")
        bad += _below_or_not_finite(
            f"weight {recipe.weight.text!r} is not finite and at least zero", recipe.weight, weight, 0.0
        )
    good = leave_out(bad, recipe, branches, tally, source, entries, "--on-bad skip leaves such events out")
    chunk = Chunk(entries, branches, Sample(matrix, energy, weight, recipe.keys(entries, branches)))[good]
    columns = recipe.features.energy_columns
    if len(columns):
        tally.empty += int(np.count_nonzero(~chunk.sample.features[:, columns].any(axis=1)))
    return chunk


def true_energies(some: Selected, recipe: Recipe, source: str) -> Floats:
    """Return the true energies [GeV] of a selection, shape [events], in the precision that they are kept in.

    Raises:
        InputError: If the target is an array in each event.
    """
    return _number(recipe.target, some.branches, len(some.places), f"{source}: target")


def _number(expression: Expression, branches: Mapping[str, Any], events: int, what: str) -> Floats:
    values = per_event(expression, branches, events)
    if values.ndim != 1:
        raise BadValueError(f"{what} {expression.text!r} is an array in each event: choose one element")
    with np.errstate(over="ignore"):  # what overflows is found and named by the check for finite values
        return values.astype(np.float32, copy=False)


class Bad(NamedTuple):
    """Values that cannot be used."""

    problem: str
    name: str  # of the feature, or the expression
    events: Mask  # shape [events]
    values: Floats  # shape [events]


def clean(
    features: FeatureSet, branches: Mapping[str, Any], on_bad: str, tally: Tally
) -> tuple[Mapping[str, Any], Floats, list[Bad]]:
    """Return branches, the matrix of the features, and which of these are bad; with ``zero`` as ``on_bad`` none is."""
    touched: Any = False
    if on_bad == ZERO:
        branches, touched = _zeroed(branches, tally)
    matrix, names = features.matrix(branches), features.columns
    bad = ~np.isfinite(matrix)
    columns = np.flatnonzero(bad.any(axis=0)).tolist()
    if on_bad != ZERO:
        return (
            branches,
            matrix,
            [
                Bad(f"feature {names[column]!r} is not finite", names[column], bad[:, column], matrix[:, column])
                for column in columns
            ],
        )
    for column in columns:
        tally.count_bad(names[column], int(np.count_nonzero(bad[:, column])))
    tally.replaced += int(np.count_nonzero(touched | bad.any(axis=1)))
    matrix[bad] = 0
    return branches, matrix, []


def leave_out(
    bad: Sequence[Bad],
    recipe: Recipe,
    branches: Mapping[str, Any],
    tally: Tally,
    source: str,
    entries: Numbers,
    way_out: str,
) -> Mask:
    """Return which events have no bad value, shape [events], and count the others.

    Args:
        bad: What is bad.
        recipe: Says whether such events may be left out.
        branches: Branches that features are made of, which explain bad features.
        tally: Counts them.
        source: The file.
        entries: Numbers of the events for messages, shape [events].
        way_out: What else could be done.

    Raises:
        BadValueError: If they may not be left out.
    """
    if not bad:
        return np.ones(len(entries), dtype=np.bool_)
    if recipe.on_bad != SKIP:
        problem, _, events, values = bad[0]
        first = np.argmax(events)
        hint = ": is a hit outside of the layers?" if "layers(" in problem else ""
        raise BadValueError(
            f"{source}: {problem} in {np.count_nonzero(events)} of events {entries[0]} to {entries[-1]}, first in "
            f"event {entries[first]} ({values[first]:g}){hint}; {way_out}"
        )
    explained = np.zeros(len(entries), dtype=np.bool_)
    read = [(name, _not_finite(branches[name])) for name in sorted(recipe.features.branches & branches.keys())]
    for name, events in read:
        tally.count_bad(name, int(np.count_nonzero(events)))
        explained |= events
    for item in bad:
        tally.count_bad(item.name, int(np.count_nonzero(item.events & ~explained)))
        explained |= item.events
    left_out = np.logical_or.reduce([item.events for item in bad])
    tally.left_out += int(np.count_nonzero(left_out))
    return np.asarray(~left_out)


def _below_or_not_finite(problem: str, expression: Expression, values: Floats, least: float) -> list[Bad]:
    """Return the events whose value is not finite or is below the least one."""
    if not len(values) or (values.min() >= least and values.max() < np.inf):
        return []  # which is not so for NaN, and is faster than the look at each event
    events = ~(np.isfinite(values) & (values >= least))
    return [Bad(problem, expression.text, events, values)] if events.any() else []


def _without_marks(values: Any, marks: Sequence[float], tally: Tally) -> Any:
    """Return values with NaN in the place of every one that stands for a missing one."""
    marked = reduce(operator.or_, (values == mark for mark in marks))
    number = int(np.sum(marked))
    tally.missing += number
    if not number:
        return values
    return ak.where(marked, np.nan, values) if isinstance(values, ak.Array) else np.where(marked, np.nan, values)


def _zeroed(branches: Mapping[str, Any], tally: Tally) -> tuple[dict[str, Any], Any]:
    """Return branches with zero in the place of every value that is not finite, and which events had one."""
    cleaned = {}
    touched: Any = False
    for name, values in branches.items():
        bad = _not_finite(values)
        if bad.any():
            tally.count_bad(name, int(np.count_nonzero(bad)))
            replace = ak.nan_to_num if isinstance(values, ak.Array) else np.nan_to_num
            values = replace(values, nan=0.0, posinf=0.0, neginf=0.0)  # noqa: PLW2901 - the cleaned ones
        cleaned[name] = values
        touched = touched | bad
    return cleaned, touched


def _not_finite(values: Any) -> Mask:
    """Return which events have a value that is not finite, shape [events]."""
    bad = ~np.isfinite(values)
    if isinstance(values, ak.Array):
        while bad.ndim > 2:
            bad = ak.flatten(bad, axis=2)
        return np.asarray(ak.any(bad, axis=1))
    return np.asarray(bad.reshape(len(bad), -1).any(axis=1))
