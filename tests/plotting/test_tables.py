"""Tables and the page: every number is that of the report, written as physicists write it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from calomlp.evaluation.measurement import Measurement, count, energy_range, with_error
from calomlp.evaluation.report import Report
from calomlp.evaluation.verdicts import verdicts
from calomlp.plotting.render import to_latex, to_markdown
from calomlp.plotting.sections import (
    NONE,
    Table,
    estimator_table,
    fit_table,
    linearity_table,
    marks,
    report_sections,
    resolution_table,
)
from tests.plotting.conftest import ECAL, Toy, make_report, with_context


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (16.623, 0.0521, "16.623 ± 0.052"),
        (16.623, 0.0996, "16.62 ± 0.10"),
        (1.0, 9.96, "1 ± 10"),
        (1234.5, 123.0, "1234 ± 123"),
        (-0.5, 0.25, "-0.50 ± 0.25"),
        (0.0, 0.0, "0"),
    ],
)
def test_error_has_two_significant_digits(value: float, error: float, text: str) -> None:
    assert with_error(Measurement(value, error)) == text


def test_energies_and_counts() -> None:
    assert energy_range(10, 10) == "10"
    assert energy_range(10, 12.21) == "10.0\N{EN DASH}12.2"
    assert count(39100) == "39\N{NO-BREAK SPACE}100"


@pytest.mark.parametrize("case", ["normal", "one energy", "no estimates", "many curves", "thousand bins"])
def test_tables_are_rectangular(reports: dict[str, Report], case: str) -> None:
    report = reports[case]
    for table in (
        resolution_table(report),
        fit_table(report),
        linearity_table(report),
        estimator_table(report, report.curves[0]),
    ):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_resolution_table_has_the_numbers_of_the_report(report: Report) -> None:
    table = resolution_table(report)
    for i, row in enumerate(table.rows):
        bins = [curve.bins[i] for curve in report.curves]
        assert ("*" in row[0]) == bins[0].edge
        assert row[1] == count(bins[0].events)
        assert float(row[2].split(" ± ")[0]) == pytest.approx(
            100 * (bins[0].estimates["core_mean"].value - 1), abs=0.06
        )
        for cell, bin_ in zip(row[3:], bins, strict=True):
            value, error = map(float, cell.split(" ± "))
            assert value == pytest.approx(100 * bin_.estimates["resolution"].value, abs=error / 10)
            assert error == pytest.approx(100 * bin_.estimates["resolution"].error, rel=0.05)


def test_rms90_is_relative_to_mean90_and_not_scaled(report: Report) -> None:
    curve = report.curves[0]
    estimates = curve.bins[3].estimates
    cell = estimator_table(report, curve).rows[3][5]
    assert float(cell.split(" ± ")[0]) == pytest.approx(
        100 * estimates["rms90"].value / estimates["mean90"].value, rel=0.01
    )


def test_bins_without_estimates_have_no_numbers(reports: dict[str, Report]) -> None:
    assert all(set(row[2:]) == {NONE} for row in resolution_table(reports["no estimates"]).rows)


def test_average_leaves_out_the_edges(report: Report) -> None:
    regressor, anchor, _ = report.curves
    inner = [
        mine.estimates["resolution"].value / other.estimates["resolution"].value
        for mine, other in zip(regressor.bins, anchor.bins, strict=True)
        if not mine.edge
    ]
    average = report.comparisons[0].mean
    assert average is not None
    assert average.value == pytest.approx(sum(inner) / len(inner))


def test_a_term_that_may_be_zero_has_a_limit(report: Report) -> None:
    fit = report.curves[0].fit
    assert fit is not None
    told = replace(fit, limits={"noise": 0.04512, "constant": 0.1234})
    curves = (replace(report.curves[0], fit=told), *report.curves[1:])
    limited = replace(report, curves=curves)
    assert fit_table(limited).rows[0][1:4] == (with_error(fit.stochastic, 100), "< 0.045", "< 12")
    assert "< upper limit at 95 % CL" in " ".join(marks(limited))
    assert "| < 0.045 |" in " ".join(to_markdown(limited).split())
    without = replace(limited, curves=tuple(replace(item, fit=replace(fit, limits={})) for item in curves))
    assert "<" not in " ".join((*marks(without), *(cell for row in fit_table(without).rows for cell in row)))


def compared(report: Report) -> str:
    return next(item.headline for item in verdicts(report) if "baselines" in item.question)


def test_verdict_says_better_worse_or_compatible(report: Report) -> None:
    assert "better than" in compared(replace(report, comparisons=report.comparisons[1:]))
    toys = {"sum": ECAL["sum"], "regressor": ECAL["regressor"]}
    assert "worse than" in compared(make_report(toys)).lower()
    assert "Compatible with" in compared(make_report({"regressor": Toy(), "anchor": Toy()}))


def test_verdict_without_bins_in_common(reports: dict[str, Report]) -> None:
    assert compared(reports["no estimates"]) == "No bin inside the training range to compare in"


def test_page_has_the_numbers_of_the_report(report: Report) -> None:
    page = to_markdown(report)
    for curve in report.curves:
        assert curve.fit is not None
        assert curve.linearity is not None
        assert f" {with_error(curve.fit.stochastic, 100)} |" in page
        assert f"{curve.fit.chi2:.1f}/{curve.fit.ndf}" in page
        assert f"{100 * curve.linearity.max:.2f}" in page
        for bin_ in curve.bins:
            assert with_error(bin_.estimates["resolution"], 100) in page
    for text in (
        *(item.headline for item in verdicts(report)),
        *report.notes,
        "`calomlp evaluate model.safetensors`",
        "calomlp 0.1.0",
    ):
        assert text in page


def test_page_of_a_report_without_fit_or_command(reports: dict[str, Report]) -> None:
    report = with_context(reports["one energy"], provenance={"command": None})
    page = to_markdown(replace(report, notes=()))
    assert "## How it was made" in page
    assert "- The report: `" not in page


def test_bars_and_stars_in_names_do_not_break_the_tables(report: Report) -> None:
    curves = tuple(replace(curve, label="a|b*c") for curve in report.curves)
    assert r"a\|b\*c" in to_markdown(replace(report, curves=curves))


def test_tables_in_latex_are_those_of_the_report(reports: dict[str, Report]) -> None:
    report = reports["everything"]
    tables = [block for section in report_sections(report) for block in section.blocks if isinstance(block, Table)]
    written = to_latex(report).split("\\begin{tabular}")[1:]
    assert len(written) == len(tables)
    for text, table in zip(written, tables, strict=True):
        rows = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert len(rows) == 1 + len(table.rows)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.header) - 1}
        assert all(row.replace(r"\$", "").count("$") % 2 == 0 for row in rows)
        assert re.search(r"(?<!\\)[%#_](?!\\mathrm|{)", text.replace("E_", "")) is None
        assert text.isascii()


def test_minus_signs_and_errors_in_latex(report: Report) -> None:
    assert re.search(r"& \$-\$\d\S* \$\\pm\$ \d", to_latex(report))
