"""Sparse fine histograms: what is kept of any number of events, in little memory, and added up without loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_MANTISSA = 12
"""Fine bins are the sign, the exponent and so many bits of the mantissa of a single-precision number: 2^-12 wide
relative to the power of two below it, at any scale."""

_DROPPED = 23 - _MANTISSA  # bits of the mantissa that tell nothing
_PLACES = 1 << (8 + _MANTISSA)  # fine bins on either side of zero, with those of infinity
_ONE = 127 << _MANTISSA  # place of the number one
_LOWEST = 126 + _MANTISSA + 1  # -log2 of the width of the bins next to zero

_MAX_CELLS = 2048
_BLOCK = 1 << 15  # events
_CLOSE = 100  # keys, all of which have a place
_NEAR = 4 << _MANTISSA  # fine bins that are counted in an array without a look where most events are
_LOOK = 1000  # events that tell where
_DENSE = 4  # counting in an array with up to so many cells for each event is faster than sorting

Index = NDArray[np.int64]
Values = NDArray[np.float64]


def fine_bins(values: NDArray[np.floating]) -> Index:
    """Return the fine bin of each number, shape [values]; 0 begins at one, and what is smaller has a smaller bin."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, dtype=np.float32)
    return _places(single, signed=True).astype(np.int64) - _ONE


def _places(values: NDArray[np.float32], *, signed: bool) -> NDArray[np.int32]:
    """Return the upper bits of numbers, shape [values]; of negative ones, which there may be if signed, the inverse."""
    bits = values.view(np.int32)
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) if signed else bits) >> _DROPPED


def edges(index: Index) -> Values:
    """Return where fine bins begin, shape [bins]: exact, and the end of the bin below."""
    place = index + _ONE
    exponent, mantissa = np.abs(place) >> _MANTISSA, np.abs(place) & ((1 << _MANTISSA) - 1)
    size = np.ldexp(mantissa + ((exponent > 0) << _MANTISSA), np.maximum(exponent, 1) - _LOWEST)
    return np.asarray(np.sign(place) * size, dtype=np.float64)


def fine_width(value: float) -> float:
    """Return the width of the fine bin of a number."""
    low, high = edges(fine_bins(np.array([value])) + np.array([0, 1]))
    return float(high - low)


@dataclass(frozen=True)
class Histogram:
    """Sparse fine histogram of the response.

    Its bins are relative, and every finite number has one: what follows from them does not depend on a unit. The mean
    of the centres is that of the events if their distribution is wider than some bins; the variance is larger by a
    twelfth of the squared width of one, which is 5e-5 of it for a relative RMS of 0.01.

    Attributes:
        index: Occupied fine bins in ascending order, shape [occupied]; bin 0 begins at one.
        count: Events in each, shape [occupied].
    """

    index: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, response: NDArray[np.floating]) -> Histogram:
        """Return the histogram of responses, shape [events]; those that are not finite are left out."""
        empty = np.empty(0, dtype=np.int64)
        only = np.zeros(1, dtype=np.int64)
        return histograms(only, only.repeat(len(response)), response).get(0, cls(empty, empty))

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(*_added((self.index, other.index), (self.count, other.count)))

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.count.sum())

    @property
    def centres(self) -> Values:
        """Response at the centres of the occupied fine bins, shape [occupied]; zero in the bins beside it."""
        low, high = edges(self.index), edges(self.index + 1)
        return np.where(low * high, (low + high) / 2, 0.0)

    @property
    def mean(self) -> float:
        """Mean of all responses."""
        return float(self.count @ self.centres) / self.events

    @property
    def median(self) -> float:
        """Median of all responses, to half a fine bin."""
        until = np.cumsum(self.count)
        return float(self.centres[np.searchsorted(until, until[-1] / 2)])


