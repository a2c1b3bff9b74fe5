"""What every number of a report is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """A number with its standard error."""

    value: float
    error: float
