"""What a report comes to, in brief: the same numbers as in its tables."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from calomlp.data.sources import FileRecord
from calomlp.evaluation.report import Report
from calomlp.plotting.report_page import report_page, report_record
from calomlp.plotting.report_tables import fit_table, linearity_table, ratio_table, resolution_table, verdicts
from tests.plotting.conftest import with_context


def test_it_is_all_there(report: Report) -> None:
    model = {"calomlp": "0.1.0", "command": ["calomlp", "train", "s.root"]}
    full = with_context(
        report,
        files=(FileRecord("s.root", "events", "x", 3200),),
        provenance={**report.context.provenance, "model": model},
        training={"history": [], "summary": {"loss": "huber"}},
    )
    page = report_page(full, "r.json", "next")
    tables = [block[1] for block in page if not isinstance(block, str)]
    assert tables[0].rows == (("s.root", "events", "3\N{NO-BREAK SPACE}200"),)
    numbers = [resolution_table(report), fit_table(report), linearity_table(report), ratio_table(report)]
    assert tables[1:] == numbers
    text = " ".join(" ".join(block for block in page if isinstance(block, str)).split())
    for told in (
        "r.json: report, calomlp.report/2 made by calomlp 0.1.0: calomlp evaluate model.safetensors",
        "of a model by calomlp 0.1.0: calomlp train s.root",
        "bins 8, each 0.576 wide in ln E",
        "32 000 events, 1 to 100 GeV, loss huber",
        *(" ".join(sentence.split()) for sentence in verdicts(report)),
        "note: 2 of 8 bins are within two sigma of an edge of the training range",
    ):
        assert told in text
    assert page[-1] == "next"


@pytest.mark.parametrize("case", ["one energy", "no fit", "no estimates", "alone", "many curves", "beam energies"])
def test_reports_of_every_shape_have_a_page_and_a_record(reports: dict[str, Report], case: str) -> None:
    report = with_context(replace(reports[case], notes=()), provenance={})
    assert report_page(report, "r.json", "next")[-1] == "next"
    found = json.loads(json.dumps(report_record(report), allow_nan=False))
    assert len(found["curves"]) == len(report.curves)
    assert "history" not in found["context"]["training"]


def test_a_record_has_the_numbers_without_the_histograms(report: Report) -> None:
    found = report_record(report)
    assert found["schema"] == "calomlp.report/2"
    curve = report.curves[0]
    assert curve.fit is not None
    assert found["curves"][0]["fit"]["stochastic"] == {
        "value": curve.fit.stochastic.value,
        "error": curve.fit.stochastic.error,
    }
    assert "histogram" not in found["curves"][0]["bins"][0]
    assert found["curves"][0]["bins"][0]["estimates"].keys() == curve.bins[0].estimates.keys()
    assert len(json.dumps(found)) < 40_000
    assert "history" in report.context.training
