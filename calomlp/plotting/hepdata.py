"""Report as a submission to HEPData; importing this needs the optional package hepdata_lib."""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepdata_lib import Table, Uncertainty, Variable

from calomlp.evaluation.bins import POINTS
from calomlp.evaluation.measurement import PERCENT, Measurement, with_error
from calomlp.evaluation.numbers import RATIO, NumberRow, RowKind, table
from calomlp.evaluation.report import Report
from calomlp.evaluation.resolution import TERMS
from calomlp.plotting.sections import slice_range

_UNITS = {"stochastic": "sqrt(GeV)", "noise": "GeV", "constant": "", "energy_low": "GeV", "energy_high": "GeV"}


def write_hepdata(report: Report, path: Path) -> None:
    """Write a submission to HEPData: a compressed archive of YAML with a table for each thing that was measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        comment = json.dumps(f"Response and resolution of a calorimeter, {report.events} events.")
        (folder / "submission.yaml").write_text(f"---\ncomment: {comment}\n", encoding="utf-8")
        for submitted in _tables(report):
            submitted.write_yaml(name)
        _pack(sorted(folder.glob("*.yaml")), path)


@dataclass(frozen=True)
class _Columns:
    """A number of several curves, in the places where all of them have it.

    Attributes:
        rows: By the name of the curve, in the same places.
        name: Of the number.
    """

    rows: Mapping[str, Sequence[NumberRow]]
    name: str

    @classmethod
    def of(cls, rows: Sequence[NumberRow], name: str, curves: Sequence[str]) -> _Columns:
        """Choose the places; each curve has rows in the same ones."""
        own = [[row for row in rows if row.curve == curve] for curve in curves]
        together = [column for column in zip(*own, strict=True) if all(name in row.numbers for row in column)]
        return cls({curve: [column[i] for column in together] for i, curve in enumerate(curves)}, name)

    @property
    def places(self) -> list[Mapping[str, Any]]:
        """The places, by their ends."""
        return [row.place for row in next(iter(self.rows.values()))]

    def variables(self, label: str, scale: float = 1.0, units: str = "") -> Iterator[tuple[str, Any]]:
        """Yield the name of each curve and its variable."""
        for curve, rows in self.rows.items():
            yield curve, _dependent(label, [row.numbers[self.name] for row in rows], units, scale)


def _tables(report: Report) -> Iterator[Any]:
    """Yield resolution and response in bins of energy, the terms and their correlations, ratios, and dependences."""
    rows, width, labels = table(report), report.width_name, report.statistics.labels
    fits = {row.curve: row.numbers for row in rows if row.line == RowKind.FIT and TERMS[0] in row.numbers}
    about = f"Relative resolution {width} of the calorimeter; sigma/E = {report.formula} is fitted."
    yield _table("Resolution", about, "resolution", _in_bins(report, rows, "resolution", fits))
    yield _table("Response", "Mean of E_reco/E_true, minus one.", "bias", _in_bins(report, rows, "bias", {}))
    if fits:
        about = f"Terms of the resolution, {width} = {report.formula}, and the range of their fit."
        yield _table("Terms of the resolution", about, "resolution", _terms(fits, labels))
        about = "Correlations of the errors of the terms of the resolution."
        yield _table("Correlations of the terms", about, "correlation", _correlations(report))
    if report.comparisons:
        about = f"Resolution {width} of the {report.curves[0].label} over that of another estimate, same events."
        yield _table("Ratios of the resolution", about, RATIO, _ratios(report, rows))
    for number, by in enumerate(dict.fromkeys(item.by for item in report.dependences), start=1):
        about = f"Median of E_reco/E_true in slices of {by}, all energies together."
        yield _table(f"Dependence {number}", about, "median", _dependence(report, rows, by))


def _in_bins(
    report: Report, rows: Sequence[NumberRow], quantity: str, fits: Mapping[str, Mapping[str, Any]]
) -> list[Any]:
    """Return the true energy, and the quantity of every curve [%] with the terms that were fitted to it."""
    columns = _Columns.of(
        [row for row in rows if row.line == RowKind.BIN], quantity, [curve.name for curve in report.curves]
    )
    variables = [_energy(report, columns.places)]
    for curve, variable in columns.variables(quantity, PERCENT, "%"):
        variable.add_qualifier("ESTIMATE", report.statistics.labels[curve])
        if curve in fits:
            _qualify(variable, fits[curve])
        variables.append(variable)
    return variables


def _ratios(report: Report, rows: Sequence[NumberRow]) -> list[Any]:
    means = {item.curve: item.mean for item in report.comparisons}
    columns = _Columns.of([row for row in rows if row.line == RowKind.BIN], RATIO, list(means))
    variables = [_energy(report, columns.places)]
    for curve, variable in columns.variables(RATIO):
        variable.add_qualifier("RELATIVE_TO", report.statistics.labels[curve])
        if mean := means[curve]:
            variable.add_qualifier("mean inside the training range", with_error(mean).replace("±", "+-"))
        variables.append(variable)
    return variables


def _dependence(report: Report, rows: Sequence[NumberRow], by: str) -> list[Any]:
    """Return slices and mean of a quantity, and the median of every curve."""
    trends = {item.curve: item.trend for item in report.dependences if item.by == by}
    own = [row for row in rows if row.line == RowKind.SLICE and row.place["by"] == by]
    columns = _Columns.of(own, "median", list(trends))
    variables = [
        _independent(by, [slice_range(place["low"], place["high"]) for place in columns.places]),
        _independent(f"mean of {by}", [place["value"] for place in columns.places]),
    ]
    for curve, variable in columns.variables("median response"):
        variable.add_qualifier("ESTIMATE", report.statistics.labels[curve])
        if trend := trends[curve]:
            chi2 = f"{trend.chi2:.4g}/{trend.ndf}, p = {trend.p_value:.2g}"
            variable.add_qualifier("chi2/ndf of a constant", chi2)
        variables.append(variable)
    return variables


def _table(title: str, description: str, quantity: str, variables: Sequence[Any]) -> Any:
    submitted = Table(title)
    submitted.description, submitted.location = description, "calomlp report"
    submitted.keywords["observables"] = [quantity]
    for variable in variables:
        submitted.add_variable(variable)
    return submitted


def _qualify(variable: Any, fit: Mapping[str, Any]) -> None:
    """Add the terms of a fit to the resolution that was fitted."""
    for name in TERMS:
        limit = f", < {fit[f'{name}_limit']:.2g} at 95 % CL" if f"{name}_limit" in fit else ""
        variable.add_qualifier(f"{name} term", f"{fit[name].value:.4g} +- {fit[name].error:.2g}{limit}", _UNITS[name])


def _terms(fits: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> list[Any]:
    named = {f"{name} term": name for name in TERMS}
    named |= {"chi2": "chi2", "ndf": "ndf", "energy_min": "energy_low", "energy_max": "energy_high"}
    columns = {label: [fit[name] for fit in fits.values()] for label, name in named.items()}
    units = {label: _UNITS.get(name, "") for label, name in named.items()}
    estimates = _independent("ESTIMATE", [labels[curve] for curve in fits])
    return [estimates, *(_dependent(label, values, units[label]) for label, values in columns.items())]


def _correlations(report: Report) -> list[Any]:
    cells = [
        (curve.label, TERMS[i], TERMS[j], curve.fit.correlation[i][j])
        for curve in report.curves
        if curve.fit
        for i in range(len(TERMS))
        for j in range(len(TERMS))
    ]
    *places, values = map(list, zip(*cells, strict=True))
    names = ("ESTIMATE", "term", "other term")
    variables = [_independent(name, place) for name, place in zip(names, places, strict=True)]
    return [*variables, _dependent("correlation", values)]


def _energy(report: Report, places: Sequence[Mapping[str, Any]]) -> Any:
    binned = report.bins.kind != POINTS
    variable = Variable("E_true", is_independent=True, is_binned=binned, units="GeV")
    variable.values = [(place["energy_low"], place["energy_high"]) if binned else place["energy"] for place in places]
    return variable


def _independent(name: str, values: Sequence[float | str]) -> Any:
    variable = Variable(name, is_independent=True, is_binned=False)
    variable.values = values
    return variable


def _dependent(name: str, values: Sequence[Measurement | float], units: str = "", scale: float = 1.0) -> Any:
    """Return what was measured, with its errors where it has some; a term that was given has an error of zero."""
    variable = Variable(name, is_independent=False, is_binned=False, units=units, zero_uncertainties_warning=False)
    measured = [value for value in values if isinstance(value, Measurement)]
    if not measured:
        variable.values = values
        return variable
    variable.values = [scale * item.value for item in measured]
    error = Uncertainty("stat", is_symmetric=True)
    error.values = [scale * item.error for item in measured]
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
