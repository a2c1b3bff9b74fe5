"""Drawings of a report or of showers in a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotext

from calomlp.evaluation.estimators import WIDTHS
from calomlp.plotting.points import PERCENT, Points, deviation_points, limits, resolution_points, shown_radius
from calomlp.plotting.quantity import energy_range
from calomlp.plotting.references import fitted_energies
from calomlp.plotting.report_tables import width_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calomlp.evaluation.report import Report
    from calomlp.evaluation.showers import ShowerProfiles
    from calomlp.plotting.references import Reference
    from calomlp.training.finder import Curve

_MARKERS = "o+x*#@%&=$^~"
_PUBLISHED = ".:'"
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


@dataclass(frozen=True)
class _Curve:
    """What one marker draws.

    Attributes:
        label: For the legend.
        x: Shape [points].
        y: Shape [points].
        marker: One character.
        paint: Colour of the terminal.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    marker: str
    paint: str


@dataclass(frozen=True)
class _Panel:
    """A pair of axes with what is drawn in them."""

    title: str
    label: str
    horizontal: _Axis
    vertical: _Axis
    curves: Sequence[_Curve]


def draw(report: Report, width: int, height: int, *, colour: bool, references: Sequence[Reference] = ()) -> str:
    """Draw resolution and linearity, one below the other.

    Args:
        report: What to draw.
        width: Columns of the terminal.
        height: Lines of the whole drawing; the smallest has 20 and the legend.
        colour: Whether to use the colours of the terminal. Without them there are no control codes.
        references: Published curves that are drawn beside the resolutions.
    """
    energy = _energy_axis(report)
    resolutions = [resolution_points(curve) for curve in report.curves]
    deviations = [deviation_points(curve) for curve in report.curves]
    published = [_published(reference, report, i) for i, reference in enumerate(references)]
    ends = [float(y) for curve in published for y in (curve.y.min(), curve.y.max())]
    low, high = limits(resolutions, at_least=(min(ends, default=math.inf), max(ends, default=0.0)), edge_reach=1.0)
    log = low > 0 and high > _LOG_RATIO * low
    resolution_axis = _Axis(low, high, log) if log else _Axis(0.0, 1.05 * high or 1.0, log=False)
    deviation_axis = _Axis(*limits(deviations, at_least=(-2.0, 2.0)), log=False)
    panels = [
        _Panel(
            f"energy resolution: {width_name(report)} [%]",
            "E_true [GeV]",
            energy,
            resolution_axis,
            [*_measured(report, resolutions), *published],
        ),
        _Panel(
            f"linearity: {WIDTHS[report.options.width].centre} of the response - 1 [%]",
            "E_true [GeV]",
            energy,
            deviation_axis,
            _measured(report, deviations),
        ),
    ]
    return _drawing(panels, width, height, colour=colour)


def draw_showers(profiles: ShowerProfiles, width: int, height: int, *, colour: bool) -> str:
    """Draw the longitudinal profile and, if there are hits, the containment around the axis below it.

    Args:
        profiles: What to draw.
        width: Columns of the terminal.
        height: Lines of the whole drawing.
        colour: Whether to use the colours of the terminal.
    """
    unit = profiles.depth_unit
    along, around = PERCENT * profiles.longitudinal.mean, profiles.radial
    panels = [
        _Panel(
            "energy of a layer / true energy [%]" if unit == "layer" else f"dE/dt / true energy [% / {unit}]",
            "layer" if unit == "layer" else f"depth t [{unit}]",
            _Axis(float(profiles.depth[0]), float(profiles.depth[-1]), log=False),
            _Axis(0.0, 1.05 * float(np.max(along, where=np.isfinite(along), initial=0)) or 1.0, log=False),
            _showers(profiles, profiles.layer_depth, along),
        )
    ]
    if around is not None:
        curves = _showers(profiles, profiles.radii, PERCENT * around.mean)
        radius = _Axis(0.0, shown_radius(profiles), log=False)
        title = "energy within r of the axis [%]"
        panels.append(_Panel(title, f"r [{profiles.radius_unit}]", radius, _Axis(0.0, 100.0, log=False), curves))
    return _drawing(panels, width, height, colour=colour)


