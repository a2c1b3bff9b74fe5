"""Charts as figures of matplotlib: heading and legend above the axes, then the panels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from calomlp.errors import UsageError
from calomlp.plotting.chart import (
    MANY_POINTS,
    Axis,
    Band,
    Bars,
    Cells,
    Chart,
    Heading,
    Item,
    Line,
    Look,
    Marks,
    Panel,
    Row,
    Rule,
    Shade,
    Steps,
)
from calomlp.plotting.style import CANVASES, SMALL, Canvas, inches, style

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


_FEW_POINTS = 30
"""Up to this many points on a line are marked each, of more some that are equally far apart."""

_SMALL = 1e-3
"""Numbers at ticks that are smaller are powers of ten."""

_STEPS = (1, 2, 2.5, 5, 10)
"""Of ticks."""

_APART = 0.12
"""Distance of the markers on a curve, in diagonals of the axes."""

_DECADES = 1e4
"""Numbers in a plane that are smaller than the largest by more than this factor have the palest colour."""

_FEW_TICKS = 4
"""Of a linear horizontal axis that has another panel beside it."""

_DOTS = (0, (1, 1))


def draw(chart: Chart, *, look: str = "calomlp", size: str = "column", experiment: str = "calomlp") -> Figure:
    """Return a chart as a figure.

    Args:
        chart: What it shows.
        look: Name of a style.
        size: Name of a canvas.
        experiment: Name and status, written first in the heading.

    Raises:
        UsageError: If mathematics in a label cannot be set.
    """
    with style(look), naming_mathematics():
        return _drawn(chart, CANVASES[size], experiment)


@contextmanager
def naming_mathematics() -> Iterator[None]:
    """Raise a UsageError for mathematics in labels that cannot be set inside the block."""
    try:
        yield
    except ValueError as error:  # of matplotlib, which has no other for mathematics
        if "Parse" not in str(error):
            raise
        reason = str(error).splitlines()[-1]
        raise UsageError(f"mathematics between dollar signs that cannot be set: {reason}") from error


def _drawn(chart: Chart, canvas: Canvas, experiment: str) -> Figure:
    figure = framed(chart, canvas, experiment)
    columns = min(chart.columns, len(chart.panels))
    rows = math.ceil(len(chart.panels) / columns)
    shares = [panel.share for panel in chart.panels[::columns]]
    grid = figure.add_gridspec(rows, columns, height_ratios=shares)
    shared = columns == 1 and not chart.separate
    first: Axes | None = None
    for i, panel in enumerate(chart.panels):
        row, column = divmod(i, columns)
        axes = figure.add_subplot(grid[row, column], sharex=first if shared else None)
        first = first or axes
        _draw_panel(axes, panel, beside=columns > 1)
        last = i + columns >= len(chart.panels)
        if last or chart.separate:
            axes.set_xlabel(panel.x.label)
        elif shared:
            axes.tick_params(labelbottom=False)
        if column == 0 or chart.separate or panel.y.label != chart.panels[i - 1].y.label:
            axes.set_ylabel(panel.y.label)
    _draw_scale(figure, chart)
    if not chart.separate:
        figure.align_ylabels()
    return settle(figure)


def _draw_scale(figure: Figure, chart: Chart) -> None:
    """Draw the scale of the colours beside all panels; it is the same for all planes."""
    cells = [item for panel in chart.panels for item in panel.items if isinstance(item, Cells)]
    drawn = [mesh for axes in figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    if drawn:
        norm = LogNorm(*_scale(cells))
        for mesh in drawn:
            mesh.set_norm(norm)
        bar = figure.colorbar(drawn[0], ax=figure.axes, pad=0.02, aspect=40)
        bar.set_label(cells[0].label)
        bar.outline.set_linewidth(0.6)
        bar.ax.tick_params(size=2)


def _scale(cells: Sequence[Cells]) -> tuple[float, float]:
    """Return the smallest and the largest number in planes; the smallest ones do not take all colours."""
    values = np.concatenate([item.values[item.values > 0] for item in cells])
    if not len(values):
        return 1.0, 10.0
    top = float(values.max())
    low = max(float(values.min()), top / _DECADES)
    return (low, top) if low < top else (low / 2, 2 * top)


def _draw_panel(axes: Axes, panel: Panel, *, beside: bool) -> None:
    _set_up(axes, panel.x, "x")
    if beside and not (panel.x.log or panel.x.ticks):
        axes.xaxis.set_major_locator(MaxNLocator(_FEW_TICKS, steps=_STEPS, prune="both", integer=panel.x.whole))
    if beside and not (panel.y.log or panel.y.ticks):
        axes.yaxis.set_major_locator(MaxNLocator("auto", steps=_STEPS, prune="lower"))
    _set_up(axes, panel.y, "y", low=panel.share < 1)
    for i, item in enumerate(reversed(panel.items)):
        _draw(item, axes, 2 + i / 100)
    for marks in panel.marks:
        _mark_outside(axes, panel.y, marks)
    if panel.left:
        axes.set_title(panel.left, loc="left", fontsize=SMALL, pad=3)
    if panel.right:
        axes.set_title(panel.right, loc="right", fontsize=SMALL, pad=3)
    if panel.text:
        axes.text(0.07, 0.95, panel.text, transform=axes.transAxes, va="top", fontsize=SMALL, zorder=6)
    if panel.empty:
        axes.text(0.5, 0.5, panel.empty, transform=axes.transAxes, ha="center", va="center", backgroundcolor="white")


def _set_up(axes: Axes, axis: Axis, which: str, *, low: bool = False) -> None:
    """Set range, scale and ticks of an axis; logarithmic ones are labelled at 1, 2, 5, 10 or at powers of ten.

    These are enough, too, in a panel that is ``low`` and has more than one of them.
    """
    drawn = axes.xaxis if which == "x" else axes.yaxis
    if axis.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(axis.low, axis.high)
    if axis.ticks:
        drawn.set_major_locator(FixedLocator([place for place, _ in axis.ticks]))
        names = dict(axis.ticks)
        drawn.set_major_formatter(FuncFormatter(lambda value, _: names.get(value, "")))
        drawn.set_minor_locator(NullLocator())
        drawn.set_tick_params(labelsize=SMALL - 0.5)
    elif axis.log:
        most = 10.0 if low else 10**2.6
        drawn.set_major_locator(LogLocator(subs=(1, 2, 5) if axis.high < most * axis.low else (1,), numticks=12))
        drawn.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=12))
        drawn.set_major_formatter(FuncFormatter(_written))
        drawn.set_minor_formatter(NullFormatter())
    elif which == "x":
        drawn.set_major_locator(MaxNLocator(6, steps=_STEPS, integer=axis.whole))
        drawn.set_major_formatter(FuncFormatter(_written))  # 0, not 0.0, in a narrow corner
        if axis.whole:
            drawn.set_minor_locator(NullLocator())


def _written(value: float, _place: int | None = None) -> str:
    """Write a number at a tick, very large and small ones as powers of ten."""
    number, _, power = (f"{value:.5g}" if abs(value) >= _SMALL or not value else f"{value:.4e}").partition("e")
    number = number.rstrip("0").rstrip(".") if power else number
    if power:
        factor = "" if number == "1" else rf"{number}\times "
        return f"${factor}10^{{{int(power)}}}$"
    return number.replace("-", "\N{MINUS SIGN}")


@singledispatch
def _draw(item: Item, axes: Axes, zorder: float) -> None:  # noqa: ARG001 - the kinds below take them
    """Draw an item at a height above the paper."""
    raise TypeError(f"{type(item).__name__} is not an item of a panel")


@_draw.register(Marks)
def _(item: Marks, axes: Axes, zorder: float) -> None:
    many = len(item.x) > MANY_POINTS
    edge = np.zeros(len(item.x), dtype=bool) if item.edge is None else item.edge
    for chosen, face, name in ((~edge, item.look.colour, item.label), (edge, "white", "_edge")):
        if chosen.any():
            axes.errorbar(
                item.x[chosen],
                item.y[chosen],
                None if item.error is None else item.error[chosen],
                linestyle="none",
                marker=item.look.marker or "o",
                color=item.look.colour,
                markerfacecolor=face,
                markersize=1.5 if many else None,
                markeredgewidth=0.4 if many else None,
                elinewidth=0.4 if many else 0.7,
                alpha=0.4 if many else None,
                label=name,
                zorder=zorder,
            )


@_draw.register(Line)
def _(item: Line, axes: Axes, zorder: float) -> None:
    few = len(item.x) <= _FEW_POINTS
    # curves may cover each other: their markers, equally far apart along each, take turns
    turn = _APART * (sum(map(ord, item.label)) % 7) / 7
    axes.plot(
        item.x,
        item.y,
        color=item.look.colour,
        linestyle=item.look.line,
        linewidth=0.6 if item.thin else None,
        marker=item.look.marker if item.marked else "",
        markersize=2.3,
        markevery=None if few else (turn, _APART),
        label=item.label,
        zorder=zorder,
    )


@_draw.register(Band)
def _(item: Band, axes: Axes, zorder: float) -> None:
    axes.fill_between(item.x, item.low, item.high, color=item.look.colour, alpha=0.2, linewidth=0, zorder=zorder - 1)


@_draw.register(Steps)
def _(item: Steps, axes: Axes, zorder: float) -> None:
    floor = axes.get_ylim()[0]
    if item.filled:
        colour = to_rgba(item.look.colour, 0.35)
        axes.stairs(item.y, item.edges, baseline=floor, fill=True, color=colour, linewidth=0, zorder=zorder - 1)
    axes.stairs(item.y, item.edges, baseline=floor, color=item.look.colour, linestyle=item.look.line, zorder=zorder)


@_draw.register(Bars)
def _(item: Bars, axes: Axes, zorder: float) -> None:
    axes.barh(item.y, item.x, height=0.6, color=item.look.colour, alpha=0.6, linewidth=0, zorder=zorder)
    if item.error is not None:
        axes.errorbar(item.x, item.y, xerr=item.error, linestyle="none", color="black", elinewidth=0.7, zorder=zorder)


@_draw.register(Cells)
def _(item: Cells, axes: Axes, zorder: float) -> None:
    values = np.ma.masked_where(~(item.values > 0), item.values)
    drawn = axes.pcolormesh(item.x_edges, item.y_edges, values, norm=LogNorm(), cmap="viridis_r", zorder=zorder)
    drawn.set_rasterized(item.values.size > 10_000)  # so that the file stays small


@_draw.register(Rule)
def _(item: Rule, axes: Axes, zorder: float) -> None:  # noqa: ARG001 - always below everything
    line = axes.axvline if item.vertical else axes.axhline
    line(item.at, linestyle=_DOTS if item.dotted else "-", color="0.3", linewidth=0.6, zorder=0.5)


@_draw.register(Shade)
def _(item: Shade, axes: Axes, zorder: float) -> None:
    span = axes.axvspan if item.vertical else axes.axhspan
    span(item.low, item.high, color=str(item.grey), linewidth=0, zorder=zorder / 100)


def _mark_outside(axes: Axes, axis: Axis, marks: Marks) -> None:
    """Point at the points that are beyond the frame, with triangles at its edge."""
    above, below = marks.y > axis.high, marks.y < axis.low
    for outside, marker, height in ((above, "^", 0.975), (below, "v", 0.025)):
        if outside.any():
            axes.plot(
                marks.x[outside],
                np.full(np.count_nonzero(outside), height),
                transform=axes.get_xaxis_transform(),
                linestyle="none",
                marker=marker,
                markersize=3,
                color=marks.look.colour,
                markerfacecolor="white",
                label="_outside",
                zorder=5,
            )
