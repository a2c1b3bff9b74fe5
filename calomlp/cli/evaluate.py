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

from calomlp.data.settings import DATA, ON_BAD, SKIP, DataSettings
from calomlp.settings import setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.data.sample import Recipe
    from calomlp.data.sources import Source
    from calomlp.evaluation.report import Report
    from calomlp.model.file import Model


@dataclass(frozen=True, kw_only=True)
class _EvaluateSettings:
    model: str = setting("", "Model file, or - for a pipe.", positional=True, metavar="MODEL")
    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, 10GeV=file.root, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting("-", "Report; - is standard output, a table on a terminal.", "-o", metavar="FILE")
    format: str = setting("json", "Form of the report; plot reads json.", choices=("json", "md"))
    target: str | None = setting(
        None,
        "True energy in these files: a branch or an expression. Default: as in training.",
        "-t",
        panel=DATA,
        metavar="EXPR",
    )
    cut: str | None = setting(
        None,
        "Use only events that meet this condition; '' for all. Default: as in training.",
        panel=DATA,
        metavar="EXPR",
    )
    on_bad: str = setting(
        "as-trained",
        "A value that is missing or not finite: stop, leave the event out, or take zero; what is left out is counted.",
        choices=("as-trained", *ON_BAD),
        panel=DATA,
    )
    all: bool = setting(False, "Use all events of files that the model was trained on, not only their test side.")
    seed: int = setting(1, "Seed of the bootstrap errors.")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(DataSettings, _EvaluateSettings):
    """What ``calomlp evaluate`` can be asked for."""


SETTINGS = EvaluateSettings


def run(session: Session, settings: EvaluateSettings) -> None:
    """Read the model, find the files, evaluate, write, report."""
    on_screen = settings.output == "-" and not session.json and settings.format == "json"
    session.streams.check_output(settings.output, binary=False, force=session.force)

    from calomlp.evaluation.evaluate import evaluate
    from calomlp.model.file import read_model

    path, label = session.one_path(settings.model, "model")
    model = read_model(path, label)
    sources = _sources(session, settings, model, Path(path).parent)
    energy_of_files = any(source.true_energy is not None for source in sources)
    report = evaluate(
        replace(model, recipe=_recipe(model, settings, energy_of_files=energy_of_files)),
        sources,
        use_all=settings.all,
        skip_bad_files=settings.on_bad_file == SKIP,
        seed=settings.seed,
        progress=session.progress,
        interrupt=session.interrupt,
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


def _recipe(model: Model, settings: EvaluateSettings, *, energy_of_files: bool) -> Recipe:
    """Return the recipe of the model with what the user said of these files; energies of files are in GeV."""
    from calomlp.data.rows import TRUE_ENERGY
    from calomlp.data.sample import parse_cut, parse_target

    recipe = model.recipe
    if settings.target is not None or settings.unit is not None:
        target, unit = settings.target or model.settings["target"], settings.unit or model.settings["unit"]
        recipe = replace(recipe, target=parse_target(target, unit if settings.target is None else settings.unit))
    elif energy_of_files:
        recipe = replace(recipe, target=parse_target(TRUE_ENERGY, "GeV"))
    if settings.data:
        recipe = replace(recipe, layout=replace(recipe.layout, tree=model.files[0].tree))
    if settings.cut is not None:
        recipe = replace(recipe, cut=parse_cut(settings.cut))
    if settings.missing:
        recipe = replace(recipe, missing=settings.missing)
    return recipe if settings.on_bad == "as-trained" else replace(recipe, on_bad=settings.on_bad)


def _sources(session: Session, settings: EvaluateSettings, model: Model, folder: Path) -> list[Source]:
    """Return the files that were named, or those that the model was trained on."""
    from calomlp.data.sources import befriend, energies_from_names, resolve
    from calomlp.evaluation.evaluate import training_sources

    if not settings.data:
        return training_sources(model, folder)
    sources = resolve(settings.data, session.streams, tree=settings.tree)
    sources = befriend(sources, settings.friend, session.streams)
    pattern = settings.target_from_name
    if pattern is None and settings.target is None:
        pattern = model.settings["target_from_name"]
    return sources if pattern is None else energies_from_names(sources, pattern)


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
    from calomlp.plotting.tables import report_tables

    print_tables(report_tables(report), report.notes)
