"""The curves of reports that are drawn, published curves beside them, and what users call them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import UsageError, did_you_mean
from calomlp.evaluation.measurement import PERCENT, Measurement, count
from calomlp.evaluation.report import Bin, Curve, Ratio, Report
from calomlp.evaluation.resolution import in_quadrature
from calomlp.plotting.chart import Look, NothingToDraw, cycle, literal, looks
from calomlp.plotting.points import Points


def parse_labels(labels: Sequence[str], names: Sequence[str], what: str) -> dict[str, str]:
    """Return what users call things, by their name.

    Args:
        labels: As users write them, ``regressor=Deep network``.
        names: What there is.
        what: What these are.

    Raises:
        UsageError: If a label has another form, or there is no such name.
    """
    wanted: dict[str, str] = {}
    for text in labels:
        name, _, label = (part.strip() for part in text.partition("="))
        if not label:
            raise UsageError(f"--label {text!r} is not of the form NAME=LABEL, such as 'regressor=Deep network'")
        if name not in names:
            raise UsageError(f"--label {text!r}: no {what} {name!r}: {did_you_mean(name, names)}")
        if label in wanted.values():
            raise UsageError(f"--label {text!r}: {label!r} is the label of another one already")
        wanted[name] = label
    return wanted


FORM = "LABEL=a,n,c"
"""How a reference is written."""


@dataclass(frozen=True)
class Reference:
    """A published resolution, sigma/E = a/sqrt(E) (+) n/E (+) c."""

    label: str  # what the legend calls it
    stochastic: float  # a [% sqrt(GeV)]
    noise: float  # n [GeV]
    constant: float  # c [%]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``CALICE SiW ECAL=16.6,0,1.1``.

        Raises:
            UsageError: If the text has another form, or a term is negative or not finite, or all are zero.
        """
        label, _, written = text.rpartition("=")
        try:
            a, n, c = (float(term) for term in written.split(","))
        except ValueError:
            a = n = c = math.nan
        if not label.strip() or not (math.isfinite(a + n + c) and min(a, n, c) >= 0 and max(a, n, c) > 0):
            raise UsageError(
                f"reference {text!r} is not of the form {FORM} with a in %, n in GeV and c in %, "
                "none below zero and not all zero, such as 'CALICE SiW ECAL=16.6,0,1.1'"
            )
        return cls(label.strip(), a, n, c)

    @property
    def formula(self) -> str:
        """The terms that are not zero."""
        terms = ((self.stochastic, "%/√E"), (self.noise, "GeV/E"), (self.constant, "%"))
        return " ⊕ ".join(f"{value:g} {unit}" for value, unit in terms if value)

    def __call__(self, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the resolution [%] at energies [GeV]."""
        return PERCENT * in_quadrature(energy, self.stochastic / PERCENT, self.noise, self.constant / PERCENT)


def fitted_energies(curves: Sequence[Curve]) -> NDArray[np.float64]:
    """Return energies [GeV] over the range of the fits of all curves; where there is none, of their bins."""
    fits = [curve.fit for curve in curves if curve.fit is not None]
    ranges = [(fit.energy_min, fit.energy_max) for fit in fits]
    ranges = ranges or [bin_.edges for curve in curves for bin_ in curve.bins]
    low, high = min((low for low, _ in ranges), default=1.0), max((high for _, high in ranges), default=2.0)
    if low == high:
        low, high = 0.8 * low, 1.2 * high
    return np.geomspace(low, high, 200)


_LONGEST_LABEL = 22
_MOST = 8


@dataclass(frozen=True)
class Shown:
    """One curve that is drawn."""

    curve: Curve  # its numbers
    report: Report  # where it is from
    label: str  # what the legend calls it
    look: Look  # how it is drawn

    @property
    def short(self) -> str:
        """The label, cut so that it leaves room for the other columns of a legend."""
        return short(self.label)


@dataclass(frozen=True)
class View:
    """Curves that are drawn: all of a report, or one of each of several."""

    shown: tuple[Shown, ...]  # the curve that matters first
    references: tuple[Reference, ...] = ()  # published curves that are drawn beside the resolutions
    several: bool = False  # whether the curves are of different reports

    @classmethod
    def of(cls, report: Report, references: Sequence[Reference] = (), labels: Mapping[str, str] | None = None) -> View:
        """Return all curves of a report.

        Args:
            report: The report.
            references: Published curves.
            labels: What to call curves, by name.
        """
        names = {curve.name: literal(curve.label) for curve in report.curves} | dict(labels or {})
        look = looks([curve.name for curve in report.curves])
        shown = (Shown(curve, report, names[curve.name], look[curve.name]) for curve in report.curves)
        return cls(tuple(shown), tuple(references))

    @classmethod
    def comparing(cls, reports: Mapping[str, Report], references: Sequence[Reference] = (), curve: str = "") -> View:
        """Return one curve of each of several reports.

        Args:
            reports: By what the legend calls them.
            references: Published curves.
            curve: Name of the curve; the first of each report if there is none.

        Raises:
            UsageError: If a report has no such curve, or the resolutions are different quantities.
        """
        if len(reports) > _MOST:
            raise UsageError(f"{len(reports)} reports: no more than {_MOST} curves can be told apart in one figure")
        kinds = {label: report.width_name for label, report in reports.items()}
        first = next(iter(kinds))
        for label, kind in kinds.items():
            if kind != kinds[first]:
                raise UsageError(
                    f"the resolution is {kinds[first]} in {first} and {kind} in {label}: these cannot be compared, "
                    "evaluate again with the same --width and --relative-to"
                )
        shown = []
        for (label, report), look in zip(reports.items(), cycle(len(reports)), strict=True):
            names = [item.name for item in report.curves]
            if curve and curve not in names:
                raise UsageError(f"{label}: no curve {curve!r}: {did_you_mean(curve, names)}")
            shown.append(Shown(report.curve(curve or names[0]), report, label, look))
        return cls(tuple(shown), tuple(references), several=True)

    @property
    def first(self) -> Shown:
        """The curve that matters."""
        return self.shown[0]

    @property
    def report(self) -> Report:
        """The report of the first curve."""
        return self.first.report

    @property
    def bins(self) -> list[Bin]:
        """All bins of all curves.

        Raises:
            NothingToDraw: If there are none.
        """
        bins = [bin_ for shown in self.shown for bin_ in shown.curve.bins]
        if not bins:
            raise NothingToDraw("the report has no bin of energy, so there is nothing to draw")
        return bins

    @property
    def sample(self) -> str:
        """Number of events or of reports, for headings."""
        if self.several:
            return f"{len(self.shown)} reports"
        return f"{count(self.report.events)} events"

    @property
    def same_events(self) -> bool:
        """Whether all reports are of the same events, as far as their files and cuts tell."""
        samples = {
            (tuple(file.identity for file in report.context.files), report.context.cut, report.events)
            for report in (shown.report for shown in self.shown)
        }
        return len(samples) == 1 and bool(self.report.context.files)

    @property
    def trainings(self) -> tuple[Shown, ...]:
        """One curve of each report."""
        return self.shown if self.several else self.shown[:1]

    def single(self, what: str) -> Report:
        """Return the only report.

        Args:
            what: What is to be drawn.

        Raises:
            NothingToDraw: If there are several.
        """
        if self.several:
            raise NothingToDraw(f"{what} of several reports is not drawn in one figure: draw them one by one")
        return self.report

    def ratios(self) -> list[tuple[Shown, Points]]:
        """Return the resolution of the first curve over that of each other one of its report.

        Of different reports it is the resolution of each over that of the first, with errors as of different events.
        """
        by_name = {shown.curve.name: shown for shown in self.shown}
        if not self.several:
            return [
                (by_name[item.curve], Points.of(item.ratios, [one.ratio for one in item.ratios]))
                for item in self.report.comparisons
            ]
        of_reports = []
        for shown in self.shown[1:]:
            ratios = _ratios(shown.curve, self.first.curve)
            of_reports.append((shown, Points.of(ratios, [item.ratio for item in ratios])))
        return of_reports


def short(label: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that leaves room for the other columns of a legend."""
    return label if len(label) <= longest else label[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _ratios(curve: Curve, other: Curve) -> list[Ratio]:
    """Return the ratio of two independent resolutions in the bins of energy that both have."""
    known = {bin_.edges: bin_.resolution for bin_ in other.bins}
    ratios = []
    for bin_ in curve.bins:
        above, below = bin_.resolution, known.get(bin_.edges)
        if above and below:
            ratio = above.value / below.value
            error = math.hypot(above.error, ratio * below.error) / below.value
            ratios.append(Ratio(*bin_.edges, bin_.energy, bin_.edge, Measurement(ratio, error)))
    return ratios
