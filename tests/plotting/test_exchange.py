"""Reports for other programs: all numbers are there, and the tables are well-formed."""

from __future__ import annotations

import csv
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.numbers import to_tsv
from calomlp.evaluation.report import Report
from calomlp.evaluation.slices import Dependence, Slice, Trend

SLICES = tuple(
    Slice(low, high, value, 500, {"median": Measurement(1 + 0.01 * value, 0.002), "sigma_68": Measurement(0.1, 0.003)})
    for low, high, value in ((None, 0.0, -1.0), (0.0, 2.0, 1.0), (2.0, None, 3.0))
)
TREND = Trend(12.5, 2, 0.0019, Measurement(0.01, 0.001), 0.04)


@pytest.fixture
def sliced(report: Report) -> Report:
    found = [Dependence('branch("x") / 2', curve.name, SLICES, TREND, 0) for curve in report.curves]
    return replace(report, dependences=tuple(found))


def table(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(to_tsv(report).splitlines(), delimiter="\t", strict=True))


def told(row: dict[str, str], name: str, measured: Measurement) -> None:
    assert float(row[name]) == pytest.approx(measured.value, rel=1e-8)
    assert float(row[f"{name}_error"]) == pytest.approx(measured.error, rel=1e-3)


def test_tsv_has_a_line_for_each_bin_fit_slice_and_trend(sliced: Report) -> None:
    rows = table(sliced)
    assert all(len(row) == len(rows[0]) and None not in row.values() for row in rows)
    lines = [row["line"] for row in rows]
    assert [lines.count(line) for line in ("bin", "fit", "slice", "trend")] == [3 * 8, 3, 3 * 3, 3]
    for curve in sliced.curves:
        own = {line: [row for row in rows if row["line"] == line and row["curve"] == curve.name] for line in lines}
        for row, bin_ in zip(own["bin"], curve.bins, strict=True):
            told(row, "resolution", bin_.estimates["resolution"])
            assert float(row["energy"]) == pytest.approx(bin_.energy, rel=1e-5)
        fit, (row,) = curve.fit, own["fit"]
        assert fit is not None
        told(row, "stochastic", fit.stochastic)
        told(row, "noise", fit.noise)
        assert float(row["correlation_stochastic_constant"]) == pytest.approx(fit.correlation[0][2], rel=1e-3)
        assert float(row["chi2"]) == pytest.approx(fit.chi2, rel=1e-5)
        assert row["ndf"] == str(fit.ndf)
        assert float(row["energy_high"]) == pytest.approx(fit.energy_max, rel=1e-5)
        for row, slice_ in zip(own["slice"], SLICES, strict=True):
            told(row, "median", slice_.estimates["median"])
            assert row["by"] == 'branch("x") / 2'
            assert row["low"] == ("" if slice_.low is None else f"{slice_.low:g}")
        assert own["trend"][0]["p_value"] == "0.0019"


def test_tsv_has_the_ratios(report: Report) -> None:
    rows = table(report)
    for comparison in report.comparisons:
        own = [row for row in rows if row["curve"] == comparison.curve and row["ratio"]]
        assert comparison.mean is not None
        for row, measured in zip(own, [*(item.ratio for item in comparison.ratios), comparison.mean], strict=True):
            told(row, "ratio", measured)
    assert not any(row["ratio"] for row in rows if row["curve"] == report.curves[0].name)


@pytest.mark.parametrize("case", ["one energy", "no fit", "no estimates", "alone", "many curves", "beam energies"])
def test_reports_of_every_shape_are_rectangular(reports: dict[str, Report], case: str) -> None:
    rows = table(reports[case])
    assert all(len(row) == len(rows[0]) and None not in row.values() for row in rows)


def submitted(report: Report, path: Path) -> dict[str, Any]:
    """Return what is in an archive for HEPData, by the name of the file."""
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("hepdata_lib")
    from calomlp.plotting.hepdata import write_hepdata

    write_hepdata(report, path)
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name: list(yaml.safe_load_all(file.read())) for name, file in files.items() if file}


def test_hepdata_has_a_table_for_each_thing(sliced: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = submitted(sliced, tmp_path / "a.tar.gz")
    assert [table["name"] for table in found["submission.yaml"][1:]] == [
        "Resolution",
        "Response",
        "Terms of the resolution",
        "Correlations of the terms",
        "Ratios of the resolution",
        "Dependence 1",
    ]
    fits = [curve.fit for curve in sliced.curves]
    (terms,) = found["terms_of_the_resolution.yaml"]
    stochastic = terms["dependent_variables"][0]
    assert stochastic["header"] == {"name": "stochastic term", "units": "sqrt(GeV)"}
    for cell, fit in zip(stochastic["values"], fits, strict=True):
        assert fit is not None
        assert cell["value"] == pytest.approx(fit.stochastic.value, rel=1e-4)
        assert cell["errors"][0]["symerror"] == pytest.approx(fit.stochastic.error, rel=1e-4)
    (ratios,) = found["ratios_of_the_resolution.yaml"]
    first = ratios["dependent_variables"][0]
    assert first["qualifiers"][0] == {"name": "RELATIVE_TO", "value": "linear anchor"}
    assert [cell["value"] for cell in first["values"]] == pytest.approx(
        [item.ratio.value for item in sliced.comparisons[0].ratios], rel=1e-4
    )
    (slices,) = found["dependence_1.yaml"]
    assert [cell["value"] for cell in slices["independent_variables"][0]["values"]] == ["< 0", "0–2", "≥ 2"]
    assert [cell["value"] for cell in slices["dependent_variables"][2]["values"]] == [0.99, 1.01, 1.03]
    assert len(found["correlations_of_the_terms.yaml"][0]["dependent_variables"][0]["values"]) == 27
    assert not capsys.readouterr().out


@pytest.mark.parametrize("case", ["one energy", "no fit", "no estimates", "alone", "beam energies"])
def test_hepdata_of_reports_of_every_shape(reports: dict[str, Report], case: str, tmp_path: Path) -> None:
    assert submitted(reports[case], tmp_path / "a.tar.gz")["resolution.yaml"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the validator itself is made
        validator = pytest.importorskip("hepdata_validator.full_submission_validator").FullSubmissionValidator()
        assert validator.validate(archive=str(tmp_path / "a.tar.gz")), validator.get_messages()
