"""Values that are missing or not finite: found, counted, and treated as the user said."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.tally import Tally
from calomlp.errors import BadValueError

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

Bad = tuple[str, str, Mask, Floats]
"""What is wrong, of what, in which events, and the values, the last two of shape [events]."""


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


def zero_features(names: Sequence[str], matrix: Floats, bad: Mask, touched: Any, tally: Tally) -> None:
    """Put zero in the place of every feature that is not finite.

    Args:
        names: Of the columns.
        matrix: Features, shape [events, columns].
        bad: Which of them are not finite, of the same shape.
        touched: Events in which a branch has been set to zero already.
        tally: Counts the events.
    """
    for column in np.flatnonzero(bad.any(axis=0)).tolist():
        tally.count_bad(names[column], int(np.count_nonzero(bad[:, column])))
    tally.replaced += int(np.count_nonzero(touched | bad.any(axis=1)))
    matrix[bad] = 0


def bad_columns(names: Sequence[str], matrix: Floats, bad: Mask) -> list[Bad]:
    """Return what is wrong with features.

    Args:
        names: Of the columns.
        matrix: Features, shape [events, columns].
        bad: Which of them are not finite, of the same shape.
    """
    return [
        (f"feature {names[column]!r} is not finite", names[column], bad[:, column], matrix[:, column])
        for column in np.flatnonzero(bad.any(axis=0)).tolist()
    ]


def refusal(source: str, found: Bad, entries: NDArray[np.int64], way_out: str) -> BadValueError:
    """Return the error that says where a bad value is.

    Args:
        source: The file.
        found: What is wrong.
        entries: Numbers of the entries that were looked at.
        way_out: What else could be done.
    """
    problem, _, bad, values = found
    first = np.argmax(bad)
    hint = ": is a hit outside of the layers?" if "layers(" in problem else ""
    return BadValueError(
        f"{source}: {problem} in {np.count_nonzero(bad)} of events {entries[0]} to {entries[-1]}, first in "
        f"event {entries[first]} ({values[first]:g}){hint}; {way_out}"
    )


def culprits(
    read: Iterable[str], branches: Mapping[str, Any], found: Sequence[tuple[str, NDArray[np.bool_]]]
) -> Iterator[tuple[str, int]]:
    """Yield in how many events which branches are bad, and features that are though their branches are not.

    Args:
        read: Branches that features are made of.
        branches: Branches by name.
        found: Names of features, true energy and weight, and in which events they are bad.
    """
    explained = np.zeros(len(found[0][1]), dtype=np.bool_)
    for name in sorted(read):
        bad = bad_events(branches[name])
        explained |= bad
        if bad.any():
            yield name, int(np.count_nonzero(bad))
    for name, bad in found:
        if (left := bad & ~explained).any():
            yield name, int(np.count_nonzero(left))
            explained |= left
