"""What a reader of a report asks first, and what the report answers; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from calomlp.evaluation.absent import has_resolution, is_shown, why_no_fit
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Report
from calomlp.evaluation.statistics import IN_DOMAIN
from calomlp.evaluation.summary import ORACLE, USUAL_STRANGE, out_of_range, warnings_of_training
from calomlp.model.envelope import Envelope
from calomlp.plotting.points import BANDS, PERCENT
from calomlp.plotting.quantity import count, energy_range, with_error
from calomlp.plotting.report_tables import (
    SIGNIFICANT,
    fitted_terms,
    is_thin,
    relation,
    spanned,
    the,
    verdicts,
    width_name,
)
from calomlp.training.diagnosis import NO_SIGN

GOOD, MEASURED, LOOK, UNKNOWN = "good", "measured", "look", "not known"
"""What an answer comes to. A resolution is neither good nor bad by itself: it is measured."""

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
"""How the words of :func:`answers` are chosen."""

_EPSILON = 1e-6  # relative: true energies at an end of the range differ by the rounding of single precision


@dataclass(frozen=True)
class Answer:
    """One question with its answer."""

    question: str  # as a reader asks it
    status: str  # one of GOOD, MEASURED, LOOK, UNKNOWN
    headline: str  # the answer in a few words
    details: tuple[str, ...] = ()  # what it rests on, a line each


def answers(report: Report) -> list[Answer]:
    """Return what a report comes to: five questions, answered with what is known.

    Nothing is good, and no resolution is measured, while a warning of the training stands.
    """
    found = [_resolution(report), _comparison(report), _bias(report), _overtraining(report), _trust(report)]
    warnings = warnings_of_training(report)
    if not warnings:
        return found
    first, *others = (replace(item, status=LOOK) if item.status in (GOOD, MEASURED) else item for item in found)
    return [replace(first, details=(*warnings, *first.details)), *others]


def _resolution(report: Report) -> Answer:
    question = "How good is it?"
    first, name = report.curves[0], width_name(report)
    inner = [bin_ for bin_ in _fitted(report) if has_resolution(bin_)]
    measured = inner or [bin_ for bin_ in first.bins if is_shown(bin_) and has_resolution(bin_)]
    if not measured:
        return Answer(question, UNKNOWN, f"{name} is not known at any energy", (why_no_fit(first, report, 1),))
    middle = measured[len(measured) // 2]
    headline = f"{name} = ({with_error(middle.estimates['resolution'], PERCENT)}) % at {middle.energy:.3g} GeV"
    details, status = [], MEASURED
    if fit := first.fit:
        named = zip("anc", fitted_terms(fit), ("% √GeV", "GeV", "%"), strict=True)
        details.append("; ".join(_term(*item) for item in named))
        fitted = f"{fit.energy_min:.3g} to {fit.energy_max:.3g} GeV"
        details.append(f"fitted from {fitted}, χ²/ndf = {fit.chi2:.1f}/{fit.ndf}")
        if fit.note:
            status, details = LOOK, [*details, fit.note]
    else:
        details.append(f"terms a, n and c not known: {why_no_fit(first, report)}")
    if not inner:
        status, details = LOOK, [*details, "at an edge of the training range, where it looks better than it is"]
    if is_thin(middle):
        status, details = LOOK, [*details, f"from {count(middle.events)} events, too few to quote it"]
    if report.context.use_all:
        status, details = LOOK, [*details, "optimistic: events of the training are among these"]
    return Answer(question, status, headline, tuple(details))


def _comparison(report: Report) -> Answer:
    question = "Is it better than the baselines?"
    others = {item.curve: item for item in report.comparisons if item.curve != ORACLE}
    means = {name: item.mean for name, item in others.items() if item.mean}
    if not means:
        why = "No bin inside the training range to compare in" if others else "Nothing to compare it with"
        return Answer(question, UNKNOWN, why)
    best = max(means, key=lambda name: means[name].value)
    headline = f"{relation(means[best])} {the(report.curve(best))}"
    details = [f"{report.curve(name).label}: {spanned(others[name])}" for name in means]
    worse = report.context.training.get("summary", {}).get("worse")
    better = all(mean.value + SIGNIFICANT * mean.error < 1 for mean in means.values())
    details += [worse] if worse else []
    return Answer(question, GOOD if better and not worse else LOOK, _capital(headline), tuple(details))


def _bias(report: Report) -> Answer:
    question = "Is it unbiased?"
    first, bins = report.curves[0], _fitted(report)
    if not bins:
        return Answer(question, UNKNOWN, "No bin inside the training range")
    biases = {bin_.energy: _percent(bin_.estimates["bias"]) for bin_ in bins if "bias" in bin_.estimates}
    if not biases:
        return Answer(question, UNKNOWN, "The response is not known at any energy")
    furthest = max(biases, key=lambda energy: abs(biases[energy].value))
    signed = ("+" * (biases[furthest].value >= 0) + with_error(biases[furthest])).replace("-", "\N{MINUS SIGN}")
    if first.linearity is None:
        alone = ("one energy does not tell whether the response is constant",)
        return Answer(question, UNKNOWN, f"({signed}) % off at {furthest:.3g} GeV", alone)
    beyond = [band for band in BANDS if any(_certainly_beyond(item, band) for item in biases.values())]
    inside = all(abs(item.value) + SIGNIFICANT * item.error <= BANDS[1] for item in biases.values())
    status = LOOK if beyond else GOOD if inside else UNKNOWN
    told = f"certain to be beyond {beyond[-1]:g} % in one bin or more" if beyond else ""
    unsure = "" if beyond or inside else f"the errors are too large to exclude {BANDS[1]:g} %"
    details = tuple(
        filter(None, (f"({signed}) % at {furthest:.3g} GeV, the largest", told, unsure, verdicts(report)[-1]))
    )
    return Answer(question, status, f"Within {abs(biases[furthest].value):.2f} % of the true energy", details)


def _overtraining(report: Report) -> Answer:
    question = "Is it overtrained?"
    summary = report.context.training.get("summary", {})
    verdict, _, reason = summary.get("overtraining", "").partition(": ")
    if not verdict:
        return Answer(question, UNKNOWN, "The report does not say")
    more = [summary["more_data"]] if "more_data" in summary else []
    return Answer(question, GOOD if verdict == NO_SIGN else LOOK, _capital(verdict), (reason, *more))


def _trust(report: Report) -> Answer:
    question = "Where can it be trusted?"
    region, first = report.context.envelope, report.curves[0]
    if region is None:
        return Answer(question, UNKNOWN, "No training range was recorded")
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
        status = LOOK if beyond or report.out_of_domain > USUAL_STRANGE else GOOD
    else:
        status = LOOK if beyond else UNKNOWN
        details.append("not known how many events are unlike those of the training")
    return Answer(question, status, _inside(report, region), tuple(details))


def _inside(report: Report, region: Envelope) -> str:
    """Say at which energies nothing of the training range's edges is felt."""
    low, high = region.energy_min, region.energy_max
    if report.context.spread:
        low, high = report.context.spread.inner_range(low, high)
    if low >= high:
        return "Nowhere is far from an edge of the training range"
    return f"From {low:.3g} to {high:.3g} GeV"


def _fitted(report: Report) -> Sequence[Bin]:
    """Return the bins of the first curve that its fits may use."""
    return [bin_ for bin_ in report.curves[0].bins if is_shown(bin_) and (report.options.edges or not bin_.edge)]


def _term(name: str, text: str, unit: str) -> str:
    if text.startswith("<"):
        return f"{name}\N{NO-BREAK SPACE}{text} {unit}"
    number = f"({text})" if "±" in text else text
    return f"{name}\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{number} {unit}"


def _percent(measured: Measurement) -> Measurement:
    return Measurement(PERCENT * measured.value, PERCENT * measured.error)


def _certainly_beyond(measured: Measurement, band: float) -> bool:
    return abs(measured.value) - SIGNIFICANT * measured.error > band


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
