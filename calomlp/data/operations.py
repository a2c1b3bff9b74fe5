"""Operations of the feature language: event by event and element by element, and from all elements of an event to one.

They take numbers, arrays and lists of each event alike. A number of the event goes with each element of its arrays and
lists, an element of a list with each of those below it. numpy would align shapes at their other end, where as many
events as elements make it take the number of another event. What is calculated is double precision: comparisons and
flags count as 0 or 1, and no integer wraps around.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

_DOUBLE = "biu"  # kinds of numpy that are calculated with in double precision
_MAX_EXACT = 2**53  # whole numbers up to this are exact in double precision
MAX_TOP = 1000
_EXTREMES = {"min": np.minimum, "max": np.maximum}


def kind(values: Any) -> str:
    """Return numpy's letter for the kind of number that is in an array."""
    if not isinstance(values, ak.Array):
        return str(np.asarray(values).dtype.kind)
    form = values.layout.form
    while not hasattr(form, "primitive"):
        form = form.content
    return str(np.dtype(form.primitive).kind)


def wide(values: Any) -> Any:
    """Return integers and half precision as double precision, other numbers and flags as they are."""
    if kind(values) in "iu":
        return _double(values)
    return _double(values) if not isinstance(values, ak.Array) and np.asarray(values).dtype == np.float16 else values


def numbers(values: Any) -> Any:
    """Return flags and integers as double precision; constants that are whole stay so."""
    return _double(values) if kind(values) in _DOUBLE and not isinstance(values, np.integer) else values


def _double(values: Any) -> Any:
    if isinstance(values, ak.Array):
        return ak.values_astype(values, np.float64)
    return values.astype(np.float64, copy=False) if isinstance(values, np.ndarray) else np.float64(values)


def aligned(*values: Any) -> list[Any]:
    """Return values such that their first axes, the events, go together: lower ones get axes at the end."""
    depth = max(np.ndim(item) if not isinstance(item, ak.Array) else 0 for item in values)
    return [
        item.reshape(item.shape + (1,) * (depth - item.ndim))
        if isinstance(item, np.ndarray) and 0 < item.ndim < depth
        else item
        for item in values
    ]


