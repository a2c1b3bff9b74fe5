"""A report from statistics: estimators, fits, comparisons, flags, and notes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from calomlp.errors import ArtefactError, InputError
from calomlp.evaluation.accumulator import Accumulator, Unusual, grouped
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import MIN_QUOTED, MIN_SHOWN, estimate_all, is_above_zero, resolution_ratio
from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.importance import importances
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.numbers import absences, why_no_fit
from calomlp.evaluation.options import Options
from calomlp.evaluation.report import Bin, Comparison, Context, Curve, Linearity, Ratio, Report
from calomlp.evaluation.resolution import fit_resolution, fit_response
from calomlp.evaluation.slices import dependences, describe
from calomlp.evaluation.statistics import IN_DOMAIN, Statistics
from calomlp.evaluation.uncertainty import judge
from calomlp.model.outcome import WarningKind
from calomlp.provenance import provenance

ORACLE = "oracle"
"""A curve of this name knows more than a detector can, and nothing should be much better."""

ORACLE_MARGIN = 0.9
_PLAUSIBLE = (0.5, 2.0)
_NAMED = 3
USUAL_STRANGE = 0.005
"""A share of events outside the domain that needs no word; of those like the training one in a thousand is."""


def summarise(statistics: Statistics, context: Context, options: Options) -> Report:
    """Derive all numbers of a report.

    Args:
        statistics: What was accumulated.
        context: Where it comes from.
        options: How numbers are derived.

    Raises:
        InputError: If no event is left.
    """
    if not statistics.events:
        raise InputError(_nothing_left(statistics))
    events = {key: content.events for key, content in statistics.responses.content.items()}
    bins = statistics.bins.joined(events, lambda key: _zone(*statistics.bins.edges(key), context))
    places = statistics.bins.within(bins, events)
    responses = statistics.responses.grouped(places)
    curves = tuple(_curve(name, statistics, bins, responses, context, options) for name in responses.curves)
    uncertainty = statistics.uncertainty
    if uncertainty is not None:
        uncertainty = replace(uncertainty, response=grouped(uncertainty.response, places))
    report = Report(
        options,
        bins,
        curves,
        tuple(_comparison(curves[0], other, responses, options) for other in curves[1:]),
        tuple(dependence for item in statistics.slices.values() for dependence in dependences(item, options)),
        judge(uncertainty, bins, options) if uncertainty else None,
        tuple(importances(statistics.importance)) if statistics.importance else (),
        (),
        context,
        statistics,
    )
    return replace(report, notes=tuple(_notes(report)))


def merge(reports: Sequence[Report], options: Options | None = None) -> Report:
    """Return the report on all the events of some reports, which must not overlap.

    Args:
        reports: On different files.
        options: How numbers are derived; those of the first report if it is not given.

    Raises:
        ArtefactError: If they are not of the same models, bins and slices, or have a file in common.
    """
    first, *others = reports
    statistics, files = first.statistics, list(first.context.files)
    for other in others:
        statistics.check_fits(other.statistics)
        known = {record.identity: record for record in files}
        for record in other.context.files:
            if record.identity in known:
                raise ArtefactError(f"{record.path} is in two of the reports: merged, its events would count twice")
        files += other.context.files
        statistics = statistics + other.statistics
    made = [report.context.provenance for report in reports]
    origin = {"model": made[0]["model"]} if "model" in made[0] else {}
    context = replace(
        first.context,
        files=tuple(files),
        use_all=any(report.context.use_all for report in reports),
        settings=reduce(_common, (report.context.settings for report in reports)),
        provenance=provenance(parts=[item.get("command") for item in made], **origin),
    )
    return summarise(statistics, context, options or first.options)


def alarms(report: Report) -> Iterator[str]:
    """Say what looks wrong, a sentence each."""
    statistics = report.statistics
    yield from statistics.tally.losses()
    yield from warnings_of_training(report)
    first = report.curves[0]
    response = statistics.responses.total(first.name)
    if response.events and not _PLAUSIBLE[0] < (median := response.median) < _PLAUSIBLE[1]:
        units = "features and true energy in the units of the training" if report.context.envelope else "both in GeV"
        yield f"the median response is {median:.3g}: are {units}?"
    for curve in report.curves:
        yield from _unusual(curve, statistics.events)
    yield from statistics.suspicions
    yield from _beyond_the_oracle(report)
    yield from _strange(report)


def warnings_of_training(report: Report) -> list[str]:
    """Return what was wrong with the training and is so with its result: features like truth, few energies."""
    return [item.sentence for item in report.outcome.warnings if item.kind != WarningKind.DATA]


def out_of_range(statistics: Statistics) -> list[tuple[str, int]]:
    """Return the features that are outside their range in training unusually often, the first few, with the events."""
    by_number = sorted(statistics.outside.items(), key=lambda item: -item[1])[:_NAMED]
    return [(name, number) for name, number in by_number if number > USUAL_STRANGE * statistics.events]


def _common(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings that are the same in two reports; in tables, value by value."""
    common: dict[str, Any] = {}
    for name, value in one.items():
        theirs = other.get(name)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            if part := _common(value, theirs):
                common[name] = part
        elif name in other and value == theirs:
            common[name] = value
    return common


