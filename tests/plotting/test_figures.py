"""Figures: they are built for every report, nothing in them collides, and what they show is in the report."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from calomlp.errors import ArtefactError
from calomlp.evaluation.report import Report
from calomlp.plotting import paper
from calomlp.plotting.chart import Axis, Chart, Line, Look, NothingToDraw, Panel
from calomlp.plotting.figures import REPORT_CHARTS
from calomlp.plotting.kinds import REPORT_KINDS, SIZES
from calomlp.plotting.save import write_figures
from calomlp.plotting.style import CANVASES, settings_of
from calomlp.plotting.view import View
from tests.conftest import crossed
from tests.plotting.conftest import chart, figure, with_context

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

CASES = [
    "normal",
    "everything",
    "pions",
    "one energy",
    "no fit",
    "no estimates",
    "alone",
    "many curves",
    "beam energies",
    "wrong scale",
    "wide range",
    "thousand bins",
]
TOUCH = 1.0  # pixels by which boxes, which have margins, may overlap


def texts(figure: Figure, look: str = "calomlp") -> list[tuple[str, Bbox]]:
    """Return all visible texts with their boxes, tick labels inside the axes' limits only."""
    with settings_of(look):
        figure.draw_without_rendering()
        assert isinstance(figure.canvas, FigureCanvasAgg)
        renderer = figure.canvas.get_renderer()
        hidden = set()
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                    if not low <= tick.get_loc() <= high:
                        hidden.update({tick.label1, tick.label2})
        found = [
            text
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and text not in hidden
        ]
        return [(text.get_text(), text.get_window_extent(renderer)) for text in found]


def check_layout(figure: Figure, look: str = "calomlp") -> None:
    """Nothing is cut, and no texts collide."""
    width, height = figure.canvas.get_width_height()
    boxes = texts(figure, look)
    assert len(boxes) > 5
    for text, box in boxes:
        assert box.x0 >= -TOUCH, text
        assert box.y0 >= -TOUCH, text
        assert box.x1 <= width + TOUCH, text
        assert box.y1 <= height + TOUCH, text
    for (one, a), (other, b) in combinations(boxes, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0) > TOUCH and min(a.y1, b.y1) - max(a.y0, b.y0) > TOUCH
        assert not overlap, (one, other)


@pytest.mark.parametrize(("case", "name"), crossed(CASES, list(REPORT_CHARTS), 6))
def test_nothing_is_cut_and_no_texts_collide(reports: dict[str, Report], case: str, name: str) -> None:
    try:
        drawn_figure = figure(name, reports[case])
    except NothingToDraw:
        assert case != "everything"
        return
    check_layout(drawn_figure)


@pytest.mark.parametrize(
    ("look", "name"), crossed(["atlas", "lhcb2"], list(REPORT_CHARTS), 2)
)  # the others have the font of atlas
def test_nor_in_the_styles_of_experiments(reports: dict[str, Report], look: str, name: str) -> None:
    check_layout(figure(name, reports["everything"], look=look, experiment="CALICE Preliminary"), look)


def test_a_long_name_of_an_experiment_leaves_room_for_the_sample(report: Report) -> None:
    check_layout(figure("linearity", report, experiment="An Experiment Very Long And Preliminary"))


@pytest.mark.parametrize(("size", "name"), crossed(SIZES[1:], list(REPORT_CHARTS), len(SIZES) - 1))
def test_nor_in_other_sizes(reports: dict[str, Report], size: str, name: str) -> None:
    drawn_figure = figure(name, reports["everything"], size=size)
    check_layout(drawn_figure)
    width, height = drawn_figure.get_size_inches()
    if size == "slide":
        assert width / height == pytest.approx(16 / 9, rel=0.01)
    else:
        assert width == CANVASES[size].wide


@pytest.mark.parametrize(
    ("name", "number"),
    crossed(["resolution", "resolution-root", "linearity", "response", "energy", "tails"], [2, 4, 8], 3),
)
def test_nor_with_reports_beside_each_other(reports: dict[str, Report], name: str, number: int) -> None:
    shown = {f"variant-{i} of the network": reports["pions" if i % 2 else "normal"] for i in range(number)}
    check_layout(paper.draw(REPORT_CHARTS[name](View.comparing(shown))))


def test_every_figure_is_named_in_order() -> None:
    assert list(REPORT_CHARTS) == list(REPORT_KINDS)


