"""Draw reports, one or several beside each other, the training of one or several models, or the showers of a data set.

On a terminal, without -o, the main figures are drawn in the terminal, or those of --kind.

calomlp plot report.json -o figures/

calomlp plot report.json --kind resolution --reference 'CALICE SiW ECAL=16.6,0,1.1' -o resolution.png

calomlp plot mlp.json deep.json --label 'deep=deep MLP' --kind resolution --style cms -o comparison.pdf

calomlp plot report.json -o report.html

calomlp plot 'scan/*.json' --kind scan --x absorber.thickness --y stochastic -o scan.pdf

calomlp plot mlp.safetensors deep.safetensors -o trainings.pdf

calomlp plot 'showers-*.root' --kind longitudinal --dump-data -o longitudinal.pdf
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from calomlp import __version__
from calomlp.cli.console import print_charts
from calomlp.errors import ArtefactError, UsageError, did_you_mean
from calomlp.plotting.kinds import (
    CAPTION,
    FORMATS,
    LATEX,
    MODEL_KINDS,
    OF_HITS,
    ON_REQUEST,
    PAGE,
    REPORT_KINDS,
    SHOWER_KINDS,
    SIZES,
    STYLES,
    TABLE,
)
from calomlp.settings import check_choice, setting
from calomlp.streams import Record, kind_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from calomlp.cli.session import Session
    from calomlp.data.sources import Source
    from calomlp.evaluation.report import Report
    from calomlp.plotting.chart import Chart
    from calomlp.plotting.figures import Subject
    from calomlp.plotting.view import Reference

logger = logging.getLogger(__name__)

SCAN, _NUMBER = "scan", "stochastic"
_LOOK, _SEVERAL = "Look", "Several reports"
_DPI = (50, 1200)
_LONGEST_NAME = 40
_LONGEST_RECORD = 1 << 20
_ONLY_FOR = {
    "reference": ("report", "comparison of reports"),
    "label": ("report", "comparison of reports", "model", "comparison of trainings"),
    "curve": ("comparison of reports",),
    "y": ("scan of reports",),
    "event": ("data set",),
}
"""What some flags are for; others are for everything."""
_DRAWING_LINES = 50


@dataclass(frozen=True, kw_only=True)
class PlotSettings:
    """Settings of ``calomlp plot``."""

    input: tuple[str, ...] = setting(
        (),
        "Reports, models or files of their --history, or a data set as ROOT files: paths, quoted patterns, "
        "file.root:tree, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting(
        "-",
        "Folder for a file per figure, or one file: .pdf, .svg, .png, .tsv for the numbers, .txt for captions, "
        ".html for a report as a page, .tex for its tables; - is standard output, a drawing on a terminal.",
        "-o",
        metavar="PATH",
    )
    kind: tuple[str, ...] = setting(
        (),
        f"Which figures; repeat the flag. Of reports: {', '.join(REPORT_KINDS)}, {SCAN}; of a model: "
        f"{', '.join(MODEL_KINDS)}; of a data set: {', '.join(SHOWER_KINDS)}. Default: all that there is "
        f"something to draw in, without {' and '.join(ON_REQUEST)}.",
        "-k",
    )
    reference: tuple[str, ...] = setting(
        (),
        "Published resolution to draw beside the measured ones, a/sqrt(E) (+) n/E (+) c with a in %, n in GeV, c in %; "
        "repeat the flag.",
        metavar="LABEL=a,n,c",
    )
    label: tuple[str, ...] = setting(
        (),
        "What figures call a curve of the report, such as 'regressor=Deep network', or one of several reports by the "
        "name of its file; repeat the flag.",
        panel=_LOOK,
        metavar="NAME=LABEL",
    )
    curve: str = setting("", "Which curve is compared; the first of each otherwise.", panel=_SEVERAL, metavar="NAME")
    event: int | None = setting(
        None,
        "Which event of a data set is drawn, counted from 0; without it, one with a typical number of hits.",
        metavar="N",
    )
    x: str = setting(
        "",
        "Draw a scan: the setting of training or simulation that the reports differ in, such as learning_rate or "
        "absorber.thickness.",
        panel=_SEVERAL,
        metavar="SETTING",
    )
    y: tuple[str, ...] = setting(
        (),
        f"Number of the reports that a scan shows, as --require of evaluate calls it, such as resolution[10]; repeat "
        f"the flag. Default: {_NUMBER}.",
        panel=_SEVERAL,
        metavar="NUMBER",
    )
    style: str = setting(
        "calomlp", "Style of the figures; those of experiments are from mplhep.", panel=_LOOK, choices=STYLES
    )
    experiment: str = setting(
        "calomlp",
        "Written above every figure: a name, printed bold, and its status, such as 'CALICE Preliminary'.",
        panel=_LOOK,
    )
    size: str = setting(
        "column", "Width of a column or of a page of a journal, or of a slide (16:9).", panel=_LOOK, choices=SIZES
    )
    dpi: int = setting(300, "Dots per inch of .png.", panel=_LOOK)
    dump_data: bool = setting(False, "Write the numbers behind the figures too, as .tsv beside them.")
    caption: bool = setting(False, "Write the captions of the figures too, as .txt beside them.")
    format: str = setting("pdf", "Format of figures in a folder or on standard output.", choices=FORMATS)


SETTINGS = PlotSettings


def run(session: Session, settings: PlotSettings) -> None:
    """Read what was named, draw the figures, write them, report."""
    from calomlp.data.sources import resolve
    from calomlp.plotting.view import Reference

    if not settings.input:
        raise UsageError("no report was named, and no data set: give files, or - for standard input")
    if not _DPI[0] <= settings.dpi <= _DPI[1]:
        raise UsageError(f"--dpi {settings.dpi}: legal are {_DPI[0]} to {_DPI[1]}")
    if len(settings.experiment) > _LONGEST_NAME:
        raise UsageError(f"--experiment: {len(settings.experiment)} characters, legal are up to {_LONGEST_NAME}")
    references = [Reference.parse(text) for text in settings.reference]
    sources = resolve(settings.input, session.streams)
    subject = _subject(session, settings, sources, references)
    settings = replace(settings, kind=tuple(dict.fromkeys(settings.kind)))
    _check_flags(settings, subject)
    for kind in settings.kind:
        check_choice(f"figure of a {subject.what}", kind, tuple(subject.builders))
    if references and settings.kind and not any(kind.startswith("resolution") for kind in settings.kind):
        raise UsageError(
            f"--reference is for the figure 'resolution', but only {', '.join(settings.kind)} will be drawn"
        )
    if settings.output == "-" and not session.json and not _beside(settings):
        charts = subject.charts(settings.kind) if settings.kind else subject.overview()
        print_charts(charts, _DRAWING_LINES, session.streams)
        return
    _check_outputs(session, settings, subject, _files(settings, _possible(subject, settings)), sources)
    charts = subject.charts(settings.kind)
    files = _files(settings, [chart.name for chart in charts])
    session.streams.check_distinct(files, (source.path for source in sources))
    _write(session, settings, subject, charts, files)
    session.finish(_record(settings, files, seconds=round(session.seconds, 3)), "\n".join(files))


def _record(settings: PlotSettings, files: Iterable[str], **details: Any) -> Record:
    return Record("plot", "figures", settings.output, {"files": list(files), **details})


def _subject(
    session: Session, settings: PlotSettings, sources: Sequence[Source], references: Sequence[Reference]
) -> Subject:
    """Return what is drawn, by the kind of the files."""
    from calomlp.plotting.figures import of_search

    kinds = {source.label: "dataset" if _is_data(source) else kind_of_file(source.path) for source in sources}
    kinds_found = set(kinds.values())
    if kinds_found == {"dataset"}:
        return _data_set(session, settings, sources)
    other = next(label for label, kind in kinds.items() if kind != "dataset")
    if "dataset" in kinds_found:
        raise UsageError(f"{other}: not a ROOT file: several inputs are one data set, or reports to compare")
    records = {source.label: _first_line(source) for source in sources if kinds[source.label] != "model"}
    if "model" in kinds_found or any("epoch" in record for record in records.values()):
        return _trainings(settings, sources, records)
    if len(sources) == 1 and records[other].get("artefact") == "learning-rate":
        return of_search(records[other], __version__)
    return _reports(settings, sources, references)


def _check_flags(settings: PlotSettings, subject: Subject) -> None:
    """Refuse flags that would do nothing."""
    for flag, kinds in _ONLY_FOR.items():
        if getattr(settings, flag) not in ((), "", None) and subject.what not in kinds:
            raise UsageError(f"--{flag} is for a {' or a '.join(kinds)}, and this is a {subject.what}")


def _is_data(source: Source) -> bool:
    """Whether an input is data by how it is named: its bytes may be far away."""
    return source.tree is not None or "://" in source.path or source.true_energy is not None


def _reports(settings: PlotSettings, sources: Sequence[Source], references: Sequence[Reference]) -> Subject:
    from calomlp.evaluation.report import read_report
    from calomlp.plotting.chart import literal
    from calomlp.plotting.figures import of_scan, of_view
    from calomlp.plotting.view import View, parse_labels

    reports = {label: read_report(source.path, source.label) for label, source in _named(sources).items()}
    if settings.kind == (SCAN,) or settings.x:
        if not settings.x:
            raise UsageError("--kind scan needs --x: the setting that the reports differ in, such as hidden")
        return of_scan(reports, settings.x, settings.y or (_NUMBER,))
    if len(reports) == 1:
        report = next(iter(reports.values()))
        labels = parse_labels(settings.label, [curve.name for curve in report.curves], "curve")
        return of_view(View.of(report, references, labels), sources[0].label)
    labels = parse_labels(settings.label, list(reports), "report")
    renamed: dict[str, Report] = {labels.get(name, literal(name)): report for name, report in reports.items()}
    return of_view(View.comparing(renamed, references, settings.curve))


def _first_line(source: Source) -> dict[str, Any]:
    """Return the object in the first line of a file, which tells epochs and records from reports."""
    try:
        with Path(source.path).open(encoding="utf-8") as lines:
            record = json.loads(lines.readline(_LONGEST_RECORD))
    except (OSError, ValueError):  # reading it as a report will say what is wrong
        return {}
    return record if isinstance(record, dict) else {}


def _named(sources: Sequence[Source]) -> dict[str, Source]:
    """Return the files by as little of their names as tells them apart."""
    stems = {PurePath(source.label).stem: source for source in sources}
    return stems if len(stems) == len(sources) else {source.label: source for source in sources}


def _trainings(settings: PlotSettings, sources: Sequence[Source], records: Mapping[str, Mapping[str, Any]]) -> Subject:
    """Return the trainings of models and of files of epochs.

    Raises:
        UsageError: If another file is among them.
        ArtefactError: If a line of a file of epochs is damaged.
    """
    from calomlp.model.file import read_header
    from calomlp.plotting.chart import literal
    from calomlp.plotting.figures import of_trainings
    from calomlp.plotting.view import parse_labels

    documents: dict[str, Any] = {}
    named = _named(sources)
    labels = parse_labels(settings.label, list(named), "training")
    for name, source in named.items():
        label = labels.get(name, literal(name))
        if source.label not in records:
            documents[label] = read_header(source.path, source.label)
        elif "epoch" in records[source.label]:
            documents[label] = _epochs(source)
        else:
            raise UsageError(f"{source.label}: neither a model nor a file of --history, and the others are trainings")
    return of_trainings(documents, __version__)


def _epochs(source: Source) -> list[Any]:
    """Return the epochs in a file that ``calomlp train --history`` wrote."""
    try:
        return [json.loads(line) for line in Path(source.path).read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ArtefactError(f"{source.label}: a line of these epochs is damaged: {error}") from error


def _data_set(session: Session, settings: PlotSettings, sources: Sequence[Source]) -> Subject:
    from calomlp.evaluation.profiles import ShowerEvent, ShowerProfiles, has_hits, shower_event, shower_profiles
    from calomlp.plotting.figures import of_showers

    hits = has_hits(sources) or any(kind in OF_HITS for kind in settings.kind)

    @cache
    def profiles() -> ShowerProfiles:
        radial = hits and (not settings.kind or "radial" in settings.kind)
        return shower_profiles(sources, session.run, radial=radial)

    def shower() -> ShowerEvent:
        return shower_event(sources, settings.event)

    if not hits:
        logger.info("no hits in the data set, so there is no figure of them")
    return of_showers(profiles, shower, __version__, hit_kinds=hits)


def _possible(subject: Subject, settings: PlotSettings) -> tuple[str, ...]:
    """Return the kinds that may be drawn."""
    return settings.kind or tuple(kind for kind in subject.builders if kind not in subject.on_request)


def _beside(settings: PlotSettings) -> tuple[str, ...]:
    """Return the kinds of texts that are written beside the figures."""
    return (TABLE,) * settings.dump_data + (CAPTION,) * settings.caption


def _suffix(output: str) -> str:
    return Path(output).suffix.removeprefix(".")


def _files(settings: PlotSettings, kinds: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return which figures go into which file, figures and tables alike."""
    output, suffix = settings.output, _suffix(settings.output)
    beside = _beside(settings)
    if output == "-":
        return {"-": tuple(kinds)}
    if output.endswith("/") or not suffix:
        return {str(Path(output) / f"{kind}.{form}"): (kind,) for kind in kinds for form in (settings.format, *beside)}
    legal = (*FORMATS, TABLE, CAPTION, PAGE, LATEX)
    if suffix not in legal:
        raise UsageError(f"{output}: figures cannot be written as .{suffix}: {did_you_mean(suffix, legal)}")
    return {str(Path(output).with_suffix(f".{form}")): tuple(kinds) for form in dict.fromkeys((suffix, *beside))}


