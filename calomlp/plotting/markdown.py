"""A report as a page in Markdown; nothing is written here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from calomlp.evaluation.names import MEAN, WIDTHS
from calomlp.evaluation.report import Report
from calomlp.plotting.quantity import count
from calomlp.plotting.report_tables import (
    estimator_table,
    fit_table,
    formula,
    linearity_table,
    marks,
    report_tables,
    resolution_table,
    the,
    verdicts,
    width_name,
)
from calomlp.plotting.tables import Table, versions

_MAX_PARTS = 20
_ALWAYS = 3  # the first tables of a report have sections of their own
ESTIMATORS = """RMS90 is not scaled to the σ of a Gaussian, of which it is 0.789. σ/slope is corrected for the local
slope of the response, d(E_reco)/d(E_true). 4.55 and 0.27 % of a Gaussian are beyond 2 and 3σ."""


def to_markdown(report: Report) -> str:
    """Return the whole report as Markdown: what it comes to, fits, tables, notes, and how it was made."""
    first, options = report.curves[0], report.options
    width = WIDTHS[options.width]
    window = f" (±{options.core_sigmas:g}σ)" if options.width == "core" else ""
    relative = f"their {width.centre}" if options.relative_to == MEAN else "the true energy"
    told = [mark.replace("*", r"\*") for mark in marks(report)]
    others = [block for title, table in report_tables(report)[_ALWAYS:] for block in (f"## {title}", _table(table))]
    fitted = (
        f"{width_name(report)} = {formula(report)}; {width.label}{window} of E_reco/E_true, relative to {relative}; "
        "errors are standard errors."
    )
    blocks = [
        f"# Energy resolution of {the(first)}",
        f"{count(report.events)} events evaluated.",
        _list(verdicts(report)),
        "## Terms of the resolution",
        fitted,
        _table(fit_table(report)),
        "## Linearity",
        "The response and its deviation from the mean over all energies; line through the measured energies.",
        _table(linearity_table(report)),
        "## Resolution and response",
        _table(resolution_table(report)),
        *told,
        f"## Estimators of the width of {the(first)}",
        ESTIMATORS,
        _table(estimator_table(report, first)),
        *others,
        *(["## Notes", _list(report.notes)] if report.notes else []),
        "## How it was made",
        _list(_origin(report)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _origin(report: Report) -> list[str]:
    made = report.context.provenance
    lines = []
    if made.get("command"):
        lines.append(f"command: `{shlex.join(made['command'])}`")
    lines += [f"part: `{shlex.join(command)}`" for command in made.get("parts", [])[:_MAX_PARTS] if command]
    if told := versions(made):
        lines.append(f"versions: {told}")
    if region := report.context.envelope:
        lines.append(
            f"trained on {count(region.n_train)} events between {region.energy_min:.4g} and {region.energy_max:.4g} GeV"
        )
    lines += [f"file: `{file.path}:{file.tree}`, {count(file.events)} events" for file in report.context.files]
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
