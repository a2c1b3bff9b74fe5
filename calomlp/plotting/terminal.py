"""Drawings of a report in a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotext

from calomlp.plotting.points import Points, deviation_points, limits, resolution_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calomlp.evaluation.report import Report

_MARKERS = "o+x*#@%&"
_COLOURS = ("blue+", "red+", "green+", "magenta+", "orange+", "cyan+", "red", "green")
_FRAME_COLOUR = "gray"
_SMALLEST_WIDTH = 40
_SMALLEST_HEIGHT = 10
_LOG_RATIO = 4.0
_CELLS_PER_LABEL = 9


@dataclass(frozen=True)
class _Axis:
    """An axis: its range, and whether it is logarithmic; plotext sees only the logarithms."""

    low: float
    high: float
    log: bool

    def position(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log10(value) if self.log else value

    @property
    def ends(self) -> tuple[float, float]:
        first, last = self.position(np.array([self.low, self.high]))
        return float(first), float(last)

    def inside(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (value >= self.low) & (value <= self.high)

    def ticks(self, room: int) -> list[float]:
        """Return at most ``room`` round numbers between the ends."""
        steps = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, room)
        return steps[:: math.ceil(len(steps) / room)] if steps else []


def draw(report: Report, width: int, height: int, *, colour: bool) -> str:
    """Draw resolution and linearity, one below the other.

    Args:
        report: What to draw.
        width: Columns of the terminal.
        height: Lines of the whole drawing; the smallest has 21.
        colour: Whether to use the colours of the terminal. Without them there are no control codes.
    """
    width = max(width, _SMALLEST_WIDTH)
    lines = max((height - 1) // 2, _SMALLEST_HEIGHT)
    resolutions = [resolution_points(curve) for curve in report.curves]
    deviations = [deviation_points(curve) for curve in report.curves]
    low, high = limits(resolutions, at_least=(math.inf, 0.0), edge_reach=1.0)
    log = low > 0 and high > _LOG_RATIO * low
    resolution_axis = _Axis(low, high, log) if log else _Axis(0.0, 1.05 * high or 1.0, log=False)
    deviation_axis = _Axis(*limits(deviations, at_least=(-2.0, 2.0)), log=False)
    panels = [
        ("energy resolution: sigma/mu of the Gaussian core [%]", resolution_axis, resolutions),
        ("linearity: mean response of the core - 1 [%]", deviation_axis, deviations),
    ]
    drawn = [_panel(report, panel, (width, lines), colour=colour) for panel in panels]
    return "\n".join([drawn[0], _legend(report, width, colour=colour), drawn[1]])


def _panel(report: Report, panel: tuple[str, _Axis, Sequence[Points]], size: tuple[int, int], *, colour: bool) -> str:
    title, vertical, groups = panel
    horizontal = _energy_axis(report)
    figure = plotext.figure
    figure.clear()
    figure.plot_size(*size)
    figure.theme("simple" if colour else "colorless")
    figure.title(title)
    figure.label("E_true [GeV]", "x")
    _set_up(figure.ruler("x"), horizontal, max(2, size[0] // _CELLS_PER_LABEL))
    _set_up(figure.ruler("y"), vertical, max(2, size[1] // 2 - 1))
    if vertical.inside(np.zeros(1))[0] and vertical.low < 0:
        first, last = horizontal.ends
        x = np.linspace(first, last, 2 * size[0])
        _draw(figure, x, np.zeros(len(x)), "-", _FRAME_COLOUR if colour else None)
    for i, points in reversed(list(enumerate(groups))):
        shown = points.select(vertical.inside(points.value))
        marker, paint = _look(i)
        x, y = horizontal.position(shown.energy), vertical.position(shown.value)
        _draw(figure, x, y, marker, paint if colour else None)
    text = str(figure.build().string(colorless=not colour))
    figure.clear()
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def _draw(figure: Any, x: NDArray[np.float64], y: NDArray[np.float64], marker: str, paint: str | None) -> None:
    if len(x):
        figure.draw(figure.signal(x.tolist(), y.tolist(), marker=_painted(marker, paint)))


def _painted(text: str, paint: str | None) -> Any:
    return plotext.colorize(text).fill(paint) if paint else text


def _legend(report: Report, width: int, *, colour: bool) -> str:
    """Return the legend, centred, cut if it is too wide."""
    entries = [(_look(i), curve.label) for i, curve in enumerate(report.curves)]
    length = 0
    parts = []
    for (marker, paint), label in entries:
        entry = f"{marker} {label}"
        if length + len(entry) > width:
            break
        length += len(entry) + 3
        painted = _painted(marker, paint if colour else None)
        parts.append(f"{painted.string() if colour else painted} {label}")
    return " " * max((width - length + 3) // 2, 0) + "   ".join(parts)


def _look(index: int) -> tuple[str, str]:
    return _MARKERS[index % len(_MARKERS)], _COLOURS[index % len(_COLOURS)]


def _set_up(ruler: Any, axis: _Axis, room: int) -> None:
    ticks = axis.ticks(room)
    ruler.lim(*axis.ends)
    ruler.ticks(axis.position(np.array(ticks)).tolist(), [f"{tick:g}" for tick in ticks])


def _energy_axis(report: Report) -> _Axis:
    bins = [bin_ for curve in report.curves for bin_ in curve.bins]
    low = min((bin_.energy_low for bin_ in bins), default=1.0)
    high = max((bin_.energy_high for bin_ in bins), default=2.0)
    if low == high:
        low, high = 0.8 * low, 1.2 * high
    return _Axis(low, high, log=low > 0 and high > 10 * low)


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
