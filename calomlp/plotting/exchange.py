"""A report for other programs: tab-separated values, and tables for HEPData."""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.errors import MissingDependencyError
from calomlp.evaluation.bins import POINTS
from calomlp.plotting.report_tables import formula, width_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from calomlp.evaluation.report import Bin, Report

_PLACE = ("curve", "energy_low", "energy_high", "energy", "events", "edge")
_TERMS = ("stochastic", "noise", "constant")
_PERCENT = 100.0


def to_tsv(report: Report) -> str:
    """Return every estimator of every curve in every bin, a line each; empty where there is none."""
    bins = [(curve.name, bin_) for curve in report.curves for bin_ in curve.bins]
    names = list(dict.fromkeys(name for _, bin_ in bins for name in bin_.estimates))
    lines = [(*_PLACE, *(column for name in names for column in (name, f"{name}_error")))]
    for curve, bin_ in bins:
        place = (
            curve,
            *(f"{value:.6g}" for value in (*bin_.edges, bin_.energy)),
            str(bin_.events),
            str(int(bin_.edge)),
        )
        lines.append((*place, *(cell for name in names for cell in _cells(bin_, name))))
    return "".join("\t".join(line) + "\n" for line in lines)


def _cells(bin_: Bin, name: str) -> tuple[str, str]:
    found = bin_.estimates.get(name)
    return ("", "") if found is None else (f"{found.value:.9g}", f"{found.error:.4g}")


def write_hepdata(report: Report, path: Path) -> None:
    """Write a submission to HEPData: a compressed archive of YAML, with a table of resolution and one of response.

    Raises:
        MissingDependencyError: If hepdata_lib is not installed.
    """
    try:
        from hepdata_lib import Table  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingDependencyError(
            "--format hepdata needs a package that is not installed: pip install 'calomlp[hepdata]'"
        ) from error
    resolution = f"Relative resolution {width_name(report)} of the calorimeter; sigma/E = {formula(report)} is fitted."
    tables = {"Resolution": (resolution, "resolution"), "Response": ("Mean of E_reco/E_true, minus one.", "bias")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        comment = json.dumps(f"Response and resolution of a calorimeter, {report.events} events.")
        (folder / "submission.yaml").write_text(f"---\ncomment: {comment}\n", encoding="utf-8")
        for title, (description, quantity) in tables.items():
            table = Table(title)
            table.description, table.location = description, "calomlp report"
            table.keywords["observables"] = [quantity]
            for variable in _variables(report, quantity):
                table.add_variable(variable)
            table.write_yaml(name)
        _pack(sorted(folder.glob("*.yaml")), path)


def _variables(report: Report, quantity: str) -> Iterator[Any]:
    """Yield the true energy, and the quantity of every curve with its error, in the bins where all have one [%]."""
    from hepdata_lib import Uncertainty, Variable  # noqa: PLC0415 - as above

    first, binned = report.curves[0], report.bins.kind != POINTS
    chosen = [i for i in range(len(first.bins)) if all(quantity in curve.bins[i].estimates for curve in report.curves)]
    energy = Variable("E_true", is_independent=True, is_binned=binned, units="GeV")
    energy.values = [first.bins[i].edges if binned else first.bins[i].energy for i in chosen]
    yield energy
    for curve in report.curves:
        found = [curve.bins[i].estimates[quantity] for i in chosen]
        variable = Variable(quantity, is_independent=False, is_binned=False, units="%")
        variable.values = [_PERCENT * item.value for item in found]
        variable.add_qualifier("ESTIMATE", curve.label)
        if quantity == "resolution" and curve.fit:
            for name, unit in zip(_TERMS, ("sqrt(GeV)", "GeV", ""), strict=True):
                term = getattr(curve.fit, name)
                variable.add_qualifier(f"{name} term", f"{term.value:.4g} +- {term.error:.2g}", unit)
        error = Uncertainty("stat", is_symmetric=True)
        error.values = [_PERCENT * item.error for item in found]
        variable.add_uncertainty(error)
        yield variable


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
