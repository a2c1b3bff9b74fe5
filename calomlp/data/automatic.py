"""The automatic choice of features: shapes of the showers in hits and layers, where they are recognised.

Hits are a list of energies with, in the same collection, a list of layer numbers or of positions along z, such as
``hit_energy`` and ``hit_layer``, or ``Calorimeter.energy`` and ``Calorimeter.position.z``. Layers are an array of
energies with a fixed number of elements and a name such as ``layer_energy[30]``. If it holds what the hits add up to,
these are their layers; otherwise the hits are added up. The layers feed the anchor, the shapes say how the shower
looks, and other lists of the collection are covered by them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.expressions import quote_branch
from calomlp.data.names import BOOKKEEPING, ENERGY_LIKE, TRUTH_LIKE, looks_like_energy
from calomlp.data.reductions import reduction, together
from calomlp.data.rows import Rows
from calomlp.errors import InputError
from calomlp.units import listed

logger = logging.getLogger(__name__)

MIP_SHARE = 0.15
"""The energy that this share of the hits is below is taken for that of a minimum ionising particle (MIP).

Cells are read out from about half a MIP on, so that few hits are below one. For electrons, pions and muons of 2 to
80 GeV this is 0.8 to 1.0 MIP in the scintillator calorimeter of the simulation, and 0.6 to 1.2 of the mean MIP of the
three stacks in the silicon one. The most probable hit energy is a MIP for tracks only: in the dense core of an electron
shower it is several.
"""

START_MIPS = 6
"""Three layers with more than this hold a shower: a track leaves one MIP in each."""

SPECTRUM_MIPS = (1, 2, 4, 7, 12, 20, 40)
"""Inner edges of the spectrum of hit energies."""

_MIN_LAYERS = 3  # fewer have no shape
_MANY_LAYERS = 8  # fewer have no first five and last five
_MAX_LAYERS = 200  # more are numbers of something else
_SAME = 0.2  # relative deviation of layers from hits that noise and calibration may leave

_LAYERS = re.compile(r"lay|plane|slab|depth|profile", re.IGNORECASE)
_LAYER = re.compile(r"layer$|(^|[._i])lay$", re.IGNORECASE)
_X, _Y, _Z = (re.compile(rf"^(pos(ition)?[._]?)?{axis}$", re.IGNORECASE) for axis in "xyz")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Hits:
    """Branches of a collection of hits."""

    energy: str  # energies
    layer: str | None  # numbers of the layers
    z: str | None  # positions along the shower
    across: tuple[str, ...]  # positions x and y across it; empty if they are not there
    members: frozenset[str]  # all lists of the collection, and what may be the number of their elements


@dataclass(frozen=True)
class _Choice:
    """Features, and the branches that they stand for."""

    layers: str  # expression for the energies of the layers
    shapes: tuple[str, ...]  # expressions for the shapes
    branches: frozenset[str]  # what enters in no other way


def automatic(table: Rows, target: frozenset[str], reserved: frozenset[str] | set[str]) -> list[str]:
    """Choose features.

    What belongs to no hits and layers is a feature itself; a list enters as its sum and its number of elements, which
    empty events have, too. Branches that look like truth, or that only count events, are left out and named in the log.

    Args:
        table: An open file; its first events tell the number of layers and the energy of a MIP.
        target: Branches of the target.
        reserved: Branches that have another use.

    Returns:
        Expressions.

    Raises:
        InputError: If nothing is left to use.
    """
    truth = [name for name in table.columns if TRUTH_LIKE.search(name) or name in target]
    keys = {_last(name) for name in reserved}
    counters = [name for name in table.columns if BOOKKEEPING.search(name) or _last(name) in keys]
    counters = [name for name in counters if name not in truth]
    lengths = [f"n{name}" for name, column in table.columns.items() if column.jagged]  # count() says the same
    left_out = {*truth, *counters, *lengths, *reserved}
    usable = {name: column for name, column in table.columns.items() if name not in left_out}
    features, shown = list[str](), list[str]()
    for choice in _choices(table, usable):
        features += [choice.layers, *choice.shapes]
        short = f"p{len(shown)}" if "(" in choice.layers else choice.layers
        defined = choice.layers if short == choice.layers else f"{short} = {choice.layers}"
        shown.append(", ".join([defined, *(shape.replace(choice.layers, short) for shape in choice.shapes)]))
        usable = {name: column for name, column in usable.items() if name not in choice.branches}
    others = [text for column in usable.values() for text in _plain(column)]
    if not features and not others:
        reasons = {"looks like truth": truth, "counts events": counters}
        why = "".join(f"; {listed(names)} {reason}" for reason, names in reasons.items() if names)
        raise InputError(f"{table.source}: no numeric branch is left to be a feature: name some with --features{why}")
    logger.info("features: %s", ", ".join(shown + others))
    for reason, names in (("look like truth", truth), ("only count events", counters)):
        if names:
            logger.info("left out, because they %s: %s", reason, ", ".join(names))
    return features + others


def _last(name: str) -> str:
    """Return a name without its tree: the number of an event is the same in friends."""
    return name.rpartition(".")[2]


def _plain(column: Column) -> list[str]:
    name = quote_branch(column.name)
    return [f"{function}({name})" for function in ("sum", "count")] if column.jagged else [name]


def _choices(table: Rows, columns: Mapping[str, Column]) -> Iterator[_Choice]:
    """Yield what is chosen for hits, then for layers that belong to none."""
    lists = {name: column for name, column in columns.items() if column.jagged and table.entries}
    arrays = {name: column.shape[0] for name, column in columns.items() if _is_array(column)}
    for hits in _collections(lists):
        choice = _choose_hits(table, hits, arrays)
        if choice:
            arrays = {name: size for name, size in arrays.items() if name not in choice.branches}
            yield choice
    for name, size in arrays.items():
        if size >= _MIN_LAYERS and _LAYERS.search(name):  # crystals and towers have no depth
            layers = quote_branch(name)
            yield _Choice(layers, tuple(_in_depth(layers, size)), frozenset({name}))


def _is_array(column: Column) -> bool:
    return not column.jagged and len(column.shape) == 1 and looks_like_energy(column.name)


def _collections(lists: Mapping[str, Column]) -> Iterator[_Hits]:
    """Yield collections of hits: lists of energies and of layers or positions whose names begin alike."""
    free = [name for name, column in lists.items() if not column.nested and not column.shape]
    prefixes = {
        name[: end.end()] for name in free if looks_like_energy(name) for end in re.finditer(r"(?<=[^\W_])[._]", name)
    }
    for prefix in sorted(prefixes, key=lambda prefix: (-len(prefix), prefix)):
        members = {name.removeprefix(prefix): name for name in free if name.startswith(prefix)}
        places = [_shortest(members, pattern) for pattern in (_LAYER, _Z, _X, _Y)]
        energies = {short: name for short, name in members.items() if name not in places and looks_like_energy(name)}
        energy = _shortest(energies, ENERGY_LIKE) or _shortest(energies, re.compile(""))
        layer, z, x, y = places
        if energy and (layer or z):
            free = [name for name in free if not name.startswith(prefix)]
            covered = [name for name in lists if name.startswith(prefix)]
            number = f"n{prefix.rstrip('._')}"
            yield _Hits(energy, layer, z, (x, y) if x and y else (), frozenset([*covered, number]))


def _shortest(members: Mapping[str, str], pattern: re.Pattern[str]) -> str | None:
    """Return the name whose part after the prefix fits, the shortest of several."""
    return members.get(min((short for short in members if pattern.search(short)), key=len, default=""))


def _choose_hits(table: Rows, hits: _Hits, arrays: Mapping[str, int]) -> _Choice | None:
    """Return layers and shapes of hits, or nothing if they are not what their names promise.

    Args:
        table: Where they are.
        hits: Their branches.
        arrays: Names and sizes of arrays of energies, one of which may be their layers.
    """
    names = [name for name in (hits.energy, hits.layer, hits.z, *hits.across) if name]
    _, first = next(iter(table.chunks([*names, *arrays])))
    try:
        (energies, *places), _ = together(*(first[name] for name in names))
    except ValueError:  # of other elements
        return None
    above = energies[(energies > 0) & np.isfinite(energies)]
    if not len(above):
        return None
    number, layers = _in_layers(table, hits, dict(zip(names[1:], places, strict=True)))
    mip = float(np.quantile(above, MIP_SHARE))
    where = f" in {number} layers" if number > 1 else ""
    logger.info("%s: hits%s; %.0f %% are below %.3g, taken for a MIP", hits.energy, where, 100 * MIP_SHARE, mip)
    add = reduction("sum")
    sums = add(first[hits.energy])
    scales = {name: _scale(add(first[name]), sums) for name, size in arrays.items() if size >= number}
    name, scale = next(((name, scale) for name, scale in scales.items() if scale), ("", 1.0))
    layers = quote_branch(name) if name else layers
    shapes = [*_in_depth(layers, arrays.get(name, number), START_MIPS * scale * mip), *_of_hits(hits, mip)]
    return _Choice(layers, tuple(shapes), hits.members | {name})


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


def _of_hits(hits: _Hits, mip: float) -> list[str]:
    """Return shapes of hits: their width, their number, also per energy, the largest one, and their spectrum."""
    energy = quote_branch(hits.energy)
    edges = ", ".join(f"{factor * mip:.3g}" for factor in SPECTRUM_MIPS)
    return [
        *([f"lateral_rms({energy}, {', '.join(map(quote_branch, hits.across))})"] if hits.across else []),
        f"log1p(count({energy}))",
        f"share(count({energy}), {energy})",
        f"share(max({energy}), {energy})",
        f"spectrum({energy}, {edges})",
    ]
