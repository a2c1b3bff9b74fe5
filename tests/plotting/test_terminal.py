"""Drawings in a terminal: they fit, they are plain text without colour, and they name everything."""

from __future__ import annotations

import re

import pytest

from calomlp.evaluation.report import Report
from calomlp.plotting import terminal
from calomlp.plotting.chart import NothingToDraw
from calomlp.plotting.figures import REPORT_CHARTS
from tests.plotting.conftest import chart

CASES = [
    "normal",
    "pions",
    "one energy",
    "no fit",
    "no estimates",
    "alone",
    "many curves",
    "wide range",
    "thousand bins",
]
CODE = re.compile("\x1b\\[[0-9;]*m")


def draw(report: Report, width: int, height: int, *, colour: bool) -> str:
    charts = [chart(kind, report) for kind in ("resolution", "linearity")]
    return terminal.draw(charts, width, height, colour=colour)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [60, 80, 132])
def test_plain_drawing_fits_the_terminal(reports: dict[str, Report], case: str, width: int) -> None:
    lines = draw(reports[case], width, 40, colour=False).split("\n")
    assert max(map(len, lines)) <= width
    assert len(lines) <= 40
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("kind", REPORT_CHARTS)
@pytest.mark.parametrize("case", ["everything", *CASES])
def test_every_kind_fits_80_columns(reports: dict[str, Report], case: str, kind: str) -> None:
    try:
        shown = chart(kind, reports[case])
    except NothingToDraw:
        return
    lines = terminal.draw([shown], 80, 50, colour=False).split("\n")
    assert max(map(len, lines)) <= 80
    assert len(lines) >= 10 * len(shown.panels)


def test_colours_are_only_added_to_the_plain_drawing(report: Report) -> None:
    plain, coloured = (draw(report, 80, 40, colour=colour) for colour in (False, True))
    assert "\x1b[" in coloured
    stripped = [line.rstrip() for line in CODE.sub("", coloured).split("\n")]
    assert stripped == [line.rstrip() for line in plain.split("\n")]


def test_titles_axes_and_curves_are_named(report: Report) -> None:
    drawing = draw(report, 80, 40, colour=False)
    for text in ("energy resolution", "linearity", "[%]", "E_true [GeV]", *(curve.label for curve in report.curves)):
        assert text in drawing


def test_drawing_prints_nothing(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    draw(report, 80, 40, colour=True)
    assert capsys.readouterr() == ("", "")


def test_drawing_is_the_same_every_time(report: Report) -> None:
    assert draw(report, 80, 40, colour=True) == draw(report, 80, 40, colour=True)
