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
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.cli.forms import AUTO, FORMATS, HEPDATA, JSON, form_of, write
from calomlp.cli.session import Session
from calomlp.data.flags import DATA, ON_BAD, SKIP, DataSettings
from calomlp.errors import UsageError
from calomlp.evaluation.options import QUADRATURE, RELATIVE_TO, SUMS, WIDTHS
from calomlp.settings import setting
from calomlp.streams import MAGIC_SIZE, STDIN, Record, Streams, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from calomlp.data.sample import Recipe
    from calomlp.data.sources import Source
    from calomlp.evaluation.gates import Gate
    from calomlp.evaluation.options import Options
    from calomlp.evaluation.report import Report
    from calomlp.evaluation.subjects import Subject
    from calomlp.model.file import Model

CURVES, NUMBERS, DETAILS = "What is evaluated", "How numbers are derived", "What else is looked at"

_OF_EVENTS = {
    *(item.name for item in fields(DataSettings)),
    *("target", "cut", "on_bad", "all", "estimate", "sigma", "compare", "bins"),
    *("by", "worst", "importance", "predictions"),
}
"""Settings that say something of events, of which a report has none left."""


@dataclass(frozen=True, kw_only=True)
class _EvaluateSettings:
    model: str = setting("", "Model file, or - for a pipe; none with --estimate.", positional=True, metavar="MODEL")
    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, 10GeV=file.root, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting("-", "Report; - is standard output, a table on a terminal.", "-o", metavar="FILE")
    format: str = setting(
        AUTO,
        "Form of the report: json, which plot and --merge read, a page in Markdown, tab-separated values, or tables "
        "for HEPData; auto is that of the name of the output, .json, .md, .tsv, .tar.gz, and json if it says nothing.",
        choices=FORMATS,
    )
    merge: bool = setting(False, "The files are reports on different events: add them up.")
    require: tuple[str, ...] = setting(
        (),
        "Condition on the report, such as 'resolution[10] < 0.06' or 'abs(bias) < 0.01'; if not, the report is written "
        "and the exit code is 6. Repeatable.",
        metavar="EXPR",
    )
    target: str | None = setting(
        None,
        "True energy in these files: a branch or an expression. Default: as in training, or true_energy.",
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
    estimate: str | None = setting(
        None,
        "Energies that somebody else has measured [GeV]: a branch or an expression.",
        panel=CURVES,
        metavar="NAME=X",
    )
    sigma: str | None = setting(
        None, "Uncertainties [GeV] of --estimate: a branch or an expression.", panel=CURVES, metavar="EXPR"
    )
    compare: tuple[str, ...] = setting(
        (),
        "What to compare with: another model, or an expression, such as tracker=track_p. Repeatable. The name 'oracle' "
        "is for one that knows the truth.",
        panel=CURVES,
        metavar="NAME=X",
    )
    bins: str = setting(
        "auto",
        "Bins of the true energy: auto, points, log, quantiles:20, or edges in GeV such as 1,2,5,10.",
        panel=NUMBERS,
        metavar="BINS",
    )
    width: str = setting("core", "Which width and location are the resolution.", choices=tuple(WIDTHS), panel=NUMBERS)
    core_sigmas: float = setting(2.0, "Half width of the Gaussian core in its sigma, from 1 to 5.", panel=NUMBERS)
    relative_to: str = setting(
        "mean",
        "What the width is divided by: the measured mean, or the true energy.",
        choices=RELATIVE_TO,
        panel=NUMBERS,
    )
    fit_sum: str = setting(QUADRATURE, "How the terms of the resolution add up.", choices=SUMS, panel=NUMBERS)
    noise: float | None = setting(
        None, "The noise term [GeV], known from pedestals; it is not fitted then.", panel=NUMBERS
    )
    fit_edges: bool = setting(
        False, "Fit bins at the edges of the training range too, where a regression is biased.", panel=NUMBERS
    )
    by: tuple[str, ...] = setting(
        (),
        "Response by another quantity, with a test of its trend: pdg_id, shower_start:10 for ten slices, true_x:-5,0,5 "
        "for given edges. Repeatable.",
        panel=DETAILS,
        metavar="EXPR",
    )
    worst: int = setting(0, "List so many events that are furthest off, with file and entry.", panel=DETAILS)
    importance: bool = setting(
        False, "How much worse the energies become when a feature is shuffled among events.", panel=DETAILS
    )
    predictions: str | None = setting(
        None, "Write the energies of all events to this ROOT file too.", panel=DETAILS, metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(DataSettings, _EvaluateSettings):
    """What ``calomlp evaluate`` can be asked for."""


SETTINGS = EvaluateSettings


def run(session: Session, settings: EvaluateSettings) -> None:
    """Evaluate or merge, write, report, and check what was required."""
    session.refuse_processes("give each job of an array some of the files, and add the reports up with --merge")
    form = form_of(settings.output, settings.format)
    on_screen = settings.output == "-" and not session.json and form == JSON
    session.streams.check_output(settings.output, binary=form == HEPDATA, force=session.force)

    from calomlp.evaluation.gates import Gate, check_gates

    gates = [Gate.parse(text) for text in settings.require]
    options = _options(settings)
    report = (_merged if settings.merge else _evaluated)(session, settings, options, gates)
    if on_screen:
        _show(report, session.streams)
    else:
        with session.streams.artefact(settings.output) as temporary:
            write(report, form, temporary)
        if settings.output != "-" and not session.json:
            _show(report, session.streams)
        session.finish(
            Record("evaluate", "report", settings.output, _summary(report, session)),
            f"{settings.output}: {report.events} events in {len(report.curves[0].bins)} bins of energy",
        )
    check_gates(gates, report)


def _options(settings: EvaluateSettings) -> Options:
    from calomlp.evaluation.options import Options

    if not 1 <= settings.core_sigmas <= 5:
        raise UsageError(f"--core-sigmas {settings.core_sigmas:g}: the core reaches from 1 to 5 of its sigma")
    if settings.noise is not None and settings.noise < 0:
        raise UsageError(f"--noise {settings.noise:g}: a noise term is not negative")
    return Options(
        settings.width,
        settings.core_sigmas,
        settings.relative_to,
        settings.fit_sum,
        settings.noise,
        settings.fit_edges,
        settings.seed,
    )


def _merged(session: Session, settings: EvaluateSettings, options: Options, gates: Sequence[Gate]) -> Report:
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
    return merge(reports, options)


def _is_given(settings: EvaluateSettings, item: Field[Any]) -> bool:
    return bool(getattr(settings, item.name) != item.default)


def _evaluated(session: Session, settings: EvaluateSettings, options: Options, gates: Sequence[Gate]) -> Report:
    """Read the models, find the files, evaluate."""
    if settings.predictions is not None:
        session.streams.check_output(settings.predictions, binary=True, force=session.force)
        if settings.on_bad_file == SKIP:
            raise UsageError("--predictions takes all files: leave --on-bad-file skip out")

    from calomlp.evaluation.bins import parse_bins
    from calomlp.evaluation.evaluate import Wishes, evaluate, predictions
    from calomlp.evaluation.gates import check_curves
    from calomlp.evaluation.slices import SliceRequest
    from calomlp.evaluation.subjects import check_names

    if reports := [name for name in (settings.model, *settings.data) if _kind(session, name) == "report"]:
        raise UsageError(
            f"{STDIN if reports[0] == '-' else reports[0]} is a report: see it with calomlp inspect, "
            "draw it with calomlp plot, add it up with calomlp evaluate --merge"
        )
    wishes = Wishes(
        settings.all,
        settings.on_bad_file == SKIP,
        parse_bins(settings.bins),
        tuple(map(SliceRequest.parse, settings.by)),
        settings.worst,
        settings.importance,
        options,
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
        return evaluate(subjects, recipe, sources, wishes, session.run, **more)


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
        name, found = parse_comparison(text)
        yield Trained(name, read_model(found, found)) if isinstance(found, str) else found


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
    from calomlp.evaluation.numbers import RATIO, Line, table
    from calomlp.evaluation.resolution import TERMS

    fits = {row.curve: row.numbers for row in table(report) if row.line == Line.FIT}
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
    from calomlp.cli.console import print_sections
    from calomlp.plotting.sections import report_sections

    print_sections([section for section in reversed(report_sections(report)) if section.name != "origin"], streams)