def test_names_for_help_texts_cost_nothing() -> None:
    code = "import sys, calomlp.plotting.kinds; sys.exit('numpy' in sys.modules or 'matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_making_figures_leaves_the_settings_of_matplotlib_alone(report: Report) -> None:
    before = dict(mpl.rcParams)
    figure("resolution", report)
    assert dict(mpl.rcParams) == before


def drawn(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def outside(line: Line2D) -> bool:
    return str(line.get_label()).startswith("_outside")


def points(axes: Axes, colour: str) -> list[tuple[float, float, bool]]:
    """Return the drawn points of one colour as (energy, value, whether filled)."""
    return sorted(
        (x, y, line.get_markerfacecolor() != "white")
        for line in axes.lines
        if line.get_linestyle() == "None" and to_rgba(line.get_color()) == to_rgba(colour)
        if not outside(line)
        for x, y in zip(*drawn(line), strict=True)
    )


def test_points_are_those_of_the_report_and_open_at_the_edges(report: Report) -> None:
    shown = points(figure("resolution", report).axes[0], "#0072B2")
    bins = report.curves[0].bins
    assert [energy for energy, _, _ in shown] == pytest.approx([bin_.energy for bin_ in bins])
    assert [value / 100 for _, value, _ in shown] == pytest.approx(
        [bin_.estimates["resolution"].value for bin_ in bins]
    )
    assert [filled for _, _, filled in shown] == [not bin_.edge for bin_ in bins]
    assert Counter(filled for _, _, filled in shown) == {True: 6, False: 2}


def test_a_term_that_may_be_zero_is_shown_by_its_limit(report: Report) -> None:
    first, *others = report.curves
    assert first.fit is not None
    none, some = (
        replace(report, curves=(replace(first, fit=replace(first.fit, limits=limits)), *others))
        for limits in ({}, {"noise": 0.04512})
    )
    for shown, limited in ((none, False), (some, True)):
        written = [text for text, _ in texts(figure("resolution", shown))]
        assert any("⊕ < 0.045 GeV/E ⊕" in text for text in written) == limited
        caption = chart("resolution", shown).caption
        assert ("n < 0.045 GeV" in caption and "<: upper limit at 95 % CL" in caption) == limited


def test_linearity_shows_the_core_response(report: Report) -> None:
    shown = points(figure("linearity", report).axes[0], "#0072B2")
    expected = [100 * (bin_.estimates["core_mean"].value - 1) for bin_ in report.curves[0].bins]
    assert [value for _, value, _ in shown] == pytest.approx(expected)


def test_ratio_is_that_of_the_resolutions(report: Report) -> None:
    regressor, anchor, _ = report.curves
    _, ratio = View.of(report).ratios()[0]
    for i, (mine, other) in enumerate(zip(regressor.bins, anchor.bins, strict=True)):
        a, b = mine.estimates["resolution"], other.estimates["resolution"]
        assert ratio.value[i] == pytest.approx(a.value / b.value)
        independent = a.value / b.value * np.hypot(a.error / a.value, b.error / b.value)  # as those of the toys are
        assert ratio.error[i] == pytest.approx(independent, rel=0.25)
    shown = points(figure("resolution", report).axes[1], "#D55E00")
    assert [value for _, value, _ in shown] == pytest.approx(ratio.value)


def test_fitted_curve_covers_the_fitted_range_only(report: Report) -> None:
    fit = report.curves[0].fit
    assert fit is not None
    solid = [line for line in figure("resolution", report).axes[0].lines if line.get_linestyle() == "-"]
    energy, value = drawn(max(solid, key=lambda line: len(drawn(line)[0])))
    assert energy[[0, -1]] == pytest.approx([fit.energy_min, fit.energy_max])
    assert value == pytest.approx(100 * fit(energy))


def test_energy_is_logarithmic_above_one_decade(report: Report, reports: dict[str, Report]) -> None:
    assert figure("resolution", report).axes[0].get_xscale() == "log"
    assert figure("resolution", reports["one energy"]).axes[0].get_xscale() == "linear"


def test_no_ratio_without_baselines(reports: dict[str, Report]) -> None:
    assert len(figure("resolution", reports["alone"]).axes) == 1


def test_a_baseline_that_is_far_off_does_not_hide_the_regressor(reports: dict[str, Report]) -> None:
    axes = figure("linearity", reports["wrong scale"]).axes[0]
    assert min(axes.get_ylim()) > -5
    arrows = [line for line in axes.lines if outside(line)]
    assert sum(len(drawn(line)[0]) for line in arrows) == 6
    assert not any(isinstance(line.get_marker(), str) for line in arrows)  # no marker that a curve may have


def test_nothing_is_drawn_behind_the_legend(report: Report) -> None:
    axes = figure("resolution", report).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    bottom = legend.get_window_extent().y0
    for artist in (*axes.lines, *axes.collections):
        clip = artist.get_clip_box()
        assert clip is not None
        assert clip.y1 <= bottom + TOUCH


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (
            3e-4,
            1e-2,
            True,
            ["$5\\times 10^{-4}$", "$10^{-3}$", "$2\\times 10^{-3}$", "$5\\times 10^{-3}$", "$10^{-2}$"],
        ),
        (2e-3, 0.2, True, ["0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2"]),
        (0, 4e-4, False, ["0", "$10^{-4}$", "$2\\times 10^{-4}$", "$3\\times 10^{-4}$", "$4\\times 10^{-4}$"]),
        (-1, 1, False, ["−1", "−0.5", "0", "0.5", "1"]),
    ],
)
def test_numbers_of_an_axis_are_all_written_alike(low: float, high: float, log: bool, labels: list[str]) -> None:
    axis = Axis("x", low, high, log)
    panel = Panel(axis, Axis("y", 0, 1), (Line("line", Look("#000000"), np.array([low, high]), np.ones(2)),))
    axes = paper.draw(Chart("any", "any", "", (panel,), 2.0)).axes[0]
    assert [text for place, text in ticks(axes.xaxis) if low <= place <= high] == labels


