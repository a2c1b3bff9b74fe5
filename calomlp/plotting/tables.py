"""Tables of text, and those of what is in a ROOT file; nothing is printed here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calomlp.data.suggestions import BranchSummary, TreeSummary

NONE = "\N{EN DASH}"
"""What stands where there is no number."""

_MAX_BRANCHES = 60


@dataclass(frozen=True)
class Table:
    """A table of text."""

    header: tuple[str, ...]  # headings with units
    rows: tuple[tuple[str, ...], ...]  # cells, as many as there are headings


def tree_table(trees: Sequence[TreeSummary]) -> Table:
    """Return the trees of a file."""
    rows = [(tree.name, tree.kind, "unreadable" if tree.problem else count(tree.events)) for tree in trees]
    return Table(("tree", "class", "events"), tuple(rows))


def branch_tables(trees: Sequence[TreeSummary]) -> list[tuple[str, Table]]:
    """Return the branches of the trees that were looked into, each table with its title."""
    tables = []
    for tree in trees:
        if tree.events_read is not None:
            looked = "" if tree.events_read == tree.events else f", from the first {count(tree.events_read)} events"
            tables.append((f"{tree.name}{looked}", _branch_table(tree.branches)))
    return tables


def _branch_table(branches: Sequence[BranchSummary]) -> Table:
    """Return a row for each branch, and one above the members of a collection; of very many, the energies first."""
    header = ("branch", "type", "shape", "min", "mean", "max", "zero [%]", "not: finite")
    sizes = Counter(_collection(branch) for branch in branches)
    kept = sorted(range(len(branches)), key=lambda index: not branches[index].looks_like_energy)[:_MAX_BRANCHES]
    rows: list[tuple[str, ...]] = []
    for collection, group in groupby((branches[index] for index in sorted(kept)), _collection):
        if sizes[collection] == 1:
            rows += [_branch_row(branch, branch.name) for branch in group]
        else:
            rows.append((collection, *("",) * (len(header) - 1)))
            rows += [_branch_row(branch, f"  {branch.name.removeprefix(collection)}") for branch in group]
    if len(kept) < len(branches):
        rows.append((f"and {count(len(branches) - len(kept))} more, all in --json", *("",) * (len(header) - 1)))
    width = len(header) if any(row[-1] for row in rows) else len(header) - 1
    return Table(header[:width], tuple(row[:width] for row in rows))


def _collection(branch: BranchSummary) -> str:
    return branch.name.partition(".")[0]


def _branch_row(branch: BranchSummary, name: str) -> tuple[str, ...]:
    values = branch.values
    if values is None:
        word = branch.layout if branch.column or branch.problem else "other"
        return (name, branch.type if branch.column else "", word, "", "", "", "", "")
    shown = [NONE if value is None else f"{value:.4g}" for value in (values.min, values.mean, values.max)]
    numbers = ["", f"= {shown[1]}", ""] if values.constant else shown
    bad = count(values.non_finite) if values.non_finite else ""
    shape = branch.layout.replace("list of lists", "lists").replace("number", "")
    return (name, branch.type, shape, *numbers, f"{PERCENT * values.zeros:.3g}", bad)


def versions(provenance: Mapping[str, Any]) -> str:
    """Return the versions of what made an artefact, as far as they were recorded."""
    found = {name: provenance[name] for name in ("calomlp", "python") if provenance.get(name)}
    found |= provenance.get("packages") or {}
    return ", ".join(f"{name} {version}" for name, version in found.items())
