"""Content of a ROOT file by a bounded look at its numbers, and a proposal for a training: for ``calomlp inspect``."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePath
from typing import Any

import awkward as ak
import numpy as np

from calomlp.data.choice import Choice, automatic, by_reason
from calomlp.data.columns import Column
from calomlp.data.expressions import Expression, quote_branch
from calomlp.data.names import MISSING_MARKS, Role, counts_events, energy_in, is_transverse, role_of, unit_in
from calomlp.data.root import OpenTree, RootFile
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sources import Source
from calomlp.errors import InputError
from calomlp.run import Interrupt
from calomlp.units import energy_unit, listed

MAX_EVENTS = 100_000
"""At most so many events are read, from the beginning of a tree; fewer if they are large."""

_MAX_BYTES = 256 << 20
_MAX_TREES = 4  # that are described if none was named

MEV_ABOVE, KEV_ABOVE = 1e4, 1e7
"""True energies above these are taken to be in MeV or keV: no beam of a calorimeter reaches 10 TeV."""

PLACEHOLDER = "TRUE_ENERGY"
"""What stands in the command where no branch looks like the true energy."""

_ONE_EVENT = re.compile(r"^(event|evt|entry)", re.IGNORECASE)
_ENERGY_IN_NAME = re.compile(r"(?P<number>\d+(?:[.p,_-]\d+)?)(?P<space>[ _-]?)(?P<unit>[kMGT]eV)", re.IGNORECASE)
_MIN_BEAM_ENERGIES, _MAX_BEAM_ENERGIES = 4, 50
_MANY_REPEATS = 0.2
_NAMED = 12
_DOUBTFUL = 1500  # GeV: there are few beams of so much, and many simulations in MeV


@dataclass(frozen=True)
class Values:
    """Statistics of the numbers of a column."""

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
        return self.column is not None and self.column.is_number

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


def _describe(table: OpenTree, kind: str, interrupt: Interrupt) -> TreeSummary:
    events = min(table.entries, MAX_EVENTS, table.events_in(_MAX_BYTES, list(table.columns.values())))
    branches = []
    for branch in table.branches:
        columns = [column for column in branch.columns() if table.columns[column.name] == column]
        branches += [_look(table, column, events) for column in columns]
        if not columns:
            branches.append(BranchSummary(branch.name, branch.typename, problem=branch.problem))
        interrupt.check()
    return TreeSummary(str(table.source.tree), kind, table.entries, events, tuple(branches))


def _look(table: OpenTree, column: Column, events: int) -> BranchSummary:
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


@dataclass(frozen=True)
class Suggestions:
    """Proposal for a training."""

    tree: str  # the tree that it is about
    target: str | None  # expression for the true energy, in unit; None if no branch looks like it
    unit: str | None  # the unit that the branch of the true energy seems to be in
    layers: tuple[str, ...]  # arrays of energies
    hits: tuple[str, ...]  # lists of energies
    command: str  # what to run, quoted for a shell
    notes: tuple[str, ...]  # what to look at first
    features: tuple[str, ...] = ()  # what training takes if nothing else is asked for
    left_out: dict[str, str] = field(default_factory=dict)  # branches that it does not take, with the reason

    @property
    def sentences(self) -> list[str]:
        """All but the command, in words."""
        groups = {
            "true energy": [self.target] if self.target else [],
            "layers": self.layers,
            "hits": self.hits,
            "features": self.features,
        }
        left_out = (
            f"left out, {reason}: {listed(names, _NAMED)}" for reason, names in by_reason(self.left_out).items()
        )
        said = (f"{what}: {listed(names, _NAMED)}" for what, names in groups.items() if names)
        return [*said, *left_out, *self.notes]


def suggest(trees: Sequence[TreeSummary], source: Source, path: str) -> Suggestions | None:
    """Say how to begin with a file.

    Args:
        trees: What is in it.
        source: The file.
        path: How the user calls it.

    Returns:
        What goes for the largest of the trees that were looked into; ``None`` if there is none.
    """
    described = [tree for tree in trees if tree.events_read is not None]
    if not described:
        return None
    tree = max(described, key=lambda candidate: candidate.events)
    numeric = [branch for branch in tree.branches if branch.column is not None and branch.values is not None]
    truth = _truth(numeric)
    group = next((branch.name for branch in numeric if _is_shared(branch)), "")
    target = pattern = None
    notes: list[str] = []
    if truth is not None:
        name = _quote(truth.name)
        target = name if truth.is_number and not group else f"max({name})"
    else:
        pattern, notes = _energy_in_name(path)
    unit = _unit(truth) if truth is not None else None
    choice, problem = _choice(source, tree, target, group)
    read = frozenset().union(*(Expression.parse(text).branches for text in choice.features))
    marks = _marks(numeric)
    gaps = [branch.name for branch in numeric if _non_finite(branch) and branch.name in read]
    where = path if len(described) == 1 and source.tree is None else f"{path}:{tree.name}"
    options = ["-t", target or PLACEHOLDER] if pattern is None else ["--target-from-name", pattern]
    options += ["--group-by", group] if group else []
    options += ["--unit", unit] if unit not in (None, "GeV") else []
    options += [word for mark in marks for word in ("--missing", f"{mark:g}")]
    options += ["--on-bad", "skip"] if marks or gaps else []
    options += ["--split-by", "energy"] if _is_beam(truth) else []
    if gaps:
        notes.append(f"not always finite: {listed(gaps)}: the command leaves such events out")
    if problem:
        notes.append(problem)
    energies = [branch for branch in numeric if branch.looks_like_energy and role_of(branch.name) is not Role.TRUTH]
    return Suggestions(
        tree.name,
        target,
        unit,
        tuple(branch.name for branch in energies if branch.is_array),
        tuple(branch.name for branch in energies if branch.is_list),
        shlex.join(["calomlp", "train", where, *options, "-o", "model.safetensors"]),
        (*_notes(tree, numeric, truth, unit, known=pattern is not None), *notes),
        choice.features,
        dict(choice.left_out),
    )


def _choice(source: Source, tree: TreeSummary, target: str | None, group: str) -> tuple[Choice, str]:
    """Return the features that a training would choose, and why it would choose none."""
    quiet = logging.getLogger("calomlp.data.choice")
    level, truth = quiet.level, Expression.parse(target) if target else None
    quiet.setLevel(logging.WARNING)
    try:
        with open_rows(replace(source, tree=tree.name), Layout(group_by=group)) as rows:
            return automatic(rows, truth, {group} - {""}), ""
    except InputError as error:
        return Choice((), (), {}), str(error).removeprefix(f"{source}: ").removeprefix(f"{source}:{tree.name}: ")
    finally:
        quiet.setLevel(level)


def _truth(branches: Sequence[BranchSummary]) -> BranchSummary | None:
    """Return the likeliest true energy: a number rather than a list, one that varies, an energy rather than a pt."""
    possible = [
        branch
        for branch in branches
        if role_of(branch.name) is Role.TRUTH and branch.looks_like_energy
        if not branch.is_array and not _non_finite(branch) and _max(branch) > 0
        if branch.is_list or _min(branch) > 0 or _min(branch) in MISSING_MARKS
    ]
    return min(
        possible,
        key=lambda branch: (_constant(branch), branch.is_list, is_transverse(branch.name)),
        default=None,
    )


def _unit(truth: BranchSummary) -> str:
    """Return the unit of the true energy: the one in its name, else the one that its numbers speak for."""
    return unit_in(truth.name) or ("keV" if _max(truth) > KEV_ABOVE else "MeV" if _max(truth) > MEV_ABOVE else "GeV")


def _energy_in_name(path: str) -> tuple[str | None, list[str]]:
    """Return a pattern for the energy in the name of a file, with the reading of the name."""
    matches = list(_ENERGY_IN_NAME.finditer(PurePath(path).name))
    if len(matches) != 1:
        return None, []
    (match,) = matches
    number, space, unit = match["number"], match["space"], match["unit"]
    digits = "[0-9]+"
    mark = re.search(r"[.p,_-]", number)
    split = mark is not None and (mark[0] in ".p," or number.startswith("0"))
    if split:
        digits = "[0-9][0-9.p,_-]*"
    exact = energy_unit(unit)
    group = f"({digits})" if exact == "GeV" else f"(?P<{exact}>{digits})"
    reading = re.sub(r"[p,_-]", ".", number) if split else re.split(r"[_-]", number)[-1]
    note = f"the name of the file says {reading} {exact}"
    if mark is not None and mark[0] in "_-":
        whole = number.replace(mark[0], ".")
        other = re.split(r"[_-]", number)[-1] if split else whole
        widened = group.replace(digits, "[0-9][0-9.p,_-]*")
        note += f"; if it means {other} {exact}, write the group of --target-from-name as {widened}"
    return f"{group}{space}{unit}", [note]


def _is_shared(branch: BranchSummary) -> bool:
    """Tell whether many entries have the same number of an event."""
    return bool(branch.values and _ONE_EVENT.match(branch.name) and (branch.values.repeats or 0) > _MANY_REPEATS)


def _notes(
    tree: TreeSummary, branches: Sequence[BranchSummary], truth: BranchSummary | None, unit: str | None, *, known: bool
) -> Iterator[str]:
    if truth is None and not known:
        yield f"no branch looks like the true energy: say which it is in the place of {PLACEHOLDER}"
    if truth is not None:
        yield from _notes_on_truth(truth, unit)
    for branch in filter(_is_shared, branches):
        yield f"many entries share their {branch.name}: the command makes one event of them"
    for mark, names in _marks(branches).items():
        yield f"{mark:g} looks like a missing value in {listed(names)}: the command leaves such events out"
    others = [branch for branch in tree.branches if branch.column is None and not branch.problem]
    kinds = {
        "not numeric": others,
        "cannot be read": [branch for branch in tree.branches if branch.problem],
        "the same in all events that were read": [
            branch
            for branch in branches
            if _constant(branch) and branch is not truth and not counts_events(branch.name)
        ],
    }
    for what, found in kinds.items():
        if found:
            yield f"{what}: {listed([branch.name for branch in found])}"


def _is_beam(truth: BranchSummary | None) -> bool:
    """Tell whether true energies are the few of a test beam, and enough to hold some back."""
    distinct = truth.values.distinct if truth and truth.values else None
    return distinct is not None and _MIN_BEAM_ENERGIES <= distinct <= _MAX_BEAM_ENERGIES


def _marks(branches: Sequence[BranchSummary]) -> dict[float, list[str]]:
    """Return values that look like marks for missing ones, and in which energies they stand."""
    marks: dict[float, list[str]] = {}
    for branch in branches:
        if branch.looks_like_energy and _min(branch) in MISSING_MARKS:
            marks.setdefault(_min(branch), []).append(branch.name)
    return marks


def _notes_on_truth(truth: BranchSummary, unit: str | None) -> Iterator[str]:
    if unit != "GeV":
        yield f"{truth.name} goes up to {_max(truth):g}, which looks like {unit}"
    elif _max(truth) > _DOUBTFUL:
        yield f"{truth.name} goes up to {_max(truth):g}: if these are MeV, say --unit MeV"
    if truth.is_list:
        yield f"{truth.name} is a list: the command takes its largest element for the true energy"
    if truth.values and _is_beam(truth):
        yield f"{truth.name} takes {truth.values.distinct} values: the command tests at some that it does not train on"
    if _constant(truth):
        yield f"{truth.name} is always {_max(truth):g}: a training needs several energies, perhaps from several files"


def _quote(name: str) -> str:
    """Write a branch for the feature language, with the quotes that a shell leaves alone inside its own."""
    return quote_branch(name) if '"' in name else quote_branch(name).replace("'", '"')


def _min(branch: BranchSummary) -> float:
    return branch.values.min if branch.values and branch.values.min is not None else 0.0


def _max(branch: BranchSummary) -> float:
    return branch.values.max if branch.values and branch.values.max is not None else 0.0


def _non_finite(branch: BranchSummary) -> bool:
    return branch.values is not None and branch.values.non_finite > 0


def _constant(branch: BranchSummary) -> bool:
    return branch.values is not None and branch.values.constant
