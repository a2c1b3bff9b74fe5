"""Response in slices of any quantity, such as the particle or the start of the shower, and a test of its trend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import InputError, UsageError
from calomlp.evaluation.accumulator import Accumulator, Added
from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import Options
from calomlp.units import listed

if TYPE_CHECKING:
    from calomlp.data.expressions import Expression

MAX_SLICES = 100

_LARGEST, _LARGEST_WHOLE = 1e30, 2.0**53
"""What is larger stands for a missing value in many files, and no sum of it can be written."""

_CHANCE, _CERTAIN = 0.05, 1e-3
"""Probabilities of a constant response above which nothing is seen, and below which something is."""


_DISTINCT = 20  # whole numbers up to so many are slices of their own
_DEFAULT = 10
_NUMBERS = re.compile(r":(?P<numbers>[-+.0-9eE]+(,[-+.0-9eE]+)*)$")


@dataclass(frozen=True)
class Slicing:
    """Slices of events by a quantity.

    Attributes:
        text: The quantity.
        edges: What lies between the slices, the first and the last of which have no end; none for a slice for each
            whole number.
    """

    text: str
    edges: tuple[float, ...] = ()

    def keys(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the key of the slice that each finite value is in, shape [events]."""
        if self.edges:
            return np.searchsorted(np.unique(self.edges), values, side="right").astype(np.int64)
        return np.rint(values).astype(np.int64)

    def bounds(self, key: int) -> tuple[float | None, float | None]:
        """Return where a slice begins and ends; equal for a whole number, ``None`` where it has no end."""
        if not self.edges:
            return float(key), float(key)
        edges = [None, *np.unique(self.edges).tolist(), None]
        return edges[key], edges[key + 1]


@dataclass(frozen=True)
class SliceRequest:
    """A quantity that the events are to be sliced by."""

    expression: Expression  # the quantity, one number of each event
    number: int = 0  # how many slices with about as many events each; 0 if that is to be found out
    edges: tuple[float, ...] = ()  # edges of the slices, where they are given

    @classmethod
    def parse(cls, text: str) -> SliceRequest:
        """Read ``pdg_id``, ``shower_start:10`` or ``true_x:-5,0,5``.

        Raises:
            UsageError: If this is not an expression with a number of slices or their edges in ascending order.
        """
        from calomlp.data.expressions import Expression  # noqa: PLC0415 - a report that is drawn does without

        match = _NUMBERS.search(text)
        expression = Expression.parse(text[: match.start()] if match else text)
        if not expression.branches:
            raise UsageError(f"--by {text!r} reads no branch: it must depend on the event")
        if match is None:
            return cls(expression)
        numbers = match["numbers"]
        if numbers.isdecimal() and 1 < int(numbers) <= MAX_SLICES:
            return cls(expression, int(numbers))
        try:
            edges = tuple(map(float, numbers.split(",")))
        except ValueError:
            edges = (math.nan,)
        if "," not in numbers or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            raise UsageError(
                f"--by {text!r}: after the colon stands a number of slices from 2 to {MAX_SLICES}, or edges in "
                "ascending order"
            )
        return cls(expression, edges=edges)

    def slicing(self, values: NDArray[np.float64]) -> Slicing:
        """Decide on the slices.

        Args:
            values: Of the first events, shape [events].

        Raises:
            InputError: If none of them is a number.
        """
        if self.edges:
            return Slicing(self.expression.text, self.edges)
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise InputError(f"--by {self.expression.text!r} is not a number in any of the first {len(values)} events")
        if not self.number and (finite == np.rint(finite)).all() and len(np.unique(finite)) <= _DISTINCT:
            return Slicing(self.expression.text)
        shares = np.linspace(0, 1, (self.number or _DEFAULT) + 1)[1:-1]
        return Slicing(self.expression.text, tuple(float(f"{edge:.4g}") for edge in np.quantile(finite, shares)))


@dataclass(frozen=True)
class SliceStatistics(Added):
    """Histograms of the response in slices.

    Attributes:
        slicing: The slices.
        responses: Of all curves, by slice.
        totals: Sum of the quantity by slice.
        missing: Events where the quantity is not a number.
    """

    slicing: Slicing
    responses: Accumulator
    totals: Mapping[int, float] = field(default_factory=dict)
    missing: int = 0
    same: ClassVar[frozenset[str]] = frozenset({"slicing"})

    @classmethod
    def of(
        cls,
        slicing: Slicing,
        values: NDArray[np.float64],
        true_energy: NDArray[np.floating],
        estimates: Mapping[str, NDArray[np.floating]],
    ) -> SliceStatistics:
        """Accumulate events.

        Args:
            slicing: The slices.
            values: Of the quantity, shape [events].
            true_energy: In GeV, shape [events].
            estimates: Energies of every curve [GeV], shape [events] each.

        Raises:
            InputError: If there are too many slices.
        """
        good = np.abs(values) < (_LARGEST if slicing.edges else _LARGEST_WHOLE)
        keys = slicing.keys(values[good])
        distinct, rank = np.unique(keys, return_inverse=True)
        if len(distinct) > MAX_SLICES:
            raise InputError(
                f"--by {slicing.text!r} has more than {MAX_SLICES} different values: say how many slices to make, "
                f"as in --by '{slicing.text}:10'"
            )
        responses = Accumulator(tuple(estimates))
        responses.fill(keys, true_energy[good], {name: energy[good] for name, energy in estimates.items()})
        totals = dict(zip(distinct.tolist(), np.bincount(rank, values[good], len(distinct)).tolist(), strict=True))
        return cls(slicing, responses, totals, int(np.count_nonzero(~good)))


