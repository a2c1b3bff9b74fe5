"""Distributions of the response, and what follows from them: medians, bands and tails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from calomlp.evaluation.histogram import Histogram, fine_width
from calomlp.evaluation.measurement import PERCENT, count, energy_range, with_error
from calomlp.evaluation.options import WIDTHS
from calomlp.evaluation.report import Bin, Curve
from calomlp.plotting.chart import (
    BLACK,
    Array,
    Axis,
    Band,
    Chart,
    Entry,
    Item,
    Line,
    Look,
    NothingToDraw,
    Panel,
    Rule,
    Steps,
)
from calomlp.plotting.charts.against_energy import EMPTY, RESPONSE, energy_axis, legend, marks
from calomlp.plotting.points import Points, estimate_events, estimate_points, limits
from calomlp.plotting.view import Shown, View
from calomlp.quantiles import SHARES

_ALL_UP_TO = 8
"""Up to this many energies are all shown; of more, :data:`_CHOSEN`."""

_CHOSEN = 6
_BINS = 70
_FEWEST_BINS = 15
_REACH = 5.0  # sigma of the regressor
_BASELINE_REACH = 4.0  # sigma of a baseline
_WIDEST = 10.0  # sigma of the regressor: a baseline that is far off does not squeeze it
_FLOOR = 0.5  # events: a bin with one event is seen on the logarithmic axis
_HEADROOM = 0.28  # share of the height that is kept for text
_CORE, _BEYOND = Look(BLACK.colour), Look(BLACK.colour, "", (0, (3, 2)))
_FAR_NOTE = f"baselines that are further than {_WIDEST:g}σ away are outside of the frames"
_NOTE = "black: Gaussian core of {} inside ±{:g}σ, dashed outside of it; numbers: {}"
_BAND_NOTE = "points: medians; band: 16 to 84 % of the events"

_LIMIT = 1.14  # -ln(1 - 0.68)
_TAILS = {"tail_2sigma": (2, 4.55), "tail_3sigma": (3, 0.27)}
"""Share of the events [%] that a Gaussian has beyond two and three standard deviations."""


def response(view: View) -> Chart:
    """Show the distributions of E_reco/E_true at several energies, on logarithmic axes, with the Gaussian core."""
    return _response(view, "response", log=True)


def response_linear(view: View) -> Chart:
    """Show the same on linear axes."""
    return _response(view, "response-linear", log=False)


def energy(view: View) -> Chart:
    """Show measured energy and response against true energy: medians, and the band that holds 68 % of the events."""
    axis = energy_axis(view)
    quantiles = [_quantiles(shown.curve) for shown in view.shown]
    if not any(len(item[0]) for item in quantiles):
        raise NothingToDraw("no bin of the report has events enough for quantiles, so there is no band to draw")
    label, look, (true, low, _, high) = view.first.label, view.first.look, quantiles[0]
    medians = [estimate_points(shown.curve, "median") for shown in view.shown]
    points = [Points(of.energy, of.energy * of.value, of.energy * of.error, of.edge) for of in medians]
    ends = (axis.low, axis.high)
    top = max(float(np.max(item[0] * item[3], initial=0)) for item in quantiles)
    lowest = min(float(np.min(item[0] * item[1], initial=np.inf)) for item in quantiles)
    middle = min(float(np.min(at := item[0] * item[2], initial=np.inf, where=at > 0)) for item in quantiles)
    measured = Axis(
        r"$E_\mathrm{reco}$ [GeV]",
        max(min(axis.low, lowest), min(axis.low, middle) / 3) if axis.log else min(0, axis.low, lowest),
        max(axis.high, top),
        axis.log,
    )
    diagonal = Line("E_reco = E_true", BLACK, np.array(ends), np.array(ends), thin=True)
    upper = Panel(
        axis,
        measured,
        (*marks(view.shown, points), Band(label, look, true, true * low, true * high), diagonal),
        share=1.4,
    )
    span = limits(
        [*medians, Points(true, low, 0 * low, true < 0), Points(true, high, 0 * high, true < 0)], at_least=(0.98, 1.02)
    )
    drawn = marks(view.shown, medians)
    lower = Panel(axis, Axis.spanning(RESPONSE, span), (*drawn, Band(label, look, true, low, high), Rule(1)))
    remarks = [f"{_BAND_NOTE} of {view.first.label}" if len(view.shown) > 1 else _BAND_NOTE]
    return Chart("energy", "measured energy", view.sample, (upper, lower), 3.7, legend(view.shown), remarks)


def tails(view: View) -> Chart:
    """Show the share of events that are further than two and three widths from the core."""
    axis = energy_axis(view)
    panels, none = [], False
    for name, (sigmas, gaussian) in _TAILS.items():
        points = [_with_limits(shown.curve, name) for shown in view.shown]
        none = none or any((of.value == 0).any() for of in points)
        _, high = limits(points, at_least=(0, 1.5 * gaussian), edge_reach=1.0)
        items: tuple[Item, ...] = (*marks(view.shown, points), Rule(gaussian, dotted=True))
        empty = "" if any(map(len, points)) else EMPTY
        panels.append(Panel(axis, Axis(f"beyond {sigmas}σ [%]", -0.03 * high, 1.08 * high), items, empty=empty))
    remarks = ["events further from the core than so many of its widths; dotted: a Gaussian"]
    remarks += ["bars of points at zero reach to 1.14 events, the limit at 68 % CL"] if none else []
    return Chart("tails", "tails", view.sample, tuple(panels), 3.2, legend(view.shown), remarks)


def _with_limits(curve: Curve, name: str) -> Points:
    """Return shares [%]; those of no event have the error of a Poisson distribution, 1.14 events at 68 % CL."""
    points = estimate_points(curve, name, PERCENT)
    events = estimate_events(curve, name)
    return replace(points, error=np.where(points.value == 0, _LIMIT * PERCENT / events, points.error))


def _quantiles(curve: Curve) -> tuple[Array, Array, Array, Array]:
    """Return energies, and the quantiles of the response there, of the bins with estimates; shape [bins] each."""
    bins = [bin_ for bin_ in curve.bins if bin_.estimates]
    quantiles = [
        np.interp(
            np.multiply(SHARES, bin_.histogram.count.sum()),
            np.cumsum(bin_.histogram.count) - bin_.histogram.count / 2,
            bin_.histogram.centres,
        )
        for bin_ in bins
    ]
    low, middle, high = np.array(quantiles).reshape(-1, 3).T
    return np.array([bin_.energy for bin_ in bins], dtype=np.float64), low, middle, high


def _response(view: View, name: str, *, log: bool) -> Chart:
    chosen = _representative(view.first.curve)
    if not chosen:
        raise NothingToDraw("the report has no event in its histograms, so there is no distribution to draw")
    columns = min(len(chosen), 4 if len(chosen) > _CHOSEN else 3)
    rows = math.ceil(len(chosen) / columns)
    far = any(_is_far(bin_, same) for bin_ in chosen for _, same in _beside(view, bin_))
    total = len(view.first.curve.bins)
    shown = f"; {len(chosen)} of {total} bins of energy are shown" if len(chosen) < total else ""
    first, options = view.first, view.report.options
    remarks = [_NOTE.format(first.label, options.core_sigmas, WIDTHS[options.width].label) + shown]
    remarks += [_FAR_NOTE] if far else []
    drawn = {shown.label for bin_ in chosen for shown, _ in _beside(view, bin_)}
    others = [one for one in view.shown[1:] if one.label in drawn]
    missing = [one.short for one in view.shown[1:] if one.label not in drawn]
    if missing:
        remarks.append(f"without {', '.join(missing)}, in other bins of energy")
    entries = [Entry(first.short, replace(first.look, marker="s", line="none"))]
    entries += [Entry(one.short, replace(one.look, marker="", line="-")) for one in others]
    panels = tuple(_panel(view, bin_, log=log) for bin_ in chosen)
    height = 0.2 + 1.8 * rows
    return Chart(name, "response", view.sample, panels, height, entries, remarks, columns, wide=columns > 1)


def _representative(curve: Curve) -> list[Bin]:
    """Return all bins if they are few, otherwise some that are evenly spread; those at an edge only if need be."""
    filled = [bin_ for bin_ in curve.bins if len(bin_.histogram.index)]
    if len(filled) <= _ALL_UP_TO:
        return filled
    inner = [bin_ for bin_ in filled if bin_.estimates and not bin_.edge]
    pool = inner if len(inner) >= _CHOSEN else filled
    return [pool[round(i)] for i in np.linspace(0, len(pool) - 1, _CHOSEN)]


def _panel(view: View, bin_: Bin, *, log: bool) -> Panel:
    first, beside = view.first, _beside(view, bin_)
    edges = _edges(bin_, [same for _, same in beside])
    events = _rebinned(bin_.histogram, edges)
    histograms = [Steps(first.label, first.look, edges, events, filled=True)]
    for shown, same in beside:
        histograms.append(Steps(shown.label, replace(shown.look, line="-"), edges, _rebinned(same.histogram, edges)))
    peak = max(10 * _FLOOR, *(float(item.y.max()) for item in histograms))
    core = _core(bin_, edges, view.report.options.core_sigmas) if "core_sigma" in bin_.estimates else ()
    numbers = []
    if "resolution" in bin_.estimates:
        chosen = WIDTHS[view.report.options.width]
        numbers.append(f"{chosen.centre} = {with_error(bin_.estimates[chosen.location])}")
        numbers.append(f"{view.report.width_name} = ({with_error(bin_.estimates['resolution'], PERCENT)}) %")
    if beyond := bin_.events - int(events.sum()):
        numbers.append(f"{count(beyond)} beyond")
    top = _FLOOR * (peak / _FLOOR) ** (1 / (1 - _HEADROOM)) if log else peak / (1 - _HEADROOM)
    return Panel(
        Axis(RESPONSE, float(edges[0]), float(edges[-1])),
        Axis("events", _FLOOR if log else 0, top, log),
        (*core, *histograms),
        left=f"{energy_range(*bin_.edges)} GeV" + (" (edge)" if bin_.edge else ""),
        right=f"N = {count(bin_.events)}",
        text="\n".join(numbers),
    )


def _core(bin_: Bin, edges: Array, reach: float) -> tuple[Line, Line]:
    """Return the Gaussian of the core, normalised to the events inside its window, inside of it and everywhere."""
    mean, sigma = bin_.estimates["core_mean"].value, bin_.estimates["core_sigma"].value
    inside = np.abs(bin_.histogram.centres - mean) < reach * sigma
    events = bin_.histogram.count[inside].sum() / math.erf(reach / math.sqrt(2))
    x = np.linspace(edges[0], edges[-1], 200)
    density = np.exp(-(((x - mean) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    y = events * density * (edges[1] - edges[0])
    core = np.abs(x - mean) <= reach * sigma
    return Line("Gaussian core", _CORE, x[core], y[core]), Line("core, extended", _BEYOND, x, y, thin=True)


def _edges(bin_: Bin, beside: list[Bin]) -> Array:
    """Return edges of the bins of the figure, each of whole fine ones, from the cores of what is drawn."""
    mean, sigma = _centre(bin_)
    low, high = mean - _REACH * sigma, mean + _REACH * sigma
    for other_mean, other_sigma in (_centre(other) for other in beside if not _is_far(bin_, other)):
        low = min(low, other_mean - _BASELINE_REACH * other_sigma)
        high = max(high, other_mean + _BASELINE_REACH * other_sigma)
    low, high = max(low, mean - _WIDEST * sigma), min(high, mean + _WIDEST * sigma)
    bins = min(_BINS, max(_FEWEST_BINS, round(2 * math.sqrt(bin_.events))))
    finest = fine_width(max(abs(low), abs(high)))
    width = finest * max(1, round((high - low) / finest / bins))
    first = math.floor(low / width)
    last = max(math.ceil(high / width), first + 1)
    return np.asarray(width * np.arange(first, last + 1), dtype=np.float64)


def _is_far(bin_: Bin, other: Bin) -> bool:
    (mean, sigma), (other_mean, _) = _centre(bin_), _centre(other)
    return abs(other_mean - mean) > _WIDEST * sigma


def _centre(bin_: Bin) -> tuple[float, float]:
    """Return mean and sigma of the core, or of all entries of the histogram where there is no core."""
    if "core_sigma" in bin_.estimates:
        return bin_.estimates["core_mean"].value, bin_.estimates["core_sigma"].value
    histogram = bin_.histogram
    if not len(histogram.index):
        return 1.0, fine_width(1.0)
    mean = float(np.average(histogram.centres, weights=histogram.count))
    variance = float(np.average((histogram.centres - mean) ** 2, weights=histogram.count))
    return mean, max(math.sqrt(variance), fine_width(mean))


def _rebinned(histogram: Histogram, edges: Array) -> Array:
    """Return the events of the histogram in wider bins, shape [bins]."""
    return np.asarray(np.histogram(histogram.centres, edges, weights=histogram.count)[0], dtype=np.float64)


def _beside(view: View, bin_: Bin) -> list[tuple[Shown, Bin]]:
    """Return the bins of the other curves at the same energy."""
    return [(shown, same) for shown in view.shown[1:] for same in shown.curve.bins if same.edges == bin_.edges]
