"""Figures beside bare matplotlib, which draws and saves the same content once, with default fonts and no layout."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calomlp.plotting import paper
from calomlp.plotting.chart import Band, Bars, Chart, Item, Line, Marks, Rule, Shade, Steps
from calomlp.plotting.figures import REPORT_CHARTS
from calomlp.plotting.kinds import FORMATS
from calomlp.plotting.render import to_html
from calomlp.plotting.save import picture, write_figures
from calomlp.plotting.view import View
from tests.plotting.conftest import everything

pytestmark = pytest.mark.benchmark

ROUNDS = 3
MARGIN = 1.3
TICKS: Any = {
    f"{axis}tick.{name}": value
    for axis, far in (("x", "top"), ("y", "right"))
    for name, value in (("direction", "in"), ("minor.visible", True), (far, True))
}


def bare(chart: Chart) -> Figure:
    """Draw a chart as anybody would: the same data, axes, labels and legend."""
    figure = Figure(figsize=(7, 5) if chart.wide else (3.5, 4))
    rows = -(-len(chart.panels) // chart.columns)
    for i, panel in enumerate(chart.panels):
        axes = figure.add_subplot(rows, chart.columns, i + 1, xlabel=panel.x.label, ylabel=panel.y.label)
        axes.set(xscale="log" if panel.x.log else "linear", yscale="log" if panel.y.log else "linear")
        axes.set(xlim=(panel.x.low, panel.x.high), ylim=(panel.y.low, panel.y.high))
        for item in panel.items:
            add(item, axes)
        if panel.y.ticks:
            axes.set_yticks(*zip(*panel.y.ticks, strict=True), minor=False)
        axes.set_title(panel.left)
        axes.text(0.07, 0.95, panel.text, transform=axes.transAxes, va="top")
        if i == 0 and chart.legend:
            axes.legend(loc="upper right")
    figure.text(0.02, 0.98, "calomlp", va="top", weight="bold")
    figure.text(0.98, 0.98, chart.sample, va="top", ha="right")
    return figure


def add(item: Item, axes: Axes) -> None:
    match item:
        case Marks():
            axes.errorbar(item.x, item.y, item.error, fmt=item.look.marker or "o", label=item.label)
        case Line():
            axes.plot(item.x, item.y, linestyle=item.look.line, label=item.label)
        case Band():
            axes.fill_between(item.x, item.low, item.high, alpha=0.2)
        case Steps():
            axes.stairs(item.y, item.edges, fill=item.filled, label=item.label)
        case Bars():
            axes.barh(item.y, item.x, xerr=item.error)
        case Rule():
            (axes.axvline if item.vertical else axes.axhline)(item.at)
        case Shade():
            (axes.axvspan if item.vertical else axes.axhspan)(item.low, item.high)


def seconds(work: Sequence[Callable[[], object]]) -> list[float]:
    """Return the least time of the processor that each takes, one after the other in some rounds."""
    taken = []
    for _ in range(ROUNDS):
        row = []
        for piece in work:
            start = time.process_time()
            piece()
            row.append(time.process_time() - start)
        taken.append(row)
    return [float(best) for best in np.min(taken, axis=0)]


def save_bare(chart: Chart, file_format: str) -> None:
    with mpl.rc_context(TICKS):
        bare(chart).savefig(io.BytesIO(), format=file_format)


def save(chart: Chart, file_format: str) -> None:
    write_figures([paper.draw(chart)], io.BytesIO(), file_format, {})


def test_figures_cost_little_more_than_bare_ones() -> None:
    view = View.of(everything())
    charts = {kind: builder(view) for kind, builder in REPORT_CHARTS.items()}
    for file_format in FORMATS:
        ours = seconds([partial(save, chart, file_format) for chart in charts.values()])
        theirs = seconds([partial(save_bare, chart, file_format) for chart in charts.values()])
        print(f"\n{file_format}: seconds of a figure, and of a bare one")
        for kind, own, other in zip(charts, ours, theirs, strict=True):
            print(f"  {kind:16s} {own:6.3f} {other:6.3f}  {own / other:5.2f}")
        print(f"  {'together':16s} {sum(ours):6.3f} {sum(theirs):6.3f}  {sum(ours) / sum(theirs):5.2f}")
        assert sum(ours) < MARGIN * sum(theirs)


def test_a_page_costs_its_figures() -> None:
    report = everything()
    charts = [builder(View.of(report)) for builder in REPORT_CHARTS.values()]
    page, figures = seconds(
        [
            lambda: to_html(report, "report.json", [picture(chart) for chart in charts]),
            lambda: list(map(partial(save_bare, file_format="svg"), charts)),
        ]
    )
    print(f"\npage {page:.2f} s, bare figures {figures:.2f} s")
    assert page < MARGIN * figures
