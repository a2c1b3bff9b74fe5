"""The region of the training data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_QUANTILES = (0.001, 0.5, 0.999)
_EVENTS = 100_000


@dataclass(frozen=True)
class FeatureRange:
    """Range of a column of the features that holds nearly all training events.

    Attributes:
        name: Name of the column, such as ``layer_energy[3]``.
        low: 0.1 % of the events are below.
        median: Half of them are.
        high: 0.1 % are above.
    """

    name: str
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Envelope:
    """The region of the training data, outside of which nothing was learned.

    Attributes:
        energy_min: Lowest true energy of the sample [GeV].
        energy_max: Highest true energy of the sample [GeV].
        n_train: Number of training events.
        n_validation: Number of events for validation.
        n_test: Number of events kept for the test.
        features: The range of each column of the features.
    """

    energy_min: float
    energy_max: float
    n_train: int
    n_validation: int
    n_test: int
    features: tuple[FeatureRange, ...]

    def outside(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count the events that are outside the range of each column, shape [columns].

        Args:
            features: Shape [events, columns].
        """
        low, high = np.array([(column.low, column.high) for column in self.features], dtype=np.float32).T
        counts: NDArray[np.int64] = np.sum((features < low) | (features > high), axis=0, dtype=np.int64)
        return counts


def feature_ranges(names: Sequence[str], features: NDArray[np.float32]) -> tuple[FeatureRange, ...]:
    """Return the range of each column of the features.

    Args:
        names: Of the columns.
        features: Of training events, shape [events, columns]; of very many, evenly taken ones are looked at.
    """
    few = features[:: math.ceil(len(features) / _EVENTS)]
    quantiles = np.quantile(few, _QUANTILES, axis=0).T.tolist()
    return tuple(FeatureRange(name, *values) for name, values in zip(names, quantiles, strict=True))
