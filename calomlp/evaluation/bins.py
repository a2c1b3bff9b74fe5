"""Bins of the true energy, on a grid that does not depend on the events, so that reports can be merged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import UsageError
from calomlp.evaluation.histogram import blocks

POINTS = "points"
LOGARITHMIC = "log"
EDGES = "edges"

AUTOMATIC = "auto"
QUANTILES = "quantiles"

MAX_WIDTH = 0.2
"""Widest bin in ln E that leaves the resolution of a ratio unchanged to 0.1 %: a stochastic one by width^2/48."""

MAX_BINS = 1000

_WANTED_EVENTS, _MIN_BINS = 1000, 6
_ENOUGH_EVENTS, _FEWEST_BINS = 320, 5
"""Bins are made wider until most hold a thousand events, unless fewer than six were left; or 320 and five."""
_KEV_PER_GEV = 1e6
_MARGIN = 1e-3


@dataclass(frozen=True)
class EnergyBins:
    """How true energies are binned.

    Attributes:
        kind: ``points`` for one bin per beam energy, ``log`` for bins of equal width in ln E, ``edges`` for given ones.
        origin: Lower edge of bin 0 [GeV]; only for ``log``.
        width: Width in ln E; only for ``log``.
        bounds: Edges in ascending order [GeV]; only for ``edges``.
    """

    kind: str
    origin: float = 1.0
    width: float = MAX_WIDTH
    bounds: tuple[float, ...] = ()

    @classmethod
    def over(cls, energy_min: float, energy_max: float) -> EnergyBins:
        """Return logarithmic bins that begin and end at the edges of a range, and go on beyond it.

        Their number is a multiple of six, so that some of them can be taken together.

        Args:
            energy_min: Lower edge of the range [GeV].
            energy_max: Upper edge [GeV].
        """
        origin = energy_min * (1 - _MARGIN)  # a sample never reaches the edges of its spectrum, another may
        span = max(math.log(energy_max * (1 + _MARGIN) / origin), 1e-3)
        return cls(LOGARITHMIC, origin, span / (6 * math.ceil(span / MAX_WIDTH / 6)))

    @classmethod
    def between(cls, bounds: tuple[float, ...]) -> EnergyBins:
        """Return bins with these edges [GeV].

        Raises:
            UsageError: If these are not ascending positive energies.
        """
        if len(bounds) < 2 or bounds[0] <= 0 or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
            raise UsageError(
                f"--bins {','.join(f'{bound:g}' for bound in bounds)}: edges are energies in ascending order"
            )
        return cls(EDGES, bounds=bounds)

    def keys(self, energy: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the key of the bin that each energy [GeV] is in, shape [events]."""
        if self.kind == POINTS:
            return np.rint(energy.astype(np.float64) * _KEV_PER_GEV).astype(np.int64)
        if self.kind == EDGES:
            return np.searchsorted(self.bounds, energy.astype(np.float64), side="right").astype(np.int64) - 1
        keys = np.empty(len(energy), dtype=np.int64)
        for block in blocks(len(energy)):
            position = np.log(energy[block])
            position -= math.log(self.origin)
            position *= 1 / self.width
            keys[block] = np.floor(position, out=position)
        return keys

    def holds(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each key is that of a bin, shape [events]: energies may be outside of given edges."""
        if self.kind == EDGES:
            return np.asarray((keys >= 0) & (keys < len(self.bounds) - 1))
        return np.ones(len(keys), dtype=np.bool_)

    def edges(self, key: int) -> tuple[float, float]:
        """Return the lower and upper edge of a bin [GeV]; equal for a beam energy."""
        if self.kind == POINTS:
            return key / _KEV_PER_GEV, key / _KEV_PER_GEV
        if self.kind == EDGES:
            return self.bounds[key], self.bounds[key + 1]
        return self.origin * math.exp(key * self.width), self.origin * math.exp((key + 1) * self.width)

    def group_size(self, events: Mapping[int, int]) -> int:
        """Return how many neighbouring bins are taken together so that most of them hold events enough.

        Args:
            events: Number of events by key.
        """
        size = 1
        while self.kind == LOGARITHMIC:
            groups: dict[int, int] = {}
            for key, number in events.items():
                groups[key // size] = groups.get(key // size, 0) + number
            typical = np.median(list(groups.values()))
            left = len({key // (size + 1) for key in events})
            if typical >= _WANTED_EVENTS or left < _FEWEST_BINS or (typical >= _ENOUGH_EVENTS and left < _MIN_BINS):
                break
            size += 1
        return size

    def grouped(self, size: int) -> EnergyBins:
        """Return bins that are this many times as wide."""
        return replace(self, width=self.width * size)


def parse_bins(text: str) -> tuple[str, tuple[float, ...]]:
    """Read what bins are asked for: ``auto``, ``points``, ``log``, ``quantiles:20``, or edges, ``1,2,5,10``.

    Returns:
        The kind, and the number of quantiles or the edges [GeV].

    Raises:
        UsageError: If this is none of these.
    """
    kind, _, number = text.partition(":")
    if text in (AUTOMATIC, POINTS, LOGARITHMIC):
        return text, ()
    if kind == QUANTILES and number.isdecimal() and 0 < int(number) <= MAX_BINS:
        return kind, (float(number),)
    try:
        bounds = tuple(map(float, text.split(",")))
    except ValueError:
        raise UsageError(
            f"--bins {text!r} is unknown: legal are auto, points, log, quantiles:20 (at most {MAX_BINS}), or edges "
            "in GeV such as 1,2,5,10"
        ) from None
    return EDGES, EnergyBins.between(bounds).bounds
