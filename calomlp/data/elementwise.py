"""Operations event by event and element by element, on numbers, arrays and lists of each event alike.

A number of the event goes with each element of its arrays and lists, an element of a list with each of those below it.
numpy would align shapes at their other end, where as many events as elements make it take the number of another event.
What is calculated is double precision: comparisons and flags count as 0 or 1, and no integer wraps around.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

_DOUBLE = "biu"  # kinds of numpy that are calculated with in double precision
_MAX_EXACT = 2**53  # whole numbers up to this are exact in double precision


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
