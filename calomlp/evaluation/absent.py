"""What a bin of energy has, and why a number of a curve is absent."""

from __future__ import annotations

from collections.abc import Iterator

from calomlp.evaluation.bins import POINTS
from calomlp.evaluation.estimators import MIN_SHOWN, Options, is_above_zero, why_absent
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Curve, Report
from calomlp.evaluation.resolution import MIN_POINTS
from calomlp.units import listed

_NAMED = 3
_QUANTILES = 8  # bins that are proposed at most


def is_shown(bin_: Bin) -> bool:
    """Whether a bin has events enough for figures, fits and averages."""
    return bool(bin_.estimates) and bin_.events >= MIN_SHOWN


def has_resolution(bin_: Bin) -> bool:
    """Whether a bin has a resolution with an error."""
    resolution = bin_.estimates.get("resolution")
    return resolution is not None and resolution.error > 0


def response_of(bin_: Bin) -> Measurement | None:
    """Return the mean response in a bin, by the location that goes with the resolution; ``None`` if there is none."""
    bias = bin_.estimates.get("bias")
    return Measurement(1 + bias.value, bias.error) if bias else None


def is_negative(bin_: Bin) -> bool:
    """Whether the mean response in a bin is known and not above zero."""
    return (at := response_of(bin_)) is not None and not is_above_zero(at)


def why_not_linear(curve: Curve, report: Report) -> str:
    """Say why there is no linearity of a curve."""
    if found := [f"{bin_.energy:.3g}" for bin_ in curve.bins if is_shown(bin_) and is_negative(bin_)]:
        return f"the mean response is not above zero at {listed(found, _NAMED)} GeV"
    return why_no_fit(curve, report, needed=2)


def why_no_fit(curve: Curve, report: Report, needed: int = MIN_POINTS) -> str:
    """Say why there is no fit of a curve, and what would give one.

    Args:
        curve: Without a fit.
        report: That it is of.
        needed: Number of bins that the fit needs.
    """
    bins, options = curve.bins, report.options
    shown = [bin_ for bin_ in bins if is_shown(bin_)]
    edge = [] if options.edges else [bin_ for bin_ in shown if bin_.edge and has_resolution(bin_)]
    usable = [bin_ for bin_ in shown if has_resolution(bin_) and bin_ not in edge]
    reasons = {
        f"with fewer than {MIN_SHOWN} events": len(bins) - len(shown),
        "without a resolution": len(shown) - len(usable) - len(edge),
        "at an edge of the training range": len(edge),
    }
    lost = "".join(f", {number} {reason}" for reason, number in reasons.items() if number)
    remedy, possible = "", min(_QUANTILES, sum(bin_.events for bin_ in bins) // MIN_SHOWN)
    if len(usable) + len(edge) >= needed:
        remedy = "; --fit-edges takes those at an edge too"
    elif report.bins.kind != POINTS and possible >= needed:
        remedy = f"; bins with as many events each may give more: --bins quantiles:{possible}"
    what = "energies" if report.bins.kind == POINTS else "bins of energy"
    return f"{len(usable)} of {len(bins)} {what} can be fitted, {needed} are needed{lost}{remedy}"


def absences(curve: Curve, options: Options) -> Iterator[str]:
    """Say in which bins with events enough there is no resolution, and why: they are in no fit and no mean ratio."""
    reasons: dict[str, list[str]] = {}
    for bin_ in curve.bins:
        if is_shown(bin_) and "resolution" not in bin_.estimates:
            why = why_absent("resolution", bin_.estimates, bin_.events, options)
            reasons.setdefault(why, []).append(f"{bin_.energy:.3g}")
    for why, energies in reasons.items():
        yield f"{curve.label}: no resolution at {listed(energies, _NAMED)} GeV: {why}"
