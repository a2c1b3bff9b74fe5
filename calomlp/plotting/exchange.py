"""A report as tab-separated values, for other programs; nothing is written here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import combinations

from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Report
from calomlp.evaluation.resolution import TERMS

Row = dict[str, str]


def to_tsv(report: Report) -> str:
    """Return the numbers of a report with their errors as one table, whose first column says what a line is about.

    ``bin``: a curve in a bin of energy; ``fit``: terms of its resolution, its linearity, the mean of its ratios;
    ``slice``: its response in a slice of another quantity; ``trend``: whether it depends on that. Energies are in GeV,
    ``ratio`` is the resolution of the first curve over that of the curve in the line. A cell is empty where there is
    nothing to say.
    """
    rows = [*_bins(report), *_fits(report), *_slices(report)]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _bins(report: Report) -> Iterator[Row]:
    ratios = {(one.curve, item.energy_low): item.ratio for one in report.comparisons for item in one.ratios}
    for curve in report.curves:
        for bin_ in curve.bins:
            ratio = ratios.get((curve.name, bin_.energy_low))
            yield {
                "line": "bin",
                "curve": curve.name,
                **_numbers(energy_low=bin_.energy_low, energy_high=bin_.energy_high, energy=bin_.energy),
                "events": str(bin_.events),
                "edge": str(int(bin_.edge)),
                **_measured({**bin_.estimates, **({"ratio": ratio} if ratio else {})}),
            }


def _fits(report: Report) -> Iterator[Row]:
    means = {item.curve: item.mean for item in report.comparisons if item.mean}
    for curve in report.curves:
        row = {"line": "fit", "curve": curve.name}
        if fit := curve.fit:
            row |= _numbers(energy_low=fit.energy_min, energy_high=fit.energy_max)
            row |= _measured({name: getattr(fit, name) for name in TERMS})
            row |= _numbers(**{f"{name}_limit": limit for name, limit in fit.limits.items()})
            for i, j in combinations(range(len(TERMS)), 2):
                row[f"correlation_{TERMS[i]}_{TERMS[j]}"] = f"{fit.correlation[i][j]:.4g}"
            row |= {**_numbers(chi2=fit.chi2), "ndf": str(fit.ndf)}
        if curve.linearity:
            row |= _numbers(linearity=curve.linearity.max, linearity_rms=curve.linearity.rms)
        if curve.line:
            row |= _measured({"slope": curve.line.slope, "offset": curve.line.offset})
        if curve.name in means:
            row |= _measured({"ratio": means[curve.name]})
        yield row


def _slices(report: Report) -> Iterator[Row]:
    for found in report.dependences:
        place = {"curve": found.curve, "by": found.by}
        for slice_ in found.slices:
            ends = {"low": slice_.low, "high": slice_.high, "value": slice_.value}
            row = {"line": "slice", **place, "events": str(slice_.events), **_measured(slice_.estimates)}
            yield row | _numbers(**{name: end for name, end in ends.items() if end is not None})
        if trend := found.trend:
            row = {"line": "trend", **place, **_measured({"slope": trend.slope}), "ndf": str(trend.ndf)}
            yield row | _numbers(chi2=trend.chi2, p_value=trend.p_value, largest=trend.largest)


def _numbers(**values: float) -> Row:
    return {name: f"{value:.6g}" for name, value in values.items()}


def _measured(found: Mapping[str, Measurement]) -> Row:
    """Return a cell for each number and one for its error."""
    cells: Row = {}
    for name, item in found.items():
        cells |= {name: f"{item.value:.9g}", f"{name}_error": f"{item.error:.4g}"}
    return cells
