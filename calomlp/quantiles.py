"""Quantiles of a Gaussian at its median and one sigma on either side, and sigma_68, half the distance of the latter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW, MEDIAN, HIGH = SHARES = (0.1587, 0.5, 0.8413)


def median_and_sigma_68(values: NDArray[np.floating], axis: int = -1) -> tuple[Any, Any]:
    """Return the median and sigma_68 of values along an axis."""
    low, median, high = np.quantile(values, SHARES, axis=axis)
    return median, (high - low) / 2
