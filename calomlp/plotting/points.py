"""The points that figures and tables show, as arrays, and where their axes end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calomlp.evaluation.measurement import PERCENT, Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calomlp.evaluation.profiles import ShowerProfiles
    from calomlp.evaluation.report import Bin, Curve, Ratio

_SHOWN = 0.98
_SHORTEST_RADIUS = 2.0


@dataclass(frozen=True)
class Points:
    """Values with errors against energy, shape [points] each."""

    energy: NDArray[np.float64]  # true energy [GeV]
    value: NDArray[np.float64]  # what is shown
    error: NDArray[np.float64]  # its standard error
    edge: NDArray[np.bool_]  # whether the bin is at an edge of the training range

    @classmethod
    def of(cls, bins: Sequence[Bin | Ratio], measured: Sequence[Measurement]) -> Points:
        """Return one point for each bin.

        Args:
            bins: Where it was measured.
            measured: What was measured there.
        """
        return cls(
            np.array([bin_.energy for bin_ in bins], dtype=np.float64),
            np.array([item.value for item in measured], dtype=np.float64),
            np.array([item.error for item in measured], dtype=np.float64),
            np.array([bin_.edge for bin_ in bins], dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.energy)

    def select(self, wanted: NDArray[np.bool_]) -> Points:
        """Return some of the points.

        Args:
            wanted: Shape [points].
        """
        return Points(self.energy[wanted], self.value[wanted], self.error[wanted], self.edge[wanted])

    @property
    def inner(self) -> Points:
        """The points that are not at an edge."""
        return self.select(~self.edge)


def estimate_points(curve: Curve, name: str, scale: float = 1.0) -> Points:
    """Return an estimator of all bins that have it and events enough to be shown, times a factor."""
    bins = _shown(curve, name)
    estimates = (bin_.estimates[name] for bin_ in bins)
    return Points.of(bins, [item * scale for item in estimates])


def estimate_events(curve: Curve, name: str) -> NDArray[np.float64]:
    """Return the number of events of the same bins."""
    return np.array([bin_.events for bin_ in _shown(curve, name)], dtype=np.float64)


def _shown(curve: Curve, name: str) -> list[Bin]:
    return [bin_ for bin_ in curve.bins if bin_.shown and name in bin_.estimates]


def resolution_points(curve: Curve) -> Points:
    """Return the resolution [%] of all bins that have events enough to be shown."""
    return estimate_points(curve, "resolution", PERCENT)


def deviation_points(curve: Curve) -> Points:
    """Return the mean response - 1 [%] of all bins that have events enough to be shown."""
    return estimate_points(curve, "bias", PERCENT)


def limits(groups: Sequence[Points], *, at_least: tuple[float, float], edge_reach: float = 0.4) -> tuple[float, float]:
    """Return the range that holds all points with their errors, except edge points that would ruin it.

    Args:
        groups: The points of every curve.
        at_least: Range that is shown in any case.
        edge_reach: Points at an edge may widen the range on each side by this share of it.
    """
    edge_low, edge_high = _range(groups, at_least)
    inner = [points.inner for points in groups]
    if not any(map(len, inner)):
        return edge_low, edge_high
    low, high = _range(inner, at_least)
    reach = edge_reach * (high - low)
    return edge_low if edge_low > low - reach else low, edge_high if edge_high < high + reach else high


def shown_radius(profiles: ShowerProfiles) -> float:
    """Return where an axis of the distance from a shower's axis ends: where 98 % of the energy is held, not before 2.

    Energies at which no radius holds so much do not count.
    """
    held = profiles.radius_of(_SHOWN)
    return float(np.max(held, where=np.isfinite(held), initial=_SHORTEST_RADIUS))


def _range(groups: Sequence[Points], at_least: tuple[float, float]) -> tuple[float, float]:
    low = [at_least[0], *(float(np.min(points.value - points.error)) for points in groups if len(points))]
    high = [at_least[1], *(float(np.max(points.value + points.error)) for points in groups if len(points))]
    return min(low), max(high)
