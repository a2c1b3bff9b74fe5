"""A report as tables of text, and what it comes to in sentences; nothing is printed here."""

from __future__ import annotations

import math

from calomlp.evaluation.bins import EDGES, POINTS
from calomlp.evaluation.estimators import MIN_QUOTED, is_above_zero
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.names import MEAN, QUADRATURE, WIDTHS
from calomlp.evaluation.report import Bin, Comparison, Curve, Report
from calomlp.evaluation.resolution import TERMS, ResolutionFit
from calomlp.evaluation.slices import Slice
from calomlp.evaluation.summary import LABELS
from calomlp.evaluation.uncertainty import Uncertainty
from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import count, decimals_of, energy_range, four_decimals, with_error
from calomlp.plotting.tables import NONE, Table

EDGE_MARK, FEW_MARK, LIMIT_MARK = " *", " \N{DAGGER}", "< "
MARKS = {
    EDGE_MARK: "* at an edge of the training range: left out of averages, and of the fits of what was trained",
    FEW_MARK: f"\N{DAGGER} fewer than {MIN_QUOTED} events: too few to quote a resolution",
    LIMIT_MARK: "< upper limit at 95 % CL on a term of the resolution that is below two standard errors",
}
"""Marks of bins and terms, and what they mean."""

SIGNIFICANT = 2.0
"""Standard errors: what differs by less is called compatible."""

_RELATIVE = ("rms90/mean90", "sigma_68/median", "sigma_eff/median")


def width_name(report: Report) -> str:
    """Return what the resolution of a report is: ``σ/μ``, ``RMS90/mean90``, or over the true energy ``σ/E``."""
    chosen = WIDTHS[report.options.width]
    return f"{chosen.symbol}/{chosen.centre if report.options.relative_to == MEAN else 'E'}"


def formula(report: Report) -> str:
    """Return the formula that is fitted to the resolution."""
    return f" {'⊕' if report.options.sum == QUADRATURE else '+'} ".join(("a/√E", "n/E", "c"))


def binning(report: Report) -> str:
    """Return how the true energy is binned."""
    if report.bins.kind == POINTS:
        return "one for each beam energy"
    if report.statistics.bins.kind == EDGES:
        return "with given edges"
    widths = sorted(math.log(bin_.energy_high / bin_.energy_low) for bin_ in report.curves[0].bins)
    ends = dict.fromkeys(f"{width:.3g}" for width in (*widths[:1], *widths[-1:]))
    return f"{'each ' if len(ends) == 1 else ''}{' to '.join(ends)} wide in ln E"


def report_tables(report: Report) -> list[tuple[str, Table]]:
    """Return the tables that say what a report comes to, each with its title."""
    tables = [
        (f"Response and resolution, {WIDTHS[report.options.width].label}", resolution_table(report)),
        (f"Resolution: {width_name(report)} = {formula(report)}", fit_table(report)),
        ("Linearity of the response", linearity_table(report)),
    ]
    if report.comparisons:
        tables.append((f"{report.curves[0].label}: ratio of the resolution to", ratio_table(report)))
    if report.uncertainty is not None:
        tables.append(("Predicted uncertainties", uncertainty_table(report.uncertainty)))
        tables.append(
            (
                "Resolution without the events of the largest predicted uncertainty",
                dropped_table(report.uncertainty, width_name(report)),
            )
        )
    tables += dependence_tables(report)
    if report.importance:
        tables.append(("Importance: increase of the deviation if a feature is shuffled", importance_table(report)))
    if report.statistics.worst.events:
        tables.append(("Events that are furthest off", worst_table(report)))
    return tables


def resolution_table(report: Report) -> Table:
    """Return response of the first curve and resolution of all curves in every bin of energy."""
    first = report.curves[0]
    header = ("E_true [GeV]", "events", f"{first.name}: bias [%]")
    rows = [
        (
            energy_cell(bin_),
            count(bin_.events),
            percent(bin_, "bias"),
            *(percent(curve.bins[place], "resolution") for curve in report.curves),
        )
        for place, bin_ in enumerate(first.bins)
    ]
    name = width_name(report)
    return Table((*header, *(f"{curve.name}: {name} [%]" for curve in report.curves)), tuple(rows))


def estimator_table(report: Report, curve: Curve) -> Table:
    """Return estimators of the width of one curve in every bin of energy, each relative to its location.

    RMS90 is not scaled to the sigma of a Gaussian, of which it is 0.789.
    """
    columns = {
        "bias": ("bias",),
        width_name(report): ("resolution",),
        "σ/slope": ("resolution_per_slope",),
        **{name: tuple(name.split("/")) for name in _RELATIVE},
        "RMS": ("rms",),
        "beyond 2σ": ("tail_2sigma",),
        "beyond 3σ": ("tail_3sigma",),
    }
    header = ("E_true [GeV]", "events", *(f"{name} [%]" for name in columns))
    rows = [
        (energy_cell(bin_), count(bin_.events), *(percent(bin_, *names) for names in columns.values()))
        for bin_ in curve.bins
    ]
    return Table(header, tuple(rows))