@dataclass(frozen=True)
class Joint:
    """Sparse histogram of two quantities of the same events, as fine as :data:`_MAX_CELLS` occupied cells allow.

    Cells take 2, 4, 8 fine bins together in either direction, until the events occupy few enough of them. How many
    depends on the events alone and not on their order, so that parts add up to exactly what the whole gives.

    Attributes:
        level: Cells hold ``2**level`` fine bins in both directions.
        x: Index of the occupied cells, shape [cells]; cell ``i`` begins with the fine bin ``i << level``.
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
        return cls.coarsened(0, fine_bins(x), fine_bins(y), np.ones(len(x), dtype=np.int64))

    def __add__(self, other: Joint) -> Joint:
        level = max(self.level, other.level)
        x, y = (
            np.concatenate([getattr(part, axis) >> (level - part.level) for part in (self, other)]) for axis in "xy"
        )
        return self.coarsened(level, x, y, np.concatenate([self.count, other.count]))

    @classmethod
    def coarsened(cls, level: int, x: Index, y: Index, count: Index) -> Joint:
        """Return the histogram of cells that may be too many, and twice the same."""
        while True:
            code, position = np.unique((x << 32) + (y + 2 * _PLACES), return_inverse=True)
            count = np.bincount(position, count, len(code)).astype(np.int64)
            x, y = code >> 32, (code & 0xFFFFFFFF) - 2 * _PLACES
            if len(code) <= _MAX_CELLS:
                return cls(level, x, y, count)
            level, x, y = level + 1, x >> 1, y >> 1

    def edges(self, index: Index) -> tuple[Values, Values]:
        """Return where cells begin and end, by their index on either axis, shape [cells] each."""
        return edges(index << self.level), edges((index + 1) << self.level)


def histograms(keys: Index, rank: Index, response: NDArray[np.floating]) -> dict[int, Histogram]:
    """Return the histogram of each group of responses that has any which are finite.

    Args:
        keys: The keys of the groups.
        rank: The place of the group of each event among these, shape [events].
        response: Shape [events].
    """
    if not len(rank):
        return {}
    with np.errstate(over="ignore"):
        response = response.astype(np.float32, copy=False)
    if not (np.isfinite(response.min()) and np.isfinite(response.max())):
        finite = np.isfinite(response)
        rank, response = rank[finite], response[finite]
    code, count = _counted(rank, response, len(keys))
    starts = np.searchsorted(code, np.arange(len(keys) + 1) * 2 * _PLACES).tolist()
    return {
        key: Histogram(code[start:stop] - (2 * number + 1) * _PLACES - _ONE, count[start:stop])
        for number, (key, (start, stop)) in enumerate(zip(keys.tolist(), pairwise(starts), strict=True))
        if start < stop
    }


def _counted(rank: Index, response: NDArray[np.float32], groups: int) -> tuple[Index, Index]:
    """Return how many events are in each fine bin of each group.

    Args:
        rank: The place of the group, shape [events].
        response: Finite numbers, shape [events].
        groups: Number of groups.

    Returns:
        What tells groups and fine bins, ``(2 * rank + 1) * _PLACES + _ONE + index``, in ascending order; and how many.
    """
    if not len(rank):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    response = np.ascontiguousarray(response)
    low, high = fine_bins(np.array([response.min(), response.max()])).tolist()
    signed, some_far = low < -_ONE, high - low >= _NEAR
    if some_far:
        some = np.sort(fine_bins(response[:: len(response) // _LOOK | 1]))
        first, last = some[[len(some) // 50, -1 - len(some) // 50]].tolist()
        reach = min(last - first, _NEAR)
        low, high = max(low, first - reach // 2), min(high, first + reach + reach // 2)
    size = high - low + 2  # with a last cell for all that is further away
    if groups * size > _DENSE * len(rank):
        code, count = np.unique((2 * rank + 1) * _PLACES + _ONE + fine_bins(response), return_counts=True)
        return code, count.astype(np.int64)
    counts = np.zeros(groups * size, dtype=np.int64)
    far = []
    for block in blocks(len(rank), len(counts)):
        places, own = _places(response[block], signed=signed), rank[block]
        cell = np.minimum((places - (low + _ONE)).view(np.uint32), size - 1)  # what is below zero is far above
        if some_far and len(rest := np.flatnonzero(cell == size - 1)):
            far.append((2 * own[rest] + 1) * _PLACES + places[rest])
        counts += np.bincount(own * size + cell, minlength=len(counts))
    counts[size - 1 :: size] = 0
    cells = np.flatnonzero(counts)
    code = (2 * (cells // size) + 1) * _PLACES + _ONE + low + cells % size
    if not far:
        return code, counts[cells]
    sparse, number = np.unique(np.concatenate(far), return_counts=True)
    return _added((code, sparse), (counts[cells], number))


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
    distinct, rank = np.unique(keys, return_inverse=True)
    return distinct, rank.astype(np.int64)


def _added(indices: Sequence[Index], counts: Sequence[Index]) -> tuple[Index, Index]:
    """Return the distinct of some indices in ascending order, and the sum of what is counted of each."""
    index, count = np.concatenate(indices), np.concatenate(counts)
    if not len(index):
        return index, count
    order = np.argsort(index, kind="stable")
    index = index[order]
    starts = np.flatnonzero(np.diff(index, prepend=index[0] - 1))
    return index[starts], np.add.reduceat(count[order], starts)
