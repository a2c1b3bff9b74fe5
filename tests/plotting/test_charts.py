"""Charts: the numbers in them are those of the reports, and the table of them is complete."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from calomlp.data.sources import FileRecord
from calomlp.errors import UsageError
from calomlp.evaluation.measurement import Measurement, with_error
from calomlp.evaluation.numbers import Number
from calomlp.evaluation.options import Options
from calomlp.evaluation.report import Report
from calomlp.plotting.chart import (
    COLUMNS,
    Band,
    Bars,
    Chart,
    Line,
    Marks,
    NothingToDraw,
    Rule,
    Shade,
    Steps,
    plain,
    table,
)
from calomlp.plotting.charts.learning import Training, rates, training
from calomlp.plotting.charts.scan import scan
from calomlp.plotting.figures import REPORT_CHARTS, of_scan
from calomlp.plotting.view import View
from tests.plotting.conftest import chart, with_context

Kind = TypeVar("Kind", Marks, Line, Band, Steps, Bars)


def items(drawn: Chart, kind: type[Kind], panel: int = 0) -> dict[str, Kind]:
    """Return the items of a kind by their labels."""
    return {item.label: item for item in drawn.panels[panel].items if isinstance(item, kind)}


def marks(drawn: Chart, label: str, panel: int = 0) -> Marks:
    return items(drawn, Marks, panel)[label]


def records(drawn: Chart) -> list[dict[str, str]]:
    lines = [line for line in table([drawn]).splitlines() if not line.startswith("#")]
    return list(csv.DictReader(io.StringIO("\n".join(lines)), delimiter="\t"))


@pytest.mark.parametrize("kind", REPORT_CHARTS)
def test_the_table_has_every_number_that_is_drawn(reports: dict[str, Report], kind: str) -> None:
    drawn = chart(kind, reports["everything"])
    rows = records(drawn)
    assert rows
    assert set(rows[0]) == set(COLUMNS)
    expected = 0
    for panel in drawn.panels:
        points = {item.label for item in panel.marks}
        for item in panel.items:
            if isinstance(item, Line) and item.label in points:
                continue  # through points that are there already
            if isinstance(item, Steps):
                expected += len(item.y)
            elif isinstance(item, (Marks, Line, Bars, Band)):
                expected += len(item.x)
    assert len(rows) == expected
    assert all(math.isfinite(float(row["x"])) for row in rows)
    assert {row["figure"] for row in rows} == {kind}
    assert not any(sign in row["curve"] + row["panel"] for row in rows for sign in "$\\\t")


def test_numbers_in_the_table_are_those_of_the_report(report: Report) -> None:
    rows = [row for row in records(chart("resolution", report)) if row["curve"] == "MLP regressor" and row["error"]]
    for row, bin_ in zip(rows, report.curves[0].bins, strict=True):
        found = bin_.estimates["resolution"]
        assert float(row["x"]) == pytest.approx(bin_.energy)
        assert float(row["y"]) == pytest.approx(100 * found.value)
        assert float(row["error"]) == pytest.approx(100 * found.error)
        assert row["edge"] == str(int(bin_.edge))


def test_bars_are_named_in_the_table(reports: dict[str, Report]) -> None:
    report = reports["everything"]
    rows = records(chart("importance", report))
    assert rows[-1]["curve"] == report.importance[23].feature
    assert float(rows[0]["x"]) == pytest.approx(100 * report.importance[0].increase.value)


def test_a_stochastic_resolution_is_straight_against_the_root(report: Report) -> None:
    straight, curved = (marks(chart(kind, report), "MLP regressor") for kind in ("resolution-root", "resolution"))
    assert straight.x == pytest.approx(1 / np.sqrt(curved.x))
    assert straight.y == pytest.approx(curved.y)
    slope = straight.y[2:-2] / straight.x[2:-2]
    assert slope == pytest.approx(16.6, rel=0.2)


def test_medians_and_band_hold_their_shares(report: Report) -> None:
    drawn = chart("energy", report)
    (band,) = items(drawn, Band, 1).values()
    for i, bin_ in enumerate(report.curves[0].bins):
        inside = (bin_.histogram.centres > band.low[i]) & (bin_.histogram.centres < band.high[i])
        assert bin_.histogram.count[inside].sum() / bin_.events == pytest.approx(0.6827, abs=0.01)
    medians = [bin_.estimates["median"].value for bin_ in report.curves[0].bins]
    assert marks(drawn, "MLP regressor", 1).y == pytest.approx(medians)


def test_tails_are_compared_with_a_gaussian(report: Report) -> None:
    drawn = chart("tails", report)
    for panel, sigmas in zip(drawn.panels, (2, 3), strict=True):
        (rule,) = (item for item in panel.items if isinstance(item, Rule))
        assert rule.at == pytest.approx(100 * math.erfc(sigmas / math.sqrt(2)), rel=0.01)


def test_pulls_and_coverage_of_a_perfect_uncertainty(reports: dict[str, Report]) -> None:
    drawn = chart("uncertainty", reports["everything"])
    assert items(drawn, Steps)["pull"].y.sum() == pytest.approx(4000, abs=2)
    flat, coverage, reliability = (
        marks(drawn, name, i) for i, name in enumerate(("transform", "coverage", "reliability"), 1)
    )
    assert flat.y.mean() == pytest.approx(1)
    assert coverage.y == pytest.approx(coverage.x, abs=3)
    assert reliability.y == pytest.approx(reliability.x, rel=0.15)


def test_dependence_shows_each_quantity_but_the_domain(reports: dict[str, Report]) -> None:
    drawn = chart("dependence", reports["everything"])
    assert [panel.x.label for panel in drawn.panels] == ["true_theta", "PDG ID of the particle"]
    assert [label for _, label in drawn.panels[1].x.ticks] == ["11", "22"]
    sliced = marks(drawn, "linear anchor")
    assert np.polyfit(sliced.x, sliced.y, 1)[0] == pytest.approx(0.1, abs=0.02)


def test_the_training_range_is_left_white(reports: dict[str, Report]) -> None:
    drawn = chart("domain", reports["everything"])
    shades = [(item.low, item.high) for item in drawn.panels[0].items if isinstance(item, Shade)]
    assert [(low < 2, high) for low, high in shades] == [(True, 2.0), (False, drawn.panels[0].x.high)]
    assert any(note.startswith("outside: ") for note in drawn.notes)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dependence", "--by"),
        ("uncertainty", "no uncertainties"),
        ("importance", "--importance"),
        ("learning-curve", "--learning-curve"),
    ],
)
def test_what_is_not_there_is_said_with_what_would_make_it(report: Report, kind: str, message: str) -> None:
    with pytest.raises(NothingToDraw, match=message):
        chart(kind, report)


def test_without_a_model_there_is_no_domain(report: Report) -> None:
    with pytest.raises(NothingToDraw, match="not of a model"):
        chart("domain", with_context(report, envelope=None))


def test_reports_beside_each_other_have_their_ratio_to_the_first(reports: dict[str, Report]) -> None:
    one, other = reports["normal"], reports["everything"]
    bins = {bin_.edges: bin_.estimates["resolution"] for bin_ in one.curves[0].bins}
    view = View.comparing({"one": one, "same": one, "other": other})
    shown = {item.label: points for item, points in view.ratios()}
    assert shown["same"].value == pytest.approx(1)
    first = next(iter(bins.values()))
    assert shown["same"].error[0] == pytest.approx(math.sqrt(2) * first.error / first.value)
    assert len(shown["other"]) == 0  # other bins
    drawn = REPORT_CHARTS["resolution"](view)
    assert set(items(drawn, Marks)) == {"one", "same", "other"}
    assert "ratio: errors as of different events" in drawn.notes


def test_reports_of_the_same_events_are_not_said_to_be_of_different_ones(report: Report) -> None:
    files = (FileRecord("a.root", "events", "identity", 100),)
    one, other = with_context(report, files=files), with_context(report, files=files, cut="E > 1")
    for shown, note in ((one, "ratio: the events are the same"), (other, "ratio: errors as of different events")):
        drawn = REPORT_CHARTS["resolution"](View.comparing({"a": one, "b": shown}))
        assert any(text.startswith(note) for text in drawn.notes)


def test_trainings_of_several_reports_are_drawn_over_each_other(report: Report) -> None:
    drawn = REPORT_CHARTS["training"](View.comparing({"a": report, "b": report}))
    assert [entry.label for entry in drawn.legend] == ["a", "b"]
    assert len(items(drawn, Line)) == 4
    assert {"a, training side", "b, validation side"} <= set(items(drawn, Line))


@pytest.mark.parametrize("kind", REPORT_CHARTS)
def test_a_caption_is_a_paragraph_of_sentences(reports: dict[str, Report], kind: str) -> None:
    caption = chart(kind, reports["everything"]).caption
    assert caption[0].isupper()
    assert caption.endswith(".")
    assert "\n" not in caption
    assert "$" not in caption


def test_the_caption_of_the_resolution_has_the_terms_with_errors_and_the_range(report: Report) -> None:
    caption = chart("resolution", report).caption
    for curve in report.curves:
        assert curve.fit
        assert with_error(curve.fit.stochastic, 100) in caption
        assert f"χ²/ndf = {curve.fit.chi2:.1f}/{curve.fit.ndf}" in caption
        assert f"fitted from {curve.fit.energy_min:.3g} to {curve.fit.energy_max:.3g} GeV" in caption


def test_numbers_in_the_response_are_those_of_the_width_that_was_chosen(report: Report) -> None:
    drawn = chart("response", replace(report, options=Options(width="sigma_68")))
    assert all("median = " in panel.text and "σ68/median = (" in panel.text for panel in drawn.panels)
    assert not any("μ" in panel.text for panel in drawn.panels)


def test_another_curve_is_compared_if_it_is_named(reports: dict[str, Report]) -> None:
    view = View.comparing({"a": reports["normal"], "b": reports["pions"]}, curve="sum")
    assert [shown.curve.name for shown in view.shown] == ["sum", "sum"]
    with pytest.raises(UsageError, match="b: no curve 'anchor': legal: regressor"):
        View.comparing({"a": reports["normal"], "b": reports["alone"]}, curve="anchor")


def test_different_widths_are_not_compared(report: Report) -> None:
    other = replace(report, options=Options(width="rms90"))
    with pytest.raises(UsageError, match="cannot be compared"):
        View.comparing({"a": report, "b": other})


def test_more_reports_than_can_be_told_apart_are_refused(report: Report) -> None:
    with pytest.raises(UsageError, match="9 reports: no more than 8"):
        View.comparing({str(i): report for i in range(9)})


def test_a_scan_needs_something_that_varies(report: Report) -> None:
    made = [with_context(report, settings={"training": {"loss": loss}}) for loss in ("huber", "mse")]
    assert of_scan({"a": made[0], "b": made[1]}, "loss", ["stochastic"]).charts()
    with pytest.raises(UsageError, match="'loss': it is huber in all reports"):
        of_scan({"a": made[0], "b": made[0]}, "loss", ["stochastic"])


def test_a_report_with_other_bins_is_not_in_the_legend_of_the_response(reports: dict[str, Report]) -> None:
    drawn = REPORT_CHARTS["response"](View.comparing({"one": reports["normal"], "other": reports["everything"]}))
    assert [entry.label for entry in drawn.legend] == ["one"]
    assert drawn.notes[-1] == "without other, in other bins of energy"


def test_no_event_in_a_tail_is_a_limit(report: Report) -> None:
    points = marks(chart("tails", report), "MLP regressor", 1)
    assert points.error is not None
    assert (points.error > 0).all()


def test_one_bad_curve_does_not_flatten_the_ratios(report: Report) -> None:
    bad, *others = report.comparisons
    ratios = tuple(replace(item, ratio=Measurement(9.0, 0.5)) for item in bad.ratios)
    drawn = chart("resolution", replace(report, comparisons=(replace(bad, ratios=ratios), *others)))
    assert drawn.panels[1].y.high < 2.5
    assert "arrows: points beyond the frame" in drawn.notes


def test_a_model_alone_has_its_training(report: Report) -> None:
    document = {"history": report.history, "summary": {"best_epoch": 3}, "envelope": {"n_train": 12345}}
    drawn = training({"model": Training.of_model(document)})
    assert drawn.sample == "12\N{NO-BREAK SPACE}345 training events"


def test_rates_show_how_the_loss_falls_and_not_how_it_explodes() -> None:
    record = {"rates": [1e-5, 1e-3, 1e-1, 10], "losses": [1.0, 0.5, 0.4, 1e9], "suggestion": 0.01, "automatic": 0.002}
    drawn = rates(record)
    assert drawn.panels[0].y.high < 2
    assert {"suggested: 0.01", "automatic: 0.002"} <= set(items(drawn, Line))


def test_a_scan_is_in_the_order_of_the_setting() -> None:
    terms = {"stochastic": [Measurement(0.3, 0.01), Measurement(0.1, 0.02)], "noise": [Measurement(1, 0.1)] * 2}
    found = {name: [Number(name, item) for item in items] for name, items in terms.items()}
    drawn = scan("thickness", [20.0, 5.0], found)
    assert [panel.y.label for panel in drawn.panels] == ["stochastic term [% √GeV]", "noise term [GeV]"]
    assert marks(drawn, "stochastic").y.tolist() == pytest.approx([10, 30])
    error = marks(drawn, "stochastic").error
    assert error is not None
    assert error.tolist() == pytest.approx([2, 1])


def test_a_scan_of_words_names_them() -> None:
    drawn = scan("activation", ["relu", "gelu"], {"bias[10]": [Number("bias[9.3]", Measurement(0.01, 0.001))] * 2})
    assert drawn.notes == ["bias at 10 GeV is bias at 9.3 GeV: the bins that it is in, by their mean energies"]
    assert drawn.panels[0].x.ticks == ((0.0, "relu"), (1.0, "gelu"))
    assert drawn.panels[0].y.label == "bias at 10 GeV [%]"
    assert not items(drawn, Line)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (r"$E_\mathrm{true}$ [GeV]", "E_true [GeV]"),
        (r"$1/\sqrt{E_\mathrm{true}}$ [GeV$^{-1/2}$]", "1/√E_true [GeV^-1/2]"),
        (r"depth $t$ [$\lambda_\mathrm{I}$]", "depth t [λ_I]"),
        ("regressor\n/ baseline", "regressor / baseline"),
    ],
)
def test_labels_are_plain_text_in_terminals_and_tables(label: str, text: str) -> None:
    assert plain(label) == text


@pytest.mark.parametrize("kind", REPORT_CHARTS)
def test_a_chart_says_what_it_shows(reports: dict[str, Report], kind: str) -> None:
    said = chart(kind, reports["everything"]).describe()
    assert re.match(r".+, .*: .+ Shown: .+", said)
    assert "$" not in said
    assert len(said) < 1000
