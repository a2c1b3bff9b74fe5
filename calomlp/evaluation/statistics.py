"""Statistics of the events: they add up, and every number of a report follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calomlp.data.sources import Tally
from calomlp.errors import ArtefactError
from calomlp.evaluation.accumulator import Accumulator, Added, Unusual
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.importance import ImportanceStatistics
from calomlp.evaluation.slices import SliceStatistics
from calomlp.evaluation.uncertainty import UncertaintyStatistics

IN_DOMAIN = "in_domain"
"""Slices of the events that are like those of the training, 1, and of those that are not, 0."""


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        file: The file that it is in.
        entry: Its entry there.
        true_energy: In GeV.
        energy: Measured by the first curve [GeV].
        deviation: (energy - true_energy)/sqrt(true_energy) [sqrt(GeV)], which a stochastic term makes alike at all
            energies.
    """

    file: str
    entry: int
    true_energy: float
    energy: float
    deviation: float


@dataclass(frozen=True)
class Worst:
    """The events that are furthest off.

    Attributes:
        number: How many are kept.
        events: Those of them that there are, the worst first.
    """

    number: int = 0
    events: tuple[Event, ...] = ()

    @classmethod
    def of(
        cls,
        number: int,
        file: str,
        entries: NDArray[np.int64],
        true_energy: NDArray[np.floating],
        energy: NDArray[np.floating],
    ) -> Worst:
        """Pick them from events of a file, shape [events] each."""
        if not number:
            return cls()
        truth, reco = true_energy.astype(np.float64), energy.astype(np.float64)
        deviation = (reco - truth) / np.sqrt(truth)
        finite = np.flatnonzero(np.isfinite(deviation))
        rows = finite[np.argsort(-np.abs(deviation[finite]), kind="stable")[:number]]
        columns = (entries[rows], truth[rows], reco[rows], deviation[rows])
        return cls(
            number, tuple(Event(file, *row) for row in zip(*(column.tolist() for column in columns), strict=True))
        )

    def __add__(self, other: Worst) -> Worst:
        number = max(self.number, other.number)
        everyone = {(event.file, event.entry, event.energy): event for event in (*self.events, *other.events)}
        ordered = sorted(everyone.values(), key=lambda event: (-abs(event.deviation), event.file, event.entry))
        return Worst(number, tuple(ordered[:number]))


@dataclass(frozen=True)
class Statistics(Added):
    """Statistics of the events.

    Attributes:
        bins: Bins of the true energy, the finest ones.
        labels: What figures and tables call the curves, by their names; the first is the one that matters.
        models: What tells the weights of the models from all others, by the name of their curve.
        responses: Response of all curves in bins of energy.
        unusual: Estimates of each curve that say nothing, or that no energy can be.
        slices: Responses in slices, by what they are slices of.
        uncertainty: Of predicted uncertainties, if there are any.
        importance: Of the features, if that was asked for.
        worst: The events that are furthest off.
        tally: What was read, and what was left out.
        left_out: Events that belong to the training of a model.
        out_of_bins: Events whose true energy is outside of all bins.
        outside: Events outside the range that a feature had in training, by the name of its column.
        suspicions: What looks as if the truth were among the features.
    """

    bins: EnergyBins
    labels: Mapping[str, str]
    models: Mapping[str, str]
    responses: Accumulator
    unusual: Mapping[str, Unusual] = field(default_factory=dict)
    slices: Mapping[str, SliceStatistics] = field(default_factory=dict)
    uncertainty: UncertaintyStatistics | None = None
    importance: ImportanceStatistics | None = None
    worst: Worst = field(default_factory=Worst)
    tally: Tally = field(default_factory=Tally)
    left_out: int = 0
    out_of_bins: int = 0
    outside: Mapping[str, int] = field(default_factory=dict)
    suspicions: tuple[str, ...] = ()
    same: ClassVar[frozenset[str]] = frozenset({"bins", "labels", "models"})

    @property
    def events(self) -> int:
        """Number of events in the bins."""
        return sum(content.events for content in self.responses.content.values())

    def check_fits(self, other: Statistics) -> None:
        """Refuse what cannot be added.

        Raises:
            ArtefactError: Naming what differs.
        """
        same = {"bins": "energy bins (--bins)", "labels": "curves", "models": "models"}
        for name, what in same.items():
            if getattr(self, name) != getattr(other, name):
                raise ArtefactError(f"reports with different {what} cannot be merged")
        ours, theirs = ({text: item.slicing for text, item in each.slices.items()} for each in (self, other))
        if ours != theirs:
            raise ArtefactError("reports with different slices cannot be merged: give their edges, --by 'x:0,5,10'")
