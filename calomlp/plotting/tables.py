"""A report as tables of text, and as a page in Markdown; nothing is printed here."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from calomlp.evaluation.estimators import Measurement
from calomlp.plotting.points import PERCENT, Points, ratio_points
from calomlp.plotting.quantity import count, energy_range, with_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calomlp.data.summary import BranchSummary, TreeSummary
    from calomlp.evaluation.report import Bin, Curve, Report

NONE = "\N{EN DASH}"
"""What stands where there is no number."""

EDGE_MARK = " *"
EDGE_NOTE = "* at an edge of the training range: left out of fits and averages"

_MAX_BRANCHES = 60
_SIGNIFICANT = 2.0  # standard errors


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: Headings with units.
        rows: Cells, as many as there are headings.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def report_tables(report: Report) -> list[tuple[str, Table]]:
    """Return the tables that say what a report comes to, each with its title."""
    return [
        ("Response and resolution of the Gaussian core", resolution_table(report)),
        ("Resolution: sigma/E = a/sqrt(E) (+) n/E (+) c", fit_table(report)),
        ("Linearity of the core response", linearity_table(report)),
    ]


def resolution_table(report: Report) -> Table:
    """Return response of the first curve and resolution of all curves in every bin of energy."""
    first = report.curves[0]
    header = ("E_true [GeV]", "events", f"{first.name}: bias [%]")
    resolutions = [{(bin_.energy_low, bin_.energy_high): bin_ for bin_ in curve.bins} for curve in report.curves]
    rows = []
    for bin_ in first.bins:
        same = [bins.get((bin_.energy_low, bin_.energy_high)) for bins in resolutions]
        cells = [_percent(other, "resolution") if other else NONE for other in same]
        rows.append((_energy(bin_), count(bin_.events), _deviation(bin_), *cells))
    return Table((*header, *(f"{curve.name}: sigma/mu [%]" for curve in report.curves)), tuple(rows))


def estimator_table(curve: Curve) -> Table:
    """Return all estimators of the width of one curve in every bin of energy, each relative to its location.

    RMS90 is not scaled to the sigma of a Gaussian, of which it is 0.789.
    """
    header = ("E_true [GeV]", "events", "bias [%]", "sigma/mu [%]")
    relative = (("RMS90/mean90 [%]", "rms90", "mean90"), ("sigma_68/median [%]", "sigma_68", "median"))
    rows = [
        (
            _energy(bin_),
            count(bin_.events),
            _deviation(bin_),
            _percent(bin_, "resolution"),
            *(_percent(bin_, width, location) for _, width, location in relative),
        )
        for bin_ in curve.bins
    ]
    return Table((*header, *(name for name, _, _ in relative)), tuple(rows))


def fit_table(report: Report) -> Table:
    """Return the terms of the resolution of every curve, sigma/E = a/sqrt(E) (+) n/E (+) c."""
    rows = []
    for curve in report.curves:
        fit = curve.fit
        if fit is None:
            rows.append((curve.label, *(NONE,) * 5))
            continue
        terms = (with_error(fit.stochastic, PERCENT), with_error(fit.noise), with_error(fit.constant, PERCENT))
        fitted = f"{fit.energy_min:.3g}\N{EN DASH}{fit.energy_max:.3g}"
        rows.append((curve.label, *terms, f"{fit.chi2:.1f}/{fit.ndf}", fitted))
    return Table(("curve", "a [% sqrt(GeV)]", "n [GeV]", "c [%]", "chi2/ndf", "fitted [GeV]"), tuple(rows))


def linearity_table(report: Report) -> Table:
    """Return mean response of every curve and how far it is from being constant."""
    rows = []
    for curve in report.curves:
        found = curve.linearity
        cells = (
            (f"{found.response:.4f}", f"{PERCENT * found.max:.2f}", f"{PERCENT * found.rms:.2f}")
            if found
            else (NONE,) * 3
        )
        rows.append((curve.label, *cells))
    return Table(("curve", "mean response", "largest deviation [%]", "RMS deviation [%]"), tuple(rows))


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


def verdicts(report: Report) -> list[str]:
    """Return what the report comes to, a sentence for each baseline and one for the response."""
    first, *baselines = report.curves
    sentences = [_comparison(first, baseline) for baseline in baselines]
    if first.linearity:
        largest, rms = PERCENT * first.linearity.max, PERCENT * first.linearity.rms
        sentences.append(
            f"The response of the {first.label} is {first.linearity.response:.4f} on average, and constant within "
            f"{largest:.2f}\N{NO-BREAK SPACE}% (RMS {rms:.2f}\N{NO-BREAK SPACE}%)."
        )
    return sentences


def to_markdown(report: Report) -> str:
    """Return the whole report as Markdown: what it comes to, fits, tables, notes, and how it was made."""
    first = report.curves[0]
    edge = [EDGE_NOTE.replace("*", r"\*")] if any(bin_.edge for bin_ in first.bins) else []
    blocks = [
        f"# Energy resolution of the {first.label}",
        f"{count(report.events)} events evaluated.",
        _list(verdicts(report)),
        "## Terms of the resolution",
        "σ/E = a/√E ⊕ n/E ⊕ c, fitted to σ/μ of the Gaussian core (±2σ); errors are standard errors.",
        _table(fit_table(report)),
        "## Linearity",
        "Mean of the Gaussian core of E_reco/E_true, and its deviation from the mean over all energies.",
        _table(linearity_table(report)),
        "## Resolution and response",
        _table(resolution_table(report)),
        *edge,
        f"## Estimators of the width of the {first.label}",
        "RMS90 is not scaled to the σ of a Gaussian, of which it is 0.789.",
        _table(estimator_table(first)),
        *(["## Notes", _list(report.notes)] if report.notes else []),
        "## How it was made",
        _list(_origin(report)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def versions(provenance: Mapping[str, Any]) -> str:
    """Return the versions of what made an artefact, as far as they were recorded."""
    found = {name: provenance[name] for name in ("calomlp", "python") if provenance.get(name)}
    found |= provenance.get("packages") or {}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def average_ratio(ratios: Points) -> Measurement | None:
    """Return the mean ratio of resolutions over the bins that are not at an edge; ``None`` if there are none."""
    inner = ratios.inner
    if not len(inner):
        return None
    return Measurement(float(inner.value.mean()), float((inner.error**2).sum() ** 0.5 / len(inner)))


def _comparison(curve: Curve, baseline: Curve) -> str:
    ratios = ratio_points(curve, baseline).inner
    mean = average_ratio(ratios)
    if mean is None:
        return f"The {curve.label} and the {baseline.label} have no bin inside the training range to be compared in."
    if abs(mean.value - 1) < _SIGNIFICANT * mean.error:
        relation = "compatible with that"
    else:
        gain = with_error(Measurement(abs(1 - mean.value), mean.error), PERCENT)
        relation = f"({gain}) % {'better' if mean.value < 1 else 'worse'} than that"
    bins = f"{len(ratios)} bin{'s' if len(ratios) > 1 else ''}"
    span = f"ratio {with_error(mean)}, from {ratios.value.min():.2f} to {ratios.value.max():.2f}"
    return f"The resolution of the {curve.label} is {relation} of the {baseline.label}, averaged over {bins} ({span})."


def _energy(bin_: Bin) -> str:
    return energy_range(bin_.energy_low, bin_.energy_high) + (EDGE_MARK if bin_.edge else "")


def _deviation(bin_: Bin) -> str:
    if not bin_.estimates:
        return NONE
    mean = bin_.estimates["core_mean"]
    return with_error(Measurement(mean.value - 1, mean.error), PERCENT)


def _percent(bin_: Bin, width: str, location: str | None = None) -> str:
    """Write a width in percent, relative to a location if one is named."""
    if not bin_.estimates:
        return NONE
    scale = PERCENT / bin_.estimates[location].value if location else PERCENT
    return with_error(bin_.estimates[width], scale)


def _origin(report: Report) -> list[str]:
    made = report.provenance
    lines = []
    if made.get("command"):
        lines.append(f"command: `{shlex.join(made['command'])}`")
    if told := versions(made):
        lines.append(f"versions: {told}")
    region = report.envelope
    lines.append(
        f"trained on {count(region.n_train)} events between {region.energy_min:.4g} and {region.energy_max:.4g} GeV"
    )
    lines += [f"file: `{file.path}:{file.tree}`, {count(file.events)} events" for file in report.files]
    return lines


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(table: Table) -> str:
    """Return a table whose first column is aligned left and the others right."""
    cells = [[cell.replace("|", r"\|").replace("*", r"\*") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(rule, widths), *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"
