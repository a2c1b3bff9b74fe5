"""The figure of the distributions of the response."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from calomlp.errors import ArtefactError
from calomlp.evaluation.histogram import BIN_WIDTH, Histogram
from calomlp.plotting.frame import Heading, Row, framed, settle, short
from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import count, energy_range, with_error
from calomlp.plotting.style import COLUMN, PAGE, SMALL, looks, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from calomlp.evaluation.report import Bin, Curve, Report

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
_CORE_COLOUR = "#202020"
_FAR_NOTE = f"baselines that are further than {_WIDEST:g}σ away are outside of the frames"
_NOTE = "black: Gaussian core (mean μ, width σ) inside ±{:g}σ, dashed outside of it"


def response(report: Report) -> Figure:
    """Draw the distributions of E_reco/E_true at several energies, with the Gaussian core of the regressor.

    Raises:
        ArtefactError: If the report has no event in its histograms.
    """
    chosen = _representative(report.curves[0])
    if not chosen:
        raise ArtefactError("the report has no event in its histograms, so there is no distribution to draw")
    columns = min(len(chosen), 4 if len(chosen) > _CHOSEN else 3)
    rows = math.ceil(len(chosen) / columns)
    far = any(_is_far(bin_, same) for bin_ in chosen for _, same in _beside(report, bin_))
    total = len(report.curves[0].bins)
    shown = f"; {len(chosen)} of {total} bins of energy are shown" if len(chosen) < total else ""
    notes = [_NOTE.format(report.options.core_sigmas) + shown, *([_FAR_NOTE] if far else [])]
    with style():
        width = COLUMN if columns == 1 else PAGE * min(columns, 3) / 3
        heading = Heading("response", f"{count(report.events)} events", _rows(report), notes)
        figure = framed(heading, width=width, height=0.2 + 1.8 * rows)
        for position, bin_ in enumerate(chosen):
            axes = figure.add_subplot(rows, columns, position + 1)
            _draw_panel(axes, report, bin_)
            if position % columns == 0:
                axes.set_ylabel("events")
            if position + columns >= len(chosen):
                axes.set_xlabel(r"$E_\mathrm{reco}/E_\mathrm{true}$")
        return settle(figure)


def _representative(curve: Curve) -> list[Bin]:
    """Return all bins if they are few, otherwise some that are evenly spread; those at an edge only if need be."""
    filled = [bin_ for bin_ in curve.bins if len(bin_.histogram.index)]
    if len(filled) <= _ALL_UP_TO:
        return filled
    inner = [bin_ for bin_ in filled if bin_.estimates and not bin_.edge]
    pool = inner if len(inner) >= _CHOSEN else filled
    return [pool[round(i)] for i in np.linspace(0, len(pool) - 1, _CHOSEN)]


def _rows(report: Report) -> list[Row]:
    look = looks([curve.name for curve in report.curves])
    first, *others = report.curves
    filled = Row((short(first.label),), replace(look[first.name], marker="s", line="none"))
    return [filled, *(Row((short(curve.label),), replace(look[curve.name], marker="", line="-")) for curve in others)]


def _draw_panel(axes: Axes, report: Report, bin_: Bin) -> None:
    look = looks([curve.name for curve in report.curves])
    first, beside = report.curves[0], _beside(report, bin_)
    step, low, high = _binning(bin_, [same for _, same in beside])
    edges, events = _rebinned(bin_.histogram, step, low, high)
    colour = look[first.name].colour
    axes.stairs(events, edges, baseline=_FLOOR, fill=True, color=colour, alpha=0.35, linewidth=0, zorder=1)
    axes.stairs(events, edges, baseline=_FLOOR, color=colour, linewidth=0.8, zorder=3)
    peak = max(float(events.max()), 10 * _FLOOR)
    for name, same in beside:
        _, others_events = _rebinned(same.histogram, step, low, high)
        axes.stairs(others_events, edges, baseline=_FLOOR, color=look[name].colour, linewidth=0.7, zorder=2)
        peak = max(peak, float(others_events.max()))
    if bin_.estimates:
        _draw_core(axes, bin_, edges, report.options.core_sigmas)
    axes.set_yscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(_FLOOR, _FLOOR * (peak / _FLOOR) ** (1 / (1 - _HEADROOM)))
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    _write_numbers(axes, bin_)


def _draw_core(axes: Axes, bin_: Bin, edges: NDArray[np.float64], reach: float) -> None:
    """Draw the Gaussian of the core, normalised to the events inside its window."""
    mean, sigma = bin_.estimates["core_mean"].value, bin_.estimates["core_sigma"].value
    inside = np.abs(bin_.histogram.centres - mean) < reach * sigma
    events = bin_.histogram.count[inside].sum() / math.erf(reach / math.sqrt(2))
    x = np.linspace(edges[0], edges[-1], 400)
    density = np.exp(-(((x - mean) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    y = events * density * (edges[1] - edges[0])
    core = np.abs(x - mean) <= reach * sigma
    axes.plot(x, y, color=_CORE_COLOUR, linewidth=0.7, linestyle=(0, (3, 2)), zorder=4)
    axes.plot(x[core], y[core], color=_CORE_COLOUR, linewidth=1.1, zorder=5)


def _write_numbers(axes: Axes, bin_: Bin) -> None:
    where = f"{energy_range(bin_.energy_low, bin_.energy_high)} GeV" + (" (edge)" if bin_.edge else "")
    axes.set_title(where, loc="left", fontsize=SMALL, pad=3)
    axes.set_title(f"N = {count(bin_.events)}", loc="right", fontsize=SMALL, pad=3)
    if bin_.estimates:
        mean = with_error(bin_.estimates["core_mean"])
        resolution = with_error(bin_.estimates["resolution"], PERCENT)
        numbers = f"μ = {mean}\nσ/μ = ({resolution}) %"
        axes.text(0.07, 0.95, numbers, transform=axes.transAxes, va="top", fontsize=SMALL)


def _binning(bin_: Bin, beside: list[Bin]) -> tuple[int, int, int]:
    """Return fine bins per bin of the figure, and the range in fine bins, from the cores of what is drawn."""
    mean, sigma = _centre(bin_)
    low, high = mean - _REACH * sigma, mean + _REACH * sigma
    for other_mean, other_sigma in (_centre(other) for other in beside if not _is_far(bin_, other)):
        low = min(low, other_mean - _BASELINE_REACH * other_sigma)
        high = max(high, other_mean + _BASELINE_REACH * other_sigma)
    low, high = max(low, mean - _WIDEST * sigma), min(high, mean + _WIDEST * sigma)
    bins = min(_BINS, max(_FEWEST_BINS, round(2 * math.sqrt(bin_.events))))
    step = max(1, round((high - low) / BIN_WIDTH / bins))
    first = math.floor((low - 1) / BIN_WIDTH / step)
    last = max(math.ceil((high - 1) / BIN_WIDTH / step), first + 1)
    return step, first * step, last * step


def _is_far(bin_: Bin, other: Bin) -> bool:
    (mean, sigma), (other_mean, _) = _centre(bin_), _centre(other)
    return abs(other_mean - mean) > _WIDEST * sigma


def _centre(bin_: Bin) -> tuple[float, float]:
    """Return mean and sigma of the core, or of all entries of the histogram where there is no core."""
    if bin_.estimates:
        return bin_.estimates["core_mean"].value, bin_.estimates["core_sigma"].value
    histogram = bin_.histogram
    if not len(histogram.index):
        return 1.0, BIN_WIDTH
    mean = float(np.average(histogram.centres, weights=histogram.count))
    variance = float(np.average((histogram.centres - mean) ** 2, weights=histogram.count))
    return mean, max(math.sqrt(variance), BIN_WIDTH)


def _rebinned(histogram: Histogram, step: int, low: int, high: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return edges and events of the histogram between two fine bins, in bins of ``step`` fine ones."""
    inside = (histogram.index >= low) & (histogram.index < high)
    events = np.zeros((high - low) // step, dtype=np.int64)
    np.add.at(events, (histogram.index[inside] - low) // step, histogram.count[inside])
    edges = 1 + BIN_WIDTH * np.arange(low, high + 1, step, dtype=np.float64)
    return edges, events


def _beside(report: Report, bin_: Bin) -> list[tuple[str, Bin]]:
    """Return the bins of the baselines at the same energy, with the names of their curves."""
    energies = (bin_.energy_low, bin_.energy_high)
    return [
        (curve.name, same)
        for curve in report.curves[1:]
        for same in curve.bins
        if (same.energy_low, same.energy_high) == energies
    ]
