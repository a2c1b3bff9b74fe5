"""Values that are missing or not finite: found, counted, and treated as the user said."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.tally import Tally


def mark_missing(branches: Mapping[str, Any], marks: Sequence[float], tally: Tally) -> dict[str, Any]:
    """Return branches with NaN in the place of every value that stands for a missing one."""
    return {name: _without(values, marks, tally) for name, values in branches.items()}


def _without(values: Any, marks: Sequence[float], tally: Tally) -> Any:
    marked = reduce(operator.or_, (values == mark for mark in marks))
    number = int(np.sum(marked))
    tally.missing += number
    if not number:
        return values
    return ak.where(marked, np.nan, values) if isinstance(values, ak.Array) else np.where(marked, np.nan, values)


def zero_bad(branches: Mapping[str, Any], tally: Tally) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Return branches with zero in the place of every value that is not finite, and which events had one.

    Args:
        branches: Branches by name.
        tally: Counts the events of each branch.
    """
    cleaned = {}
    touched: Any = False
    for name, values in branches.items():
        bad = bad_events(values)
        if bad.any():
            tally.count_bad(name, int(np.count_nonzero(bad)))
            replace = ak.nan_to_num if isinstance(values, ak.Array) else np.nan_to_num
            cleaned[name] = replace(values, nan=0.0, posinf=0.0, neginf=0.0)
        else:
            cleaned[name] = values
        touched = touched | bad
    return cleaned, touched


def bad_events(values: Any) -> NDArray[np.bool_]:
    """Return which events have a value that is not finite, shape [events]."""
    bad = ~np.isfinite(values)
    if isinstance(values, ak.Array):
        while bad.ndim > 2:
            bad = ak.flatten(bad, axis=2)
        return np.asarray(ak.any(bad, axis=1))
    return np.asarray(bad.reshape(len(bad), -1).any(axis=1))
