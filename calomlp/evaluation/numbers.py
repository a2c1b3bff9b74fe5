"""Table of all numbers of a report, each by its name: ``stochastic``, ``resolution[10]``, ``sum.bias[10]``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from calomlp.errors import UsageError, did_you_mean
from calomlp.evaluation.bins import POINTS
from calomlp.evaluation.estimators import MIN_SHOWN, why_absent
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Curve, Report
from calomlp.evaluation.resolution import MIN_POINTS, MIN_POINTS_OF_LINE, TERMS
from calomlp.units import listed

IN_BINS = (
    "resolution",
    "bias",
    "resolution_per_slope",
    "events",
    *("core_mean", "core_sigma", "mean", "rms", "mean90", "rms90", "median", "sigma_68", "sigma_eff", "mad"),
    *("mode", "fwhm", "tail_2sigma", "tail_3sigma", "crystal_ball_mean", "crystal_ball_sigma"),
)
"""Numbers that there are in every bin: of the one at 10 GeV as ``bias[10]``, or of all inner bins as ``bias``."""

OF_A_CURVE = (
    *("stochastic", "noise", "constant", "chi2_per_ndf", "linearity", "linearity_rms", "slope", "offset"),
    *("missing", "infinite", "not_positive"),
)
"""Numbers of a curve."""

OF_THE_REPORT = ("out_of_domain", "coverage", "coverage_2sigma", "pull_mean", "pull_width", "sharpness", "score")
"""Numbers of the whole report."""

LEGAL = (*IN_BINS, *OF_A_CURVE, *OF_THE_REPORT)
"""All numbers that conditions may name, but for ratios."""

RATIO = "ratio"
"""``ratio.sum[10]`` is the resolution of the first curve over that of the sum."""

_LISTED, _NAMED = 20, 3
_QUANTILES = 8  # bins that are proposed at most
_NOWHERE = f"no bin inside the training range has {MIN_SHOWN} events"
_NO_PAIRS = "no event has both energies"

Value = Measurement | float


class RowKind(StrEnum):
    """Kinds of rows of the table."""

    BIN = "bin"  # a curve in a bin of energy
    FIT = "fit"  # fits of a curve, its linearity, the mean of its ratios
    SLICE = "slice"  # a curve in a slice of another quantity
    TREND = "trend"  # whether the curve depends on that
    REPORT = "report"  # the whole report


@dataclass(frozen=True)
class NumberRow:
    """Numbers of one curve in one place.

    Attributes:
        line: What they are numbers of.
        curve: Name of the curve; empty for the whole report.
        place: Bin or slice by its ends; energies in GeV.
        numbers: By name: with an error where there is one.
    """

    line: RowKind
    curve: str
    place: Mapping[str, str | float | None]
    numbers: Mapping[str, Value]


@dataclass(frozen=True)
class Number:
    """A number of a report, and what messages call it."""

    name: str
    measured: Measurement | None  # without a value if it is absent
    why: str = ""  # why it is absent


def table(report: Report) -> list[NumberRow]:
    """Return all numbers of a report."""
    return [*_bins(report), *_fits(report), *_slices(report), NumberRow(RowKind.REPORT, "", {}, _of_report(report))]


def _bins(report: Report) -> Iterator[NumberRow]:
    ratios = {
        (comparison.curve, item.energy_low): item.ratio
        for comparison in report.comparisons
        for item in comparison.ratios
    }
    for curve in report.curves:
        for bin_ in curve.bins:
            place = {"energy_low": bin_.energy_low, "energy_high": bin_.energy_high, "energy": bin_.energy}
            ratio = ratios.get((curve.name, bin_.energy_low))
            numbers: dict[str, Value] = {"events": bin_.events, "edge": int(bin_.edge), **bin_.estimates}
            yield NumberRow(RowKind.BIN, curve.name, place, {**numbers, **({RATIO: ratio} if ratio else {})})


def _fits(report: Report) -> Iterator[NumberRow]:
    means = {item.curve: item.mean for item in report.comparisons if item.mean}
    for curve in report.curves:
        numbers: dict[str, Value] = {}
        if fit := curve.fit:
            numbers |= {"energy_low": fit.energy_min, "energy_high": fit.energy_max}
            numbers |= {name: getattr(fit, name) for name in TERMS}
            numbers |= {f"{name}_limit": limit for name, limit in fit.limits.items()}
            for i, j in combinations(range(len(TERMS)), 2):
                numbers[f"correlation_{TERMS[i]}_{TERMS[j]}"] = fit.correlation[i][j]
            numbers |= {"chi2": fit.chi2, "ndf": fit.ndf, "chi2_per_ndf": fit.chi2 / max(fit.ndf, 1)}
        if curve.linearity:
            numbers |= {"linearity": curve.linearity.max, "linearity_rms": curve.linearity.rms}
        if curve.line:
            numbers |= {"slope": curve.line.slope, "offset": curve.line.offset}
        if curve.name in means:
            numbers[RATIO] = means[curve.name]
        numbers |= {name: getattr(curve.unusual, name) for name in ("missing", "infinite", "not_positive")}
        yield NumberRow(RowKind.FIT, curve.name, {}, numbers)


def _slices(report: Report) -> Iterator[NumberRow]:
    for dependence in report.dependences:
        for slice_ in dependence.slices:
            place = {"by": dependence.by, "low": slice_.low, "high": slice_.high, "value": slice_.value}
            yield NumberRow(RowKind.SLICE, dependence.curve, place, {"events": slice_.events, **slice_.estimates})
        if trend := dependence.trend:
            numbers = {name: getattr(trend, name) for name in ("slope", "ndf", "chi2", "p_value", "largest")}
            yield NumberRow(RowKind.TREND, dependence.curve, {"by": dependence.by}, numbers)


def _of_report(report: Report) -> dict[str, Value]:
    numbers: dict[str, Value] = {"out_of_domain": report.out_of_domain}
    if (uncertainty := report.uncertainty) is not None:
        numbers |= {"coverage": uncertainty.coverage[0], "coverage_2sigma": uncertainty.coverage[1]}
        numbers |= {"sharpness": uncertainty.sharpness, "score": uncertainty.score}
        pulls = {"pull_mean": "core_mean", "pull_width": "core_sigma"}
        numbers |= {name: uncertainty.pull[part] for name, part in pulls.items() if part in uncertainty.pull}
    return numbers


def to_tsv(report: Report) -> str:
    """Return the table as tab-separated values: a line for each row, empty cells where there is no number."""
    cells = [{"line": str(row.line), "curve": row.curve, **dict(_cells(row))} for row in table(report)]
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in cells for name in row))
    writer = csv.DictWriter(text, columns, restval="", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return text.getvalue()


def _cells(row: NumberRow) -> Iterator[tuple[str, str]]:
    for name, value in {**row.place, **row.numbers}.items():
        if isinstance(value, Measurement):
            yield name, f"{value.value:.9g}"
            yield f"{name}_error", f"{value.error:.4g}"
        elif value is not None:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)


def check_number(name: str, energy: str, where: str) -> None:
    """Refuse what is no number of any report.

    Args:
        name: As the user wrote it: ``bias``, ``sum.bias``, ``ratio.sum``.
        energy: In brackets behind it [GeV]; empty without.
        where: What messages begin with.

    Raises:
        UsageError: If there is no such number, or none at an energy.
    """
    quantity = name.rpartition(".")[2]
    if not is_ratio(name) and (quantity not in LEGAL or (energy and quantity not in IN_BINS)):
        raise UsageError(f"{where}: no number {name!r}: {did_you_mean(quantity, LEGAL, limit=40)}")
    if energy and not _is_energy(energy):
        raise UsageError(f"{where}: {energy!r} in brackets is no energy in GeV")


def find_numbers(report: Report, name: str, energy: str, where: str) -> list[Number]:
    """Return the numbers that a name stands for: one, or one for every inner bin; a number may be absent for a reason.

    Args:
        report: The report.
        name: Of a number that :func:`check_number` lets pass.
        energy: In brackets behind it [GeV]; empty without.
        where: What messages begin with.

    Raises:
        UsageError: If no report of these curves, options and bins has it.
    """
    owner, _, quantity = name.rpartition(".")
    names = [curve.name for curve in report.curves]
    if is_ratio(name):
        owner, quantity = compared_curve(name, names[1:], where), RATIO
    elif quantity in OF_THE_REPORT and quantity != "out_of_domain" and report.uncertainty is None:
        raise UsageError(f"{where}: no uncertainties of single events are predicted, so there is no {quantity}")
    elif quantity.startswith("crystal_ball") and report.options.width != "crystal_ball":
        raise UsageError(f"{where}: {quantity} is there with --width crystal_ball only")
    curve = report.curve(known_curve(owner or names[0], names, where))
    line = RowKind.REPORT if quantity in OF_THE_REPORT else RowKind.FIT if quantity in OF_A_CURVE else RowKind.BIN
    of_curve = "" if line == RowKind.REPORT else curve.name
    rows = [row for row in table(report) if row.line == line and row.curve == of_curve]
    if line != RowKind.BIN:
        value = rows[0].numbers.get(quantity)
        return [Number(name, _measured(value), "" if value is not None else _why_absent(quantity, curve, report))]
    numbers = []
    for place in _places(report, energy, where):
        value = rows[place].numbers.get(quantity)
        why = "" if value is not None else _why_absent_in_bin(quantity, curve, place, report)
        numbers.append(Number(f"{name}[{report.curves[0].bins[place].energy:.3g}]", _measured(value), why))
    return numbers or [Number(name, None, _NOWHERE)]


def _measured(value: Value | None) -> Measurement | None:
    return value if value is None or isinstance(value, Measurement) else Measurement(value, 0)


def is_ratio(name: str) -> bool:
    """Whether a name is that of a ratio of resolutions."""
    return name.startswith(f"{RATIO}.")


def known_curve(name: str, names: Sequence[str], where: str, role: str = "") -> str:
    """Return the name of a curve if there is such a curve.

    Raises:
        UsageError: If there is not.
    """
    if name not in names:
        raise UsageError(f"{where}: no curve {name!r}{role}: {did_you_mean(name, names)}")
    return name


def compared_curve(name: str, names: Sequence[str], where: str) -> str:
    """Return the name of the curve that a ratio is taken to, if there is such a curve.

    Raises:
        UsageError: If there is not.
    """
    return known_curve(name.removeprefix(f"{RATIO}."), names, where, " to compare with")


def _is_energy(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def _places(report: Report, energy: str, where: str) -> list[int]:
    """Return the places of bins, the same for all curves: of that at an energy, or of those inside with events.

    Raises:
        UsageError: If there is no bin at the energy.
    """
    bins = report.curves[0].bins
    if energy:
        holding = [place for place, bin_ in enumerate(bins) if _holds(bin_.edges, float(energy))]
        if not holding:
            ends = [dict.fromkeys((f"{item.energy_low:.4g}", f"{item.energy_high:.4g}")) for item in bins]
            known = f"there are {listed([' to '.join(end) for end in ends], _LISTED)} GeV"
            raise UsageError(f"{where}: there is no bin at {energy} GeV, {known if bins else 'and there is no other'}")
        return holding
    columns = zip(*(curve.bins for curve in report.curves), strict=True)
    return [
        place
        for place, column in enumerate(columns)
        if max(bin_.events for bin_ in column) >= MIN_SHOWN and not any(bin_.edge for bin_ in column)
    ]


def _holds(edges: tuple[float, float], energy: float) -> bool:
    low, high = edges
    return low <= energy < high or (low == high and abs(energy / low - 1) < 1e-6)


def _why_absent(quantity: str, curve: Curve, report: Report) -> str:
    if quantity in OF_THE_REPORT:
        return "fewer than 100 events, or narrower than two fine bins"
    negative = [f"{bin_.energy:.3g}" for bin_ in curve.bins if bin_.shown and bin_.negative]
    if quantity.startswith("linearity") and negative:
        return f"the mean response is not above zero at {listed(negative, _NAMED)} GeV"
    needed = {"linearity": 2, "linearity_rms": 2, "slope": MIN_POINTS_OF_LINE, "offset": MIN_POINTS_OF_LINE}
    return why_no_fit(curve, report, needed.get(quantity, MIN_POINTS))


def _why_absent_in_bin(quantity: str, curve: Curve, place: int, report: Report) -> str:
    if quantity == RATIO:
        pair = (report.curves[0].bins[place], curve.bins[place])
        lacking = [bin_ for bin_ in pair if not (bin_.shown and bin_.resolution)]
        return _why_no_estimate("resolution", lacking[0], report) if lacking else _NO_PAIRS
    return _why_no_estimate(quantity, curve.bins[place], report)


def _why_no_estimate(quantity: str, bin_: Bin, report: Report) -> str:
    return why_absent(quantity, bin_.estimates, bin_.events, report.options)


def why_no_fit(curve: Curve, report: Report, needed: int = MIN_POINTS) -> str:
    """Say why there is no fit of a curve that needs so many bins, and what would give one."""
    shown = [bin_ for bin_ in curve.bins if bin_.shown]
    edge = [] if report.options.edges else [bin_ for bin_ in shown if bin_.edge and bin_.resolution]
    usable = [bin_ for bin_ in report.fitted(curve) if bin_.resolution]
    reasons = {
        f"with fewer than {MIN_SHOWN} events": len(curve.bins) - len(shown),
        "without a resolution": len(shown) - len(usable) - len(edge),
        "at an edge of the training range": len(edge),
    }
    lost = "".join(f", {number} {reason}" for reason, number in reasons.items() if number)
    remedy, possible = "", min(_QUANTILES, sum(bin_.events for bin_ in curve.bins) // MIN_SHOWN)
    if len(usable) + len(edge) >= needed:
        remedy = "; --fit-edges takes those at an edge too"
    elif report.bins.kind != POINTS and possible >= needed:
        remedy = f"; bins with as many events each may give more: --bins quantiles:{possible}"
    kind = "energies" if report.bins.kind == POINTS else "bins of energy"
    return f"{len(usable)} of {len(curve.bins)} {kind} can be fitted, {needed} are needed{lost}{remedy}"


def absences(curve: Curve, report: Report) -> Iterator[str]:
    """Say in which bins with events enough there is no resolution, and why: they are in no fit and no mean ratio."""
    reasons: dict[str, list[str]] = {}
    for bin_ in curve.bins:
        if bin_.shown and "resolution" not in bin_.estimates:
            reasons.setdefault(_why_no_estimate("resolution", bin_, report), []).append(f"{bin_.energy:.3g}")
    for why, energies in reasons.items():
        yield f"{curve.label}: no resolution at {listed(energies, _NAMED)} GeV: {why}"
