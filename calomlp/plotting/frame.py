"""The frame of a figure: heading, legend above the axes, and axes that fit the points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from calomlp.errors import ArtefactError
from calomlp.plotting.style import SMALL, Look, inches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from calomlp.evaluation.report import Report
    from calomlp.plotting.points import Points

MANY_POINTS = 60
"""More points than this on a curve are drawn small and pale."""

EDGE_NOTE = "open markers: at an edge of the training range, left out of the numbers above"
OUTSIDE_NOTE = "triangles at the frame: points beyond it"

_MARGIN = 0.06
_HEADING = 0.2
_TITLE = 9
_LINE = inches(1.45 * SMALL)
_HANDLE = 0.24
_ENTRY = 1.7
_GAP = inches(1.3 * SMALL)
_GREY = "#555555"
_LONGEST_LABEL = 22


@dataclass(frozen=True)
class Row:
    """One row of a legend.

    Attributes:
        cells: One text for each column; a single one among rows of several goes on under their columns.
        look: Drawn before the first cell; ``None`` for a row of headings.
    """

    cells: tuple[str, ...]
    look: Look | None = None


@dataclass(frozen=True)
class Heading:
    """What stands above the axes.

    Attributes:
        title: What the figure shows.
        sample: What it is made of.
        rows: The legend.
        notes: How to read it, a line each.
        blocks: The legend is cut into this many tables of the same height, beside each other; ``None`` for as many as
            fit.
    """

    title: str
    sample: str
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    blocks: int | None = None


def framed(heading: Heading, *, width: float, height: float) -> Figure:
    """Return a figure without axes, under a heading; the legend is above the axes and can never cover a point.

    Args:
        heading: What stands above the axes.
        width: In inches.
        height: Of the part with the axes [inch].
    """
    across = heading.blocks or _entries_across(heading.rows, width)
    block = (width - _MARGIN) / heading.blocks if heading.blocks else _ENTRY
    n_rows = math.ceil(len(heading.rows) / across)
    above = _MARGIN + _HEADING + (n_rows + len(heading.notes)) * _LINE + _MARGIN
    total = above + height
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height / total), w_pad=0.03, h_pad=0.03, hspace=0.02, wspace=0.03)
    figure = Figure(figsize=(width, total), layout=layout)
    FigureCanvasAgg(figure)
    _write_heading(figure, heading, total - _MARGIN)
    below = total - _MARGIN - _HEADING
    for i in range(across):
        # entries fill the table by columns, so that the first curve is at the upper left
        _write_rows(figure, heading.rows[i * n_rows : (i + 1) * n_rows], _MARGIN + i * block, below)
    for i, note in enumerate(heading.notes):
        y = below - (n_rows + i) * _LINE
        _write(figure, _MARGIN, y, note, SMALL - 0.5, colour=_GREY)
    return figure


def settle(figure: Figure) -> Figure:
    """Fix where the axes are, once all is drawn.

    The solver of the layout does not give the same last digits every time, and they end up in the files.
    """
    figure.align_ylabels()
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = axes.get_position().bounds
        axes.set_position((round(x, 6), round(y, 6), round(width, 6), round(height, 6)))
    return figure


def require_bins(report: Report) -> None:
    """Refuse a report in which there is nothing to draw.

    Raises:
        ArtefactError: If no curve of the report has a bin.
    """
    if not any(curve.bins for curve in report.curves):
        raise ArtefactError("the report has no bin of energy, so there is nothing to draw")


def short(label: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that leaves room for the other columns of a legend."""
    return label if len(label) <= longest else label[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def draw_points(axes: Axes, points: Points, look: Look, label: str) -> None:
    """Draw points with error bars; those at an edge of the training range are open."""
    many = len(points) > MANY_POINTS
    for chosen, face, name in ((points.inner, look.colour, label), (points.select(points.edge), "white", "_edge")):
        if not len(chosen):
            continue
        axes.errorbar(
            chosen.energy,
            chosen.value,
            chosen.error,
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markerfacecolor=face,
            markersize=1.5 if many else None,
            markeredgewidth=0.4 if many else None,
            elinewidth=0.4 if many else 0.7,
            alpha=0.4 if many else None,
            label=name,
        )


def mark_outside(axes: Axes, points: Points, look: Look) -> None:
    """Point at the points that are beyond the frame, with triangles at its edge."""
    low, high = axes.get_ylim()
    above, below = points.value > high, points.value < low
    for outside, marker, height in ((above, "^", 0.975), (below, "v", 0.025)):
        if outside.any():
            axes.plot(
                points.energy[outside],
                np.full(np.count_nonzero(outside), height),
                transform=axes.get_xaxis_transform(),
                linestyle="none",
                marker=marker,
                markersize=3,
                color=look.colour,
                markerfacecolor="white",
                label="_outside",
            )


def energy_axis(axes: Axes, report: Report) -> None:
    """Set up the axis of the true energy for all bins: logarithmic above one decade."""
    low = min(bin_.energy_low for curve in report.curves for bin_ in curve.bins)
    high = max(bin_.energy_high for curve in report.curves for bin_ in curve.bins)
    if low > 0 and high > 10 * low:
        pad = (high / low) ** 0.03
        axes.set_xscale("log")
        axes.set_xlim(low / pad, high * pad)
        round_ticks(axes, "x")
    else:
        pad = 0.04 * (high - low) or 0.2 * high
        axes.set_xlim(low - pad, high + pad)
    axes.set_xlabel(r"$E_\mathrm{true}$ [GeV]")


def round_ticks(axes: Axes, which: str) -> None:
    """Label a logarithmic axis at 1, 2, 5, 10, ... or, if it is long, at powers of ten; without exponents.

    Args:
        axes: The axes.
        which: ``x`` or ``y``.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 10**2.6 * low else (1,), numticks=12))
    axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def say_empty(axes: Axes) -> None:
    """Write why there are no points."""
    axes.text(
        0.5,
        0.5,
        "no bin has events enough\nfor estimates",
        transform=axes.transAxes,
        ha="center",
        va="center",
        backgroundcolor="white",
    )


def _write_heading(figure: Figure, heading: Heading, top: float) -> None:
    name = _write(figure, _MARGIN, top, "calomlp", _TITLE, weight="bold")
    _write(figure, _MARGIN + _width(figure, name) + _GAP, top, heading.title, _TITLE)
    sample = _write(figure, figure.get_figwidth() - _MARGIN, top, heading.sample, _TITLE)
    sample.set_horizontalalignment("right")


def _entries_across(rows: Sequence[Row], width: float) -> int:
    """Return how many rows fit beside each other: several if none has more than its label."""
    if any(len(row.cells) > 1 for row in rows):
        return 1
    return max(1, min(len(rows), int((width - _MARGIN) / _ENTRY)))


def _write_rows(figure: Figure, rows: Sequence[Row], left: float, top: float) -> None:
    """Write rows of the legend as a table whose columns are as wide as their widest text."""
    for i, row in enumerate(rows):
        if row.look:
            _draw_handle(figure, row.look, left, top - (i + 0.42) * _LINE)
    left += _HANDLE
    columns = max((len(row.cells) for row in rows), default=0)
    for column in range(columns):
        texts = [
            (row, _write(figure, left, top - i * _LINE, row.cells[column], SMALL))
            for i, row in enumerate(rows)
            if column < len(row.cells)
        ]
        left += max(_width(figure, text) for row, text in texts if len(row.cells) == columns) + _GAP


def _draw_handle(figure: Figure, look: Look, left: float, y: float) -> None:
    x = np.array([left, left + _HANDLE - 0.04])
    inch = figure.dpi_scale_trans
    figure.add_artist(Line2D(x, [y, y], color=look.colour, linestyle=look.line, transform=inch))
    figure.add_artist(Line2D([x.mean()], [y], color=look.colour, marker=look.marker, linestyle="none", transform=inch))


def _write(
    figure: Figure, x: float, y: float, text: str, size: float, *, weight: str = "normal", colour: str = "black"
) -> Text:
    """Write a text whose upper left corner is at a place in inches."""
    inch = figure.dpi_scale_trans
    return figure.text(x, y, text, transform=inch, va="top", fontsize=size, fontweight=weight, color=colour)


def _width(figure: Figure, text: Text) -> float:
    """Return the width of a text in inches."""
    return float(text.get_window_extent().width) / figure.dpi