def fit_table(report: Report) -> Table:
    """Return the terms of the resolution of every curve."""
    rows: list[tuple[str, ...]] = []
    for curve in report.curves:
        fit = curve.fit
        if fit is None:
            rows.append((curve.label, *(NONE,) * 6))
            continue
        terms = fitted_terms(fit)
        fitted = f"{fit.energy_min:.3g}\N{EN DASH}{fit.energy_max:.3g}"
        rows.append((curve.label, *terms, f"{fit.correlation[0][2]:.2f}", f"{fit.chi2:.1f}/{fit.ndf}", fitted))
    return Table(("curve", "a [% √GeV]", "n [GeV]", "c [%]", "ρ(a, c)", "chi2/ndf", "fitted [GeV]"), tuple(rows))


def fitted_terms(fit: ResolutionFit) -> tuple[str, ...]:
    """Write a [% √GeV], n [GeV] and c [%], each with its error, or its upper limit if it may as well be zero."""
    return tuple(_term(fit, name, scale) for name, scale in zip(TERMS, (PERCENT, 1.0, PERCENT), strict=True))


def _term(fit: ResolutionFit, name: str, scale: float) -> str:
    if name not in fit.limits:
        return with_error(getattr(fit, name), scale)
    limit = scale * fit.limits[name]
    return f"{LIMIT_MARK}{limit:.{decimals_of(limit)}f}"


def linearity_table(report: Report) -> Table:
    """Return mean response of every curve, how far it is from being constant, and the line through its energies."""
    rows = []
    for curve in report.curves:
        found, line = curve.linearity, curve.line
        cells = (
            (four_decimals(found.response), f"{PERCENT * found.max:.2f}", f"{PERCENT * found.rms:.2f}")
            if found
            else (NONE,) * 3
        )
        fitted = (with_error(line.slope), with_error(line.offset)) if line else (NONE,) * 2
        rows.append((curve.label, *cells, *fitted))
    deviations = ("deviation: max [%]", "deviation: RMS [%]")
    return Table(("curve", "response: mean", *deviations, "slope", "offset [GeV]"), tuple(rows))


def ratio_table(report: Report) -> Table:
    """Return the resolution of the first curve over that of each other one, in every bin of energy."""
    found = [{(item.energy_low, item.energy_high): item.ratio for item in one.ratios} for one in report.comparisons]
    rows = [
        (energy_cell(bin_), *(with_error(ratios[bin_.edges]) if bin_.edges in ratios else NONE for ratios in found))
        for bin_ in report.curves[0].bins
    ]
    means = (with_error(item.mean) if item.mean else NONE for item in report.comparisons)
    return Table(
        ("E_true [GeV]", *(report.statistics.labels[item.curve] for item in report.comparisons)),
        (*rows, ("mean inside", *means)),
    )


def uncertainty_table(found: Uncertainty) -> Table:
    """Return what predicted uncertainties are worth, beside what they should be."""
    one, two = found.coverage
    pull = found.pull
    rows = [
        ("mean of the pull, core", with_error(pull["core_mean"]) if "core_mean" in pull else NONE, "0"),
        ("width of the pull, core", with_error(pull["core_sigma"]) if "core_sigma" in pull else NONE, "1"),
        ("within one sigma [%]", with_error(one, PERCENT), "68.27"),
        ("within two sigma [%]", with_error(two, PERCENT), "95.45"),
        ("largest distance of the probability integral transform", f"{found.distance:.3f}", "0"),
        ("sharpness, mean of sigma/E [%]", f"{PERCENT * found.sharpness:.3f}", ""),
        ("continuous ranked probability score over E_true [%]", f"{PERCENT * found.score:.3f}", ""),
    ]
    rows += [
        (
            f"observed spread where {PERCENT * group.predicted:.3g} % is predicted [%]",
            with_error(group.observed, PERCENT),
            f"{PERCENT * group.predicted:.2f}",
        )
        for group in found.reliability
    ]
    return Table(("", "found", "ideal"), tuple(rows))


def dropped_table(found: Uncertainty, name: str) -> Table:
    """Return the resolution without the events that are predicted to be worst."""
    rows = [
        (
            energy_range(item.energy_low, item.energy_high),
            with_error(item.everything, PERCENT),
            *(with_error(rest, PERCENT) for rest in item.resolutions),
        )
        for item in found.dropped
    ]
    header = (f"{name} [%]: all", f"{name} [%]: best 90 %", f"{name} [%]: best 80 %")
    return Table(("E_true [GeV]", *header), tuple(rows))


