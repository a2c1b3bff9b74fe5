"""The numbers of a report by name: ``stochastic``, ``resolution[10]``, ``sum.bias[10]``, ``ratio.sum[10]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calomlp.errors import UsageError, did_you_mean
from calomlp.evaluation.absent import has_resolution, is_shown, why_no_fit, why_not_linear
from calomlp.evaluation.estimators import MIN_SHOWN, why_absent
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Curve, Report
from calomlp.evaluation.resolution import MIN_POINTS, MIN_POINTS_OF_LINE
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
"""All numbers, but for ratios."""

RATIO = "ratio"
"""``ratio.sum[10]`` is the resolution of the first curve over that of the sum."""

_LISTED = 20
_NOWHERE = f"no bin inside the training range has {MIN_SHOWN} events"
_NO_PAIRS = "no event has both energies"


@dataclass(frozen=True)
class Number:
    """A number of a report, and what messages call it."""

    name: str
    measured: Measurement | None  # without a value if it is absent
    why: str = ""  # why it is absent


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
    if is_ratio(name):
        return _ratios(report, name, energy, where)
    if quantity in OF_THE_REPORT:
        if quantity != "out_of_domain" and report.uncertainty is None:
            raise UsageError(f"{where}: no uncertainties of single events are predicted, so there is no {quantity}")
        return [Number(name, _of_report(report).get(quantity), "fewer than 100 events, or narrower than two fine bins")]
    names = [curve.name for curve in report.curves]
    curve = report.curve(known_curve(owner, names, where)) if owner else report.curves[0]
    if quantity in OF_A_CURVE:
        why = (
            why_not_linear(curve, report)
            if quantity.startswith("linearity")
            else why_no_fit(curve, report, MIN_POINTS_OF_LINE if quantity in ("slope", "offset") else MIN_POINTS)
        )
        return [Number(name, _of_curve(curve).get(quantity), why)]
    if quantity.startswith("crystal_ball") and report.options.width != "crystal_ball":
        raise UsageError(f"{where}: {quantity} is there with --width crystal_ball only")
    return list(_in_bins(report, curve, name, energy, where))


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


def _in_bins(report: Report, curve: Curve, name: str, energy: str, where: str) -> Iterator[Number]:
    quantity = name.rpartition(".")[2]
    for place in _places(report, energy, where):
        bin_ = curve.bins[place]
        found = Measurement(bin_.events, 0) if quantity == "events" else bin_.estimates.get(quantity)
        why = "" if found else why_absent(quantity, bin_.estimates, bin_.events, report.options)
        yield Number(f"{name}[{bin_.energy:.3g}]", found, why)
    if not energy and not _places(report, energy, where):
        yield Number(name, None, _NOWHERE)


def _ratios(report: Report, name: str, energy: str, where: str) -> list[Number]:
    others = {comparison.curve: comparison for comparison in report.comparisons}
    other = compared_curve(name, list(others), where)
    ratios = {item.energy_low: item.ratio for item in others[other].ratios}
    numbers = []
    for place in _places(report, energy, where):
        pair = [report.curves[0].bins[place], report.curve(other).bins[place]]
        lacking = [bin_ for bin_ in pair if not (is_shown(bin_) and has_resolution(bin_))]
        why = (
            why_absent("resolution", lacking[0].estimates, lacking[0].events, report.options) if lacking else _NO_PAIRS
        )
        numbers.append(Number(f"{name}[{pair[0].energy:.3g}]", ratios.get(pair[0].energy_low), why))
    return numbers or [Number(name, None, _NOWHERE)]


def _places(report: Report, energy: str, where: str) -> list[int]:
    """Return which bins a name speaks of, the same for all curves: that of an energy, or those inside with events.

    Raises:
        UsageError: If there is no bin at the energy.
    """
    places = range(len(report.curves[0].bins))
    if energy:
        bins = report.curves[0].bins
        found = [place for place in places if _holds(bins[place].edges, float(energy))]
        if not found:
            raise UsageError(f"{where}: there is no bin at {energy} GeV, {_there(bins)}")
        return found
    columns = [[curve.bins[place] for curve in report.curves] for place in places]
    return [
        place
        for place, bins in zip(places, columns, strict=True)
        if max(bin_.events for bin_ in bins) >= MIN_SHOWN and not any(bin_.edge for bin_ in bins)
    ]


def _holds(edges: tuple[float, float], energy: float) -> bool:
    low, high = edges
    return low <= energy < high or (low == high and abs(energy / low - 1) < 1e-6)


def _there(bins: Sequence[Bin]) -> str:
    """Say which bins there are [GeV]."""
    ends = [dict.fromkeys((f"{item.energy_low:.4g}", f"{item.energy_high:.4g}")) for item in bins]
    return f"there are {listed([' to '.join(end) for end in ends], _LISTED)} GeV" if bins else "and there is no other"


def _of_curve(curve: Curve) -> dict[str, Measurement]:
    found = {name: Measurement(getattr(curve.unusual, name), 0) for name in ("missing", "infinite", "not_positive")}
    if curve.fit:
        found |= {name: getattr(curve.fit, name) for name in ("stochastic", "noise", "constant")}
        found["chi2_per_ndf"] = Measurement(curve.fit.chi2 / max(curve.fit.ndf, 1), 0)
    if curve.linearity:
        found["linearity"] = Measurement(curve.linearity.max, 0)
        found["linearity_rms"] = Measurement(curve.linearity.rms, 0)
    if curve.line:
        found |= {"slope": curve.line.slope, "offset": curve.line.offset}
    return found


def _of_report(report: Report) -> dict[str, Measurement]:
    found = {"out_of_domain": Measurement(report.out_of_domain, 0)}
    if (given := report.uncertainty) is not None:
        found |= {"coverage": given.coverage[0], "coverage_2sigma": given.coverage[1]}
        found |= {"sharpness": Measurement(given.sharpness, 0), "score": Measurement(given.score, 0)}
        for name, part in (("pull_mean", "core_mean"), ("pull_width", "core_sigma")):
            if part in given.pull:
                found[name] = given.pull[part]
    return found
