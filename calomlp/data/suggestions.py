"""What the names and numbers of branches suggest to somebody who wants to train on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from calomlp.data.expressions import quote_branch
from calomlp.data.features import BOOKKEEPING, TRUTH_LIKE
from calomlp.data.summary import BranchSummary, TreeSummary

MEV_ABOVE = 1e4
"""A true energy above this is taken to be in MeV: no beam of a calorimeter reaches 10 TeV."""

PLACEHOLDER = "TRUE_ENERGY"
"""What stands in the command where no branch looks like the true energy."""

_BEAM_LIKE = re.compile(r"beam|incident|primary|initial|true$|^e(gen|mc)$", re.IGNORECASE)
_ONE_EVENT = re.compile(r"^(event|evt|entry)", re.IGNORECASE)
_MARKS = (-99999.0, -9999.0, -1000.0, -999.0, -99.0)
_MAX_BEAM_ENERGIES = 50
_MANY_COLUMNS = 200
_MAX_FEATURES = 8
_MAX_NAMED = 4


@dataclass(frozen=True)
class Suggestions:
    """Where to begin.

    Attributes:
        tree: The tree that it is about.
        target: Expression for the true energy [GeV]; ``None`` if no branch looks like it.
        unit: The unit that the branch of the true energy seems to be in.
        layers: Arrays of energies.
        hits: Lists of energies.
        command: What to run, quoted for a shell.
        notes: What to look at first.
    """

    tree: str
    target: str | None
    unit: str | None
    layers: tuple[str, ...]
    hits: tuple[str, ...]
    command: str
    notes: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """All but the command, in words."""
        found = {"true energy": [self.target] if self.target else [], "layers": self.layers, "hits": self.hits}
        return [*(f"{what}: {_listed(names)}" for what, names in found.items() if names), *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


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
    unit = target = None
    if truth is not None:
        unit = "MeV" if _max(truth) > MEV_ABOVE else "GeV"
        name = _quote(truth.name)
        target = (name if truth.is_number else f"max({name})") + (" / 1000" if unit == "MeV" else "")
    where = path if len(described) == 1 and not named else f"{path}:{tree.name}"
    features = _features(energies) if len(numeric) > _MANY_COLUMNS or any(map(_non_finite, numeric)) else []
    options = [word for text in features for word in ("--features", text)]
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
        if branch.is_list or _min(branch) > 0
    ]
    by_likelihood = sorted(
        possible, key=lambda branch: (_constant(branch), branch.is_list, not TRUTH_LIKE.search(branch.name))
    )
    return by_likelihood[0] if by_likelihood else None


def _is_truth(branch: BranchSummary) -> bool:
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
    for branch in branches:
        if branch.values and _ONE_EVENT.match(branch.name) and (branch.values.repeats or 0) > 0.2:
            yield f"many rows share their {branch.name}: a row may be a hit, and not an event"
    for branch in branches:
        if branch.looks_like_energy and _min(branch) in _MARKS:
            yield f"{branch.name} has {_min(branch):g}, which looks like a mark for a missing value"
    others = [branch for branch in tree.branches if branch.column is None and not branch.problem]
    kinds = {
        "not numeric": others,
        "cannot be read": [branch for branch in tree.branches if branch.problem],
        "not always finite": [branch for branch in branches if _non_finite(branch)],
        "the same in all events that were read": [
            branch
            for branch in branches
            if _constant(branch) and branch is not truth and not BOOKKEEPING.match(branch.name)
        ],
    }
    for what, found in kinds.items():
        if found:
            yield f"{what}: {_listed([branch.name for branch in found])}"


def _notes_on_truth(truth: BranchSummary, unit: str | None) -> Iterator[str]:
    if unit == "MeV":
        yield f"{truth.name} goes up to {_max(truth):g}, which looks like MeV: the command divides it by 1000"
    if truth.is_list:
        yield f"{truth.name} is a list: the command takes its largest element for the true energy"
    if truth.values and truth.values.distinct and 1 < truth.values.distinct <= _MAX_BEAM_ENERGIES:
        yield f"{truth.name} takes {truth.values.distinct} values, as at a test beam"
    if _constant(truth):
        yield f"{truth.name} is always {_max(truth):g}: a training needs several energies, perhaps from several files"


def _quote(name: str) -> str:
    """Write a branch for the feature language, with the quotes that a shell leaves alone inside its own."""
    return quote_branch(name) if '"' in name else quote_branch(name).replace("'", '"')


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def _min(branch: BranchSummary) -> float:
    return branch.values.min if branch.values and branch.values.min is not None else 0.0


def _max(branch: BranchSummary) -> float:
    return branch.values.max if branch.values and branch.values.max is not None else 0.0


def _non_finite(branch: BranchSummary) -> bool:
    return branch.values is not None and branch.values.non_finite > 0


def _constant(branch: BranchSummary) -> bool:
    return branch.values is not None and branch.values.constant
