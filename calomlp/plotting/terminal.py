"""Charts drawn in a terminal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import plotext

from calomlp.plotting.chart import Band, Bars, Cells, Line, Marks, Rule, Shade, Steps, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from calomlp.plotting.chart import Array, Axis, Chart, Item, Panel

_MARKERS = "o+x*#@%&=$^~"
_STRENGTHS = ".:+#@"
_COLOURS = ("blue+", "red+", "green+", "magenta+", "orange+", "cyan+", "red", "green")
_FRAME_COLOUR = "gray"
_SMALLEST_WIDTH = 40
_SMALLEST_HEIGHT = 10
_CELLS_PER_LABEL = 9
_AROUND = 7
_BAR = "="


def draw(charts: Sequence[Chart], width: int, height: int, *, colour: bool) -> str:
    """Draw charts, one below the other; of several only the first panel of each.

    Args:
        charts: What to draw.
        width: Columns of the terminal.
        height: Lines of the whole drawing, if that leaves ten for each panel.
        colour: Whether to use the colours of the terminal. Without them there are no control codes.
    """
    panels = [
        _titled(chart, panel) for chart in charts for panel in (chart.panels if len(charts) == 1 else chart.panels[:1])
    ]
    width = max(width, _SMALLEST_WIDTH)
    known: set[str] = set()
    legends = []
    painted = {
        label: _look(i) for i, label in enumerate(dict.fromkeys(label for panel in panels for label in _labels(panel)))
    }
    for panel in panels:
        new = [label for label in dict.fromkeys(_labels(panel)) if label not in known]
        known.update(new)
        legends.append(_legend({label: painted[label] for label in new}, width, colour=colour))
    lines = max((height - sum(map(len, legends))) // len(panels), _SMALLEST_HEIGHT)
    drawn: list[str] = []
    for panel, legend in zip(panels, legends, strict=True):
        named = len(panel.y.ticks) + _AROUND  # a line for each name
        drawn += [_axes(panel, (width, max(lines, named)), painted, colour=colour), *legend]
    return "\n".join(drawn)


def _titled(chart: Chart, panel: Panel) -> Panel:
    """Return a panel with its title on the left."""
    parts = [plain(panel.y.label or panel.x.label), panel.left, panel.right]
    return replace(panel, left=f"{chart.title}: {', '.join(filter(None, parts))}")


def _labels(panel: Panel) -> Iterator[str]:
    """Yield what needs a marker of its own."""
    return (item.label for item in _drawn(panel) if not isinstance(item, (Cells, Bars)))


def _drawn(panel: Panel) -> list[Marks | Line | Band | Steps | Bars | Cells]:
    """Return what is drawn: not the line through points, nor the band around a curve that is drawn itself."""
    shown = [item for item in panel.items if not isinstance(item, (Rule, Shade))]
    points = {item.label for item in shown if isinstance(item, Marks)}
    curves = points | {item.label for item in shown if isinstance(item, Line)}
    return [
        item
        for item in shown
        if not (isinstance(item, Line) and any(item.label in (label, f"{label}, fit") for label in points))
        and not (isinstance(item, Band) and any(item.label.startswith(label) for label in curves))
    ]


def _axes(panel: Panel, size: tuple[int, int], painted: dict[str, tuple[str, str]], *, colour: bool) -> str:
    horizontal, vertical = panel.x, panel.y
    figure = plotext.figure
    plotext.terminal.limit(False, False)  # what is higher than the terminal is scrolled
    figure.clear()
    figure.plot_size(*size)
    figure.theme("simple" if colour else "colorless")
    figure.title(panel.left[: size[0] - 2])
    figure.label(plain(horizontal.label), "x")
    _set_up(figure.ruler("x"), horizontal, max(2, size[0] // _CELLS_PER_LABEL))
    _set_up(figure.ruler("y"), vertical, max(2, size[1] // 2 - 1))
    pen = _Pen(figure, horizontal, vertical, size, colour=colour)
    for item in panel.items:
        if isinstance(item, Rule):
            pen.rule(item)
    layers = _drawn(panel)[::-1]
    for item in sorted(layers, key=lambda layer: not isinstance(layer, Line)):  # lines are below all others
        pen.draw(item, *painted.get(item.label, (_BAR, _COLOURS[0])))
    text = str(figure.build().string(colorless=not colour))
    figure.clear()
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


class _Pen:
    """Draws items between two axes, in logarithms where these are logarithmic."""

    def __init__(self, figure: Any, x: Axis, y: Axis, size: tuple[int, int], *, colour: bool) -> None:
        self._figure, self._x, self._y, self._size, self._colour = figure, x, y, size, colour

    def rule(self, item: Rule) -> None:
        """Draw a line across the panel."""
        across, along = (self._x, self._y) if item.vertical else (self._y, self._x)
        places = np.linspace(*_ends(along), 2 * max(self._size))
        fixed = np.full(len(places), _position(across, np.array([item.at]))[0])
        x, y = (fixed, places) if item.vertical else (places, fixed)
        self._signal(x, y, ":" if item.vertical or item.dotted else "-", _FRAME_COLOUR)

    def draw(self, item: Item, marker: str, paint: str) -> None:
        """Draw an item with a marker."""
        if isinstance(item, Marks):
            self._points(item.x, item.y, marker, paint)
            for beyond, end, arrow in (
                (item.y > self._y.high, self._y.high, "^"),
                (item.y < self._y.low, self._y.low, "v"),
            ):
                self._points(item.x[beyond], np.full(np.count_nonzero(beyond), end), arrow, paint)
        elif isinstance(item, Line):
            self._points(*self._dense(item.x, item.y), marker, paint)
        elif isinstance(item, Band):
            for edge in (item.low, item.high):
                self._points(*self._dense(item.x, edge), marker, paint)
        elif isinstance(item, Steps):
            self._points((item.edges[1:] + item.edges[:-1]) / 2, item.y, marker, paint)
        elif isinstance(item, Bars):
            start = self._x.low if self._x.log else 0.0
            for length, place in zip(item.x.tolist(), item.y.tolist(), strict=True):
                x = np.linspace(min(start, length), max(start, length), 2 * self._size[0])
                self._points(x, np.full(len(x), place), marker, paint)
        elif isinstance(item, Cells):
            self._cells(item)

    def _cells(self, item: Cells) -> None:
        """Draw a plane with characters that are the stronger, the larger the number."""
        row, column = np.nonzero(item.values > 0)
        if not len(row):
            return
        size = np.log(item.values[row, column])
        step = (size - size.min()) / (float(np.ptp(size)) or 1.0) * len(_STRENGTHS)
        strength = np.minimum(step.astype(int), len(_STRENGTHS) - 1)
        x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (item.x_edges, item.y_edges))
        for i, marker in enumerate(_STRENGTHS):
            chosen = strength == i
            self._points(x[column[chosen]], y[row[chosen]], marker, _COLOURS[0])

    def _dense(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return places so close along a curve of some points that their markers join."""
        if len(x) < 2:
            return x, y
        along = np.linspace(0, len(x) - 1, 3 * sum(self._size))
        return (np.interp(along, np.arange(len(x)), values) for values in (x, y))  # type: ignore[return-value]

    def _points(self, x: Array, y: Array, marker: str, paint: str) -> None:
        shown = self._x.inside(x) & self._y.inside(y)
        self._signal(_position(self._x, x[shown]), _position(self._y, y[shown]), marker, paint)

    def _signal(self, x: Array, y: Array, marker: str, paint: str) -> None:
        if len(x):
            sign = _painted(marker, paint if self._colour else None)
            self._figure.draw(self._figure.signal(x.tolist(), y.tolist(), marker=sign))


