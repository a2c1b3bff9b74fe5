"""Accumulators of the response E_reco/E_true: one pass, constant memory, exact merging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import ArtefactError
from calomlp.evaluation.bins import EnergyBins

BIN_WIDTH = 1 / 4096
"""Width of the fine bins of the response; a power of two, so that edges are exact."""

HALF_RANGE = 8
"""Responses further than this from one are counted, and enter the mean and the RMS, but have no fine bin."""

_HALF_BINS = int(HALF_RANGE / BIN_WIDTH)


@dataclass(frozen=True)
class Histogram:
    """Sparse fine histogram of the response in one bin of energy, with the moments of all its events.

    Attributes:
        index: Occupied fine bins in ascending order, shape [occupied]; bin ``i`` is centred on
            ``1 + (i + 0.5) * BIN_WIDTH``.
        count: Events in each, shape [occupied].
        outside: Events whose response is outside the range of the fine bins.
        events: All events.
        deviation: Sum of response - 1.
        deviation_squared: Sum of (response - 1)^2.
    """

    index: NDArray[np.int64]
    count: NDArray[np.int64]
    outside: int
    events: int
    deviation: float
    deviation_squared: float

    @classmethod
    def of(cls, response: NDArray[np.float64]) -> Histogram:
        """Return the histogram of responses, shape [events]."""
        deviation = response - 1
        fine = np.floor(deviation / BIN_WIDTH)
        inside = np.abs(fine + 0.5) < _HALF_BINS
        index, count = np.unique(fine[inside].astype(np.int64), return_counts=True)
        return cls(
            index,
            count.astype(np.int64),
            int(np.count_nonzero(~inside)),
            len(response),
            float(deviation.sum()),
            float(np.square(deviation).sum()),
        )

    def __add__(self, other: Histogram) -> Histogram:
        index, position = np.unique(np.concatenate([self.index, other.index]), return_inverse=True)
        count = np.zeros(len(index), dtype=np.int64)
        np.add.at(count, position, np.concatenate([self.count, other.count]))
        return Histogram(
            index,
            count,
            self.outside + other.outside,
            self.events + other.events,
            self.deviation + other.deviation,
            self.deviation_squared + other.deviation_squared,
        )

    @property
    def centres(self) -> NDArray[np.float64]:
        """Response at the centres of the occupied fine bins, shape [occupied]."""
        return np.asarray(1 + (self.index + 0.5) * BIN_WIDTH, dtype=np.float64)


@dataclass(frozen=True)
class BinContent:
    """What is known of one bin of energy.

    Attributes:
        events: Number of events.
        inverse_root: Sum of 1/sqrt(E_true), which defines the abscissa of the bin.
        histograms: Response histogram of each curve.
    """

    events: int
    inverse_root: float
    histograms: Mapping[str, Histogram]

    def __add__(self, other: BinContent) -> BinContent:
        merged = {name: histogram + other.histograms[name] for name, histogram in self.histograms.items()}
        return BinContent(self.events + other.events, self.inverse_root + other.inverse_root, merged)

    @property
    def energy(self) -> float:
        """Energy whose 1/sqrt(E) is the mean of the bin's [GeV]: right for a stochastic resolution."""
        return (self.events / self.inverse_root) ** 2


@dataclass
class Accumulator:
    """Response of several estimates of the energy in bins of the true energy.

    Attributes:
        bins: The binning.
        curves: Names of the estimates.
        content: Bins by key.
        non_finite: Events of each curve whose estimate is not finite; they are in no bin of any curve.
    """

    bins: EnergyBins
    curves: tuple[str, ...]
    content: dict[int, BinContent] = field(default_factory=dict)
    non_finite: dict[str, int] = field(default_factory=dict)

    def fill(self, true_energy: NDArray[np.floating], estimates: Mapping[str, NDArray[np.floating]]) -> None:
        """Add events.

        Args:
            true_energy: In GeV, shape [events].
            estimates: Energies of every curve [GeV], shape [events] each.
        """
        finite = np.ones(len(true_energy), dtype=bool)
        for name in self.curves:
            good = np.isfinite(estimates[name])
            self.non_finite[name] = self.non_finite.get(name, 0) + int(np.count_nonzero(~good))
            finite &= good
        energy = true_energy[finite].astype(np.float64)
        if not len(energy):
            return
        order = np.argsort(keys := self.bins.keys(energy), kind="stable")
        found, starts = np.unique(keys[order], return_index=True)
        for key, rows in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            content = BinContent(
                len(rows),
                float(np.sum(1 / np.sqrt(energy[rows]))),
                {
                    name: Histogram.of(estimates[name][finite][rows].astype(np.float64) / energy[rows])
                    for name in self.curves
                },
            )
            self.content[key] = self.content[key] + content if key in self.content else content

    def merge(self, other: Accumulator) -> None:
        """Add what another accumulator has seen.

        Raises:
            ArtefactError: If the two have other bins or other curves.
        """
        if (self.bins, self.curves) != (other.bins, other.curves):
            raise ArtefactError("reports with different energy bins or different curves cannot be merged")
        for key, content in other.content.items():
            self.content[key] = self.content[key] + content if key in self.content else content
        for name, count in other.non_finite.items():
            self.non_finite[name] = self.non_finite.get(name, 0) + count
