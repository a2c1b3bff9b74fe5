"""Permutation importance: how much worse the energies become when a feature is taken from another event."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calomlp.evaluation.accumulator import Added
from calomlp.evaluation.measurement import Measurement

if TYPE_CHECKING:
    from calomlp.data.features import FeatureSet
    from calomlp.model.regressor import Regressor


@dataclass(frozen=True)
class Moments(Added):
    """Sums over events.

    Attributes:
        sum: Of the values.
        squares: Of their squares.
    """

    sum: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Add up values, shape [events]."""
        return cls(float(values.sum()), float(values @ values))


@dataclass(frozen=True)
class ImportanceStatistics(Added):
    """Sums that the importance of features follows from.

    Attributes:
        events: Number of events.
        deviation: Sum of abs(E_reco - E_true) in units of the spread that is expected at the anchor.
        increase: Of every feature, how much this grows if the feature is that of another event.
    """

    events: int
    deviation: float
    increase: Mapping[str, Moments]


@dataclass(frozen=True)
class Importance:
    """Importance of a feature.

    Attributes:
        feature: Its expression, which may stand for several columns.
        increase: Relative increase of the mean deviation if it is that of another event.
    """

    feature: str
    increase: Measurement


def permuted(
    regressor: Regressor,
    features: FeatureSet,
    matrix: NDArray[np.float32],
    true_energy: NDArray[np.floating],
    rng: np.random.Generator,
) -> ImportanceStatistics:
    """Shuffle each feature among events, all of its columns together (L. Breiman, Mach. Learn. 45 (2001) 5).

    Args:
        regressor: What measures energies.
        features: Its features.
        matrix: Shape [events, columns].
        true_energy: In GeV, shape [events].
        rng: Draws the other events.
    """

    def deviation(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.abs(regressor.energies(values).astype(np.float64) - true_energy) / spread

    spread = regressor.expected_spread(matrix)
    before = deviation(matrix)
    increase, start = {}, 0
    for feature in features:
        columns = slice(start, start := start + feature.width)
        shuffled = matrix.copy()
        shuffled[:, columns] = matrix[rng.permutation(len(matrix)), columns]
        increase[feature.expression] = Moments.of(deviation(shuffled) - before)
    return ImportanceStatistics(len(matrix), float(before.sum()), increase)


def importances(statistics: ImportanceStatistics) -> list[Importance]:
    """Return the importance of the features, the largest first; none if no energy deviates, so that nothing grows."""
    n, scale = statistics.events, statistics.deviation
    if not scale:
        return []
    ordered = []
    for feature, moments in statistics.increase.items():
        variance = max(moments.squares / n - (moments.sum / n) ** 2, 0.0)
        ordered.append(Importance(feature, Measurement(moments.sum / scale, math.sqrt(n * variance) / scale)))
    return sorted(ordered, key=lambda item: -item.increase.value)