def _check_outputs(
    session: Session,
    settings: PlotSettings,
    subject: Subject,
    files: dict[str, tuple[str, ...]],
    sources: Sequence[Source],
) -> None:
    """Refuse outputs before they are made."""
    for form, what in ((PAGE, "a page is"), (LATEX, "tables in LaTeX are")):
        if form not in subject.texts and any(_suffix(file) == form for file in files):
            raise UsageError(f"{settings.output}: {what} made of one report, and this is a {subject.what}")
    for file in files:
        session.streams.check_output(file, binary=not _beside(settings), force=session.force)
    session.streams.check_distinct(files, (source.path for source in sources))


def _write(
    session: Session,
    settings: PlotSettings,
    subject: Subject,
    charts: Sequence[Chart],
    files: dict[str, tuple[str, ...]],
) -> None:
    """Write all figures and tables, or none."""
    from calomlp.plotting.save import write
    from calomlp.plotting.style import Style

    style = Style(settings.style, settings.size, settings.experiment, settings.dpi)
    by_name = {chart.name: chart for chart in charts}
    with ExitStack() as stack:
        for file, kinds in files.items():
            drawn = [by_name[kind] for kind in kinds]
            form = _suffix(file) or (*_beside(settings), settings.format)[0]
            if len(drawn) > 1 and form not in ("pdf", *subject.texts):
                raise UsageError(
                    f"{len(drawn)} figures do not fit into one {form} file: choose one with --kind, or a folder"
                )
            path = stack.enter_context(session.streams.artefact(file))
            if form in subject.texts:
                path.write_text(subject.texts[form](drawn, style), encoding="utf-8")
            else:
                write(drawn, path, form, style, subject.metadata)
            session.run.interrupt.check()
