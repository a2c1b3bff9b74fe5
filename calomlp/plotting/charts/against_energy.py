"""Resolution and linearity against true energy: what a referee expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from calomlp.evaluation.measurement import PERCENT, four_decimals
from calomlp.evaluation.options import WIDTHS
from calomlp.evaluation.verdicts import BANDS, fitted_terms
from calomlp.plotting.chart import (
    MANY_POINTS,
    Array,
    Axis,
    Chart,
    Heading,
    Item,
    Line,
    Marks,
    Panel,
    Row,
    Rule,
    Shade,
    published_looks,
)
from calomlp.plotting.points import Points, deviation_points, limits, resolution_points
from calomlp.plotting.sections import NONE
from calomlp.plotting.view import Shown, View, fitted_energies, short

E_TRUE = r"$E_\mathrm{true}$ [GeV]"
RESPONSE = r"$E_\mathrm{reco}/E_\mathrm{true}$"
EMPTY = "no bin has events enough\nfor estimates"
"""Why there are no points."""

_LOG_RATIO = 4.0
"""A resolution that changes by more than this factor is shown on a logarithmic axis."""

_FAR = 20.0
"""Points of baselines that are further off than this [%] do not widen the axis, which would hide the regressor."""

_TWICE, _ENOUGH = 2.0, 0.3
"""Ratios above this do not widen their axis, which would flatten the others, if these are more than such a share."""

_LONGEST_REFERENCE = 66
"""Characters that fit into a row of the legend, for label and formula of a published curve."""

_RATIO_NOTE = "ratio: errors as of different events"
_LIMIT_NOTE = "<: upper limit at 95 % CL, of a term that is below two standard errors"


def resolution(view: View) -> Chart:
    """Show the resolution against true energy, with its fits and the ratio to the baselines."""
    return _resolution(view, "resolution", energy_axis(view), lambda energy: energy)


def resolution_root(view: View) -> Chart:
    """Show the resolution against 1/sqrt(E), where a purely stochastic resolution is a straight line."""
    low = min(bin_.energy_low for bin_ in view.bins)
    axis = Axis(r"$1/\sqrt{E_\mathrm{true}}$ [GeV$^{-1/2}$]", 0.0, 1.04 / np.sqrt(max(low, 1e-3)))
    return _resolution(view, "resolution-root", axis, lambda energy: 1 / np.sqrt(energy))


def linearity(view: View) -> Chart:
    """Show the deviation of the mean response from one against true energy."""
    axis = energy_axis(view)
    points = [deviation_points(shown.curve) for shown in view.shown]
    near = [item.select(np.abs(item.value) < _FAR) for item in points[1:]]
    low, high = limits([points[0], *near], at_least=(-1.2 * BANDS[1], 1.2 * BANDS[1]))
    pad = 0.05 * (high - low)
    centre = WIDTHS[view.report.options.width].centre
    panel = Panel(
        axis,
        Axis(f"{centre} of {RESPONSE}, minus 1 [%]", low - pad, high + pad),
        (*marks(view.shown, points), Rule(0), *(Shade(-at, at, 0.8 + 0.06 * at) for at in BANDS)),
        empty="" if any(map(len, points)) else EMPTY,
    )
    rows = [Row(("", "mean response", "max. deviation", "RMS deviation")), *map(_linearity_row, view.shown)]
    notes = [f"grey bands: ±{BANDS[0]:g} % and ±{BANDS[1]:g} %"]
    return Chart("linearity", Heading("linearity", view.sample, rows, notes), (panel,), 2.5)


def energy_axis(view: View) -> Axis:
    """Return the axis of the true energy for all bins: logarithmic above one decade."""
    low = min(bin_.energy_low for bin_ in view.bins)
    high = max(bin_.energy_high for bin_ in view.bins)
    if low > 0 and high > 10 * low:
        pad = (high / low) ** 0.03
        return Axis(E_TRUE, low / pad, high * pad, log=True)
    pad = 0.04 * (high - low) or 0.2 * high
    return Axis(E_TRUE, low - pad, high + pad)


def marks(
    shown: Sequence[Shown], points: Sequence[Points], abscissa: Callable[[Array], Array] | None = None
) -> list[Marks]:
    """Return the points of curves; the first curve is the one that matters, over the others."""
    return [
        Marks(one.label, one.look, abscissa(of.energy) if abscissa else of.energy, of.value, of.error, of.edge)
        for one, of in zip(shown, points, strict=True)
    ]


def _resolution(view: View, name: str, axis: Axis, abscissa: Callable[[Array], Array]) -> Chart:
    points = [resolution_points(shown.curve) for shown in view.shown]
    energy = fitted_energies([shown.curve for shown in view.shown])
    published = [
        Line(reference.label, look, abscissa(energy), reference(energy))
        for reference, look in zip(view.references, published_looks(len(view.references)), strict=True)
    ]
    ends = [end for line in published for end in line.y[[0, -1]].tolist()]
    low, high = limits(points, at_least=(min(ends, default=np.inf), max(ends, default=0)), edge_reach=1.0)
    log = low > 0 and high > _LOG_RATIO * low and name == "resolution"
    span = (low / 1.15, high * 1.15) if log else (0, 1.1 * high or 1)
    drawn = marks(view.shown, points, abscissa)
    lines = [*(line for shown in view.shown for line in _fitted(shown, abscissa)), *published]
    items: list[Item] = [*lines, *drawn] if max(map(len, points)) > MANY_POINTS else [*drawn, *lines]
    label = f"{view.report.width_name} of {RESPONSE} [%]"
    upper = Panel(
        axis, Axis(label, span[0], span[1], log), tuple(items), share=2.4, empty="" if any(map(len, points)) else EMPTY
    )
    panels = [upper, *_ratio_panel(view, axis, abscissa)]
    limited = [_LIMIT_NOTE] if any(shown.curve.fit and shown.curve.fit.limits for shown in view.shown) else []
    independent = []
    if view.several:
        independent = [_RATIO_NOTE if len(panels) > 1 else "no bins of energy in common, so that there are no ratios"]
    heading = Heading("energy resolution", view.sample, _fit_rows(view), [*limited, *independent])
    return Chart(name, heading, tuple(panels), 2.2 + 0.9 * len(panels))


def _ratio_panel(view: View, axis: Axis, abscissa: Callable[[Array], Array]) -> list[Panel]:
    ratios = view.ratios()
    points = [item for _, item in ratios]
    if not any(map(len, points)):
        return []
    low, high = limits(points, at_least=(0.98, 1.02))
    values = np.concatenate([item.value for item in points])
    if high > _TWICE and np.mean(values < _TWICE) > _ENOUGH:
        inside = [item.select(item.value < _TWICE) for item in points]
        low, high = limits(inside, at_least=(0.98, 1.02))
        high = min(high, _TWICE)
    low, pad = max(low, 0), 0.08 * (high - low)
    label = f"ratio to\n{short(view.first.label, 18)}" if view.several else f"{view.first.curve.name}\n/ baseline"
    drawn = marks([shown for shown, _ in ratios], points, abscissa)
    return [Panel(axis, Axis(label, low - pad, high + pad), (*drawn, Rule(1)))]


def _fitted(shown: Shown, abscissa: Callable[[Array], Array]) -> list[Line]:
    fit = shown.curve.fit
    if fit is None:
        return []
    energy = np.geomspace(fit.energy_min, fit.energy_max, 200)
    return [Line(f"{shown.label}, fit", shown.look, abscissa(energy), PERCENT * fit(energy))]


def _fit_rows(view: View) -> list[Row]:
    rows = [Row((f"{view.report.width_name} = {view.report.formula}", "a [% √GeV]", "n [GeV]", "c [%]", "χ²/ndf"))]
    for shown in view.shown:
        fit = shown.curve.fit
        terms = (*fitted_terms(fit), f"{fit.chi2:.1f}/{fit.ndf}") if fit else (NONE,) * 4
        rows.append(Row((shown.short, *terms), shown.look))
    for item, look in zip(view.references, published_looks(len(view.references)), strict=True):
        label = short(item.label, _LONGEST_REFERENCE - len(item.formula))
        rows.append(Row((f"{label}: {item.formula}",), look))
    return rows


def _linearity_row(shown: Shown) -> Row:
    linearity, look = shown.curve.linearity, replace(shown.look, line="none")
    if linearity is None:
        return Row((shown.short, *(NONE,) * 3), look)
    numbers = (
        four_decimals(linearity.response),
        f"{PERCENT * linearity.max:.2f} %",
        f"{PERCENT * linearity.rms:.2f} %",
    )
    return Row((shown.short, *numbers), look)