def arithmetic(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operation on numbers."""

    def calculate(one: Any, other: Any) -> Any:
        if isinstance(one, np.integer) and isinstance(other, np.integer):
            return _constants(operation, int(one), int(other))
        return operation(*aligned(_double(one), _double(other)))

    return calculate


def _constants(operation: Callable[[Any, Any], Any], one: int, other: int) -> Any:
    """Return the result for two whole constants: whole where it is exact, as a number of layers has to be."""
    result = operation(np.float64(one), np.float64(other))
    whole = operation is not operator.truediv and abs(result) < _MAX_EXACT and result == np.floor(result)
    return np.int64(result) if whole else result


def comparison(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a comparison of numbers."""
    return lambda one, other: operation(*aligned(numbers(one), numbers(other)))


def logic(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operation on conditions.

    Raises:
        ValueError: From the operation, if something is not a condition.
    """

    def join(one: Any, other: Any) -> Any:
        if kind(one) != "b" or kind(other) != "b":
            raise ValueError("& and | join conditions: compare numbers first, such as (a > 1) & (b < 2)")
        return operation(*aligned(one, other))

    return join


def negation(values: Any) -> Any:
    """Return the opposite of a condition.

    Raises:
        ValueError: If it is none.
    """
    if kind(values) != "b":
        raise ValueError("~ turns a condition round: compare a number first, such as ~(a > 1)")
    return ~values


def function(of: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of numbers."""
    return lambda *values: of(*aligned(*map(_double, values)))


def where(condition: Any, yes: Any, no: Any) -> Any:
    """Return one or the other of two values, as a condition says.

    Raises:
        ValueError: If it is no condition.
    """
    if kind(condition) != "b":
        raise ValueError("where takes a condition first, such as a > 1")
    arrays = aligned(condition, numbers(yes), numbers(no))
    return ak.where(*arrays) if any(isinstance(item, ak.Array) for item in arrays) else np.where(*arrays)


def masked(values: Any, mask: Any) -> ak.Array:
    """Return the elements that pass a mask: one condition for each element, or for the whole event."""
    if isinstance(mask, np.ndarray) and mask.ndim == 1:
        mask = spread(mask, values)
    values, mask = (
        ak.from_regular(ak.Array(item)) if isinstance(item, np.ndarray) else item for item in (values, mask)
    )
    return values[mask]


def spread(number: NDArray[Any], over: Any) -> Any:
    """Return a number of each event for each of the elements that another quantity has there."""
    if isinstance(over, ak.Array):
        return ak.broadcast_arrays(number, over)[0]
    return np.broadcast_to(number.reshape(number.shape + (1,) * (over.ndim - number.ndim)), over.shape)


def elements(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return all numbers, event by event, and how many are in each event."""
    if isinstance(values, ak.Array):
        while values.ndim > 2:
            values = ak.flatten(values, axis=2)
        return np.asarray(ak.flatten(values, axis=1), dtype=np.float64), np.asarray(ak.num(values, axis=1))
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return values.ravel(), np.full(len(values), math.prod(values.shape[1:]))


def together(*quantities: Any) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Return all numbers of several quantities of the same elements, and how many elements are in each event.

    Raises:
        ValueError: If the quantities have not as many in every event.
    """
    numbers, counts = zip(*map(elements, quantities), strict=True)
    if any(not np.array_equal(counts[0], other) for other in counts[1:]):
        raise ValueError("what belongs to the same elements has not the same number of them in every event")
    return list(numbers), counts[0]


def reduction(name: str) -> Callable[[Any], Any]:
    """Return a reduction over all axes inside an event, so that one number per event is left."""

    def reduce(values: Any) -> Any:
        if not isinstance(values, ak.Array):
            values = np.asarray(values)
            if values.ndim < 2:
                return np.ones(values.shape) if name == "count" else values
            flat = values.reshape(len(values), math.prod(values.shape[1:]))  # there may be no events
            return np.full(len(flat), flat.shape[1]) if name == "count" else getattr(np, name)(flat, axis=1)
        while values.ndim > 2:
            values = ak.flatten(values, axis=2)
        if name in _EXTREMES and "bool" not in str(values.type):
            return _extreme(values, _EXTREMES[name])
        return ak.to_numpy(ak.fill_none(getattr(ak, "num" if name == "count" else name)(values, axis=1), np.nan))

    return reduce


def _extreme(values: ak.Array, of: np.ufunc) -> NDArray[np.float64]:
    """Return the least or largest number of each event, NaN if there is none or one is not a number, as in arrays."""
    numbers, counts = elements(values)
    result, filled = np.full(len(counts), np.nan), counts > 0
    if filled.any():
        result[filled] = of.reduceat(numbers, (counts.cumsum() - counts)[filled])
    return result


def moment(values: Any, order: Any, weights: Any = None) -> NDArray[np.float64]:
    """Return the mean of order 1, or the central moment of a higher one, of everything inside an event."""
    if not isinstance(order, np.integer) or not 1 <= order <= 8:
        raise ValueError("the order of a moment is a whole number from 1 to 8")
    (numbers, *given), counts = together(values) if weights is None else together(values, weights)
    weight = given[0] if given else np.ones_like(numbers)
    event = np.arange(len(counts)).repeat(counts)

    def average(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(event, weight * of, len(counts)) / np.bincount(event, weight, len(counts))

    centre = average(numbers)
    return centre if order == 1 else average((numbers - centre[event]) ** int(order))


def mean(values: Any, weights: Any = None) -> Any:
    """Return the mean of everything inside an event."""
    return reduction("mean")(values) if weights is None else moment(values, np.int64(1), weights)


def std(values: Any, weights: Any = None) -> Any:
    """Return the standard deviation of everything inside an event."""
    return reduction("std")(values) if weights is None else np.sqrt(moment(values, np.int64(2), weights))


def _sorted(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all numbers in ascending order inside each event, their counts, and where each event begins."""
    numbers, counts = elements(values)
    ordered = ak.sort(ak.unflatten(numbers, counts), axis=1)
    return np.asarray(ak.flatten(ordered, axis=1)), counts, counts.cumsum() - counts


def quantile(values: Any, share: Any) -> NDArray[np.float64]:
    """Return a quantile of everything inside an event, linear between elements; NaN where there are none."""
    if not isinstance(share, np.number) or not 0 <= share <= 1:
        raise ValueError("a quantile takes a share from 0 to 1")
    numbers, counts, first = _sorted(values)
    result = np.full(len(counts), np.nan)
    filled = counts > 0
    place = float(share) * (counts[filled] - 1)
    below = np.floor(place).astype(np.int64)
    low, high = (numbers[first[filled] + i] for i in (below, np.minimum(below + 1, counts[filled] - 1)))
    result[filled] = low + (place - below) * (high - low)
    return result


def top(values: Any, number: Any) -> NDArray[np.float64]:
    """Return the largest elements of an event in descending order, 0 where there are fewer; [events, number]."""
    if not isinstance(number, np.integer) or not 1 <= number <= MAX_TOP:
        raise ValueError(f"top takes a whole number of elements from 1 to {MAX_TOP}")
    numbers, counts, first = _sorted(values)
    rank = np.arange(int(number))
    inside = rank < counts[:, None]
    result = np.zeros((len(counts), len(rank)))
    result[inside] = numbers[((first + counts - 1)[:, None] - rank)[inside]]
    return result
