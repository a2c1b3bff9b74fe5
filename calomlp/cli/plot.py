"""Draw a report (resolution, linearity, response, training) or the showers of a data set (longitudinal, radial).

On a terminal, without -o, the main figures are drawn in the terminal.

calomlp plot report.json -o figures/

calomlp plot report.json --kind resolution --reference 'CALICE SiW ECAL=16.6,0,1.1' -o resolution.png

calomlp plot report.json -o report.html

calomlp plot showers.root -o figures/

calomlp plot 'showers-*.root' --kind longitudinal -o longitudinal.pdf
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calomlp.errors import UsageError, did_you_mean
from calomlp.plotting.names import DESCRIPTIONS, SHOWER_DESCRIPTIONS
from calomlp.settings import check_choice, setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calomlp.cli.session import Session
    from calomlp.data.sources import Source
    from calomlp.evaluation.report import Report
    from calomlp.evaluation.showers import ShowerProfiles
    from calomlp.plotting.drawing import Drawing

logger = logging.getLogger(__name__)

FORMATS = ("pdf", "svg", "png")
PAGE = "html"
_ROOT_MAGIC = b"root"
_DRAWING_LINES = 50


@dataclass(frozen=True, kw_only=True)
class PlotSettings:
    """What ``calomlp plot`` can be asked for."""

    input: tuple[str, ...] = setting(
        (),
        "Report, or data set as ROOT files: paths, quoted patterns, file.root:tree, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting(
        "-",
        "Folder for a file per figure, or one file .pdf, .svg, .png, or .html for the whole report; - is standard "
        "output, a drawing on a terminal.",
        "-o",
        metavar="PATH",
    )
    kind: tuple[str, ...] = setting(
        (),
        f"Which figures; repeat the flag. Default all: {', '.join(DESCRIPTIONS)} of a report, "
        f"{', '.join(SHOWER_DESCRIPTIONS)} of a data set.",
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
        "What figures call a curve of the report, such as 'regressor=Deep network'; repeat the flag.",
        metavar="NAME=LABEL",
    )
    format: str = setting("pdf", "Format of figures in a folder or on standard output.", choices=FORMATS)


SETTINGS = PlotSettings


def run(session: Session, settings: PlotSettings) -> None:
    """Read the report or the data set, draw the figures, write them, report."""
    from calomlp.data.sources import resolve
    from calomlp.plotting.drawing import draw_report, draw_showers, renamed, write_drawing
    from calomlp.plotting.references import Reference

    if not settings.input:
        raise UsageError("no report was named, and no data set: give files, or - for standard input")
    references = [Reference.parse(text) for text in settings.reference]
    sources = resolve(settings.input, session.streams)
    other = next((source for source in sources if not _is_data_set(source)), None)
    if other is not None and len(sources) > 1:
        raise UsageError(f"{other.label}: not a ROOT file: several inputs are one data set, a report is drawn alone")
    report = renamed(_read_report(other), settings.label) if other is not None else None
    if settings.label and report is None:
        raise UsageError("--label is for the curves of a report, and this is a data set")
    kinds = _kinds(settings, report, sources)
    on_screen = settings.output == "-" and not session.json and not settings.kind
    targets = {} if on_screen else _targets(settings, kinds)
    if report is None and settings.output.endswith(f".{PAGE}"):
        raise UsageError(f"{settings.output}: a page is made of a report, and this is a data set")
    for target in targets:
        session.streams.check_output(target, binary=True, force=session.force)
    session.streams.check_distinct(targets, (source.path for source in sources))
    drawing = draw_report(report, references) if report else draw_showers(_read_showers(session, sources, kinds))
    if on_screen:
        width = shutil.get_terminal_size().columns
        session.streams.print_line(drawing.terminal(width, _DRAWING_LINES, colour="NO_COLOR" not in os.environ))
        return
    with ExitStack() as stack:  # all figures appear, or none
        for target, names in targets.items():
            path = stack.enter_context(session.streams.artefact(target))
            if report and other and target.endswith(f".{PAGE}"):
                path.write_text(_page(report, other.label, drawing, names), encoding="utf-8")
            else:
                write_drawing(drawing, names, path, _format(target, settings.format))
            session.interrupt.check()
    session.finish(
        Record("plot", "figures", settings.output, {"files": list(targets), "seconds": round(session.seconds, 3)}),
        "\n".join(targets),
    )


def _is_data_set(source: Source) -> bool:
    """Whether an input is a ROOT file, by its name or its first bytes."""
    if source.tree is not None or "://" in source.path or source.path.endswith(".root"):
        return True
    try:
        with Path(source.path).open("rb") as file:
            return file.read(len(_ROOT_MAGIC)) == _ROOT_MAGIC
    except OSError:  # reading it as a report will say why
        return False


def _read_report(source: Source) -> Report:
    from calomlp.evaluation.report import read_report

    return read_report(source.path, source.label)


def _page(report: Report, label: str, drawing: Drawing, kinds: Sequence[str]) -> str:
    from calomlp.plotting.html import html_report
    from calomlp.plotting.picture import picture

    told = {kind: DESCRIPTIONS[kind] for kind in kinds}
    pictures = [
        picture(drawing.figures[kind](), kind, f"{kind.capitalize()}: {told[kind]}", told[kind]) for kind in told
    ]
    return html_report(report, label, pictures)


def _read_showers(session: Session, sources: Sequence[Source], kinds: Sequence[str]) -> ShowerProfiles:
    from calomlp.evaluation.showers import shower_profiles

    radial = "radial" in kinds
    return shower_profiles(sources, radial=radial, progress=session.progress, interrupt=session.interrupt)


def _kinds(settings: PlotSettings, report: Report | None, sources: Sequence[Source]) -> tuple[str, ...]:
    """Return which figures are drawn: those that were asked for, or all that there is something to show in."""
    what, legal = ("report", DESCRIPTIONS) if report else ("data set", SHOWER_DESCRIPTIONS)
    for kind in settings.kind:
        check_choice(f"figure of a {what}", kind, tuple(legal))
    kinds = settings.kind or tuple(kind for kind in legal if _is_there(kind, report, sources))
    if settings.reference and "resolution" not in kinds:
        raise UsageError(f"--reference is for the figure 'resolution', but only {', '.join(kinds)} will be drawn")
    return kinds


def _is_there(kind: str, report: Report | None, sources: Sequence[Source]) -> bool:
    """Whether there is something to show in a figure."""
    if kind == "training" and report is not None:
        return bool(report.history)
    if kind == "radial":
        from calomlp.evaluation.showers import has_hits

        if not has_hits(sources):
            logger.info("no hits in the data set, so there is no figure 'radial'")
            return False
    return True


def _format(target: str, default: str) -> str:
    suffix = Path(target).suffix.removeprefix(".")
    return suffix if suffix in FORMATS else default


def _targets(settings: PlotSettings, kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return which figures go into which file."""
    output = settings.output
    suffix = Path(output).suffix.removeprefix(".")
    if output != "-" and (output.endswith("/") or not suffix):
        return {str(Path(output) / f"{kind}.{settings.format}"): (kind,) for kind in kinds}
    if suffix == PAGE:
        return {output: kinds}
    if output != "-" and suffix not in FORMATS:
        raise UsageError(f"{output}: figures cannot be written as .{suffix}: {did_you_mean(suffix, FORMATS)}")
    form = _format(output, settings.format)
    if len(kinds) > 1 and form != "pdf":
        raise UsageError(f"{len(kinds)} figures do not fit into one {form} file: choose one with --kind, or a folder")
    return {output: kinds}