def dependence_tables(report: Report) -> list[tuple[str, Table]]:
    """Return the response of every curve in slices of each quantity, each table with its title."""
    tables = []
    for by in dict.fromkeys(item.by for item in report.dependences):
        of_curves = [item for item in report.dependences if item.by == by]
        rows = []
        for place, slice_ in enumerate(of_curves[0].slices):
            medians = [one.slices[place].estimates.get("median") for one in of_curves]
            width = slice_.estimates.get("sigma_68")
            cells = (with_error(item) if item else NONE for item in medians)
            spread = with_error(width, PERCENT) if width else NONE
            rows.append((slice_range(slice_), count(slice_.events), *cells, spread))
        chances = (f"{item.trend.p_value:.2g}" if item.trend else NONE for item in of_curves)
        rows.append(("p(flat)", "", *chances, ""))
        names = (f"{item.curve}: median" for item in of_curves)
        header = (by, "events", *names, f"{of_curves[0].curve}: sigma_68 [%]")
        tables.append((f"Response by {by}", Table(header, tuple(rows))))
    return tables


def importance_table(report: Report) -> Table:
    """Return the importance of the features."""
    rows = tuple((item.feature, with_error(item.increase, PERCENT)) for item in report.importance)
    return Table(("feature", "increase [%]"), rows)


def worst_table(report: Report) -> Table:
    """Return the events that are furthest off."""
    rows = tuple(
        (event.file, str(event.entry), f"{event.true_energy:.4g}", f"{event.energy:.4g}", f"{event.deviation:+.3g}")
        for event in report.statistics.worst.events
    )
    return Table(("file", "entry", "E_true [GeV]", "E_reco [GeV]", "(E_reco - E_true)/√E_true [√GeV]"), rows)


def marks(report: Report) -> list[str]:
    """Return what the marks mean that are in a report."""
    bins = report.curves[0].bins
    there = {
        EDGE_MARK: any(bin_.edge for bin_ in bins),
        FEW_MARK: any(is_thin(bin_) for bin_ in bins),
        LIMIT_MARK: any(curve.fit and curve.fit.limits for curve in report.curves),
    }
    return [MARKS[mark] for mark, found in there.items() if found]


def is_thin(bin_: Bin) -> bool:
    """Whether a bin has estimates, but of too few events to quote them."""
    return bool(bin_.estimates) and bin_.events < MIN_QUOTED


def verdicts(report: Report) -> list[str]:
    """Return what the report comes to, a sentence for each comparison and one for the response."""
    first = report.curves[0]
    sentences = [_comparison(first, report.curve(item.curve), item) for item in report.comparisons]
    if first.linearity:
        largest, rms = PERCENT * first.linearity.max, PERCENT * first.linearity.rms
        response = four_decimals(first.linearity.response)
        sentences.append(
            f"The response of {the(first)} is {response} on average, and constant within "
            f"{largest:.2f}\N{NO-BREAK SPACE}% (RMS {rms:.2f}\N{NO-BREAK SPACE}%)."
        )
    return sentences


def _comparison(curve: Curve, baseline: Curve, comparison: Comparison) -> str:
    mean = comparison.mean
    if mean is None:
        return f"There is no bin inside the training range to compare {the(curve)} and {the(baseline)} in."
    inner = sum(not item.edge for item in comparison.ratios)
    bins = f"{inner} bin{'s' if inner > 1 else ''}"
    return (
        f"The resolution of {the(curve)} is {relation(mean)} that of {the(baseline)}, averaged over {bins} "
        f"({spanned(comparison)})."
    )


def relation(mean: Measurement) -> str:
    """Say how a resolution compares with another one, from the mean of their ratio."""
    if abs(mean.value - 1) <= SIGNIFICANT * mean.error:
        return "compatible with"
    gain = with_error(Measurement(abs(1 - mean.value), mean.error), PERCENT)
    return f"({gain}) % {'better' if mean.value < 1 else 'worse'} than"


def spanned(comparison: Comparison) -> str:
    """Write the mean of the ratio and the range that it has; the comparison has a mean."""
    inner = [item.ratio.value for item in comparison.ratios if not item.edge]
    mean = with_error(comparison.mean) if comparison.mean else NONE
    return f"ratio {mean}, from {min(inner):.2f} to {max(inner):.2f}"


def the(curve: Curve) -> str:
    """Return what a curve is called in a sentence: other energies have the name that the user gave them."""
    return f"the {curve.label}" if curve.name in LABELS else f"‘{curve.label}’"


def energy_cell(bin_: Bin) -> str:
    """Write the range of a bin with its marks."""
    edge, few = EDGE_MARK if bin_.edge else "", FEW_MARK if is_thin(bin_) else ""
    return energy_range(bin_.energy_low, bin_.energy_high) + edge + few


def percent(bin_: Bin, width: str, location: str | None = None) -> str:
    """Write an estimator in percent, relative to a location if one is named."""
    found = bin_.estimates.get(width)
    if found is None or (location and not is_above_zero(bin_.estimates[location])):
        return NONE
    scale = PERCENT / bin_.estimates[location].value if location else PERCENT
    return with_error(found, scale)


def slice_range(slice_: Slice) -> str:
    """Write where a slice begins and ends."""
    low, high = slice_.low, slice_.high
    if low == high:
        return f"{low:g}"
    if low is None:
        return f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g}\N{EN DASH}{high:g}"
