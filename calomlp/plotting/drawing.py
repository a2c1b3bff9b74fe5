"""All that can be drawn of a report or of a data set: in files, or in a terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from calomlp import __version__
from calomlp.errors import UsageError, did_you_mean
from calomlp.plotting import terminal
from calomlp.plotting.figures import FIGURES, resolution
from calomlp.plotting.save import write_figure, write_pages
from calomlp.plotting.showers import SHOWER_FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from calomlp.evaluation.report import Report
    from calomlp.evaluation.showers import ShowerProfiles
    from calomlp.plotting.references import Reference


@dataclass(frozen=True)
class Drawing:
    """What is drawn once it is asked for.

    Attributes:
        figures: Makes a figure, by the name of its kind.
        terminal: Makes the drawing in a terminal; see :func:`calomlp.plotting.terminal.draw`.
        metadata: Of the files: ``Subject`` and ``Software``.
    """

    figures: Mapping[str, Callable[[], Figure]]
    terminal: Callable[..., str]
    metadata: Mapping[str, str]


def renamed(report: Report, labels: Sequence[str]) -> Report:
    """Return the same report, in which some curves are called differently.

    Args:
        report: What is to be drawn.
        labels: As users write them, ``regressor=Deep network``.

    Raises:
        UsageError: If a label has another form, or there is no such curve.
    """
    names = [curve.name for curve in report.curves]
    wanted = {}
    for text in labels:
        name, _, label = (part.strip() for part in text.partition("="))
        if not label:
            raise UsageError(f"--label {text!r} is not of the form NAME=LABEL, such as 'regressor=Deep network'")
        if name not in names:
            raise UsageError(f"--label {text!r}: no curve {name!r} in the report: {did_you_mean(name, names)}")
        wanted[name] = label
    curves = (replace(curve, label=wanted.get(curve.name, curve.label)) for curve in report.curves)
    return replace(report, curves=tuple(curves))


def draw_report(report: Report, references: Sequence[Reference] = ()) -> Drawing:
    """Return what can be drawn of a report, with published curves beside its resolution."""
    figures = {name: partial(figure, report) for name, figure in FIGURES.items()}
    figures["resolution"] = partial(resolution, report, references)
    shown = partial(terminal.draw, report, references=references)
    return Drawing(figures, shown, _metadata(report.events, report.context.provenance["calomlp"]))


def draw_showers(profiles: ShowerProfiles) -> Drawing:
    """Return what can be drawn of the showers of a data set."""
    figures = {name: partial(figure, profiles) for name, figure in SHOWER_FIGURES.items()}
    return Drawing(figures, partial(terminal.draw_showers, profiles), _metadata(profiles.events, __version__))


def write_drawing(drawing: Drawing, kinds: Sequence[str], path: Path, file_format: str) -> None:
    """Write figures of some kinds to one file, several as the pages of a PDF."""
    figures = [drawing.figures[kind]() for kind in kinds]
    metadata = {"Title": ", ".join(kinds), **drawing.metadata}
    if len(figures) == 1:
        write_figure(figures[0], path, file_format, metadata)
    else:
        write_pages(figures, path, metadata)


def _metadata(events: int, version: str) -> dict[str, str]:
    return {"Subject": f"{events} events", "Software": f"calomlp {version}"}
