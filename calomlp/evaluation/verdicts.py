"""Verdicts of a report: the questions that a reader asks first, each with a status and an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from calomlp.evaluation.measurement import (
    PERCENT,
    Measurement,
    count,
    decimals_of,
    energy_range,
    four_decimals,
    with_error,
)
from calomlp.evaluation.numbers import why_no_fit
from calomlp.evaluation.report import Comparison, Report
from calomlp.evaluation.resolution import TERMS, ResolutionFit
from calomlp.evaluation.statistics import IN_DOMAIN
from calomlp.evaluation.summary import ORACLE, USUAL_STRANGE, out_of_range, warnings_of_training
from calomlp.model.envelope import Envelope
from calomlp.model.outcome import Overtraining

SIGNIFICANT = 2.0
"""Standard errors: what differs by less is called compatible."""

LIMIT_MARK = "< "
"""Before the upper limit of a term of the resolution that is below two standard errors."""

BANDS = (1.0, 2.0)
"""Deviations of the response [%] that are asked of electromagnetic and of hadronic calorimeters."""


class Status(StrEnum):
    """Outcome of a verdict. A resolution is neither good nor bad by itself: it is measured."""

    GOOD = "good"
    MEASURED = "measured"
    LOOK = "look"
    UNKNOWN = "not known"


CRITERIA = (
    "How the words are chosen, always with two standard errors. "
    "Look everywhere if features look like truth or a network can learn the few true energies by heart. "
    "Better than the baselines: good if the mean ratio to each of them is below one. "
    f"Unbiased: good if the response of every bin that is fitted is certain to be within {BANDS[1]:g} % of one, and "
    f"none is certain to be beyond {BANDS[0]:g} %; look if one is. "
    "Overtrained: the verdict of the training. "
    f"Trust: look if more than {PERCENT * USUAL_STRANGE:g} % of the events are unlike those of the "
    "training, or energies are beyond its range."
)
"""Criteria of the statuses, as a reader is told them."""

_EPSILON = 1e-6  # relative: true energies at an end of the range differ by the rounding of single precision


@dataclass(frozen=True)
class Verdict:
    """A question with its status and its answer."""

    question: str  # as a reader asks it
    status: Status
    headline: str  # the answer in a few words
    details: tuple[str, ...] = ()  # what it rests on, a line each


def verdicts(report: Report) -> list[Verdict]:
    """Return what a report comes to: five questions, answered with what is known.

    Nothing is good, and no resolution is measured, while a warning of the training stands.
    """
    answers = [_resolution(report), _comparison(report), _bias(report), _overtraining(report), _trust(report)]
    warnings = warnings_of_training(report)
    if not warnings:
        return answers
    first, *others = (
        replace(item, status=Status.LOOK) if item.status in (Status.GOOD, Status.MEASURED) else item for item in answers
    )
    return [replace(first, details=(*warnings, *first.details)), *others]


def _resolution(report: Report) -> Verdict:
    question = "How good is it?"
    first, name = report.curves[0], report.width_name
    inner = [bin_ for bin_ in report.fitted(report.curves[0]) if bin_.resolution]
    measured = inner or [bin_ for bin_ in first.bins if bin_.shown and bin_.resolution]
    if not measured:
        return Verdict(question, Status.UNKNOWN, f"{name} is not known at any energy", (why_no_fit(first, report, 1),))
    middle = measured[len(measured) // 2]
    headline = f"{name} = ({with_error(middle.estimates['resolution'], PERCENT)}) % at {middle.energy:.3g} GeV"
    details, status = [], Status.MEASURED
    if fit := first.fit:
        named = zip("anc", fitted_terms(fit), ("% √GeV", "GeV", "%"), strict=True)
        details.append("; ".join(_term(*item) for item in named))
        fitted = f"{fit.energy_min:.3g} to {fit.energy_max:.3g} GeV"
        details.append(f"fitted from {fitted}, χ²/ndf = {fit.chi2:.1f}/{fit.ndf}")
        if fit.note:
            status, details = Status.LOOK, [*details, fit.note]
    else:
        details.append(f"terms a, n and c not known: {why_no_fit(first, report)}")
    if not inner:
        status, details = Status.LOOK, [*details, "at an edge of the training range, where it looks better than it is"]
    if middle.thin:
        status, details = Status.LOOK, [*details, f"from {count(middle.events)} events, too few to quote it"]
    if report.context.use_all:
        status, details = Status.LOOK, [*details, "optimistic: events of the training are among these"]
    return Verdict(question, status, headline, tuple(details))


def _comparison(report: Report) -> Verdict:
    question = "Is it better than the baselines?"
    others = {item.curve: item for item in report.comparisons if item.curve != ORACLE}
    means = {name: item.mean for name, item in others.items() if item.mean}
    if not means:
        why = "No bin inside the training range to compare in" if others else "Nothing to compare it with"
        return Verdict(question, Status.UNKNOWN, why)
    best = max(means, key=lambda name: means[name].value)
    headline = f"{relation(means[best])} {report.curve(best).title}"
    details = [f"{report.curve(name).label}: {_spanned(others[name], mean)}" for name, mean in means.items()]
    worse = report.outcome.worse
    better = all(mean.value + SIGNIFICANT * mean.error < 1 for mean in means.values())
    details += [worse] if worse else []
    return Verdict(question, Status.GOOD if better and not worse else Status.LOOK, _capital(headline), tuple(details))


def _bias(report: Report) -> Verdict:
    question = "Is it unbiased?"
    first, bins = report.curves[0], report.fitted(report.curves[0])
    if not bins:
        return Verdict(question, Status.UNKNOWN, "No bin inside the training range")
    biases = {bin_.energy: bin_.estimates["bias"] * PERCENT for bin_ in bins if "bias" in bin_.estimates}
    if not biases:
        return Verdict(question, Status.UNKNOWN, "The response is not known at any energy")
    furthest = max(biases, key=lambda energy: abs(biases[energy].value))
    signed = ("+" * (biases[furthest].value >= 0) + with_error(biases[furthest])).replace("-", "\N{MINUS SIGN}")
    if first.linearity is None:
        alone = ("one energy does not tell whether the response is constant",)
        return Verdict(question, Status.UNKNOWN, f"({signed}) % off at {furthest:.3g} GeV", alone)
    beyond = [band for band in BANDS if any(_certainly_beyond(item, band) for item in biases.values())]
    inside = all(abs(item.value) + SIGNIFICANT * item.error <= BANDS[1] for item in biases.values())
    status = Status.LOOK if beyond else Status.GOOD if inside else Status.UNKNOWN
    certain = f"certain to be beyond {beyond[-1]:g} % in one bin or more" if beyond else ""
    unsure = "" if beyond or inside else f"the errors are too large to exclude {BANDS[1]:g} %"
    details = tuple(
        filter(None, (f"({signed}) % at {furthest:.3g} GeV, the largest", certain, unsure, _linearity(report)))
    )
    return Verdict(question, status, f"Within {abs(biases[furthest].value):.2f} % of the true energy", details)


def _overtraining(report: Report) -> Verdict:
    question = "Is it overtrained?"
    outcome = report.outcome
    if outcome.overtrained is None:
        return Verdict(question, Status.UNKNOWN, "The report does not say")
    status = Status.GOOD if outcome.overtrained == Overtraining.NONE else Status.LOOK
    details = (outcome.overtraining.removeprefix(f"{outcome.overtrained}: "), outcome.more_data)
    return Verdict(question, status, _capital(outcome.overtrained), tuple(filter(None, details)))


def _trust(report: Report) -> Verdict:
    question = "Where can it be trusted?"
    region, first = report.context.envelope, report.curves[0]
    if region is None:
        return Verdict(question, Status.UNKNOWN, "No training range was recorded")
    trained = f"trained on {count(region.n_train)} events of {region.energy_min:.4g} to {region.energy_max:.4g} GeV"
    details = [trained]
    if edges := [bin_ for bin_ in first.bins if bin_.edge]:
        details.append(f"{len(edges)} of {len(first.bins)} bins are at an edge of this range or beyond it, and marked")
    low, high = region.energy_min * (1 - _EPSILON), region.energy_max * (1 + _EPSILON)
    beyond = [bin_ for bin_ in first.bins if bin_.events and not low <= bin_.energy <= high]
    if beyond:
        span = energy_range(beyond[0].energy_low, beyond[-1].energy_high)
        details.append(
            f"extrapolated beyond the training range in {len(beyond)} of {len(first.bins)} bins ({span} GeV)"
        )
    if IN_DOMAIN in report.statistics.slices:
        details.append(f"{PERCENT * report.out_of_domain:.2f} % of the events are unlike those of the training")
        often = [
            f"{name} ({PERCENT * number / report.events:.1f} %)" for name, number in out_of_range(report.statistics)
        ]
        details += [f"outside their range in training most often: {', '.join(often)}"] if often else []
        status = Status.LOOK if beyond or report.out_of_domain > USUAL_STRANGE else Status.GOOD
    else:
        status = Status.LOOK if beyond else Status.UNKNOWN
        details.append("not known how many events are unlike those of the training")
    return Verdict(question, status, _inside(report, region), tuple(details))


def _inside(report: Report, region: Envelope) -> str:
    """Say at which energies nothing of the training range's edges is felt."""
    low, high = region.energy_min, region.energy_max
    if report.context.spread:
        low, high = report.context.spread.inner_range(low, high)
    if low >= high:
        return "Nowhere is far from an edge of the training range"
    return f"From {low:.3g} to {high:.3g} GeV"