def _curve(
    name: str, statistics: Statistics, bins: EnergyBins, responses: Accumulator, context: Context, options: Options
) -> Curve:
    bins_of_curve, nothing = [], Histogram.of(np.empty(0))
    for key, content in sorted(responses.content.items()):
        histogram = content.histograms.get(name, nothing)
        low, high = bins.edges(key)
        energy = low if low == high else content.energy
        edge = name in statistics.models and _at_edge(low, high, context)
        bins_of_curve.append(
            Bin(key, low, high, energy, histogram.events, edge, estimate_all(histogram, options), histogram)
        )
    bins_of_curve = _with_slopes(bins_of_curve)
    inner = [bin_ for bin_ in bins_of_curve if bin_.shown and (options.edges or not bin_.edge)]
    usable = [(bin_.energy, at) for bin_ in inner if (at := bin_.resolution)]
    located = [(bin_.energy, at) for bin_ in inner if (at := bin_.response) and is_above_zero(at) and at.error > 0]
    return Curve(
        name,
        statistics.labels[name],
        tuple(bins_of_curve),
        fit_resolution(*_apart(usable), options),
        None if any(bin_.negative for bin_ in inner) else _linearity(_apart(located)[1]),
        fit_response(*_apart(located)),
        statistics.unusual.get(name, Unusual()),
    )


def _apart(points: Sequence[tuple[float, Measurement]]) -> tuple[list[float], list[Measurement]]:
    """Return energies and what was measured there."""
    return [energy for energy, _ in points], [at for _, at in points]


def _with_slopes(bins: list[Bin]) -> list[Bin]:
    """Add the resolution that is corrected for the local slope of the response.

    A regression is drawn to the middle of what it was trained on, and its distribution is narrower than what it knows
    of the energy. The width divided by d<E_reco>/dE_true, from the neighbouring bins, is what a measurement is good
    for.
    """
    chosen = [i for i, bin_ in enumerate(bins) if bin_.estimates and is_above_zero(bin_.estimates["core_mean"])]
    if len(chosen) < 3:
        return bins
    energy = np.array([bins[i].energy for i in chosen])
    mean, error = (
        energy * [getattr(bins[i].estimates["core_mean"], part) for i in chosen] for part in ("value", "error")
    )
    slope = np.gradient(mean, energy)
    last = np.minimum(np.arange(len(chosen)) + 1, len(chosen) - 1)
    first = np.maximum(np.arange(len(chosen)) - 1, 0)
    slope_error = np.hypot(error[last], error[first]) / (energy[last] - energy[first])
    result = list(bins)
    for place, i in enumerate(chosen):
        width = bins[i].estimates.get("core_sigma")
        if width and slope[place] > 0:
            value = width.value / float(slope[place])
            relative = float(np.hypot(width.error / width.value, slope_error[place] / slope[place]))
            corrected = {"resolution_per_slope": Measurement(value, value * relative)}
            result[i] = replace(bins[i], estimates={**bins[i].estimates, **corrected})
    return result


def _at_edge(low: float, high: float, context: Context) -> bool:
    """Whether a bin reaches within two sigma of an edge of the training range, or beyond it."""
    return _zone(low, high, context) != 0


def _zone(low: float, high: float, context: Context) -> int:
    """Return where a bin is: 0 inside of the training range, 1 at its upper edge, 2 beyond; and -1 and -2 below."""
    region = context.envelope
    if region is None or context.spread is None:
        return 0
    lowest, highest = context.spread.inner_range(region.energy_min, region.energy_max)
    if low < lowest:
        return -1 if math.sqrt(low * high) >= region.energy_min else -2
    return 0 if high <= highest else 1 if math.sqrt(low * high) <= region.energy_max else 2


def _linearity(measured: Sequence[Measurement]) -> Linearity | None:
    if len(measured) < 2:
        return None
    response = np.array([item.value for item in measured])
    deviation = response / response.mean() - 1
    return Linearity(float(response.mean()), float(np.abs(deviation).max()), float(np.sqrt(np.mean(deviation**2))))


def _comparison(first: Curve, other: Curve, responses: Accumulator, options: Options) -> Comparison:
    """Compare in the bins where both have a resolution; errors are of the same events, values of all of each."""
    ratios = []
    for one, two in zip(first.bins, other.bins, strict=True):
        joint = responses.content[one.key].joints.get(other.name)
        if joint is None or not all(bin_.shown and bin_.resolution for bin_ in (one, two)):
            continue
        value = one.estimates["resolution"].value / two.estimates["resolution"].value
        together = resolution_ratio(joint, options)
        error = value * together.error / together.value
        ratios.append(Ratio(*one.edges, one.energy, one.edge or two.edge, Measurement(value, error)))
    inner = [item.ratio for item in ratios if not item.edge]
    mean = None
    if inner:
        errors = np.array([item.error for item in inner])
        value = float(np.mean([item.value for item in inner]))
        mean = Measurement(value, float(np.sqrt(np.sum(errors**2)) / len(inner)))
    return Comparison(other.name, tuple(ratios), mean)


