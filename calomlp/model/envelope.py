"""The region of the training data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Envelope:
    """The region of the training data, outside of which nothing was learned.

    Attributes:
        energy_min: Lowest true energy of the sample [GeV].
        energy_max: Highest true energy of the sample [GeV].
        n_train: Number of training events.
        n_validation: Number of events for validation.
        n_test: Number of events kept for the test.
    """

    energy_min: float
    energy_max: float
    n_train: int
    n_validation: int
    n_test: int
