"""Published curves: they are read as they are written, and drawn where they belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calomlp.errors import UsageError
from calomlp.evaluation.report import Report
from calomlp.plotting.terminal import draw
from calomlp.plotting.view import Reference, fitted_energies
from tests.conftest import crossed
from tests.plotting.conftest import chart, figure
from tests.plotting.test_figures import check_layout, drawn, texts

SIW = Reference("CALICE SiW ECAL", 16.6, 0, 1.1)
LONG = Reference("CALICE scintillator-tungsten ECAL, with a label that is too long", 12.5, 0.12, 1.2)
FAR = Reference("CMS ECAL", 2.8, 0.12, 0.3)
ALL = (SIW, LONG, FAR)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("CALICE SiW ECAL=16.6,0,1.1", SIW),
        (" CALICE SiW ECAL = 16.6, 0, 1.1 ", SIW),
        ("E=mc2=1,2e-1,0", Reference("E=mc2", 1, 0.2, 0)),
    ],
)
def test_a_reference_is_read(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference


@pytest.mark.parametrize("text", ["", "16.6,0,1.1", "=1,2,3", "A=1,2", "A=1,2,3,4", "A=1,x,2", "A=1,-1,0", "A=0,0,0"])
def test_another_form_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="LABEL=a,n,c") as error:
        Reference.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["A=nan,0,0", "A=inf,0,0"])
def test_terms_are_finite(text: str) -> None:
    with pytest.raises(UsageError, match="LABEL=a,n,c"):
        Reference.parse(text)


def test_terms_are_added_in_quadrature() -> None:
    reference = Reference("A", 30, 0.2, 2)
    assert reference(np.array([4.0])) == pytest.approx((15**2 + 5**2 + 2**2) ** 0.5)
    assert reference.formula == "30 %/√E ⊕ 0.2 GeV/E ⊕ 2 %"
    assert SIW.formula == "16.6 %/√E ⊕ 1.1 %"


@pytest.mark.parametrize(
    ("references", "case"),
    crossed(
        [(SIW,), (SIW, LONG), ALL],
        ["normal", "pions", "alone", "one energy", "no fit", "many curves", "wide range"],
        3,
        whole=ALL,
    ),
)
def test_nothing_is_cut_and_no_texts_collide(
    reports: dict[str, Report], case: str, references: tuple[Reference, ...]
) -> None:
    found = figure("resolution", reports[case], references)
    check_layout(found)
    written = [text for text, _ in texts(found)]
    for reference in references:
        assert any(text.startswith(reference.label[:20]) and text.endswith(reference.formula) for text in written)


def test_a_curve_covers_the_fits_and_is_inside_the_frame(report: Report) -> None:
    axes = figure("resolution", report, [SIW, FAR]).axes[0]
    low, high = axes.get_ylim()
    fits = [curve.fit for curve in report.curves if curve.fit]
    for reference in (SIW, FAR):
        found = [
            (x, y)
            for x, y in map(drawn, axes.lines)
            if len(x) == 200 and y == pytest.approx(reference(fitted_energies(report.curves)))
        ]
        ((x, y),) = found
        assert x[[0, -1]] == pytest.approx([min(f.energy_min for f in fits), max(f.energy_max for f in fits)])
        assert low < y.min() <= y.max() < high


def test_without_a_fit_the_bins_are_covered(report: Report, reports: dict[str, Report]) -> None:
    bare = replace(report, curves=tuple(replace(curve, fit=None) for curve in report.curves))
    bins = report.curves[0].bins
    assert fitted_energies(bare.curves)[[0, -1]] == pytest.approx([bins[0].energy_low, bins[-1].energy_high])
    assert fitted_energies(reports["one energy"].curves)[[0, -1]] == pytest.approx([8, 12])


def test_curves_are_drawn_in_the_terminal_too(report: Report) -> None:
    drawing = draw([chart("resolution", report, [SIW, LONG, FAR])], 80, 40, colour=False)
    lines = drawing.split("\n")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    for label in (*(curve.label for curve in report.curves), SIW.label, LONG.label, FAR.label):
        assert label in drawing
