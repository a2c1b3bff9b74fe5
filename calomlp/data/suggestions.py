"""What the names and numbers of branches suggest to somebody who wants to train on them."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from calomlp.data.automatic import Choice, automatic, by_reason
from calomlp.data.expressions import Expression, quote_branch
from calomlp.data.layouts import open_rows
from calomlp.data.names import MISSING_MARKS, Role, counts_events, is_transverse, role_of, unit_in
from calomlp.data.rows import Layout
from calomlp.data.sources import Source
from calomlp.data.summary import BranchSummary, TreeSummary
from calomlp.errors import InputError
from calomlp.units import listed

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
class Suggestions:
    """Where to begin."""

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
        found = {
            "true energy": [self.target] if self.target else [],
            "layers": self.layers,
            "hits": self.hits,
            "features": self.features,
        }
        left_out = (
            f"left out, {reason}: {listed(names, _NAMED)}" for reason, names in by_reason(self.left_out).items()
        )
        said = (f"{what}: {listed(names, _NAMED)}" for what, names in found.items() if names)
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
    quiet = logging.getLogger("calomlp.data.automatic")
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
    exact = {"kev": "keV", "mev": "MeV", "gev": "GeV", "tev": "TeV"}[unit.lower()]
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