@dataclass(frozen=True)
class Slice:
    """The response of a curve in one slice.

    Attributes:
        low: Where the slice begins; ``None`` if it has no end there.
        high: Where it ends; equal to ``low`` for a whole number.
        value: Mean of the quantity.
        events: Number of events.
        estimates: Estimators of the response, over all energies, by name; empty for too few events.
    """

    low: float | None
    high: float | None
    value: float
    events: int
    estimates: Mapping[str, Measurement]


@dataclass(frozen=True)
class Trend:
    """Whether the median response is the same in all slices.

    Attributes:
        chi2: Of the medians around their weighted mean.
        ndf: Degrees of freedom.
        p_value: Probability of a larger chi2 if they were the same.
        slope: Of a line through the medians, per unit of the quantity.
        largest: Largest difference of two medians.
    """

    chi2: float
    ndf: int
    p_value: float
    slope: Measurement
    largest: float


@dataclass(frozen=True)
class Dependence:
    """Response of a curve in slices of a quantity.

    Attributes:
        by: The quantity.
        curve: Name of the curve.
        slices: In ascending order.
        trend: What a test says; ``None`` for fewer than two slices with estimates.
        missing: Events where the quantity is not a number.
    """

    by: str
    curve: str
    slices: tuple[Slice, ...]
    trend: Trend | None
    missing: int


def dependences(statistics: SliceStatistics, options: Options) -> list[Dependence]:
    """Return how the response of every curve depends on a quantity."""
    of_curves = []
    for curve in statistics.responses.curves:
        slices = []
        for key, content in sorted(statistics.responses.content.items()):
            histogram = content.histograms.get(curve)
            estimates = estimate_all(histogram, options) if histogram else {}
            value = statistics.totals[key] / content.events
            events = histogram.events if histogram else 0
            slices.append(Slice(*statistics.slicing.bounds(key), value, events, estimates))
        missing = statistics.missing
        of_curves.append(Dependence(statistics.slicing.text, curve, tuple(slices), _trend(slices), missing))
    return of_curves


def _trend(slices: list[Slice]) -> Trend | None:
    good = [item for item in slices if item.estimates and item.estimates["median"].error > 0]
    if len(good) < 2:
        return None
    x = np.array([item.value for item in good])
    y, error = (np.array([getattr(item.estimates["median"], part) for item in good]) for part in ("value", "error"))
    weight = 1 / error**2
    centre = np.average(x, weights=weight)
    mean = np.average(y, weights=weight)
    chi2, ndf = float(np.sum(weight * (y - mean) ** 2)), len(good) - 1
    lever = float(np.sum(weight * (x - centre) ** 2))
    slope = float(np.sum(weight * (x - centre) * y)) / lever if lever else 0.0
    error_of_slope = 1 / math.sqrt(lever) if lever else 0.0
    return Trend(chi2, ndf, chance(chi2, ndf), Measurement(slope, error_of_slope), float(y.max() - y.min()))


def chance(chi2: float, ndf: int) -> float:
    """Return the probability of a larger chi2, from the sum that it is for whole numbers of degrees of freedom."""
    half = chi2 / 2
    if not half:
        return 1.0
    powers = ((0.5 if ndf % 2 else 0.0) + i for i in range(ndf // 2))
    terms = (math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers)
    return (math.erfc(math.sqrt(half)) if ndf % 2 else 0.0) + sum(terms)


def describe(dependence: Dependence, label: str) -> str:
    """Say what the test of a dependence says, in a sentence.

    Args:
        dependence: What was found.
        label: What the curve is called.
    """
    trend, by = dependence.trend, dependence.by
    left_out = f"; {dependence.missing} events have no {by}" if dependence.missing else ""
    if trend is None:
        return f"{label}: too few events to tell whether the response depends on {by}{left_out}"
    chances = f"(chi2/ndf {trend.chi2:.1f}/{trend.ndf}, p = {trend.p_value:.2g}){left_out}"
    if trend.p_value > _CHANCE:
        return f"{label}: the response does not depend on {by} within the errors {chances}"
    medians = [(item.estimates["median"].value, item.value) for item in dependence.slices if item.estimates]
    ends = listed([f"{median:.3f} at {value:.4g}" for median, value in (min(medians), max(medians))])
    says = "the response depends" if trend.p_value < _CERTAIN else "there is a hint that the response depends"
    return f"{label}: {says} on {by}: medians from {ends} {chances}"
