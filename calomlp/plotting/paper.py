"""Charts as figures of matplotlib: panels on a grid that is laid out in inches, with a legend and no text around them.

The sizes of all texts outside of the axes are known before they are drawn, or measured once, so that a figure is drawn
only when it is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, singledispatch
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT, TICKRIGHT, TICKUP
from matplotlib.patches import Rectangle
from matplotlib.path import Path
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
    Entry,
    Item,
    Line,
    Marks,
    Panel,
    Rule,
    Shade,
    Steps,
)
from calomlp.plotting.style import CANVASES, SMALL, Style, inches, settings_of

_MARGIN, _GAP = 0.06, 0.15
_HEADING, _TITLE = 0.22, 9
"""Height of the line above the axes [inch], and its font size [pt]."""

_ABOVE, _TICKS, _LABEL = 0.16, 0.17, 0.15
"""Height of a text above a panel, of the numbers below it, and of a line of the label of an axis [inch]."""

_APART_ROWS = 0.12
"""Distance of panels below each other, whose outer numbers do not touch [inch]."""

_SCALE = 0.62
"""Width of a scale of colours with its numbers [inch]."""

_MEASURED = 3
"""Texts at the ticks whose width is measured, of those with most characters."""

_LINE = inches(1.36 * SMALL)
_HANDLE, _BETWEEN = 0.35, 0.12
"""Width of the handle of an entry of a legend, and between columns of entries [inch]."""

_LEAST_AXES, _LEAST_BARS = 0.62, 0.95
"""Height of the axes on a slide relative to that in a column, and of bars with names: below it, the canvas grows."""

_FEW_POINTS = 30
"""Up to this many points on a line are marked each, of more some that are equally far apart."""

_SMALL, _LARGE = 1e-3, 1e5
"""Numbers at ticks are powers of ten if some are smaller than the first, or larger than the second."""

_STEPS = (1, 2, 2.5, 5, 10)
"""Of ticks."""

_APART = 0.12
"""Distance of the markers on a curve, in diagonals of the axes."""

_DECADES = 1e4
"""Numbers in a plane that are smaller than the largest by more than this factor have the palest colour."""

_FEW_TICKS = 4
"""Of a linear horizontal axis that has another panel beside it."""

_DOTS = (0, (1, 1))
_TIP = ((0, -1), (0, 1), (-0.45, 0.35), (0, 1), (0.45, 0.35))
_UP = Path(_TIP, [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO, Path.LINETO])
_DOWN = Path([(-x, -y) for x, y in _TIP], _UP.codes)
"""Arrows, which no marker of a curve looks like."""


def draw(chart: Chart, style: Style | None = None) -> Figure:
    """Return a chart as a figure.

    Args:
        chart: What it shows.
        style: How it looks.

    Raises:
        UsageError: If mathematics in a label cannot be set.
    """
    style = style or Style()
    with settings_of(style.look), naming_mathematics():
        return _drawn(chart, style)


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


@dataclass(frozen=True)
class _Key:
    """A legend that fits: inside the upper panel of a column of them, above a grid of panels."""

    entries: Sequence[Entry]
    columns: int
    detailed: bool  # whether the details of the entries are shown
    inside: bool

    @classmethod
    def fitting(cls, figure: Figure, chart: Chart, width: float) -> _Key:
        """Choose the columns for a width [inch]."""
        entries, inside = chart.legend, chart.columns == 1 or len(chart.panels) == 1
        if not entries:
            return cls((), 1, detailed=False, inside=inside)
        room = width - 0.85 if inside else width - 2 * _MARGIN
        plain, detailed = (
            max(_HANDLE + _width(figure, text, SMALL) for text in texts)
            for texts in ([entry.label for entry in entries], [_full(entry) for entry in entries])
        )
        if any(entry.detail for entry in entries) and detailed < room:
            return cls(entries, 1, detailed=True, inside=inside)
        most = max(1, int((room + _BETWEEN) / (plain + _BETWEEN)))
        rows = math.ceil(len(entries) / most)
        return cls(entries, math.ceil(len(entries) / rows), detailed=False, inside=inside)

    @property
    def height(self) -> float:
        """Height of the legend [inch]."""
        return math.ceil(len(self.entries) / self.columns) * _LINE + 1.4 * _MARGIN if self.entries else 0.0

    def draw(self, figure: Figure, top: float) -> None:
        """Draw the legend; ``top`` is where it begins above a grid, in heights of the figure."""
        if not self.entries:
            return
        looks = [entry.look for entry in self.entries]
        handles = [Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line) for look in looks]
        labels = [_full(entry) if self.detailed else entry.label for entry in self.entries]
        if self.inside:
            legend = figure.axes[0].legend(handles, labels, loc="upper right", ncols=self.columns)
        else:
            place = (0, top)
            legend = figure.legend(handles, labels, loc="upper left", bbox_to_anchor=place, ncols=self.columns)
        legend.set(zorder=4, frame_on=True)
        legend.get_frame().set(linewidth=0, facecolor="white", alpha=0.8)


def _full(entry: Entry) -> str:
    return f"{entry.label}: {entry.detail}" if entry.detail else entry.label


def _drawn(chart: Chart, style: Style) -> Figure:
    canvas = CANVASES[style.size]
    width = canvas.wide if chart.wide else canvas.narrow
    figure = Figure(figsize=(width, width))
    FigureCanvasAgg(figure)
    key = _Key.fitting(figure, chart, width)
    above = _MARGIN + _HEADING + (0 if key.inside else key.height)
    height = canvas.stretch * chart.height + (key.height if key.inside else 0)
    if canvas.ratio:  # what needs more room has a larger canvas of the same form
        least = _LEAST_BARS if any(panel.y.ticks for panel in chart.panels) else _LEAST_AXES
        height = max(width / canvas.ratio - above, least * height)
        width = canvas.ratio * (above + height)
    figure.set_size_inches(width, above + height)
    _write_heading(figure, style.experiment, chart.sample)
    places = _rows(chart, height)
    columns = min(chart.columns, len(chart.panels))
    shared = columns == 1 and not chart.separate
    for i, panel in enumerate(chart.panels):
        bottom, high = (length / (above + height) for length in places[i // columns])
        axes = figure.add_axes((0.1, bottom, 0.8, high), sharex=figure.axes[0] if shared and i else None)
        room = key.height / places[0][1] if key.inside and not i else 0.0
        _draw_panel(axes, panel, room, beside=columns > 1)
        if chart.separate or i + columns >= len(chart.panels):
            axes.set_xlabel(panel.x.label)
        elif shared:
            axes.tick_params(labelbottom=False)
        if i % columns == 0 or chart.separate or panel.y.label != chart.panels[i - 1].y.label:
            axes.set_ylabel(panel.y.label)
    scale = _SCALE if any(isinstance(item, Cells) for panel in chart.panels for item in panel.items) else 0.0
    _place(figure, columns, scale)
    _draw_minor_ticks(figure)
    key.draw(figure, 1 - (_MARGIN + _HEADING - 0.04) / (above + height))
    if scale:
        _draw_scale(figure, chart, scale)
    return figure


def _rows(chart: Chart, height: float) -> list[tuple[float, float]]:
    """Return where the axes of each row begin, from below, and how high they are [inch]."""
    columns = min(chart.columns, len(chart.panels))
    rows = [chart.panels[i : i + columns] for i in range(0, len(chart.panels), columns)]
    heads = [_ABOVE if any(panel.left or panel.right for panel in row) else _APART_ROWS for row in rows]
    labelled = [chart.separate or i == len(rows) - 1 for i in range(len(rows))]
    feet = [_TICKS * (label or columns > 1) + (_LABEL + _MARGIN / 2) * label for label in labelled]
    share = (height - sum(heads) - sum(feet)) / sum(row[0].share for row in rows)
    places, top = [], height
    for row, head, foot in zip(rows, heads, feet, strict=True):
        high = share * row[0].share
        places.append((top - head - high, high))
        top -= head + high + foot
    return places


def _place(figure: Figure, columns: int, scale: float) -> None:
    """Give all axes of a grid the same width, beside the numbers at their ticks and their labels."""
    panels = figure.axes
    total, height = figure.get_size_inches()
    ticks = [max(_tick_width(figure, axes) for axes in panels[i::columns]) for i in range(columns)]
    lines = [
        max(axes.get_ylabel().count("\n") + bool(axes.get_ylabel()) for axes in panels[i::columns])
        for i in range(columns)
    ]
    left = [_GAP + number + _LABEL * label for number, label in zip(ticks, lines, strict=True)]
    width = (total - sum(left) - _GAP - scale) / columns
    for i, axes in enumerate(panels):
        _, bottom, _, high = axes.get_position().bounds
        column = i % columns
        start = sum(left[: column + 1]) + column * width
        axes.set_position((start / total, bottom, width / total, high))
        axes.xaxis.set_label_coords(axes.xaxis.label.get_position()[0], -_TICKS / (high * height))
        axes.yaxis.set_label_coords(-(ticks[column] + _MARGIN) / width, axes.yaxis.label.get_position()[1])


def _draw_minor_ticks(figure: Figure) -> None:
    """Draw the minor ticks of each side of the axes as one line of markers: matplotlib makes five objects of each."""
    sides: list[tuple[Any, ...]] = []
    for axes in figure.axes:
        for axis, transform, markers in (
            (axes.xaxis, axes.get_xaxis_transform(), (TICKUP, TICKDOWN)),
            (axes.yaxis, axes.get_yaxis_transform(), (TICKRIGHT, TICKLEFT)),
        ):
            places = _seen(axis, axis.get_minorticklocs())
            sides += [(axis, transform, marker, places, [end] * len(places)) for end, marker in enumerate(markers)]
    look = {"markersize": rcParams["xtick.minor.size"], "markeredgewidth": rcParams["xtick.minor.width"]}
    for axis, transform, marker, places, end in sides:
        axis.set_minor_locator(NullLocator())
        at = (places, end) if axis.axis_name == "x" else (end, places)
        figure.add_artist(Line2D(*at, transform=transform, marker=marker, linestyle="none", color="black", **look))


def _tick_width(figure: Figure, axes: Axes) -> float:
    """Return the width of the longest text at the ticks of the vertical axis [inch]."""
    axis = axes.yaxis
    texts = axis.get_major_formatter().format_ticks(_seen(axis, axis.get_majorticklocs()))
    size = axis.get_tick_params().get("labelsize", rcParams["ytick.labelsize"])
    return max((_width(figure, text, size) for text in sorted(texts, key=len)[-_MEASURED:]), default=0.0)


def _seen(axis: MatplotlibAxis, places: Iterable[float]) -> list[float]:
    low, high = axis.get_view_interval()
    return [place for place in places if low <= place <= high]


def _width(figure: Figure, text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a text [inch]."""
    written = Text(0, 0, text, fontsize=size, fontweight=weight)
    written.set_figure(figure)
    return float(written.get_window_extent().width) / figure.dpi