def draw_rates(found: Curve, width: int, height: int, *, colour: bool) -> str:
    """Draw the loss against the learning rate, and mark the suggested rate and the automatic one.

    Args:
        found: What to draw.
        width: Columns of the terminal.
        height: Lines of the whole drawing.
        colour: Whether to use the colours of the terminal.
    """
    rates, losses = np.array(found.rates), np.array(found.losses)
    low = float(losses.min())
    high = min(float(losses.max()), max(float(losses[0]), low + abs(low)))  # how it explodes says little
    edge = 0.05 * (high - low or 1.0)
    vertical = _Axis(low - edge, high + edge, log=False)
    marked = np.linspace(vertical.low, vertical.high, 2 * height)
    curves = [
        _Curve("loss, smoothed", rates, losses, *_look(0)),
        _Curve(f"suggested: {found.suggestion:.2g}", np.full(len(marked), found.suggestion), marked, *_look(1)),
        _Curve(f"automatic: {found.automatic:.2g}", np.full(len(marked), found.automatic), marked, ":", _FRAME_COLOUR),
    ]
    horizontal = _Axis(float(rates[0]), float(rates[-1]), log=True)
    panel = _Panel("training loss at growing learning rates", "learning rate", horizontal, vertical, curves)
    return _drawing([panel], width, height, colour=colour)


def _measured(report: Report, groups: Sequence[Points]) -> list[_Curve]:
    return [
        _Curve(curve.label, points.energy, points.value, *_look(i))
        for i, (curve, points) in enumerate(zip(report.curves, groups, strict=True))
    ]


def _published(reference: Reference, report: Report, index: int) -> _Curve:
    energy = fitted_energies(report)
    return _Curve(reference.label, energy, reference(energy), _PUBLISHED[index % len(_PUBLISHED)], _FRAME_COLOUR)


def _showers(profiles: ShowerProfiles, x: NDArray[np.float64], groups: NDArray[np.float64]) -> list[_Curve]:
    energies = zip(profiles.energy_low.tolist(), profiles.energy_high.tolist(), groups, strict=True)
    return [_Curve(f"{energy_range(low, high)} GeV", x, y, *_look(i)) for i, (low, high, y) in enumerate(energies)]


def _drawing(panels: Sequence[_Panel], width: int, height: int, *, colour: bool) -> str:
    """Return the panels, one below the other, with the legend of the first under it."""
    width = max(width, _SMALLEST_WIDTH)
    legend = _legend(panels[0].curves, width, colour=colour)
    lines = max((height - len(legend)) // len(panels), _SMALLEST_HEIGHT)
    first, *others = (_axes(panel, (width, lines), colour=colour) for panel in panels)
    return "\n".join([first, *legend, *others])


def _axes(panel: _Panel, size: tuple[int, int], *, colour: bool) -> str:
    horizontal, vertical = panel.horizontal, panel.vertical
    figure = plotext.figure
    figure.clear()
    figure.plot_size(*size)
    figure.theme("simple" if colour else "colorless")
    figure.title(panel.title)
    figure.label(panel.label, "x")
    _set_up(figure.ruler("x"), horizontal, max(2, size[0] // _CELLS_PER_LABEL))
    _set_up(figure.ruler("y"), vertical, max(2, size[1] // 2 - 1))
    if vertical.inside(np.zeros(1))[0] and vertical.low < 0:
        first, last = horizontal.ends
        x = np.linspace(first, last, 2 * size[0])
        _draw(figure, x, np.zeros(len(x)), "-", _FRAME_COLOUR if colour else None)
    for curve in reversed(panel.curves):
        shown = vertical.inside(curve.y) & horizontal.inside(curve.x)
        x, y = horizontal.position(curve.x[shown]), vertical.position(curve.y[shown])
        _draw(figure, x, y, curve.marker, curve.paint if colour else None)
    text = str(figure.build().string(colorless=not colour))
    figure.clear()
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def _draw(figure: Any, x: NDArray[np.float64], y: NDArray[np.float64], marker: str, paint: str | None) -> None:
    if len(x):
        figure.draw(figure.signal(x.tolist(), y.tolist(), marker=_painted(marker, paint)))


def _painted(text: str, paint: str | None) -> Any:
    return plotext.colorize(text).fill(paint) if paint else text


def _legend(curves: Sequence[_Curve], width: int, *, colour: bool) -> list[str]:
    """Return the lines of the legend, centred; a label that is too long for a line is cut."""
    lines: list[tuple[str, int]] = []
    for curve in curves:
        label = curve.label[: width - 2]
        painted = _painted(curve.marker, curve.paint if colour else None)
        entry, length = f"{painted.string() if colour else painted} {label}", len(label) + 2
        if lines and lines[-1][1] + 3 + length <= width:
            text, before = lines.pop()
            entry, length = f"{text}   {entry}", before + 3 + length
        lines.append((entry, length))
    return [" " * ((width - length) // 2) + text for text, length in lines]


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
