"""Shower shapes: what the energies of an event's layers or hits say about its shower, in one or a few numbers.

Hits are jagged quantities, or fixed arrays, with as many elements of each in an event; layers are ``profile``, an array
of layer energies, shape [events, layers]. Noise makes some energies negative: in a shape they count as zero, and an
event without any energy has the shape 0. What is not finite stays so, and is found by whoever reads the result.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.operations import elements, together

Array = NDArray[np.float64]

MAX_LAYERS = 1000
_WINDOW = 3  # layers that tell the start of a shower
_ROUNDING = 1e-9  # smaller shares and squared layers are left by the rounding of numbers


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
