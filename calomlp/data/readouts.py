"""Readouts: energies that a file holds of its hits, layers, cells and single detectors, and shapes of their showers.

Hits are a list of energies with, in the same collection, a list of layer numbers or of positions, such as
``hit_energy`` and ``hit_layer``, or ``Calorimeter.energy`` and ``Calorimeter.position.z``. Layers are an array of
energies with a fixed number of elements and a name such as ``layer_energy[30]``. If it holds what the hits add up to,
these are their layers; otherwise the hits are added up. The layers feed the anchor, the shapes tell how the shower
looks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.expressions import quote_branch
from calomlp.data.mip import find_mip
from calomlp.data.names import AXES, CELLS, LAYERED, SECOND_HAND, Role, is_one_of, words
from calomlp.data.reductions import reduction, together
from calomlp.data.rows import Rows

logger = logging.getLogger(__name__)

START_MIPS = 6
"""Three layers with more than this hold a shower: a track leaves one MIP in each."""

SPECTRUM_MIPS = (1, 2, 4, 7, 12, 20, 40)
"""Inner edges of the spectrum of hit energies."""

_MIN_LAYERS = 3  # fewer have no shape
_MANY_LAYERS = 8  # fewer have no first five and last five
_MAX_LAYERS = 200  # more are numbers of something else
_SAME = 0.2  # relative deviation of layers from hits that noise and calibration may leave
_END_OF_PREFIX = re.compile(r"(?<=[^\W_])[._]|(?<=[a-z0-9])(?=[A-Z])")
_NO_MEMBER = (Role.TRUTH, Role.ERROR, Role.SIMULATION, Role.MATERIAL)
ENERGIES = (Role.ENERGY, Role.SIGNAL, Role.TRANSVERSE)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """Energies of one detector: for the anchor, and shapes of them for the network."""

    branch: str  # that holds the energies
    energies: str  # expression
    shapes: tuple[str, ...]  # expressions
    covers: frozenset[str]  # branches that these stand for
    rank: tuple[int, int, bool, int, str]  # of the same deposits the lowest is taken


@dataclass(frozen=True)
class _Hits:
    """Branches of a collection of hits."""

    energy: str  # energies
    layer: str | None  # numbers of the layers
    z: str | None  # positions along the shower
    across: tuple[str, ...]  # positions x and y across it; empty if they are not there
    members: frozenset[str]  # all lists of the collection


def readouts(table: Rows, roles: Mapping[str, Role], mip: float | None) -> list[Readout]:
    """Return the energies that are recognised: those of hits, of arrays, of other lists, and single numbers.

    Args:
        table: An open file; its first events tell the number of layers and the energy of a MIP.
        roles: What each branch holds that may be used.
        mip: Energy of a minimum ionising particle in the unit of the hits; ``None`` to look for it.
    """
    columns = {name: table.columns[name] for name, role in roles.items() if role not in _NO_MEMBER}
    energies = {name: column for name, column in columns.items() if roles[name] in ENERGIES}
    lists = {name: column for name, column in columns.items() if column.jagged and table.entries}
    arrays = {
        name: column.shape[0] for name, column in energies.items() if len(column.shape) == 1 and not column.jagged
    }
    found: list[Readout] = []
    for hits in _collections(lists, roles):
        readout = _choose_hits(table, hits, arrays, mip, _rank(0, roles[hits.energy], hits.energy))
        if readout:
            arrays = {name: size for name, size in arrays.items() if name not in readout.covers}
            found.append(readout)
    covered = frozenset().union(*(readout.covers for readout in found))
    for name, column in energies.items():
        if name not in covered and not (column.jagged and roles[name] is Role.TRANSVERSE):  # of jets, leptons
            found.append(_plain(name, column, roles[name]))
    if any(roles[item.branch] is not Role.TRANSVERSE for item in found):
        found = [item for item in found if roles[item.branch] is not Role.TRANSVERSE]
    return found


def _rank(coarse: int, role: Role, name: str) -> tuple[int, int, bool, int, str]:
    return coarse, ENERGIES.index(role), is_one_of(SECOND_HAND, name), len(name), name


def _plain(name: str, column: Column, role: Role) -> Readout:
    """Return what is made of energies that are no hits: arrays, lists, and single numbers."""
    text, cells = quote_branch(name), is_one_of(CELLS, name)
    if column.jagged:
        return Readout(name, f"sum({text})", (f"count({text})",), frozenset({name}), _rank(3, role, name))
    if not column.shape:
        return Readout(name, text, (), frozenset({name}), _rank(5, role, name))
    layered = len(column.shape) == 1 and is_one_of(LAYERED, name) and not cells
    shapes = tuple(_in_depth(text, column.shape[0])) if layered else ()
    coarse = 1 if cells else 2 if layered else 4
    return Readout(name, text, shapes, frozenset({name}), _rank(coarse, role, name))


def _collections(lists: Mapping[str, Column], roles: Mapping[str, Role]) -> Iterator[_Hits]:
    """Yield collections of hits: lists of energies and of layers or positions whose names begin alike."""
    free = [name for name, column in lists.items() if not column.nested and not column.shape]
    prefixes = {
        name[: end.end()] for name in free if roles[name] in ENERGIES for end in re.finditer(_END_OF_PREFIX, name)
    } | {""}
    for prefix in sorted(prefixes, key=lambda prefix: (-len(prefix), prefix)):
        members = [name for name in free if name.startswith(prefix) and (prefix or not re.search(r"[._]", name))]
        energies = [name for name in members if roles[name] in ENERGIES]
        layers = [name for name in members if roles[name] is Role.LAYER]
        x, y, z = (_on_axis(members, roles, axis) for axis in "xyz")
        if energies and (layers or z or (x and y)):
            free = [name for name in free if name not in members]
            covered = members if not prefix else [name for name in lists if name.startswith(prefix)]
            energy = min(energies, key=lambda name: (ENERGIES.index(roles[name]), len(name), name))
            layer = min(layers, key=len, default=None)
            yield _Hits(energy, layer, z, (x, y) if x and y else (), frozenset(covered))


def _on_axis(members: Sequence[str], roles: Mapping[str, Role], axis: str) -> str | None:
    """Return the positions of hits along an axis; centimetres rather than numbers of cells."""
    heads = AXES[axis]
    found = [name for name in members if roles[name] is Role.POSITION and words(name)[-1] in heads]
    return min(found, key=lambda name: (heads.index(words(name)[-1]), len(name)), default=None)


def _choose_hits(
    table: Rows, hits: _Hits, arrays: Mapping[str, int], mip: float | None, rank: tuple[int, int, bool, int, str]
) -> Readout | None:
    """Return layers and shapes of hits, or nothing if they are not what their names promise.

    Args:
        table: Where they are.
        hits: Their branches.
        arrays: Names and sizes of arrays of energies, one of which may be their layers.
        mip: Energy of a MIP; ``None`` to look for it.
        rank: Of the readout.
    """
    names = [name for name in (hits.energy, hits.layer, hits.z, *hits.across) if name]
    _, first = next(iter(table.chunks([*names, *arrays])))
    try:
        (energies, *places), counts = together(*(first[name] for name in names))
    except ValueError:  # of other elements
        return None
    above = (energies > 0) & np.isfinite(energies)
    if not above.any():
        return None
    place = dict(zip(names[1:], places, strict=True))
    number, layers = _in_layers(table, hits, place)
    if mip is None:
        depth = place.get(hits.layer or "", place.get(hits.z or ""))
        mip = find_mip(energies, None if depth is None else _groups(counts, depth))
    where = f" in {number} layers" if number > 1 else ""
    edges = _edges(energies[above], mip)
    told = f"a MIP is {mip:.3g}" if mip else "no peak of a MIP; edges of the spectrum have the same energy between them"
    logger.info("%s: hits%s; %s", hits.energy, where, told)
    add = reduction("sum")
    sums = add(first[hits.energy])
    scales = {name: _scale(add(first[name]), sums) for name, size in arrays.items() if size >= number}
    name, scale = next(((name, scale) for name, scale in scales.items() if scale), ("", 1.0))
    layers = quote_branch(name) if name else layers
    start = START_MIPS * scale * mip if mip else None
    shapes = [*_in_depth(layers, arrays.get(name, number), start), *_of_hits(hits, edges)]
    return Readout(hits.energy, layers, tuple(shapes), hits.members | {name}, rank)


def _groups(counts: NDArray[np.int64], place: Array) -> NDArray[np.int64]:
    """Return a number for each event and layer that hits are in, shape [hits]."""
    _, layer = np.unique(place, return_inverse=True)
    event = np.arange(len(counts)).repeat(counts)
    return np.asarray(event * (int(layer.max(initial=0)) + 1) + layer, np.int64)


def _edges(energy: Array, mip: float | None) -> list[float]:
    """Return the inner edges of the spectrum of hit energies: in MIPs, or such that bins hold the same energy."""
    if mip is not None:
        return [factor * mip for factor in SPECTRUM_MIPS]
    ordered = np.sort(energy)
    shares = np.arange(1, len(SPECTRUM_MIPS) + 1) / (len(SPECTRUM_MIPS) + 1)
    running = np.cumsum(ordered)
    edges: list[float] = np.unique(ordered[np.searchsorted(running, shares * running[-1])]).tolist()
    return edges


def _in_layers(table: Rows, hits: _Hits, places: Mapping[str, Array]) -> tuple[int, str]:
    """Return the number of layers and an expression for their energies: the sum of all, if there is no telling.

    The whole file is searched for the largest number of a layer, because rare showers reach the last ones.

    Positions tell the layers if they are in planes; each has a layer as thick as the closest of them are apart.
    """
    energy = quote_branch(hits.energy)
    if hits.layer and np.isin(places[hits.layer], np.arange(_MAX_LAYERS)).all():
        number = 1 + max(int(ak.max(columns[hits.layer], initial=0)) for _, columns in table.chunks([hits.layer]))
        return number, f"layers({energy}, {quote_branch(hits.layer)}, {number})"
    planes = np.unique(places[hits.z]) if hits.z else np.zeros(1)
    if hits.z and len(planes) > 1 and np.isfinite(planes).all():
        thickness = np.diff(planes).min()
        number = 1 + round((planes[-1] - planes[0]) / thickness)
        low = planes[0] - thickness / 2
        if number <= _MAX_LAYERS:
            ends = f"{low:.6g}, {low + number * thickness:.6g}"
            return number, f"layers({energy}, {quote_branch(hits.z)}, {number}, {ends})"
    return 1, f"sum({energy})"


def _scale(layers: Array, hits: Array) -> float | None:
    """Return the factor from the energy of the hits to that of layers, if there is one; shape [events] each."""
    with np.errstate(all="ignore"):
        scale = layers.sum() / hits.sum()
        deviation = np.abs(layers - scale * hits).sum() / np.abs(layers).sum()
    return float(scale) if scale > 0 and deviation < _SAME else None


def _in_depth(layers: str, number: int, threshold: float | None = None) -> list[str]:
    """Return shapes of layers, as many as make sense for their number.

    Args:
        layers: Expression for their energies.
        number: Of the layers.
        threshold: Energy of three layers in a shower; without it the start is left out.
    """
    if number < _MIN_LAYERS:
        return []
    shapes = [f"depth({layers})", f"depth_rms({layers})", *(f"depth({layers}, {share})" for share in (0.1, 0.5, 0.9))]
    if number >= _MANY_LAYERS:
        shapes += [f"shower_start({layers}, {threshold:.3g})"] if threshold else []
        shapes += [f"share({layers}[{part}], {layers})" for part in (":5", "-5:", "-2:")]
    return shapes


def _of_hits(hits: _Hits, edges: Sequence[float]) -> list[str]:
    """Return shapes of hits: their width, their number, also per energy, the largest one, and their spectrum."""
    energy = quote_branch(hits.energy)
    return [
        *([f"lateral_rms({energy}, {', '.join(map(quote_branch, hits.across))})"] if hits.across else []),
        f"log1p(count({energy}))",
        f"share(count({energy}), {energy})",
        f"share(max({energy}), {energy})",
        f"spectrum({energy}, {', '.join(dict.fromkeys(f'{edge:.3g}' for edge in edges))})",
    ]