def ticks(axis: MatplotlibAxis) -> list[tuple[float, str]]:
    places = axis.get_majorticklocs().tolist()
    return list(zip(places, axis.get_major_formatter().format_ticks(places), strict=True))


def test_a_figure_is_drawn_once_when_it_is_written(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    draw = MatplotlibFigure.draw

    def counted(figure: Figure, renderer: RendererBase) -> None:
        times.append(1)
        draw(figure, renderer)

    monkeypatch.setattr(MatplotlibFigure, "draw", counted)
    write_figures([figure("resolution", report)], io.BytesIO(), "pdf", {})
    assert len(times) == 1


def test_histograms_keep_the_events(report: Report) -> None:
    for axes, bin_ in zip(figure("response", report).axes, report.curves[0].bins, strict=True):
        filled = axes.patches[0]
        assert isinstance(filled, StepPatch)
        assert filled.get_data()[0].sum() == pytest.approx(bin_.events, rel=0.01)


def test_a_baseline_outside_of_the_frames_is_mentioned(report: Report, reports: dict[str, Report]) -> None:
    def told(shown: Report) -> bool:
        return any("outside of the frames" in text for text in chart("response", shown).notes)

    assert told(reports["wrong scale"])
    assert not told(report)


def test_of_many_energies_six_are_shown_that_are_not_at_an_edge(reports: dict[str, Report]) -> None:
    found = figure("response", reports["thousand bins"])
    assert len(found.axes) == 6
    assert not any("edge" in axes.get_title(loc="left") for axes in found.axes)


def test_chosen_epoch_is_marked(report: Report) -> None:
    for axes in figure("training", report).axes:
        assert any(drawn(line)[0].tolist() == [31, 31] for line in axes.lines)


@pytest.mark.parametrize(
    "missing", ["train_loss", "validation_loss", "validation_resolution", "learning_rate", "epoch"]
)
def test_every_quantity_of_the_history_is_optional(report: Report, missing: str) -> None:
    history = [{k: v for k, v in entry.items() if k != missing} for entry in report.context.training["history"]]
    assert figure("training", with_context(report, training={"history": history, "summary": {}})).axes


def test_training_without_history_says_so(report: Report) -> None:
    with pytest.raises(ArtefactError, match="no history"):
        figure("training", with_context(report, training={"history": [], "summary": {}}))


@pytest.mark.parametrize("name", ["resolution", "linearity", "response"])
def test_report_without_bins_says_so(report: Report, name: str) -> None:
    empty = replace(report, curves=tuple(replace(curve, bins=()) for curve in report.curves))
    with pytest.raises(ArtefactError, match=r"nothing to draw|no distribution"):
        figure(name, empty)
