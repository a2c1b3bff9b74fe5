"""Evaluate a model: response, resolution and their fits, beside the plain sum and the linear anchor.

Without DATA the test side of the files that the model was trained on is used, as the model recorded them.

calomlp evaluate model.safetensors -o report.json

calomlp evaluate model.safetensors 'testbeam/*.root' -o report.json

calomlp evaluate model.safetensors --format md
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.settings import setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.evaluation.report import Report


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What ``calomlp evaluate`` can be asked for."""

    model: str = setting("", "Model file, or - for a pipe.", positional=True, metavar="MODEL")
    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting("-", "Report; - is standard output, a table on a terminal.", "-o", metavar="FILE")
    format: str = setting("json", "Form of the report; plot reads json.", choices=("json", "md"))
    tree: str | None = setting(None, "Tree or RNTuple to read. Default: the one that the model was trained on.")
    target: str | None = setting(
        None,
        "True energy [GeV] in these files: a branch or an expression. Default: as in training.",
        "-t",
        metavar="EXPR",
    )
    cut: str | None = setting(
        None, "Use only events that meet this condition; '' for all. Default: as in training.", metavar="EXPR"
    )
    all: bool = setting(False, "Use all events of files that the model was trained on, not only their test side.")
    seed: int = setting(1, "Seed of the bootstrap errors.")


SETTINGS = EvaluateSettings


def run(session: Session, settings: EvaluateSettings) -> None:
    """Read the model, find the files, evaluate, write, report."""
    on_screen = settings.output == "-" and not session.json and settings.format == "json"
    session.streams.check_output(settings.output, binary=False, force=session.force)

    from calomlp.data.expressions import Expression
    from calomlp.data.sample import parse_cut
    from calomlp.data.sources import resolve
    from calomlp.evaluation.evaluate import evaluate, training_sources
    from calomlp.model.file import read_model

    path, label = session.one_path(settings.model, "model")
    model = read_model(path, label)
    if settings.target is not None:
        model = replace(model, recipe=replace(model.recipe, target=Expression.parse(settings.target)))
    if settings.cut is not None:
        model = replace(model, recipe=replace(model.recipe, cut=parse_cut(settings.cut)))
    tree = settings.tree or model.files[0].tree
    sources = (
        resolve(settings.data, session.streams, tree=tree)
        if settings.data
        else training_sources(model, Path(path).parent)
    )
    report = evaluate(
        model, sources, use_all=settings.all, seed=settings.seed, progress=session.progress, interrupt=session.interrupt
    )
    if on_screen:
        _show(report)
        return
    with session.streams.artefact(settings.output) as temporary:
        temporary.write_text(_text(report, settings.format), encoding="utf-8")
    if settings.output != "-" and not session.json:
        _show(report)
    session.finish(
        Record("evaluate", "report", settings.output, _summary(report, session)),
        f"{settings.output}: {report.events} events in {len(report.curves[0].bins)} bins of energy",
    )


def _text(report: Report, form: str) -> str:
    if form == "json":
        return report.to_json()
    from calomlp.plotting.tables import to_markdown

    return to_markdown(report)


def _summary(report: Report, session: Session) -> dict[str, Any]:
    """The numbers of the record: terms of the resolution and linearity of every curve."""
    curves = {}
    for curve in report.curves:
        terms = ("stochastic", "noise", "constant")
        fit = {name: [getattr(curve.fit, name).value, getattr(curve.fit, name).error] for name in terms if curve.fit}
        curves[curve.name] = {**fit, "linearity": curve.linearity.max if curve.linearity else None}
    return {"events": report.events, "curves": curves, "seconds": round(session.seconds, 3)}


def _show(report: Report) -> None:
    """Draw the tables on the terminal."""
    from calomlp.cli.console import print_tables
    from calomlp.plotting.tables import fit_table, linearity_table, resolution_table

    tables = (
        ("Response and resolution of the Gaussian core", resolution_table(report)),
        ("Resolution: sigma/E = a/sqrt(E) (+) n/E (+) c", fit_table(report)),
        ("Linearity of the core response", linearity_table(report)),
    )
    print_tables(tables, report.notes)