def _write_heading(figure: Figure, experiment: str, sample: str) -> None:
    """Write name and status of an experiment at the upper left, and the sample at the upper right, all in one line."""
    width, height = figure.get_size_inches()
    name, _, status = experiment.partition(" ")
    texts = ((name, "bold"), (status, "normal"), (sample, "normal"))
    lengths = [_width(figure, text, _TITLE, weight) for text, weight in texts]
    space = inches(_TITLE / 2)
    scale = min(1.0, (width - _MARGIN - _GAP - 3 * space) / sum(lengths))
    write = partial(figure.text, y=1 - _MARGIN / height, va="top", fontsize=scale * _TITLE)
    write(_MARGIN / width, s=name, fontweight="bold")
    write((_MARGIN + scale * lengths[0] + space) / width, s=status, fontstyle="italic")
    write(1 - _GAP / width, s=sample, ha="right")


def _draw_scale(figure: Figure, chart: Chart, width: float) -> None:
    """Draw the scale of the colours beside all panels; it is the same for all planes."""
    cells = [item for panel in chart.panels for item in panel.items if isinstance(item, Cells)]
    planes = [mesh for axes in figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    norm = LogNorm(*_scale(cells))
    for mesh in planes:
        mesh.set_norm(norm)
    bottom, top = (figure.axes[i].get_position() for i in (-1, 0))
    total = figure.get_figwidth()
    place = (1 - (width - _MARGIN) / total, bottom.y0, 0.08 / total, top.y1 - bottom.y0)
    bar = figure.colorbar(planes[0], cax=figure.add_axes(place))
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


def _draw_panel(axes: Axes, panel: Panel, room: float, *, beside: bool) -> None:
    """Draw a panel, with room for a legend at its upper end, as a share of its height."""
    _set_up(axes, panel.x, "x")
    if beside and not (panel.x.log or panel.x.ticks):
        axes.xaxis.set_major_locator(MaxNLocator(_FEW_TICKS, steps=_STEPS, prune="both", integer=panel.x.whole))
    if beside and not (panel.y.log or panel.y.ticks):
        axes.yaxis.set_major_locator(MaxNLocator("auto", steps=_STEPS, prune="lower"))
    _set_up(axes, _with_room(panel.y, room), "y", low=panel.share < 1)
    for i, item in enumerate(reversed(panel.items)):
        _draw(item, axes, 2 + i / 100)
    if room:
        frame = Rectangle((0, 0), 1, 1 - room, transform=axes.transAxes)
        for artist in (*axes.lines, *axes.collections):
            artist.set_clip_path(frame)
    for marks in panel.marks:
        _mark_outside(axes, panel.y, marks, 1 - room)
    _write_texts(axes, panel)


def _write_texts(axes: Axes, panel: Panel) -> None:
    above = partial(axes.set_title, fontsize=SMALL, y=1.0, pad=3)  # with y, no place is looked for
    if panel.left:
        above(panel.left, loc="left")
    if panel.right:
        above(panel.right, loc="right")
    if panel.text:
        axes.text(0.07, 0.95, panel.text, transform=axes.transAxes, va="top", fontsize=SMALL, zorder=6)
    if panel.empty:
        axes.text(0.5, 0.5, panel.empty, transform=axes.transAxes, ha="center", va="center", backgroundcolor="white")


def _with_room(axis: Axis, share: float) -> Axis:
    """Return an axis with room at its upper end."""
    if axis.log:
        return replace(axis, high=axis.low * (axis.high / axis.low) ** (1 / (1 - share)))
    return replace(axis, high=axis.low + (axis.high - axis.low) / (1 - share))


def _set_up(axes: Axes, axis: Axis, which: str, *, low: bool = False) -> None:
    """Set range, scale and ticks of an axis; logarithmic ones are labelled at 1, 2, 5, 10 or at powers of ten.

    These are enough, too, in a panel that is ``low`` and has more than one of them.
    """
    drawn = axes.xaxis if which == "x" else axes.yaxis
    largest, least = max(abs(axis.low), abs(axis.high)), axis.low if axis.log else _SMALL
    written = partial(_written, powers=largest < _SMALL or largest > _LARGE or least < _SMALL)
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
        drawn.set_major_formatter(FuncFormatter(written))
        drawn.set_minor_formatter(NullFormatter())
    elif which == "x" or written.keywords["powers"]:
        drawn.set_major_locator(MaxNLocator(6, steps=_STEPS, integer=axis.whole))
        drawn.set_major_formatter(FuncFormatter(written))  # 0, not 0.0, in a narrow corner
        if axis.whole:
            drawn.set_minor_locator(NullLocator())


def _written(value: float, _place: int | None = None, *, powers: bool) -> str:
    """Write a number at a tick; all of an axis as powers of ten, or none."""
    number, _, power = f"{value:.4e}".partition("e")
    if not powers or not value or int(power) in (0, 1):
        return f"{value:.5g}".replace("-", "\N{MINUS SIGN}")
    number = number.rstrip("0").rstrip(".")
    factor = {"1": "", "-1": "-"}.get(number, rf"{number}\times ")
    return f"${factor}10^{{{int(power)}}}$"


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


def _mark_outside(axes: Axes, axis: Axis, marks: Marks, top: float) -> None:
    """Point at the points that are beyond the frame, with arrows at its ends; ``top`` is the upper one."""
    for outside, arrow, height in ((marks.y > axis.high, _UP, top - 0.03), (marks.y < axis.low, _DOWN, 0.03)):
        if outside.any():
            axes.plot(
                marks.x[outside],
                np.full(np.count_nonzero(outside), height),
                transform=axes.get_xaxis_transform(),
                linestyle="none",
                marker=arrow,
                markersize=4.5,
                color=marks.look.colour,
                fillstyle="none",
                label="_outside",
                zorder=5,
            )
