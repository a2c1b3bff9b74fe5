"""The figures that a referee expects, made from a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calomlp.evaluation.estimators import WIDTHS
from calomlp.plotting.distributions import response
from calomlp.plotting.frame import (
    EDGE_NOTE,
    MANY_POINTS,
    OUTSIDE_NOTE,
    Heading,
    Row,
    draw_points,
    energy_axis,
    framed,
    mark_outside,
    require_bins,
    round_ticks,
    say_empty,
    settle,
    short,
)
from calomlp.plotting.learning import training
from calomlp.plotting.points import BANDS, PERCENT, Points, deviation_points, limits, ratio_points, resolution_points
from calomlp.plotting.quantity import count
from calomlp.plotting.references import fitted_energies
from calomlp.plotting.report_tables import fitted_terms, formula, width_name
from calomlp.plotting.style import COLUMN, Look, looks, published_looks, style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from calomlp.evaluation.report import Curve, Report
    from calomlp.plotting.references import Reference

_LOG_RATIO = 4.0
"""A resolution that changes by more than this factor is shown on a logarithmic axis."""

_FAR = 20.0
"""Points of baselines that are further off than this [%] do not widen the axis, which would hide the regressor."""

_LONGEST_REFERENCE = 66
"""Characters that fit into a row of the legend, for label and formula of a published curve."""

_LIMIT_NOTE = "<: upper limit at 95 % CL, of a term that is below two standard errors"
_NONE = "\N{EN DASH}"


def resolution(report: Report, references: Sequence[Reference] = ()) -> Figure:
    """Draw the resolution against true energy, with its fits and the ratio to the baselines.

    Args:
        report: What to draw.
        references: Published curves that are drawn over the same energies as the fits.
    """
    require_bins(report)
    points = [resolution_points(curve) for curve in report.curves]
    ratios = [ratio_points(comparison) for comparison in report.comparisons]
    shares = [2.4, 1] if any(map(len, ratios)) else [1]
    published = [float(end) for reference in references for end in reference(fitted_energies(report))[[0, -1]]]
    low, high = limits(points, at_least=(min(published, default=np.inf), max(published, default=0)), edge_reach=1.0)
    log = low > 0 and high > _LOG_RATIO * low
    low, high = (low / 1.15, high * 1.15) if log else (0, 1.1 * high or 1)
    ratio_low, ratio_high = limits(ratios, at_least=(0.98, 1.02))
    pad = 0.08 * (ratio_high - ratio_low)
    ratio_low, ratio_high = ratio_low - pad, ratio_high + pad
    outside = _beyond(points, low, high) or _beyond(ratios, ratio_low, ratio_high)
    with style():
        rows = [*_fit_rows(report), *_reference_rows(references)]
        limited = [_LIMIT_NOTE] if any(curve.fit and curve.fit.limits for curve in report.curves) else []
        notes = [*limited, *_notes(points, outside=outside)]
        heading = Heading("energy resolution", _sample(report), rows, notes)
        figure = framed(heading, width=COLUMN, height=2.2 + 0.9 * len(shares))
        panels = figure.subplots(len(shares), sharex=True, squeeze=False, height_ratios=shares)[:, 0]
        panels[0].set_yscale("log" if log else "linear")
        panels[0].set_ylim(low, high)
        if log:
            round_ticks(panels[0], "y")
        for reference, shown in zip(references, published_looks(len(references)), strict=True):
            energy = fitted_energies(report)
            panels[0].plot(energy, reference(energy), color=shown.colour, linestyle=shown.line, zorder=_above(points))
        _draw_resolutions(panels[0], report, points)
        if len(shares) > 1:
            panels[1].set_ylim(ratio_low, ratio_high)
            _draw_ratios(panels[1], report, ratios)
        energy_axis(panels[-1], report)
        return settle(figure)


def linearity(report: Report) -> Figure:
    """Draw the deviation of the mean response from one against true energy."""
    require_bins(report)
    points = [deviation_points(curve) for curve in report.curves]
    near = [shown.select(np.abs(shown.value) < _FAR) for shown in points[1:]]
    low, high = limits([points[0], *near], at_least=(-1.2 * BANDS[1], 1.2 * BANDS[1]))
    pad = 0.05 * (high - low)
    low, high = low - pad, high + pad
    bands = f"grey bands: ±{BANDS[0]:g} % and ±{BANDS[1]:g} %"
    with style():
        notes = [bands, *_notes(points, outside=_beyond(points, low, high))]
        heading = Heading("linearity", _sample(report), _linearity_rows(report), notes)
        figure = framed(heading, width=COLUMN, height=2.5)
        axes = figure.subplots()
        for band, grey in zip(BANDS, ("0.86", "0.93"), strict=True):
            axes.axhspan(-band, band, color=grey, linewidth=0, zorder=0.2 - 0.01 * band)
        axes.axhline(0, color="0.3", linewidth=0.6, zorder=0.5)
        axes.set_ylim(low, high)
        axes.set_ylabel(
            f"{WIDTHS[report.options.width].centre} of $E_\\mathrm{{reco}}/E_\\mathrm{{true}}$, minus 1 [%]"
        )
        _draw_all(axes, report.curves, points, looks([curve.name for curve in report.curves]))
        energy_axis(axes, report)
        return settle(figure)


FIGURES: dict[str, Callable[[Report], Figure]] = {
    "resolution": resolution,
    "linearity": linearity,
    "response": response,
    "training": training,
}
"""Every figure by name, in the order of :data:`calomlp.plotting.names.DESCRIPTIONS`."""


def _draw_resolutions(axes: Axes, report: Report, points: Sequence[Points]) -> None:
    look = looks([curve.name for curve in report.curves])
    for curve in report.curves:
        if curve.fit is not None:
            energy = np.geomspace(curve.fit.energy_min, curve.fit.energy_max, 200)
            colour, line = look[curve.name].colour, look[curve.name].line
            axes.plot(energy, PERCENT * curve.fit(energy), color=colour, linestyle=line, zorder=_above(points))
    _draw_all(axes, report.curves, points, look)
    axes.set_ylabel(f"{width_name(report)} of $E_\\mathrm{{reco}}/E_\\mathrm{{true}}$ [%]")


def _above(groups: Sequence[Points]) -> float:
    """Return where fitted curves lie: under the points, unless these are so many that they would hide them."""
    return 5 if max(map(len, groups)) > MANY_POINTS else 1.5


def _draw_ratios(axes: Axes, report: Report, ratios: Sequence[Points]) -> None:
    axes.axhline(1, color="0.3", linewidth=0.6, zorder=0.5)
    _draw_all(axes, report.curves[1:], ratios, looks([curve.name for curve in report.curves]))
    axes.set_ylabel(f"{report.curves[0].name}\n/ baseline")


def _draw_all(axes: Axes, curves: Sequence[Curve], points: Sequence[Points], look: dict[str, Look]) -> None:
    if not any(map(len, points)):
        say_empty(axes)
    # the first curve is the one that matters: it is drawn last, over the others
    for curve, shown in reversed(list(zip(curves, points, strict=True))):
        draw_points(axes, shown, look[curve.name], curve.label)
        mark_outside(axes, shown, look[curve.name])


def _sample(report: Report) -> str:
    return f"{count(report.events)} events"


def _fit_rows(report: Report) -> list[Row]:
    look = looks([curve.name for curve in report.curves])
    rows = [Row((f"{width_name(report)} = {formula(report)}", "a [% √GeV]", "n [GeV]", "c [%]"))]
    for curve in report.curves:
        terms = fitted_terms(curve.fit) if curve.fit else (_NONE,) * 3
        rows.append(Row((short(curve.label), *terms), look[curve.name]))
    return rows


def _reference_rows(references: Sequence[Reference]) -> list[Row]:
    return [
        Row((f"{short(item.label, _LONGEST_REFERENCE - len(item.formula))}: {item.formula}",), look)
        for item, look in zip(references, published_looks(len(references)), strict=True)
    ]


def _linearity_rows(report: Report) -> list[Row]:
    look = looks([curve.name for curve in report.curves])
    rows = [Row(("", "mean response", "max. deviation", "RMS deviation"))]
    for curve in report.curves:
        found = curve.linearity
        numbers = (
            (f"{found.response:.4f}", f"{PERCENT * found.max:.2f} %", f"{PERCENT * found.rms:.2f} %")
            if found
            else (_NONE,) * 3
        )
        rows.append(Row((short(curve.label), *numbers), look[curve.name]))
    return rows


def _notes(groups: Sequence[Points], *, outside: bool) -> list[str]:
    edge = any(points.edge.any() for points in groups)
    return [note for note, said in ((EDGE_NOTE, edge), (OUTSIDE_NOTE, outside)) if said]


def _beyond(groups: Sequence[Points], low: float, high: float) -> bool:
    return any(((points.value < low) | (points.value > high)).any() for points in groups)
