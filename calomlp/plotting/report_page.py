"""What a report comes to, in brief: where it is from, its verdict, its tables, and what to run next."""

from __future__ import annotations

from typing import Any

from calomlp.evaluation.report import REPORT_SCHEMA, Report
from calomlp.plotting.page import Page, facts, file_table, fill, origin
from calomlp.plotting.quantity import count
from calomlp.plotting.report_tables import binning, marks, report_tables, verdicts


def report_page(report: Report, label: str, command: str) -> Page:
    """Return what a report comes to.

    Args:
        report: The report.
        label: What the user calls the file.
        command: What to run next.
    """
    made = report.context.provenance
    sentences = [*verdicts(report), *(f"note: {note}" for note in (*marks(report), *report.notes))]
    return [
        f"{label}: report, {REPORT_SCHEMA}",
        origin("made by", made),
        *([f"\n{origin('of a model by', made['model'])}"] if made.get("model") else []),
        f"\n{facts(_facts(report))}\n",
        ("Files", file_table((file.path, file.tree, file.events) for file in report.context.files)),
        *report_tables(report),
        "\n".join(map(fill, sentences)) + "\n",
        command,
    ]


def report_record(report: Report) -> dict[str, Any]:
    """Return a report for JSON without what makes it long: what it was derived from, and the history of training."""
    document = report.document()
    del document["statistics"]
    document["context"]["training"].pop("history", None)
    return {**document, "events": report.events}


def _facts(report: Report) -> list[tuple[str, str]]:
    region, summary = report.context.envelope, report.context.training.get("summary", {})
    loss = f", loss {summary['loss']}" if "loss" in summary else ""
    trained = (
        f"{count(region.n_train)} events, {region.energy_min:.4g} to {region.energy_max:.4g} GeV" if region else ""
    )
    return [
        ("events", count(report.events)),
        ("bins", f"{len(report.curves[0].bins)}, {binning(report)}"),
        ("trained on", f"{trained}{loss}" if trained else ""),
    ]
