"""Resolution and linearity against true energy: what a referee expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from calomlp.evaluation.measurement import PERCENT, four_decimals
from calomlp.evaluation.options import WIDTHS
from calomlp.evaluation.report import Linearity
from calomlp.evaluation.resolution import ResolutionFit
from calomlp.evaluation.verdicts import BANDS, LIMIT_MARK, fitted_terms
from calomlp.plotting.chart import (
    MANY_POINTS,
    Array,
    Axis,
    Chart,
    Entry,
    Item,
    Line,
    Marks,
    Panel,
    Rule,
    Shade,
    published_looks,
)
from calomlp.plotting.points import Points, deviation_points, limits, resolution_points
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

_UNITS = (("a", "% √GeV", "%/√E"), ("n", "GeV", "GeV/E"), ("c", "%", "%"))
"""Name of each term of the resolution, its unit, and what is behind the number in the formula."""

_RATIO_NOTE = "ratio: errors as of different events"
_SAME_NOTE = (
    "ratio: the events are the same, so that the errors, as of different ones, are upper limits; "
    "calomlp evaluate --compare has those of shared events"
)
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
    centre = WIDTHS[view.report.options.width].centre
    panel = Panel(
        axis,
        Axis.spanning(f"{centre} of {RESPONSE}, minus 1 [%]", (low, high)),
        (*marks(view.shown, points), Rule(0), *(Shade(-at, at, 0.8 + 0.06 * at) for at in BANDS)),
        empty="" if any(map(len, points)) else EMPTY,
    )
    remarks = [_linearity(shown.label, shown.curve.linearity) for shown in view.shown if shown.curve.linearity]
    remarks.append(f"grey bands: ±{BANDS[0]:g} % and ±{BANDS[1]:g} %")
    return Chart("linearity", "linearity", view.sample, (panel,), 2.3, legend(view.shown), remarks)


def energy_axis(view: View) -> Axis:
    """Return the axis of the true energy for all bins: logarithmic above one decade."""
    low = min(bin_.energy_low for bin_ in view.bins)
    high = max(bin_.energy_high for bin_ in view.bins)
    return Axis.spanning(E_TRUE, (low, high), pad=0.03, log_from=10)


def legend(shown: Sequence[Shown], *, lines: bool = False) -> list[Entry]:
    """Return a legend of curves: points without lines, or with those of the fits and their terms."""
    if not lines:
        return [Entry(one.short, replace(one.look, line="none")) for one in shown]
    return [Entry(one.short, one.look, _formula(one)) for one in shown]


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
    remarks = [f"{view.report.width_name}: {WIDTHS[view.report.options.width].label}"]
    fits = [(shown, shown.curve.fit) for shown in view.shown if shown.curve.fit]
    remarks += [_fit(shown, fit) for shown, fit in fits]
    remarks += [_LIMIT_NOTE] if any(fit.limits for _, fit in fits) else []
    if view.several and len(panels) == 1:
        remarks.append("no bins of energy in common, so that there are no ratios")
    elif view.several:
        remarks.append(_SAME_NOTE if view.same_events else _RATIO_NOTE)
    entries = legend(view.shown, lines=True)
    for item, look in zip(view.references, published_looks(len(view.references)), strict=True):
        entries.append(Entry(short(item.label), look, item.formula))
        remarks.append(f"{item.label}: {item.formula}")
    return Chart(name, "energy resolution", view.sample, tuple(panels), 1.6 + 0.9 * len(panels), entries, remarks)


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
    label = f"ratio to\n{short(view.first.label, 18)}" if view.several else f"{view.first.curve.name}\n/ baseline"
    drawn = marks([shown for shown, _ in ratios], points, abscissa)
    return [Panel(axis, Axis.spanning(label, (max(low, 0), high), pad=0.08), (*drawn, Rule(1)))]


def _fitted(shown: Shown, abscissa: Callable[[Array], Array]) -> list[Line]:
    fit = shown.curve.fit
    if fit is None:
        return []
    energy = np.geomspace(fit.energy_min, fit.energy_max, 200)
    return [Line(f"{shown.label}, fit", shown.look, abscissa(energy), PERCENT * fit(energy))]


def _formula(shown: Shown) -> str:
    """Write the terms of a fit as a formula, without their errors."""
    fit = shown.curve.fit
    if fit is None:
        return ""
    numbers = [text.partition(" ±")[0] for text in fitted_terms(fit)]
    sign = " ⊕ " if "⊕" in shown.report.formula else " + "
    return sign.join(f"{number} {unit}" for number, (_, _, unit) in zip(numbers, _UNITS, strict=True) if number != "0")


def _fit(shown: Shown, fit: ResolutionFit) -> str:
    """Write the terms of a fit with their errors."""
    terms = []
    for text, (name, unit, _) in zip(fitted_terms(fit), _UNITS, strict=True):
        limited = text.startswith(LIMIT_MARK)
        terms.append(f"{name} {text} {unit}" if limited else f"{name} = ({text}) {unit}")
    span = f"fitted from {fit.energy_min:.3g} to {fit.energy_max:.3g} GeV"
    formula = f"{shown.report.width_name} = {shown.report.formula}"
    return f"{shown.label}: {formula}, {', '.join(terms)}, χ²/ndf = {fit.chi2:.1f}/{fit.ndf}, {span}"


def _linearity(label: str, linearity: Linearity) -> str:
    deviations = f"{PERCENT * linearity.max:.2f} % at most, RMS {PERCENT * linearity.rms:.2f} %"
    return f"{label}: mean response {four_decimals(linearity.response)}, deviation {deviations}"
