"""What a report comes to, in brief: where it is from, its verdict, its tables, and what to run next."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from calomlp.evaluation.bins import POINTS
from calomlp.evaluation.report import REPORT_SCHEMA
from calomlp.plotting.page import Page, facts, file_table, fill, origin
from calomlp.plotting.quantity import count
from calomlp.plotting.tables import report_tables, verdicts

if TYPE_CHECKING:
    from calomlp.evaluation.report import Report


def report_page(report: Report, label: str, command: str) -> Page:
    """Return what a report comes to.

    Args:
        report: The report.
        label: What the user calls the file.
        command: What to run next.
    """
    made = report.provenance
    sentences = [*verdicts(report), *(f"note: {note}" for note in report.notes)]
    return [
        f"{label}: report, {REPORT_SCHEMA}",
        origin("made by", made),
        *([f"\n{origin('of a model by', made['model'])}"] if made.get("model") else []),
        f"\n{facts(_facts(report))}\n",
        ("Files", file_table((file.path, file.tree, file.events) for file in report.files)),
        *report_tables(report),
        "\n".join(map(fill, sentences)) + "\n",
        command,
    ]


def report_record(report: Report) -> dict[str, Any]:
    """Return a report for JSON without what makes it long: the histograms and the history of the training."""
    document = {"schema": REPORT_SCHEMA, **asdict(report)}
    del document["training"]["history"]
    for curve in document["curves"]:
        for bin_ in curve["bins"]:
            del bin_["histogram"]
    return document


def _facts(report: Report) -> list[tuple[str, str]]:
    region, summary = report.envelope, report.training["summary"]
    width = "one for each beam energy" if report.bins.kind == POINTS else f"each {report.bins.width:.3g} wide in ln E"
    loss = f", loss {summary['loss']}" if "loss" in summary else ""
    trained = f"{count(region.n_train)} events, {region.energy_min:.4g} to {region.energy_max:.4g} GeV"
    return [
        ("events", count(report.events)),
        ("bins", f"{len(report.curves[0].bins)}, {width}"),
        ("trained on", f"{trained}{loss}"),
    ]
