"""Sparse fine histograms: what is kept of any number of events, in little memory, and added up without loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BIN_WIDTH = 1 / 4096
"""Width of the fine bins of the response; a power of two, so that edges are exact."""

HALF_RANGE = 8
"""Responses further than this from one are counted, and enter the mean and the RMS, but have no fine bin."""

_MAX_CELLS = 2048
_FARTHEST = 1 << 30  # fine bins in a joint histogram, on either side
_BLOCK = 1 << 15  # events
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
        deviation: Sum of response - 1, where an event in a fine bin has the response at its centre. This moves the mean
            by half a bin at most, and not at all if the distribution is wider than some bins.
        deviation_squared: Sum of (response - 1)^2 of the same responses. The variance of a distribution that is wider
            than some bins is larger by a twelfth of the squared width of one, which is 5e-5 of it for an RMS of 0.01.
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
    """Return the histogram of each group of responses that has any which are finite.

    Args:
        found: The keys of the groups.
        rank: The place of the group of each event among these, shape [events].
        response: Shape [events].
    """
    groups = len(found)
    outside, first, second = np.zeros(groups, dtype=np.int64), np.zeros(groups), np.zeros(groups)
    if len(rank) and not (response.min() >= 1 - HALF_RANGE and response.max() < 1 + HALF_RANGE):  # as for NaN
        deviation = response - 1
        inside = (deviation >= -HALF_RANGE) & (deviation < HALF_RANGE)
        rest = np.flatnonzero(~inside & np.isfinite(deviation))
        own, far = rank[rest], deviation[rest].astype(np.float64)
        outside += np.bincount(own, minlength=groups)
        first += np.bincount(own, far, groups)
        second += np.bincount(own, far**2, groups)
        rank, response = rank[inside], response[inside]
    low, size, code = _coded(rank, response)
    codes, counts = _counted(code, groups * size)
    starts = np.searchsorted(codes, np.arange(groups + 1) * size).tolist()
    numbers = zip(found.tolist(), pairwise(starts), outside.tolist(), first.tolist(), second.tolist(), strict=True)
    result = {}
    for number, (key, (start, stop), beyond, sum_, squares) in enumerate(numbers):
        if beyond or start < stop:
            index, count = codes[start:stop] + (low - number * size), counts[start:stop]
            centres = (index + 0.5) * BIN_WIDTH
            weighted = count * centres
            moments = sum_ + float(weighted.sum()), squares + float(weighted @ centres)
            result[key] = Histogram(index, count, beyond, beyond + int(count.sum()), *moments)
    return result


def _coded(rank: Index, response: NDArray[np.floating]) -> tuple[int, int, Index]:
    """Return for each event a number that tells its group and fine bin: ``rank * size + fine - low``.

    Args:
        rank: The place of the group, shape [events].
        response: In the range of the fine bins, shape [events].

    Returns:
        ``low``, ``size`` and the numbers, shape [events].
    """
    code = np.empty(len(rank), dtype=np.int64)
    if not len(rank):
        return 0, 1, code
    ends = _fine(np.array([response.min(), response.max()])).astype(np.int64)
    low, size = int(ends[0]), int(ends[1] - ends[0]) + 1
    for block in blocks(len(rank)):
        fine = _fine(response[block])
        fine -= low
        np.multiply(rank[block], size, out=code[block])
        code[block] += fine.astype(np.int64)
    return low, size, code


def _fine(response: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the fine bin of each response, shape [events]."""
    fine = response - 1
    fine *= 1 / BIN_WIDTH
    np.floor(fine, out=fine)
    return fine


def blocks(events: int, groups: int = 0) -> Iterator[slice]:
    """Yield events in blocks: what is computed of one stays in the cache of a processor.

    Args:
        events: How many there are.
        groups: How many numbers are added up of a block.
    """
    size = max(_BLOCK, groups)
    return (slice(start, start + size) for start in range(0, events, size))


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
