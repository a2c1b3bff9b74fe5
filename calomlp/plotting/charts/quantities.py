"""Dependence of the response on other quantities, importance of features, domain of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calomlp.evaluation.measurement import PERCENT, count, with_error
from calomlp.evaluation.report import Report
from calomlp.evaluation.slices import Dependence
from calomlp.evaluation.statistics import IN_DOMAIN
from calomlp.plotting.chart import (
    Array,
    Axis,
    Bars,
    Chart,
    Marks,
    NothingToDraw,
    Panel,
    Rule,
    Shade,
    literal,
    looks,
)
from calomlp.plotting.charts.against_energy import energy_axis, legend, marks
from calomlp.plotting.points import deviation_points, limits
from calomlp.plotting.view import View, short

_MOST_PANELS, _MOST_BARS = 8, 24
_LONGEST_NAME = 38
_LEAST = 1e-6  # probability
_LOG_RATIO = 50.0
"""Bars that differ by more than this factor are on a logarithmic axis."""

_FAR = 50.0
"""Points that are further off than this [%] do not widen the axis."""

_WORDS = {"pdg_id": "PDG ID of the particle"}


def dependence(view: View) -> Chart:
    """Show the median response in slices of each quantity that was asked for."""
    report = view.single("the dependence on a quantity")
    named = list(dict.fromkeys(item.by for item in report.dependences if item.by != IN_DOMAIN))
    groups = [[item for item in report.dependences if item.by == by] for by in named[:_MOST_PANELS]]
    panels = tuple(panel for group in groups if (panel := _dependence(view, group)))
    if not panels:
        raise NothingToDraw("the report has no two slices of a quantity to draw: evaluate with --by")
    columns = 1 if len(panels) == 1 else 2
    left_out = f"; {_MOST_PANELS} of {len(named)} quantities are shown" if len(named) > _MOST_PANELS else ""
    remarks = [
        f"medians over all energies; p: probability of a larger χ² if that of {view.first.label} were flat{left_out}"
    ]
    height = 2.2 if columns == 1 else 0.2 + 1.9 * ((len(panels) + 1) // 2)
    return Chart(
        *("dependence", "response by quantity", view.sample, panels, height, legend(view.shown), remarks, columns),
        wide=columns > 1,
        separate=True,
    )


def importance(view: View) -> Chart:
    """Show by how much the energies become worse if a feature is shuffled."""
    report = view.single("the importance of features")
    shown = report.importance[:_MOST_BARS]
    if not shown:
        raise NothingToDraw("the report has no importance of features: evaluate with --importance")
    value, error = (PERCENT * np.array([getattr(item.increase, part) for item in shown]) for part in ("value", "error"))
    left_out = len(report.importance) - len(shown)
    more = [f"the largest {len(shown)} of {len(report.importance)} features"] if left_out else []
    if not (value > 0).all():
        more.append("features without a bar do not increase it")
    remarks = ["increase of the mean deviation if a feature is taken from another event", *more]
    panel = _bars([item.feature for item in shown], value, error, "increase [%]", view)
    title = "importance of features"
    return Chart("importance", title, view.sample, (panel,), _height(len(shown)), (), remarks)


def domain(view: View) -> Chart:
    """Show the response beyond the energies of the training, and which features are outside of their range."""
    report = view.single("the domain of the training")
    region = report.context.envelope
    if region is None:
        raise NothingToDraw("the report is not of a model, so there is no domain of the training to draw")
    axis = energy_axis(view)
    points = [deviation_points(shown.curve) for shown in view.shown]
    near = [item.select(np.abs(item.value) < _FAR) for item in points]
    low, high = limits(near, at_least=(-2.0, 2.0), edge_reach=10.0)
    shades = [Shade(axis.low, region.energy_min, vertical=True), Shade(region.energy_max, axis.high, vertical=True)]
    beyond = [item for item in shades if item.low < item.high]
    response = Panel(
        axis,
        Axis.spanning("response, minus 1 [%]", (low, high)),
        (*marks(view.shown, points), Rule(0), *beyond),
    )
    panels = [response]
    outside = sorted(report.statistics.outside.items(), key=lambda item: -item[1])[:_MOST_BARS]
    if outside:
        share = PERCENT * np.array([number for _, number in outside]) / report.events
        panels.append(
            _bars([name for name, _ in outside], share, None, "events outside of the training's range [%]", view)
        )
    span = f"{region.energy_min:.4g} to {region.energy_max:.4g} GeV"
    remarks = [f"grey: outside of the energies of the training, {span}", *_inside_and_outside(report)]
    height, columns = max(2.4, _height(len(outside))), len(panels)
    return Chart(
        *("domain", "domain of the training", view.sample, tuple(panels), height, legend(view.shown), remarks, columns),
        wide=columns > 1,
        separate=True,
    )


def _inside_and_outside(report: Report) -> list[str]:
    """Say what the response is inside and outside of the domain."""
    own = next((item for item in report.dependences if item.by == IN_DOMAIN), None)
    if own is None:
        return []
    sentences = []
    for slice_ in own.slices:
        median, width = slice_.estimates.get("median"), slice_.estimates.get("sigma_68")
        numbers = f", median {with_error(median)}, σ68 ({with_error(width, PERCENT)}) %" if median and width else ""
        sentences.append(f"{'inside' if slice_.value else 'outside'}: {count(slice_.events)} events{numbers}")
    return sentences


def _dependence(view: View, group: Sequence[Dependence]) -> Panel | None:
    """Return the panel of one quantity; none if fewer than two slices have events enough."""
    look = looks([shown.curve.name for shown in view.shown])
    labels = {shown.curve.name: shown.label for shown in view.shown}
    drawn = []
    for item in group:
        slices = [slice_ for slice_ in item.slices if "median" in slice_.estimates]
        if len(slices) > 1:
            medians = [slice_.estimates["median"] for slice_ in slices]
            x, y, error = (
                np.array(column, dtype=np.float64)
                for column in zip(
                    *((one.value, it.value, it.error) for one, it in zip(slices, medians, strict=True)), strict=True
                )
            )
            drawn.append(Marks(labels[item.curve], look[item.curve], x, y, error))
    if not drawn:
        return None
    low = min(0.98, *(float((item.y - item.error).min()) for item in drawn if item.error is not None))
    high = max(1.02, *(float((item.y + item.error).max()) for item in drawn if item.error is not None))
    x = np.concatenate([item.x for item in drawn])
    trend = group[0].trend
    return Panel(
        _across(
            _WORDS.get(group[0].by, literal(group[0].by)),
            x,
            whole=all(part.low == part.high for part in group[0].slices),
        ),
        Axis.spanning("median response", (low, high), pad=0.08),
        (*drawn, Rule(1)),
        right="" if trend is None else f"p = {trend.p_value:.2g}" if trend.p_value > _LEAST else "p < $10^{-6}$",
    )


def _across(label: str, x: Array, *, whole: bool) -> Axis:
    """Return the axis of a quantity; values far apart that are whole numbers, such as PDG IDs, are named."""
    distinct = np.unique(x)
    ticks = tuple((value, f"{value:g}") for value in distinct.tolist()) if whole and len(distinct) <= 4 else ()
    return replace(Axis.spanning(short(label, 48), x), ticks=ticks, whole=whole)


def _bars(names: Sequence[str], value: Array, error: Array | None, label: str, view: View) -> Panel:
    """Return bars with the names of features beside them, the first on top."""
    place = -np.arange(len(names), dtype=np.float64)
    ends = value if error is None else np.concatenate([value - error, value + error])
    top, seen = float(ends.max()), value[value > 0]
    log = len(seen) > 0 and float(seen.min()) * _LOG_RATIO < top
    axis = Axis(label, max(0.5 * float(seen.min()), 1e-5 * top), 1.5 * top, log=True) if log else None
    low = min(0.0, 1.05 * float(ends.min()))
    ticks = tuple((at, _named(name)) for at, name in zip(place.tolist(), names, strict=True))
    return Panel(
        axis or Axis(label, low, 1.05 * top or 1.0),
        Axis("", float(place[-1]) - 0.6, 0.6, ticks=ticks),
        (Bars(view.first.label, view.first.look, value, place, error),),
    )


def _named(name: str) -> str:
    """Return the name of a feature, cut in the middle: features may differ by their ends alone."""
    if len(name) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        name = f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"
    return literal(name)


def _height(bars: int) -> float:
    """Return the height of a panel of bars [inch]."""
    return 0.5 + 0.14 * bars