def _linearity(report: Report) -> str:
    first, linearity = report.curves[0], report.curves[0].linearity
    if linearity is None:
        return ""
    return (
        f"The response of {first.title} is {four_decimals(linearity.response)} on average, and constant within "
        f"{PERCENT * linearity.max:.2f}\N{NO-BREAK SPACE}% (RMS {PERCENT * linearity.rms:.2f}\N{NO-BREAK SPACE}%)."
    )


def fitted_terms(fit: ResolutionFit) -> tuple[str, ...]:
    """Write a [% √GeV], n [GeV] and c [%], each with its error, or its upper limit if it may as well be zero."""
    terms = []
    for name, scale in zip(TERMS, (PERCENT, 1.0, PERCENT), strict=True):
        if name in fit.limits:
            limit = scale * fit.limits[name]
            terms.append(f"{LIMIT_MARK}{limit:.{decimals_of(limit)}f}")
        else:
            terms.append(with_error(getattr(fit, name), scale))
    return tuple(terms)


def relation(mean: Measurement) -> str:
    """Say how a resolution compares with another one, from the mean of their ratio."""
    if abs(mean.value - 1) <= SIGNIFICANT * mean.error:
        return "compatible with"
    gain = with_error(Measurement(abs(1 - mean.value), mean.error), PERCENT)
    return f"({gain}) % {'better' if mean.value < 1 else 'worse'} than"


def _spanned(comparison: Comparison, mean: Measurement) -> str:
    inner = [item.ratio.value for item in comparison.ratios if not item.edge]
    bins = f"{len(inner)} bin{'s' if len(inner) > 1 else ''}"
    return f"ratio {with_error(mean)} over {bins}, from {min(inner):.2f} to {max(inner):.2f}"


def _term(name: str, text: str, unit: str) -> str:
    if text.startswith("<"):
        return f"{name}\N{NO-BREAK SPACE}{text} {unit}"
    number = f"({text})" if "±" in text else text
    return f"{name}\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{number} {unit}"


def _certainly_beyond(measured: Measurement, band: float) -> bool:
    return abs(measured.value) - SIGNIFICANT * measured.error > band


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
