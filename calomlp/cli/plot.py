"""Draw a report: resolution, linearity, response, training.

On a terminal, without -o, the main figures are drawn in the terminal.

calomlp plot report.json -o figures/

calomlp plot report.json -o figures.pdf

calomlp plot report.json --kind resolution --format png -o resolution.png
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calomlp.errors import UsageError, did_you_mean
from calomlp.plotting.names import DESCRIPTIONS as FIGURES
from calomlp.settings import check_choice, setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.evaluation.report import Report

FORMATS = ("pdf", "svg", "png")
_DRAWING_LINES = 50


@dataclass(frozen=True, kw_only=True)
class PlotSettings:
    """What ``calomlp plot`` can be asked for."""

    report: str = setting("", "Report made by evaluate, or - for a pipe.", positional=True, metavar="REPORT")
    output: str = setting(
        "-",
        "Folder for a file per figure, or one file .pdf, .svg, .png; - is standard output, a drawing on a terminal.",
        "-o",
        metavar="PATH",
    )
    kind: tuple[str, ...] = setting((), f"Which figures; repeat the flag. Default all: {', '.join(FIGURES)}.", "-k")
    format: str = setting("pdf", "Format of figures in a folder or on standard output.", choices=FORMATS)


SETTINGS = PlotSettings


def run(session: Session, settings: PlotSettings) -> None:
    """Read the report, draw the figures, write them, report."""
    from calomlp.evaluation.report import read_report

    for kind in settings.kind:
        check_choice("figure", kind, tuple(FIGURES))
    report = read_report(*session.one_path(settings.report, "report"))
    if _draws(session, settings):
        _draw(session, report)
        return
    trained = bool(report.training["history"])
    kinds = settings.kind or tuple(kind for kind in FIGURES if kind != "training" or trained)
    targets = _targets(settings, kinds)
    for target in targets:
        session.streams.check_output(target, binary=True, force=session.force)
    with ExitStack() as stack:  # all figures appear, or none
        for target, names in targets.items():
            path = stack.enter_context(session.streams.artefact(target))
            _write(report, names, path, _format(target, settings.format))
            session.interrupt.check()
    session.finish(
        Record("plot", "figures", settings.output, {"files": list(targets), "seconds": round(session.seconds, 3)}),
        "\n".join(targets),
    )


def _draw(session: Session, report: Report) -> None:
    from calomlp.plotting.terminal import draw

    width = shutil.get_terminal_size().columns
    session.streams.print_line(draw(report, width, _DRAWING_LINES, colour="NO_COLOR" not in os.environ))


def _write(report: Report, kinds: tuple[str, ...], path: Path, form: str) -> None:
    from calomlp.plotting.figures import FIGURES as DRAW
    from calomlp.plotting.save import write_figure, write_pages

    figures = [DRAW[kind](report) for kind in kinds]
    metadata = {
        "Title": ", ".join(kinds),
        "Subject": f"{report.events} events",
        "Software": f"calomlp {report.provenance['calomlp']}",
    }
    if len(figures) == 1:
        write_figure(figures[0], path, form, metadata)
    else:
        write_pages(figures, path, metadata)


def _draws(session: Session, settings: PlotSettings) -> bool:
    """Whether the figures are drawn in the terminal, because no output was named."""
    return settings.output == "-" and not session.json and not settings.kind


def _format(target: str, default: str) -> str:
    suffix = Path(target).suffix.removeprefix(".")
    return suffix if suffix in FORMATS else default


def _targets(settings: PlotSettings, kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return which figures go into which file."""
    output = settings.output
    suffix = Path(output).suffix.removeprefix(".")
    if output != "-" and (output.endswith("/") or not suffix):
        return {str(Path(output) / f"{kind}.{settings.format}"): (kind,) for kind in kinds}
    if output != "-" and suffix not in FORMATS:
        raise UsageError(f"{output}: figures cannot be written as .{suffix}: {did_you_mean(suffix, FORMATS)}")
    form = _format(output, settings.format)
    if len(kinds) > 1 and form != "pdf":
        raise UsageError(f"{len(kinds)} figures do not fit into one {form} file: choose one with --kind, or a folder")
    return {output: kinds}
