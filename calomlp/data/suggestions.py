"""What the names and numbers of branches suggest to somebody who wants to train on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calomlp.data.expressions import quote_branch
from calomlp.data.names import BOOKKEEPING, MISSING_MARKS, TRUTH_LIKE
from calomlp.data.summary import BranchSummary, TreeSummary
from calomlp.units import listed

MEV_ABOVE = 1e4
"""A true energy above this is taken to be in MeV: no beam of a calorimeter reaches 10 TeV."""

PLACEHOLDER = "TRUE_ENERGY"
"""What stands in the command where no branch looks like the true energy."""

_BEAM_LIKE = re.compile(r"beam|incident|primary|initial|true$|^e(gen|mc)$", re.IGNORECASE)
_NO_ENERGY = re.compile(r"charge|id$|status$|index$", re.IGNORECASE)  # of a particle
_ONE_EVENT = re.compile(r"^(event|evt|entry)", re.IGNORECASE)
_MIN_BEAM_ENERGIES, _MAX_BEAM_ENERGIES = 4, 50
_MANY_COLUMNS = 200
_MAX_FEATURES = 8
_MANY_REPEATS = 0.2


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

    @property
    def sentences(self) -> list[str]:
        """All but the command, in words."""
        found = {"true energy": [self.target] if self.target else [], "layers": self.layers, "hits": self.hits}
        return [*(f"{what}: {listed(names)}" for what, names in found.items() if names), *self.notes]


def suggest(trees: Sequence[TreeSummary], path: str, *, named: bool) -> Suggestions | None:
    """Say how to begin with a file.

    Args:
        trees: What is in it.
        path: How the user calls it.
        named: Whether the user named the tree.

    Returns:
        What goes for the largest of the trees that were looked into; ``None`` if there is none.
    """
    described = [tree for tree in trees if tree.events_read is not None]
    if not described:
        return None
    tree = max(described, key=lambda candidate: candidate.events)
    numeric = [branch for branch in tree.branches if branch.column is not None and branch.values is not None]
    truth = _truth(numeric)
    energies = [branch for branch in numeric if _is_energy(branch) and not _is_truth(branch)]
    group = next((branch.name for branch in numeric if _is_shared(branch)), "")
    unit = target = None
    if truth is not None:
        unit = "MeV" if _max(truth) > MEV_ABOVE else "GeV"
        name = _quote(truth.name)
        target = name if truth.is_number and not group else f"max({name})"
    where = path if len(described) == 1 and not named else f"{path}:{tree.name}"
    features = _features(energies) if len(numeric) > _MANY_COLUMNS or any(map(_non_finite, numeric)) else []
    options = [word for text in features for word in ("--features", text)]
    options += ["--group-by", group] if group else []
    options += ["--unit", "MeV"] if unit == "MeV" else []
    options += [word for mark in _marks(numeric) for word in ("--missing", f"{mark:g}")]
    options += ["--on-bad", "skip"] if _marks(numeric) else []
    options += ["--split-by", "energy"] if _is_beam(truth) else []
    return Suggestions(
        tree.name,
        target,
        unit,
        tuple(branch.name for branch in energies if branch.is_array),
        tuple(branch.name for branch in energies if branch.is_list),
        shlex.join(["calomlp", "train", where, "-t", target or PLACEHOLDER, *options, "-o", "model.safetensors"]),
        tuple(_notes(tree, numeric, truth, unit)),
    )


def _truth(branches: Sequence[BranchSummary]) -> BranchSummary | None:
    """Return the likeliest true energy: a number rather than a list, and rather one that varies."""
    possible = [
        branch
        for branch in branches
        if _is_truth(branch) and not branch.is_array and not _non_finite(branch) and _max(branch) > 0
        if branch.is_list or _min(branch) > 0 or _min(branch) in MISSING_MARKS
    ]
    by_likelihood = sorted(
        possible, key=lambda branch: (_constant(branch), branch.is_list, not TRUTH_LIKE.search(branch.name))
    )
    return by_likelihood[0] if by_likelihood else None


def _is_shared(branch: BranchSummary) -> bool:
    """Tell whether many entries have the same number of an event."""
    return bool(branch.values and _ONE_EVENT.match(branch.name) and (branch.values.repeats or 0) > _MANY_REPEATS)


def _is_truth(branch: BranchSummary) -> bool:
    if _NO_ENERGY.search(branch.name):
        return False
    return branch.looks_like_energy and bool(TRUTH_LIKE.search(branch.name) or _BEAM_LIKE.search(branch.name))


def _is_energy(branch: BranchSummary) -> bool:
    return branch.looks_like_energy and not TRUTH_LIKE.search(branch.name) and _max(branch) > 0


def _features(energies: Sequence[BranchSummary]) -> list[str]:
    """Return features that are sure to work: the energies without gaps, arrays first."""
    healthy = [branch for branch in energies if not _non_finite(branch) and not _constant(branch)]
    texts = []
    for branch in sorted(healthy, key=lambda branch: (not branch.is_array, not branch.is_list)):
        name = _quote(branch.name)
        texts += [f"sum({name})", f"count({name})"] if branch.is_list else [name]
    return texts[:_MAX_FEATURES]


def _notes(
    tree: TreeSummary, branches: Sequence[BranchSummary], truth: BranchSummary | None, unit: str | None
) -> Iterator[str]:
    if truth is None:
        yield f"no branch looks like the true energy: say which it is in the place of {PLACEHOLDER}"
    else:
        yield from _notes_on_truth(truth, unit)
    for branch in filter(_is_shared, branches):
        yield f"many entries share their {branch.name}: the command makes one event of them"
    for mark, names in _marks(branches).items():
        yield f"{mark:g} looks like a missing value in {listed(names)}: the command leaves such events out"
    others = [branch for branch in tree.branches if branch.column is None and not branch.problem]
    kinds = {
        "not numeric": others,
        "cannot be read": [branch for branch in tree.branches if branch.problem],
        "not always finite": [branch for branch in branches if _non_finite(branch)],
        "the same in all events that were read": [
            branch
            for branch in branches
            if _constant(branch) and branch is not truth and not BOOKKEEPING.search(branch.name)
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
    if unit == "MeV":
        yield f"{truth.name} goes up to {_max(truth):g}, which looks like MeV"
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
