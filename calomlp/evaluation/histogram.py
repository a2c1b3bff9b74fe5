"""Sparse fine histograms: what is kept of any number of events, in little memory, and added up without loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIN_WIDTH = 1 / 4096
"""Width of the fine bins of the response; a power of two, so that edges are exact."""

HALF_RANGE = 8
"""Responses further than this from one are counted, and enter the mean and the RMS, but have no fine bin."""

_HALF_BINS = int(HALF_RANGE / BIN_WIDTH)
_MAX_CELLS = 2048
_FARTHEST = 1 << 30  # fine bins in a joint histogram, on either side
_CLOSE = 100  # keys, all of which have a place
_SHORT = 4096  # bins that cost nothing to add up in an array
_DENSE = 4  # counting in an array with up to so many cells for each event is faster than sorting

Index = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Sparse fine histogram of the response, with the moments of all its events.

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
    def of(cls, response: NDArray[np.floating]) -> Histogram:
        """Return the histogram of responses, shape [events]."""
        empty = np.empty(0, dtype=np.int64)
        only = np.zeros(1, dtype=np.int64)
        found = histograms(only, only.repeat(len(response)), response)
        return found.get(0, cls(empty, empty, 0, 0, 0.0, 0.0))

    def __add__(self, other: Histogram) -> Histogram:
        index, count = _merged(self, other)
        return Histogram(
            index,
            count,
            self.outside + other.outside,
            self.events + other.events,
            self.deviation + other.deviation,
            self.deviation_squared + other.deviation_squared,
        )

    @property
    def centres(self) -> Values:
        """Response at the centres of the occupied fine bins, shape [occupied]."""
        return np.asarray(1 + (self.index + 0.5) * BIN_WIDTH, dtype=np.float64)


@dataclass(frozen=True)
class Joint:
    """Sparse histogram of two quantities of the same events, as fine as :data:`_MAX_CELLS` occupied cells allow.

    The width of the cells doubles until the events occupy few enough of them. How often depends on the events alone and
    not on their order, so that parts add up to exactly what the whole gives.

    Attributes:
        level: Cells are ``BIN_WIDTH * 2**level`` wide in both directions.
        x: Index of the occupied cells, shape [cells]; cell ``i`` begins at ``i`` widths.
        y: The same for the other quantity.
        count: Events in each, shape [cells].
    """

    level: int
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.floating], y: NDArray[np.floating]) -> Joint:
        """Return the histogram of finite numbers, shape [events] each."""
        one, other = (
            np.clip(np.floor(values / BIN_WIDTH), -_FARTHEST, _FARTHEST - 1).astype(np.int64) for values in (x, y)
        )
        return cls._coarsened(0, one, other, np.ones(len(x), dtype=np.int64))

    def __add__(self, other: Joint) -> Joint:
        level = max(self.level, other.level)
        x, y = (
            np.concatenate([getattr(part, axis) >> (level - part.level) for part in (self, other)]) for axis in "xy"
        )
        return self._coarsened(level, x, y, np.concatenate([self.count, other.count]))

    @classmethod
    def _coarsened(cls, level: int, x: Index, y: Index, count: Index) -> Joint:
        while True:
            code, position = np.unique((x << 32) + (y + _FARTHEST), return_inverse=True)
            count = np.bincount(position, count, len(code)).astype(np.int64)
            x, y = code >> 32, (code & 0xFFFFFFFF) - _FARTHEST
            if len(code) <= _MAX_CELLS:
                return cls(level, x, y, count)
            level, x, y = level + 1, x >> 1, y >> 1

    @property
    def width(self) -> float:
        """Width of a cell."""
        return BIN_WIDTH * float(2**self.level)


def histograms(found: Index, rank: Index, response: NDArray[np.floating]) -> dict[int, Histogram]:
    """Return the histogram of each group of responses that has any.

    Args:
        found: The keys of the groups.
        rank: The place of the group of each event among these, shape [events].
        response: Shape [events].
    """
    if not len(rank):
        return {}
    deviation = response - 1
    fine = np.floor(deviation * (1 / BIN_WIDTH))
    events = np.bincount(rank, minlength=len(found))
    low, high = fine.min(), fine.max()
    kept = rank
    if low < -_HALF_BINS or high >= _HALF_BINS:
        inside = (fine >= -_HALF_BINS) & (fine < _HALF_BINS)
        fine, kept = fine[inside], rank[inside]
        low, high = (fine.min(), fine.max()) if len(fine) else (0, 0)
    low, size = int(low), int(high - low) + 1
    fine -= low
    codes, counts = _counted(kept * size + fine.astype(np.int64), len(found) * size)
    ends = np.searchsorted(codes, np.arange(len(found) + 1) * size)
    inside_events = np.diff(np.concatenate([[0], np.cumsum(counts)])[ends])
    first, second = (np.bincount(rank, weights, len(found)) for weights in (deviation, deviation * deviation))
    numbers = zip(events.tolist(), (events - inside_events).tolist(), first.tolist(), second.tolist(), strict=True)
    result = {}
    for number, (all_events, outside, sum_, squares) in enumerate(numbers):
        if all_events:
            part = slice(ends[number], ends[number + 1])
            index = codes[part] + (low - number * size)
            result[int(found[number])] = Histogram(index, counts[part], outside, all_events, sum_, squares)
    return result


def ranked(keys: Index) -> tuple[Index, Index]:
    """Return keys in ascending order, those that are there and a few between them, and the place of each among them."""
    low, high = int(keys.min()), int(keys.max())
    if high - low < _CLOSE:
        return np.arange(low, high + 1), keys - low
    found, rank = np.unique(keys, return_inverse=True)
    return found, rank.astype(np.int64)


def _merged(one: Histogram, other: Histogram) -> tuple[Index, Index]:
    """Return the occupied bins of two histograms, and the events in them: in an array if they lie close together."""
    if not (len(one.index) and len(other.index)):
        filled = one if len(one.index) else other
        return filled.index, filled.count
    low = min(one.index[0], other.index[0])
    span = int(max(one.index[-1], other.index[-1]) - low) + 1
    if span > _DENSE * (len(one.index) + len(other.index)) + _SHORT:
        index, position = np.unique(np.concatenate([one.index, other.index]), return_inverse=True)
        return index, np.bincount(position, np.concatenate([one.count, other.count]), len(index)).astype(np.int64)
    dense = np.zeros(span, dtype=np.int64)
    dense[one.index - low] = one.count
    dense[other.index - low] += other.count
    occupied = dense.nonzero()[0]
    return occupied + low, dense[occupied]


def _counted(codes: Index, cells: int) -> tuple[Index, Index]:
    """Return the distinct codes from 0 to ``cells`` in ascending order, and how often each is there."""
    if cells <= _DENSE * len(codes):
        counts = np.bincount(codes, minlength=cells)
        found = np.flatnonzero(counts)
        return found, counts[found].astype(np.int64)
    found, number = np.unique(codes, return_counts=True)
    return found, number.astype(np.int64)