def _painted(text: str, paint: str | None) -> Any:
    return plotext.colorize(text).fill(paint) if paint else text


def _legend(looks: dict[str, tuple[str, str]], width: int, *, colour: bool) -> list[str]:
    """Return the lines of the legend, centred; a label that is too long for a line is cut."""
    lines: list[tuple[str, int]] = []
    for name, (marker, paint) in looks.items():
        label = plain(name)[: width - 2]
        painted = _painted(marker, paint if colour else None)
        entry, length = f"{painted.string() if colour else painted} {label}", len(label) + 2
        if lines and lines[-1][1] + 3 + length <= width:
            text, before = lines.pop()
            entry, length = f"{text}   {entry}", before + 3 + length
        lines.append((entry, length))
    return [" " * ((width - length) // 2) + text for text, length in lines]


def _look(index: int) -> tuple[str, str]:
    return _MARKERS[index % len(_MARKERS)], _COLOURS[index % len(_COLOURS)]


def _set_up(ruler: Any, axis: Axis, room: int) -> None:
    ticks = list(axis.ticks) or [(tick, f"{tick:g}") for tick in _ticks(axis, room)]
    ruler.lim(*_ends(axis))
    ruler.ticks(_position(axis, np.array([place for place, _ in ticks])).tolist(), [name for _, name in ticks])


def _position(axis: Axis, value: Array) -> Array:
    return np.log10(value) if axis.log else value


def _ends(axis: Axis) -> tuple[float, float]:
    first, last = _position(axis, np.array([axis.low, axis.high]))
    return float(first), float(last)


def _ticks(axis: Axis, room: int) -> list[float]:
    """Return at most ``room`` round numbers between the ends."""
    steps = _log_ticks(axis.low, axis.high) if axis.log else _linear_ticks(axis.low, axis.high, room)
    return steps[:: math.ceil(len(steps) / room)] if steps else []


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    return [
        float(f"{step}e{decade}") for decade in decades for step in steps if low <= float(f"{step}e{decade}") <= high
    ]


def _linear_ticks(low: float, high: float, room: int) -> list[float]:
    rough = (high - low) / room
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
