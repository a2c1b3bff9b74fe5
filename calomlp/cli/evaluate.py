"""Evaluate models and other energies: response, resolution and their fits, beside the plain sum and the linear anchor.

Without DATA the test side of the files that the model was trained on is used, as the model recorded them.

calomlp evaluate model.safetensors -o report.json

calomlp evaluate model.safetensors 'testbeam/*.root' --compare tracker=track_p --by pdg_id -o report.json

calomlp evaluate --estimate cluster_energy 'testbeam/*.root' -t beam_energy

calomlp evaluate model.safetensors --require 'resolution[10] < 0.06' --require 'abs(bias) < 0.01' -o report.json

calomlp evaluate --merge part-*.json -o report.json

Several jobs can evaluate a part of the files each, and --merge adds their reports up.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.cli.session import Session
from calomlp.data.flags import SKIP, DataSettings
from calomlp.errors import MissingDependencyError, UsageError
from calomlp.evaluation.options import AUTO, HEPDATA, JSON, MARKDOWN, TSV, EvaluateSettings
from calomlp.streams import MAGIC_SIZE, STDIN, Record, Streams, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from calomlp.data.sample import Recipe
    from calomlp.data.sources import Source
    from calomlp.evaluation.gates import Gate
    from calomlp.evaluation.report import Report
    from calomlp.evaluation.subjects import Subject
    from calomlp.model.file import Model

_SUFFIXES = {".json": JSON, ".md": MARKDOWN, ".tsv": TSV, ".tar.gz": HEPDATA, ".tgz": HEPDATA}

_OF_EVENTS = {
    *(item.name for item in fields(DataSettings)),
    *("target", "cut", "on_bad", "all", "estimate", "sigma", "compare", "bins"),
    *("by", "worst", "importance", "predictions"),
}
"""Settings that say something of events, of which a report has none left."""


SETTINGS = EvaluateSettings


def run(session: Session, settings: EvaluateSettings) -> None:
    """Evaluate or merge, write, report, and check what was required."""
    session.refuse_processes("give each job of an array some of the files, and add the reports up with --merge")
    form = _form_of(settings.output, settings.format)
    on_screen = settings.output == "-" and not session.json and form == JSON
    session.streams.check_output(settings.output, binary=form == HEPDATA, force=session.force)

    from calomlp.evaluation.gates import Gate, check_gates

    gates = [Gate.parse(text) for text in settings.require]
    report = (_merged if settings.merge else _evaluated)(session, settings, gates)
    if on_screen:
        _show(report, session.streams)
    else:
        with session.streams.artefact(settings.output) as temporary:
            _write(report, form, temporary)
        if settings.output != "-" and not session.json:
            _show(report, session.streams)
        session.finish(
            Record("evaluate", "report", settings.output, _summary(report, session)),
            f"{settings.output}: {report.events} events in {len(report.curves[0].bins)} bins of energy",
        )
    check_gates(gates, report)


def _merged(session: Session, settings: EvaluateSettings, gates: Sequence[Gate]) -> Report:
    """Add up reports."""
    from calomlp.data.sources import resolve
    from calomlp.evaluation.gates import check_curves
    from calomlp.evaluation.report import read_report
    from calomlp.evaluation.summary import merge

    names = [name for name in (settings.model, *settings.data) if name]
    if not names:
        raise UsageError("no report was named: give those to merge, or - for standard input")
    if given := [item.name for item in fields(settings) if item.name in _OF_EVENTS and _is_given(settings, item)]:
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{flag} needs the events, and --merge has only the reports: give it when these are made")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice: its events would count twice")
    sources = resolve(names, session.streams)
    session.streams.check_distinct((settings.output,), (source.path for source in sources))
    reports = [read_report(item.path, item.label) for item in sources]
    check_curves(gates, [curve.name for curve in reports[0].curves])
    return merge(reports, settings.options)


def _is_given(settings: EvaluateSettings, item: Field[Any]) -> bool:
    return bool(getattr(settings, item.name) != item.default)


def _evaluated(session: Session, settings: EvaluateSettings, gates: Sequence[Gate]) -> Report:
    """Read the models, find the files, evaluate."""
    if settings.predictions is not None:
        session.streams.check_output(settings.predictions, binary=True, force=session.force)
        if settings.on_bad_file == SKIP:
            raise UsageError("--predictions takes all files: leave --on-bad-file skip out")

    from calomlp.evaluation.evaluate import evaluate, predictions
    from calomlp.evaluation.gates import check_curves
    from calomlp.evaluation.subjects import check_names

    if reports := [name for name in (settings.model, *settings.data) if _kind(session, name) == "report"]:
        raise UsageError(
            f"{STDIN if reports[0] == '-' else reports[0]} is a report: see it with calomlp inspect, "
            "draw it with calomlp plot, add it up with calomlp evaluate --merge"
        )
    model, folder, names = _model(session, settings)
    subjects = tuple(_subjects(settings, model))
    check_curves(gates, list(check_names(subjects)))
    if settings.importance and model is None:
        raise UsageError("--importance shuffles the features of a model: name one")
    sources = _sources(session, settings, model, folder, names)
    recipe = _recipe(model, settings, names=names, sources=sources)
    models = [settings.model, *(text.rpartition("=")[2] for text in settings.compare)]
    files = [place.path for source in sources for place in (source, *source.friends)]
    session.streams.check_distinct((settings.output, settings.predictions), filter(None, (*models, *files)))
    with ExitStack() as stack:
        more: dict[str, Any] = {}
        if settings.predictions is not None:
            path = stack.enter_context(session.streams.artefact(settings.predictions))
            marks = [str(subject.labels) for subject in subjects]
            more["keep"] = stack.enter_context(predictions(path, sources, marks))
        return evaluate(subjects, recipe, sources, settings, session.run, **more)


def _model(session: Session, settings: EvaluateSettings) -> tuple[Model | None, Path, tuple[str, ...]]:
    """Return the model, the folder it lies in, and the names of the data; with --estimate there may be no model."""
    from calomlp.model.file import read_model

    if settings.estimate is not None and _kind(session, settings.model) != "model":
        return None, Path(), tuple(name for name in (settings.model, *settings.data) if name)
    path, label = session.one_path(settings.model, "model")
    return read_model(path, label), Path(path).parent, settings.data


def _kind(session: Session, name: str) -> str:
    """Return what was named, ``model`` or ``report``, by how it begins or else by its name; empty if it is neither."""
    piped = session.streams.read_piped().paths if name == "-" else ()
    path = Path(piped[0] if piped else name)
    if not path.is_file():
        return {".safetensors": "model", ".json": "report"}.get(path.suffix, "")
    with path.open("rb") as file:
        return kind_of(file.read(MAGIC_SIZE))


def _subjects(settings: EvaluateSettings, model: Model | None) -> Iterator[Subject]:
    """Yield what is evaluated: other energies first if they are named, then the model and what it is compared with."""
    from calomlp.evaluation.report import REGRESSOR
    from calomlp.evaluation.subjects import Trained, parse_comparison, parse_estimate
    from calomlp.model.file import read_model

    if settings.estimate is not None:
        yield parse_estimate(settings.estimate, settings.sigma)
    elif settings.sigma is not None:
        raise UsageError("--sigma is the uncertainty of --estimate, which is not given")
    if model is not None:
        yield Trained(REGRESSOR, model)
    for text in settings.compare:
        name, compared = parse_comparison(text)
        yield Trained(name, read_model(compared, compared)) if isinstance(compared, str) else compared


def _recipe(
    model: Model | None, settings: EvaluateSettings, *, names: tuple[str, ...], sources: list[Source]
) -> Recipe:
    """Return the recipe of the model, or one without features, with what the user said of these files."""
    from calomlp.data.rows import TRUE_ENERGY
    from calomlp.data.sample import parse_cut, parse_target, plain_recipe

    energy_of_files = any(source.true_energy is not None for source in sources)
    recipe = model.recipe if model else plain_recipe(TRUE_ENERGY)
    if settings.target is not None or settings.unit is not None:
        trained = (model.settings["target"], model.settings["unit"]) if model else (TRUE_ENERGY, None)
        target, unit = settings.target or trained[0], settings.unit or trained[1]
        recipe = replace(recipe, target=parse_target(target, unit if settings.target is None else settings.unit))
    elif energy_of_files:
        recipe = replace(recipe, target=parse_target(TRUE_ENERGY, "GeV"))
    if names and model:
        recipe = replace(recipe, layout=replace(recipe.layout, tree=model.files[0].tree))
    if settings.cut is not None:
        recipe = replace(recipe, cut=parse_cut(settings.cut))
    if settings.missing:
        recipe = replace(recipe, missing=settings.missing)
    return recipe if settings.on_bad == "as-trained" else replace(recipe, on_bad=settings.on_bad)


def _sources(
    session: Session, settings: EvaluateSettings, model: Model | None, folder: Path, names: tuple[str, ...]
) -> list[Source]:
    """Return the files that were named, or those that the model was trained on."""
    from calomlp.data.sources import befriend, energies_from_names, resolve
    from calomlp.evaluation.subjects import training_sources

    if not names and model:
        return training_sources(model, folder)
    if not names:
        raise UsageError("no data were named: give ROOT files, or - for standard input")
    sources = resolve(names, session.streams, tree=settings.tree)
    sources = befriend(sources, settings.friend, session.streams)
    pattern = settings.target_from_name
    if pattern is None and settings.target is None and model:
        pattern = model.settings["target_from_name"]
    return sources if pattern is None else energies_from_names(sources, pattern)


def _summary(report: Report, session: Session) -> dict[str, Any]:
    """Return the numbers of the record: terms of the resolution and linearity of every curve, and the ratios."""
    from calomlp.evaluation.numbers import RATIO, RowKind, table
    from calomlp.evaluation.resolution import TERMS

    fits = {row.curve: row.numbers for row in table(report) if row.line == RowKind.FIT}
    curves = {
        curve: {**_pairs(numbers, TERMS), "linearity": numbers.get("linearity")} for curve, numbers in fits.items()
    }
    ratios = {curve: pair[RATIO] for curve, numbers in fits.items() if (pair := _pairs(numbers, (RATIO,)))}
    return {"events": report.events, "curves": curves, "ratios": ratios, "seconds": round(session.seconds, 3)}


def _pairs(numbers: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[float]]:
    """Return value and error of those numbers that there are."""
    return {name: [numbers[name].value, numbers[name].error] for name in names if name in numbers}


def _show(report: Report, streams: Streams) -> None:
    """Show tables, notes and verdicts on the terminal, what matters most nearest to the prompt."""
    from calomlp.cli.console import print_blocks
    from calomlp.plotting.render import text_blocks
    from calomlp.plotting.sections import report_sections

    print_blocks(
        text_blocks([section for section in reversed(report_sections(report)) if section.name != "origin"]), streams
    )


def _form_of(output: str, form: str) -> str:
    """Return the form of a report: the one that was asked for, else that of the name of the file, else JSON.

    Args:
        output: The file.
        form: One of the formats.

    Raises:
        UsageError: If the name of the file says another form than the one that was asked for.
    """
    named = next((named for suffix, named in _SUFFIXES.items() if output.endswith(suffix)), None)
    if form == AUTO:
        return named or JSON
    if named not in (None, form):
        raise UsageError(f"{output} is the name of a report as {named}, but --format is {form}: change one of them")
    return form


def _write(report: Report, form: str, path: Path) -> None:
    """Write a report.

    Raises:
        MissingDependencyError: If what writes it is not installed.
    """
    if form == HEPDATA:
        try:
            from calomlp.plotting.hepdata import write_hepdata
        except ImportError as error:
            raise MissingDependencyError(
                "--format hepdata needs a package that is not installed: pip install 'calomlp[hepdata]'"
            ) from error
        write_hepdata(report, path)
        return
    from calomlp.evaluation.numbers import to_tsv
    from calomlp.plotting.render import to_markdown

    made = {JSON: type(report).to_json, MARKDOWN: to_markdown, TSV: to_tsv}[form]
    path.write_text(made(report), encoding="utf-8")
