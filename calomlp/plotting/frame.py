"""The frame of a figure: heading, and legend above the axes, where it can never cover a point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text

from calomlp.plotting.chart import Chart, Heading, Row
from calomlp.plotting.look import Look
from calomlp.plotting.style import SMALL, Canvas, inches

_MARGIN = 0.06
_HEADING = 0.2
_TITLE = 9
_LINE = inches(1.45 * SMALL)
_HANDLE = 0.24
_ENTRY = 1.7
_GAP = inches(1.3 * SMALL)
_GREY = "#555555"
_LEAST_AXES, _LEAST_BARS = 0.62, 0.95
"""Height of the axes on a slide relative to that in a column, and of bars with names: below it, the canvas grows."""


def framed(chart: Chart, canvas: Canvas, experiment: str) -> Figure:
    """Return a figure without axes, under a heading.

    Args:
        chart: What will be drawn.
        canvas: How large.
        experiment: Written first: a name, which is printed bold, and its status behind it.
    """
    heading, notes = chart.heading, chart.notes
    width = canvas.wide if chart.wide else canvas.narrow
    across = heading.blocks or _entries_across(heading.rows, width)
    block = (width - _MARGIN) / heading.blocks if heading.blocks else _ENTRY
    n_rows = math.ceil(len(heading.rows) / across)
    above = _MARGIN + _HEADING + (n_rows + len(notes)) * _LINE + _MARGIN
    height = canvas.stretch * chart.height
    if canvas.ratio:  # what needs more room has a larger canvas of the same form
        least = _LEAST_BARS if any(panel.y.ticks for panel in chart.panels) else _LEAST_AXES
        height = max(width / canvas.ratio - above, least * chart.height)
        width = canvas.ratio * (above + height)
    total = above + height
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height / total), w_pad=0.03, h_pad=0.03, hspace=0.02, wspace=0.03)
    figure = Figure(figsize=(width, total), layout=layout)
    FigureCanvasAgg(figure)
    _write_heading(figure, heading, experiment, total - _MARGIN)
    below = total - _MARGIN - _HEADING
    for i in range(across):
        # entries fill the table by columns, so that the first curve is at the upper left
        _write_rows(figure, heading.rows[i * n_rows : (i + 1) * n_rows], _MARGIN + i * block, below)
    for i, note in enumerate(notes):
        y = below - (n_rows + i) * _LINE
        _write(figure, _MARGIN, y, note, SMALL - 0.5, colour=_GREY)
    return figure


def settle(figure: Figure) -> Figure:
    """Fix where the axes are, once all is drawn.

    The solver of the layout does not give the same last digits every time, and they end up in the files.
    """
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = axes.get_position().bounds
        axes.set_position((round(x, 6), round(y, 6), round(width, 6), round(height, 6)))
    return figure


def _write_heading(figure: Figure, heading: Heading, experiment: str, top: float) -> None:
    name, _, status = experiment.partition(" ")
    left = _MARGIN
    for text, weight in ((name, "bold"), (status, "normal"), (heading.title, "normal")):
        if text:
            written = _write(figure, left, top, text, _TITLE, weight=weight)
            written.set_fontstyle("italic" if text == status else "normal")
            left += _width(figure, written) + _GAP
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
