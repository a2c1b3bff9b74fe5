"""Accumulators of the response E_reco/E_true: one pass, constant memory, exact merging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import add
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from calomlp.data.sources import Tally
from calomlp.evaluation.histogram import Histogram, Joint, blocks, histograms, ranked

Key = TypeVar("Key")

MAX_ENERGY = 1e30
"""Estimates that are beyond this [GeV] are infinite."""


@dataclass(frozen=True)
class Added:
    """Base of statistics that add up field by field, except fields that are the same in all parts."""

    same: ClassVar[frozenset[str]] = frozenset()

    def __add__(self, other: Self) -> Self:
        names = [item.name for item in fields(self) if item.name not in self.same]
        return replace(self, **{name: _sum(getattr(self, name), getattr(other, name)) for name in names})


@dataclass(frozen=True)
class Unusual(Added):
    """Estimates that say nothing, or that no energy can be.

    Attributes:
        missing: Not a number; without a place in any bin.
        infinite: The same; or beyond 1e30 GeV, which stands for a missing value in many files.
        not_positive: Zero or negative; they are in the bins like all others.
    """

    missing: int = 0
    infinite: int = 0
    not_positive: int = 0

    @classmethod
    def among(cls, estimate: NDArray[np.floating]) -> Unusual:
        """Count them among estimates, shape [events]."""
        if not len(estimate) or (estimate.min() > 0 and estimate.max() < np.inf):  # which is not so for NaN
            return cls()
        counts = np.isnan(estimate), np.isinf(estimate), np.isfinite(estimate) & (estimate <= 0)
        return cls(*(int(np.count_nonzero(mask)) for mask in counts))


@dataclass(frozen=True)
class BinContent(Added):
    """Histograms of the response in one bin.

    Attributes:
        events: Number of events.
        inverse_root: Sum of 1/sqrt(E_true), which defines the abscissa of a bin of energy.
        histograms: Response of each curve, of those events where it is finite.
        joints: Responses of each curve but the first together with those of the first.
    """

    events: int
    inverse_root: float
    histograms: Mapping[str, Histogram]
    joints: Mapping[str, Joint]

    @property
    def energy(self) -> float:
        """Energy whose 1/sqrt(E) is the mean of the bin's [GeV]: right for a stochastic resolution."""
        return (self.events / self.inverse_root) ** 2


@dataclass
class Accumulator:
    """Response of several estimates of the energy, in bins.

    Attributes:
        curves: Names of the estimates; the others are compared with the first.
        content: Bins by key.
    """

    curves: tuple[str, ...]
    content: dict[int, BinContent] = field(default_factory=dict)

    def fill(
        self,
        keys: NDArray[np.int64],
        true_energy: NDArray[np.floating],
        estimates: Mapping[str, NDArray[np.floating]],
        *,
        compare: bool = False,
    ) -> None:
        """Add events.

        Args:
            keys: The bin of every event, shape [events].
            true_energy: In GeV, shape [events].
            estimates: Energies of every curve [GeV], shape [events] each.
            compare: Whether to keep the joint histograms too.
        """
        if not len(keys):
            return
        distinct, rank = ranked(keys)
        groups = len(distinct)
        roots = np.zeros(groups)
        for block in blocks(len(rank), groups):
            root = np.sqrt(true_energy[block])
            roots += np.bincount(rank[block], np.reciprocal(root, out=root), groups)
        responses = {name: estimates[name] / true_energy for name in self.curves}
        of_curve = {name: histograms(distinct, rank, response) for name, response in responses.items()}
        first = self.curves[0]
        joints = {name: _joints(keys, responses[first], responses[name]) for name in self.curves[1:] if compare}
        lost = np.bincount(rank[~np.isfinite(responses[first])], minlength=groups)  # the others have been counted
        for key, number, root_sum in zip(distinct.tolist(), lost.tolist(), roots.tolist(), strict=True):
            events = number + (of_curve[first][key].events if key in of_curve[first] else 0)
            if events:
                own = BinContent(events, root_sum, _at(key, of_curve), _at(key, joints))
                self.content[key] = self.content[key] + own if key in self.content else own

    def __add__(self, other: Accumulator) -> Accumulator:
        return Accumulator(self.curves, added(self.content, other.content))

    def grouped(self, places: Mapping[int, int]) -> Accumulator:
        """Return the same events in wider bins, by the keys of these for each of the bins."""
        return Accumulator(self.curves, grouped(self.content, places))

    def total(self, curve: str) -> Histogram:
        """Return the responses of a curve in all bins together."""
        parts = [content.histograms[curve] for content in self.content.values() if curve in content.histograms]
        return reduce(add, parts, Histogram.of(np.empty(0)))


def added(one: Mapping[Key, Any], other: Mapping[Key, Any]) -> dict[Key, Any]:
    """Add what stands under the same keys, and keep the rest."""
    result = dict(one)
    for key, value in other.items():
        result[key] = result[key] + value if key in result else value
    return result


def _sum(one: Any, other: Any) -> Any:
    """Add what two parts of the same kind hold."""
    if one is None or other is None:
        return one if other is None else other
    if isinstance(one, Mapping):
        return added(one, other)
    if isinstance(one, tuple):  # sentences, each once
        return tuple(dict.fromkeys((*one, *other)))
    if isinstance(one, Tally):
        total = replace(one, bad=dict(one.bad), files=dict(one.files))
        total.add(other)
        return total
    return one + other


def grouped(content: Mapping[int, Any], places: Mapping[int, int]) -> dict[int, Any]:
    """Add up what stands under keys that go to the same place."""
    groups: dict[int, list[Any]] = {}
    for key, value in sorted(content.items()):
        groups.setdefault(places[key], []).append(value)
    return {key: reduce(add, values) for key, values in groups.items()}


def _at(key: int, contents: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
    return {name: values[key] for name, values in contents.items() if key in values}


def _joints(keys: NDArray[np.int64], x: NDArray[np.floating], y: NDArray[np.floating]) -> dict[int, Joint]:
    """Return the joint histogram of two curves in every bin, of the events where both are finite."""
    good = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return joints(keys[good], x[good], y[good])


def joints(keys: NDArray[np.int64], x: NDArray[np.floating], y: NDArray[np.floating]) -> dict[int, Joint]:
    """Return the joint histogram of two finite quantities for each group of events, shape [events] each."""
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    parts: Sequence[NDArray[np.intp]] = np.split(order, starts[1:]) if len(distinct) else []
    return {key: Joint.of(x[rows], y[rows]) for key, rows in zip(distinct.tolist(), parts, strict=True)}
