"""Which curves of which reports are drawn, what they are called and how they look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calomlp.errors import UsageError, did_you_mean
from calomlp.evaluation.absent import has_resolution
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.report import Bin, Curve, Ratio, Report
from calomlp.plotting.chart import NothingToDraw, literal
from calomlp.plotting.look import Look, cycle, looks
from calomlp.plotting.points import Points
from calomlp.plotting.quantity import count
from calomlp.plotting.references import Reference
from calomlp.plotting.report_tables import width_name

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
    """What is drawn: all curves of a report, or one curve of each of several."""

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
        kinds = {label: width_name(report) for label, report in reports.items()}
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
        """What it is made of."""
        if self.several:
            return f"{len(self.shown)} reports"
        return f"{count(self.report.events)} events"

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
        found = []
        for shown in self.shown[1:]:
            ratios = _ratios(shown.curve, self.first.curve)
            found.append((shown, Points.of(ratios, [item.ratio for item in ratios])))
        return found


def short(label: str, longest: int = _LONGEST_LABEL) -> str:
    """Return a label that leaves room for the other columns of a legend."""
    return label if len(label) <= longest else label[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _ratios(curve: Curve, other: Curve) -> list[Ratio]:
    """Return the ratio of two independent resolutions in the bins of energy that both have."""
    there = {bin_.edges: bin_.estimates["resolution"] for bin_ in other.bins if has_resolution(bin_)}
    found = []
    for bin_ in curve.bins:
        if has_resolution(bin_) and bin_.edges in there:
            above, below = bin_.estimates["resolution"], there[bin_.edges]
            ratio = above.value / below.value
            error = math.hypot(above.error, ratio * below.error) / below.value
            found.append(Ratio(*bin_.edges, bin_.energy, bin_.edge, Measurement(ratio, error)))
    return found
