"""The response in slices of any quantity: does it depend on the particle, the shower's start, the domain?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import InputError
from calomlp.evaluation.estimators import Options, estimate_all
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.response import Accumulator, Added
from calomlp.units import listed

MAX_SLICES = 100

_LARGEST, _LARGEST_WHOLE = 1e30, 2.0**53
"""What is larger stands for a missing value in many files, and no sum of it can be written."""

_CHANCE, _CERTAIN = 0.05, 1e-3
"""Probabilities of a constant response above which nothing is seen, and below which something is."""


@dataclass(frozen=True)
class Slicing:
    """How events are sliced by a quantity.

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
class SliceStatistics(Added):
    """What is accumulated in slices.

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
        found, rank = np.unique(keys, return_inverse=True)
        if len(found) > MAX_SLICES:
            raise InputError(
                f"--by {slicing.text!r} has more than {MAX_SLICES} different values: say how many slices to make, "
                f"as in --by '{slicing.text}:10'"
            )
        responses = Accumulator(tuple(estimates))
        responses.fill(keys, true_energy[good], {name: energy[good] for name, energy in estimates.items()})
        totals = dict(zip(found.tolist(), np.bincount(rank, values[good], len(found)).tolist(), strict=True))
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
    """How the response of a curve depends on a quantity.

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
    found = []
    for curve in statistics.responses.curves:
        slices = []
        for key, content in sorted(statistics.responses.content.items()):
            histogram = content.histograms.get(curve)
            estimates = estimate_all(histogram, options) if histogram else {}
            value = statistics.totals[key] / content.events
            events = histogram.events if histogram else 0
            slices.append(Slice(*statistics.slicing.bounds(key), value, events, estimates))
        missing = statistics.missing
        found.append(Dependence(statistics.slicing.text, curve, tuple(slices), _trend(slices), missing))
    return found


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
