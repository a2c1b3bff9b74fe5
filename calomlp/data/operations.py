"""Operations and shower shapes of the feature language: what is made of the numbers of an event.

They take numbers, arrays and lists of each event alike. A number of the event goes with each element of its arrays and
lists, an element of a list with each of those below it. numpy would align shapes at their other end, where as many
events as elements make it take the number of another event. What is calculated is double precision: comparisons and
flags count as 0 or 1, and no integer wraps around.

Shapes say in one or a few numbers what the energies of an event's layers or hits say about its shower. Hits are jagged
quantities, or fixed arrays, with as many elements of each in an event; layers are ``profile``, an array of layer
energies, shape [events, layers]. Noise makes some energies negative: in a shape they count as zero, and an event
without any energy has the shape 0. What is not finite stays so, and is found by whoever reads the result.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DOUBLE = "biu"  # kinds of numpy that are calculated with in double precision
_MAX_EXACT = 2**53  # whole numbers up to this are exact in double precision
MAX_TOP = 1000
MAX_LAYERS = 1000
_WINDOW = 3  # layers that tell the start of a shower
_ROUNDING = 1e-9  # smaller shares and squared layers are left by the rounding of numbers
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
    event = _events(counts)

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


def layers(energy: Any, place: Any, number: Any, low: Any = None, high: Any = None) -> Array:
    """Return the sums of hit energies in layers, those below zero with their sign; shape [events, number].

    Args:
        energy: Of the hits.
        place: Number of the layer of each hit, counted from 0, or with ``low`` and ``high`` its position.
        number: Of layers.
        low: Position where the first of the layers begins, which are equally thick.
        high: Position where the last one ends.

    Returns:
        NaN in all layers of an event with a hit outside of them.

    Raises:
        ValueError: If an argument is not legal.
    """
    if not isinstance(number, np.integer) or not 1 <= number <= MAX_LAYERS:
        raise ValueError(f"layers takes a whole number of them from 1 to {MAX_LAYERS}")
    n = int(number)
    begin, end = (0.0, float(n)) if low is None else (_number(low), _number(high))
    if not begin < end:
        raise ValueError("positions of layers go from a lower to a higher one")
    (energies, places), counts = together(energy, place)
    index = np.floor((places - begin) / ((end - begin) / n))
    inside = (index >= 0) & (index < n)
    event = _events(counts)
    cell = event * n + np.where(inside, index, 0).astype(np.int64)
    sums = _total(cell, energies, len(counts) * n).reshape(len(counts), n)
    sums[event[~inside]] = np.nan
    return sums


def depth(profile: Any, share: Any = None) -> Array:
    """Return how deep a shower is, in layers; shape [events].

    Args:
        profile: Energies of the layers.
        share: If it is given, the depth that the shower reaches with this share of its energy. The first layer goes
            from 0 to 1, and so on; inside a layer the energy is spread evenly.

    Returns:
        Without a share, the mean number of the layer, counted from 0 and weighted with the energy.

    Raises:
        ValueError: If an argument is not legal.
    """
    if share is None:
        return _moments(profile)[0]
    wanted = _share(share)
    energy = _profile(profile)
    cumulated = np.cumsum(energy, axis=1)
    target = wanted * cumulated[:, -1]
    layer = np.argmax(cumulated >= target[:, None], axis=1)  # the first that reaches it
    own, reached = (np.take_along_axis(values, layer[:, None], axis=1)[:, 0] for values in (energy, cumulated))
    return np.asarray(layer + _ratio(target - reached + own, own))


def depth_rms(profile: Any) -> Array:
    """Return the standard deviation of the number of the layer, weighted with the energy; shape [events]."""
    return np.sqrt(_moments(profile)[1])


def depth_skewness(profile: Any) -> Array:
    """Return the skewness of the number of the layer, weighted with the energy; 0 in a single layer; shape [events]."""
    _, variance, third = _moments(profile)
    return _ratio(third, np.where(variance < _ROUNDING, 0.0, variance**1.5))


def shower_start(profile: Any, threshold: Any) -> Array:
    """Return the first layer from which three consecutive layers add up to more than a threshold; shape [events].

    Three, because the track before the shower fluctuates in single layers.

    Args:
        profile: Energies of the layers.
        threshold: In the same unit.

    Returns:
        Counted from 0; the number of layers where there is no shower.

    Raises:
        ValueError: If there are fewer than three layers, or the threshold is not a number.
    """
    energy = _profile(profile)
    if energy.shape[1] < _WINDOW:
        raise ValueError(f"the start of a shower takes at least {_WINDOW} layers")
    sums = np.lib.stride_tricks.sliding_window_view(energy, _WINDOW, axis=1).sum(axis=2)
    above = sums > _number(threshold)
    start = np.where(above.any(axis=1), np.argmax(above, axis=1), energy.shape[1])
    return np.where(np.isfinite(energy).all(axis=1), start, np.nan)


def share(part: Any, whole: Any) -> Array:
    """Return the sum of one quantity inside an event over that of another, 0 where the other is empty."""
    of_part, of_whole = (_sum(_positive(numbers), counts) for numbers, counts in map(elements, (part, whole)))
    return np.where(of_whole == 0, 0.0, _ratio(of_part, of_whole))  # the largest of no elements is not a number


def spectrum(energy: Any, *edges: Any) -> Array:
    """Return the shares of the energy that are in hits of different energy; shape [events, edges + 1].

    Args:
        energy: Of the hits.
        edges: Hit energies, in ascending order, that part the bins; the first and the last bin have no end.

    Raises:
        ValueError: If the edges are not ascending numbers.
    """
    bounds = np.array([_number(edge) for edge in edges])
    if not np.all(np.diff(bounds) > 0):
        raise ValueError("edges of a spectrum go in ascending order")
    numbers, counts = elements(energy)
    numbers = _positive(numbers)
    bins = len(bounds) + 1
    cell = _events(counts) * bins + np.searchsorted(bounds, numbers, side="right")
    sums = _total(cell, numbers, len(counts) * bins).reshape(len(counts), bins)
    return _ratio(sums, sums.sum(axis=1, keepdims=True))


def lateral_rms(energy: Any, x: Any, y: Any) -> Array:
    """Return the rms distance of the energy from its centre of gravity; shape [events].

    Args:
        energy: Of the hits.
        x: Positions of the hits across the shower.
        y: The same.

    Returns:
        In the unit of the positions.

    Raises:
        ValueError: If there are not as many of each in every event.
    """
    weight, distance, counts = _around_centre(energy, x, y)
    return np.sqrt(_ratio(_sum(weight * distance**2, counts), _sum(weight, counts)))


def radius(energy: Any, x: Any, y: Any, share: Any) -> Array:
    """Return the radius around the centre of gravity that holds a share of the energy; shape [events].

    Args:
        energy: Of the hits.
        x: Positions of the hits across the shower.
        y: The same.
        share: Of the energy, from 0 to 1.

    Returns:
        The distance of one of the hits, in the unit of the positions.

    Raises:
        ValueError: If an argument is not legal.
    """
    wanted = _share(share)
    weight, distance, counts = _around_centre(energy, x, y)
    event, first = _events(counts), counts.cumsum() - counts
    total = _sum(weight, counts)
    order = np.lexsort((distance, event))
    running = np.nan_to_num(_ratio(weight, total[event]))[order].cumsum()  # grows by one in each event that has energy
    inside = running - np.concatenate([[0.0], running])[first][event]
    inner = np.bincount(event[inside < wanted - _ROUNDING], minlength=len(counts))  # short of the share
    radii = np.zeros(len(counts))
    filled = counts > 0
    radii[filled] = distance[order][(first + np.minimum(inner, counts - 1))[filled]]
    return np.where(total == 0, 0.0, np.where(np.isfinite(total), radii, np.nan))


def _around_centre(energy: Any, x: Any, y: Any) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return energies, distances from the centre of gravity, and numbers of hits in each event."""
    (weight, *positions), counts = together(energy, x, y)
    weight = _positive(weight)
    event, total = _events(counts), _sum(weight, counts)
    offsets = [position - _ratio(_sum(weight * position, counts), total)[event] for position in positions]
    return weight, np.hypot(*offsets), counts


