"""Bins of the true energy, on a grid that does not depend on the data, so that reports can be merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS = "points"
LOGARITHMIC = "log"

MAX_WIDTH = 0.2
"""Widest bin in ln E that leaves the resolution of a ratio unchanged to 0.2 %."""

_WANTED_EVENTS = 500
_MIN_BINS = 6
_KEV_PER_GEV = 1e6
_MARGIN = 1e-3


@dataclass(frozen=True)
class EnergyBins:
    """How true energies are binned.

    Attributes:
        kind: ``points`` for one bin per beam energy, ``log`` for bins of equal width in ln E.
        origin: Lower edge of bin 0 [GeV]; only for ``log``.
        width: Width in ln E; only for ``log``.
    """

    kind: str
    origin: float = 1.0
    width: float = MAX_WIDTH

    @classmethod
    def over(cls, energy_min: float, energy_max: float, n_events: int) -> EnergyBins:
        """Return logarithmic bins that begin and end at the edges of a range, and go on beyond it.

        Args:
            energy_min: Lower edge of the range [GeV].
            energy_max: Upper edge [GeV].
            n_events: Number of events that are expected in the range: few events make wider bins.
        """
        origin = energy_min * (1 - _MARGIN)  # a sample never reaches the edges of its spectrum, another may
        span = max(math.log(energy_max * (1 + _MARGIN) / origin), 1e-3)
        finest = math.ceil(span / MAX_WIDTH)
        n_bins = min(finest, max(_MIN_BINS, n_events // _WANTED_EVENTS))
        return cls(LOGARITHMIC, origin, span / n_bins)

    def keys(self, energy: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the key of the bin that each energy [GeV] is in, shape [events]."""
        if self.kind == POINTS:
            return np.rint(energy.astype(np.float64) * _KEV_PER_GEV).astype(np.int64)
        position = np.log(energy.astype(np.float64) / self.origin) / self.width
        return np.floor(position).astype(np.int64)

    def edges(self, key: int) -> tuple[float, float]:
        """Return the lower and upper edge of a bin [GeV]; equal for a beam energy."""
        if self.kind == POINTS:
            return key / _KEV_PER_GEV, key / _KEV_PER_GEV
        return self.origin * math.exp(key * self.width), self.origin * math.exp((key + 1) * self.width)
