"""Bins of the true energy, on a grid that does not depend on the events, so that reports can be merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

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

_WANTED = ((1000, 0.8), (320, 0.8), (320, 1.6))
"""Events that are wanted in a bin, and how wide it may be in ln E for that: the first that gives bins enough."""

_ENOUGH_EVENTS, _MIN_BINS = 320, 6
_KEV_PER_GEV = 1e6
_MARGIN = 1e-3


@dataclass(frozen=True)
class EnergyBins:
    """Binning of the true energy.

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

    def joined(self, events: Mapping[int, int], zone: Callable[[int], int]) -> EnergyBins:
        """Return bins that hold events enough, made of neighbouring ones where these are logarithmic.

        They need not be of one width: of a flat spectrum, only those at low energies are made wider.

        Args:
            events: Number of events by key.
            zone: Tells those keys apart that do not go together.
        """
        if self.kind != LOGARITHMIC or not events:
            return self
        joined_groups: list[list[int]] = []
        best = -1
        for wanted, widest in _WANTED:
            groups = self._groups(events, zone, wanted, widest)
            good = sum(sum(events.get(key, 0) for key in group) >= _ENOUGH_EVENTS for group in groups)
            if good > best:
                joined_groups, best = groups, good
            if good >= _MIN_BINS:
                break
        if all(len(group) == 1 for group in joined_groups):
            return self
        return EnergyBins.between(
            (*(self.edges(group[0])[0] for group in joined_groups), self.edges(joined_groups[-1][-1])[1])
        )

    def _groups(
        self, events: Mapping[int, int], zone: Callable[[int], int], wanted: int, widest: float
    ) -> list[list[int]]:
        """Return keys that go together, in ascending order: from the highest down, until there are events enough."""
        groups: list[list[int]] = []
        most = max(1, math.floor(widest / self.width))
        number = wanted
        for key in range(max(events), min(events) - 1, -1):
            if number >= wanted or len(groups[0]) >= most or zone(key) != zone(groups[0][0]):
                groups.insert(0, [])
                number = 0
            groups[0].insert(0, key)
            number += events.get(key, 0)
        return groups

    def within(self, wider: EnergyBins, keys: Iterable[int]) -> dict[int, int]:
        """Return the key of the wider bin that each bin is in, by its own."""
        middles = {key: math.sqrt(math.prod(self.edges(key))) for key in keys}
        wide = wider.keys(np.array(list(middles.values()), dtype=np.float64)).tolist()
        return dict(zip(middles, wide, strict=True))


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