def _moments(profile: Any) -> tuple[Array, Array, Array]:
    """Return mean, variance and third central moment of the number of the layer, weighted with the energy."""
    energy = _profile(profile)
    centre = (energy.shape[1] - 1) / 2
    powers = (np.arange(energy.shape[1]) - centre)[:, None] ** np.arange(4)
    total, *sums = (energy @ powers).T  # one product instead of a pass over the events for each
    first, second, third = (_ratio(part, total) for part in sums)
    variance = np.maximum(second - first**2, 0.0)
    mean = first + centre * (total != 0)  # of nothing it is zero
    return mean, variance, third - 3 * first * second + 2 * first**3


def _profile(values: Any) -> Array:
    """Return energies of layers without what is below zero.

    Raises:
        ValueError: If this is no array of layers.
    """
    energy = np.asarray(np.nan if isinstance(values, ak.Array) else values, dtype=np.float64)
    if energy.ndim != 2 or not energy.shape[1]:
        raise ValueError("a shape in depth takes an array of layer energies; layers(e, layer, n) makes one of hits")
    return _positive(energy)


def _positive(energy: Array) -> Array:
    return np.maximum(energy, 0.0)


def _ratio(part: Array, whole: Array) -> Array:
    """Divide; a number over zero is zero, and what is not finite stays so."""
    return np.asarray(part / np.where(whole == 0, np.inf, whole))


def _events(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the event of each element."""
    return np.arange(len(counts)).repeat(counts)


def _sum(numbers: Array, counts: NDArray[np.int64]) -> Array:
    """Return the sum inside each event."""
    return _total(_events(counts), numbers, len(counts))


def _total(cell: NDArray[np.int64], numbers: Array, cells: int) -> Array:
    """Return the sum in each cell; of no numbers, numpy alone would make whole ones."""
    return np.bincount(cell, numbers, cells).astype(np.float64)


def _number(value: Any) -> float:
    if not isinstance(value, np.number) or not np.isfinite(value):
        raise ValueError("where a number is wanted stands something else")
    return float(value)


def _share(value: Any) -> float:
    if not 0 <= _number(value) <= 1:
        raise ValueError("a share is a number from 0 to 1")
    return float(value)
