"""A report as tables for HEPData; importing this needs the optional package hepdata_lib."""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hepdata_lib import Table, Uncertainty, Variable

from calomlp.evaluation.bins import POINTS
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Ratio, Report
from calomlp.evaluation.resolution import TERMS
from calomlp.evaluation.slices import Dependence
from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import with_error
from calomlp.plotting.report_tables import formula, slice_range, width_name

_UNITS = {"stochastic": "sqrt(GeV)", "noise": "GeV", "constant": ""}


def write_hepdata(report: Report, path: Path) -> None:
    """Write a submission to HEPData: a compressed archive of YAML with a table for each thing that was measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        comment = json.dumps(f"Response and resolution of a calorimeter, {report.events} events.")
        (folder / "submission.yaml").write_text(f"---\ncomment: {comment}\n", encoding="utf-8")
        for table in _tables(report):
            table.write_yaml(name)
        _pack(sorted(folder.glob("*.yaml")), path)


def _tables(report: Report) -> Iterator[Any]:
    """Yield resolution and response in bins of energy, the terms and their correlations, ratios, and dependences."""
    width = width_name(report)
    told = f"Relative resolution {width} of the calorimeter; sigma/E = {formula(report)} is fitted."
    yield _table("Resolution", told, "resolution", _in_bins(report, "resolution"))
    yield _table("Response", "Mean of E_reco/E_true, minus one.", "bias", _in_bins(report, "bias"))
    if any(curve.fit for curve in report.curves):
        told = f"Terms of the resolution, {width} = {formula(report)}, and the range of their fit."
        yield _table("Terms of the resolution", told, "resolution", _terms(report))
        told = "Correlations of the errors of the terms of the resolution."
        yield _table("Correlations of the terms", told, "correlation", _correlations(report))
    if report.comparisons:
        told = f"Resolution {width} of the {report.curves[0].label} over that of another estimate, same events."
        yield _table("Ratios of the resolution", told, "ratio", _ratios(report))
    for number, by in enumerate(dict.fromkeys(item.by for item in report.dependences), start=1):
        told = f"Median of E_reco/E_true in slices of {by}, all energies together."
        some = [item for item in report.dependences if item.by == by]
        yield _table(f"Dependence {number}", told, "median", _dependence(some, report.statistics.labels))


def _table(title: str, description: str, quantity: str, variables: Iterator[Any]) -> Any:
    table = Table(title)
    table.description, table.location = description, "calomlp report"
    table.keywords["observables"] = [quantity]
    for variable in variables:
        table.add_variable(variable)
    return table


def _in_bins(report: Report, quantity: str) -> Iterator[Any]:
    """Yield the true energy, and the quantity of every curve with its error, in the bins where all have one [%]."""
    first = report.curves[0]
    chosen = [i for i in range(len(first.bins)) if all(quantity in curve.bins[i].estimates for curve in report.curves)]
    yield _energy(report, [first.bins[i] for i in chosen])
    for curve in report.curves:
        found = [curve.bins[i].estimates[quantity] for i in chosen]
        variable = _dependent(quantity, found, "%", PERCENT, ESTIMATE=curve.label)
        if quantity == "resolution" and curve.fit:
            for name in TERMS:
                term = getattr(curve.fit, name)
                limit = f", < {curve.fit.limits[name]:.2g} at 95 % CL" if name in curve.fit.limits else ""
                variable.add_qualifier(f"{name} term", f"{term.value:.4g} +- {term.error:.2g}{limit}", _UNITS[name])
        yield variable


def _terms(report: Report) -> Iterator[Any]:
    fits = {curve.label: curve.fit for curve in report.curves if curve.fit}
    yield _independent("ESTIMATE", list(fits))
    for name in TERMS:
        yield _dependent(f"{name} term", [getattr(fit, name) for fit in fits.values()], _UNITS[name])
    for name, unit in {"chi2": "", "ndf": "", "energy_min": "GeV", "energy_max": "GeV"}.items():
        variable = Variable(name, is_independent=False, is_binned=False, units=unit)
        variable.values = [getattr(fit, name) for fit in fits.values()]
        yield variable


def _correlations(report: Report) -> Iterator[Any]:
    cells = [
        (curve.label, TERMS[i], TERMS[j], curve.fit.correlation[i][j])
        for curve in report.curves
        if curve.fit
        for i in range(len(TERMS))
        for j in range(len(TERMS))
    ]
    *places, values = map(list, zip(*cells, strict=True))
    for name, place in zip(("ESTIMATE", "term", "other term"), places, strict=True):
        yield _independent(name, place)
    variable = Variable("correlation", is_independent=False, is_binned=False)
    variable.values = values
    yield variable


def _ratios(report: Report) -> Iterator[Any]:
    """Yield the true energy and the ratio to every other curve, in the bins where all have one."""
    found = [{item.energy_low: item for item in one.ratios} for one in report.comparisons]
    chosen = [low for low in found[0] if all(low in ratios for ratios in found)]
    yield _energy(report, [found[0][low] for low in chosen])
    for one, ratios in zip(report.comparisons, found, strict=True):
        variable = _dependent(
            "ratio", [ratios[low].ratio for low in chosen], RELATIVE_TO=report.statistics.labels[one.curve]
        )
        if one.mean:
            variable.add_qualifier("mean inside the training range", with_error(one.mean).replace("±", "+-"))
        yield variable


def _dependence(found: Sequence[Dependence], labels: Mapping[str, str]) -> Iterator[Any]:
    """Yield slices and mean of a quantity, and the median of every curve, in the slices where all have one."""
    first = found[0]
    chosen = [i for i in range(len(first.slices)) if all("median" in item.slices[i].estimates for item in found)]
    yield _independent(first.by, [slice_range(first.slices[i]) for i in chosen])
    yield _independent(f"mean of {first.by}", [first.slices[i].value for i in chosen])
    for item in found:
        medians = [item.slices[i].estimates["median"] for i in chosen]
        variable = _dependent("median response", medians, ESTIMATE=labels[item.curve])
        if item.trend:
            told = f"{item.trend.chi2:.4g}/{item.trend.ndf}, p = {item.trend.p_value:.2g}"
            variable.add_qualifier("chi2/ndf of a constant", told)
        yield variable


def _energy(report: Report, bins: Sequence[Bin | Ratio]) -> Any:
    binned = report.bins.kind != POINTS
    variable = Variable("E_true", is_independent=True, is_binned=binned, units="GeV")
    variable.values = [(item.energy_low, item.energy_high) if binned else item.energy for item in bins]
    return variable


def _independent(name: str, values: Sequence[float | str]) -> Any:
    variable = Variable(name, is_independent=True, is_binned=False)
    variable.values = values
    return variable


def _dependent(name: str, found: Sequence[Measurement], units: str = "", scale: float = 1.0, **qualifiers: str) -> Any:
    """Return what was measured with its errors; one without, such as a term that was given, is as it is."""
    variable = Variable(name, is_independent=False, is_binned=False, units=units, zero_uncertainties_warning=False)
    variable.values = [scale * item.value for item in found]
    for qualifier, value in qualifiers.items():
        variable.add_qualifier(qualifier, value)
    error = Uncertainty("stat", is_symmetric=True)
    error.values = [scale * item.error for item in found]
    variable.add_uncertainty(error)
    return variable


def _pack(files: Sequence[Path], path: Path) -> None:
    """Write files into an archive that is the same whenever it is made."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size = file.stat().st_size
            with file.open("rb") as stream:
                archive.addfile(member, stream)