def _nothing_left(statistics: Statistics) -> str:
    tally = statistics.tally
    reasons = {
        "belong to the training side of the model's files (use them with --all)": statistics.left_out,
        "do not pass the cut": tally.cut,
        "have a bad value": tally.left_out,
        "are outside of all bins of energy (--bins)": statistics.out_of_bins,
    }
    why = ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)
    return f"no event is left to evaluate of {tally.events}" + (f": {why}" if why else "")


def _notes(report: Report) -> Iterator[str]:
    statistics, context, options = report.statistics, report.context, report.options
    yield from statistics.tally.selection(context.cut)
    yield from alarms(report)
    if context.use_all:
        yield "events that the model was trained on are among these (--all): the resolution is optimistic"
    if statistics.left_out:
        yield f"{statistics.left_out} events of the training and validation sides were left out"
    if statistics.out_of_bins:
        yield f"{statistics.out_of_bins} events are outside of all bins of energy and left out"
    bins = next((curve for curve in report.curves if any(bin_.edge for bin_ in curve.bins)), report.curves[0]).bins
    edges = sum(bin_.edge for bin_ in bins)
    if edges:
        how = "marked, but fitted all the same" if options.edges else "marked and left out of the fits"
        yield (
            f"{edges} of {len(bins)} bins are within two sigma of an edge of the training range or beyond it; they are "
            f"{how}"
        )
    yield from _few(report.curves[0].bins)
    fits: dict[str, list[str]] = {}
    for curve in report.curves:
        yield from absences(curve, report)
        note = curve.fit.note if curve.fit else f"no fit of the resolution: {why_no_fit(curve, report)}"
        if note:
            fits.setdefault(note, []).append(curve.label)
    yield from (f"{', '.join(labels)}: {note}" for note, labels in fits.items())
    yield from _uncertainty(report)
    for dependence in report.dependences:
        if dependence.curve == report.curves[0].name and dependence.by != IN_DOMAIN:
            yield describe(dependence, report.curves[0].label)
    yield from report.outcome.verdicts


def _few(bins: Sequence[Bin]) -> Iterator[str]:
    """Say how many bins have too few events for what."""
    unseen = sum(not bin_.estimates for bin_ in bins)
    if unseen:
        yield f"{unseen} of {len(bins)} bins have too few events for estimates"
    thin = sum(bool(bin_.estimates) and bin_.events < MIN_SHOWN for bin_ in bins)
    if thin:
        yield f"{thin} of {len(bins)} bins have fewer than {MIN_SHOWN} events and are left out of figures and fits"
    unsure = sum(MIN_SHOWN <= bin_.events < MIN_QUOTED for bin_ in bins)
    if unsure:
        yield (
            f"{unsure} of {len(bins)} bins have fewer than {MIN_QUOTED} events: too few to quote a resolution of, and "
            "for sigma_eff"
        )


def _unusual(curve: Curve, events: int) -> Iterator[str]:
    for kind in ("missing", "infinite"):
        if number := getattr(curve.unusual, kind):
            yield f"{curve.label}: {number} of {events} estimates are {kind}; these events are in none of its bins"
    if number := curve.unusual.not_positive:
        yield f"{curve.label}: {number} of {events} estimates are zero or negative; they count like all others"


def _beyond_the_oracle(report: Report) -> Iterator[str]:
    for comparison in report.comparisons:
        mean = comparison.mean
        if comparison.curve == ORACLE and mean and mean.value + 2 * mean.error < ORACLE_MARGIN:
            yield (
                f"the resolution is {mean.value:.2f} of the oracle's, which knows more than a detector can: is the "
                "truth among the features?"
            )


def _strange(report: Report) -> Iterator[str]:
    """Say if many events are outside the domain, how they do, and which features are out of range."""
    statistics = report.statistics
    slices = statistics.slices.get(IN_DOMAIN)
    outside = slices.responses.content.get(0) if slices else None
    if outside is None or outside.events <= USUAL_STRANGE * statistics.events:
        return
    response = outside.histograms.get(report.curves[0].name)
    mean = f", their response is {response.mean:.3g} on average" if response else ""
    named = [f"{name} in {number / statistics.events:.1%}" for name, number in out_of_range(statistics)]
    worst = f"; most often outside their range in training: {', '.join(named)} of the events" if named else ""
    yield f"{outside.events / statistics.events:.1%} of the events are unlike those of the training{mean}{worst}"


def _uncertainty(report: Report) -> Iterator[str]:
    if (uncertainty := report.uncertainty) is not None:
        one, two = (item.value for item in uncertainty.coverage)
        yield (
            f"{one:.1%} and {two:.1%} of the true energies are within one and two predicted sigma, where 68.27 "
            "and 95.45 % should be"
        )
