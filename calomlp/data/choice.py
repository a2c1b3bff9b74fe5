"""The choice of features: those that were asked for, or else what the detector reads out, and nothing else.

Hits are a list of energies with, in the same collection, a list of layer numbers or of positions, such as
``hit_energy`` and ``hit_layer``, or ``Calorimeter.energy`` and ``Calorimeter.position.z``. Layers are an array of
energies with a fixed number of elements and a name such as ``layer_energy[30]``. If it holds what the hits add up to,
these are their layers; otherwise the hits are added up. The layers feed the anchor, shapes tell how the shower looks.

The same deposits enter once: of branches whose sums are proportional event by event, the one that is nearest to the
readout. Where the measured object is and how wide, and numbers of hits and cells, are for the network alone. All other
branches are left out with a reason. Names are recognised by :mod:`calomlp.data.names`.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.expressions import Expression, branch_name, quote_branch
from calomlp.data.features import Feature, FeatureSet, per_event
from calomlp.data.names import (
    AXES,
    BEAM_LINE,
    CELLS,
    LAYERED,
    OBJECTS,
    SECOND_HAND,
    Role,
    is_one_of,
    looks_like_energy,
    role_of,
    words,
)
from calomlp.data.operations import elements, reduction, together
from calomlp.data.rows import Rows
from calomlp.errors import InputError, UsageError, did_you_mean
from calomlp.quantiles import median_and_sigma_68
from calomlp.units import listed

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_SAME_DEPOSITS = 0.3  # ratio of two sums that varies by less than this share of what either varies is that of the same
_EXACT = 1e-3  # relative variation that rounding may leave between two copies
_TOGETHER = 64  # events of about the same energy
_MAX_COMPARED = 500  # readouts that are compared with each other
_FEWEST = 20  # events that tell whether two are the same
_MAX_ELECTRIC_CHARGE = 10
_NAMED = 12
_COVERED = "the features of its hits stand for it"

_FOR_NETWORK = (Role.POSITION, Role.LAYER, Role.TIME, Role.SHAPE, Role.COUNT)

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

_STEP = (
    0.1  # of the spectrum for a MIP: width of a bin in the logarithm of the energy; the peak of a MIP is some 0.5 wide
)
_SMOOTH = np.array([0.06, 0.24, 0.4, 0.24, 0.06])  # a Gaussian of one bin
_EFFECTIVE = 1 / float(np.sum(_SMOOTH**2))  # bins that a smoothed one stands for
_MIN_HITS = 500
_DEPTH, _SIGMAS = 0.15, 3.0  # a peak stands out by this share of its height, and by so many standard errors
_HALF_WIDTH = 1.2  # distance in the logarithm at which the peak of a MIP has fallen to its half
_MANY = 0.05
_MAX_STEPS = 5000  # distinct energies of an ADC
_GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread evenly
_NEAR = 6  # bins
_THRESHOLD = 3  # bins above the threshold of the readout, where cut noise makes a peak of its own


@dataclass(frozen=True)
class Choice:
    """Features, and why other branches are none.

    Attributes:
        features: Expressions.
        energies: Those of them that the anchor combines.
        left_out: By branch, the reason.
    """

    features: tuple[str, ...]
    energies: tuple[str, ...]
    left_out: Mapping[str, str]


def automatic(
    table: Rows,
    target: Expression | None,
    reserved: frozenset[str] | set[str],
    exclude: Sequence[str] = (),
    mip: float | None = None,
) -> Choice:
    """Choose features.

    Args:
        table: An open file; its first events tell the number of layers and the energy of a MIP.
        target: The true energy, if it is known.
        reserved: Branches that have another use.
        exclude: Patterns of the names of branches that are not to be taken.
        mip: Energy of a minimum ionising particle in the unit of the hits; ``None`` to look for it.

    Raises:
        InputError: If no energy is recognised.
        UsageError: If a pattern matches no branch.
    """
    left_out = _not_asked_for(table, target, reserved, exclude)
    roles = _roles(table, [name for name in table.columns if name not in left_out])
    found = readouts(table, roles, mip)
    if not found:
        roles |= {name: Role.ENERGY for name, role in roles.items() if role is Role.MATERIAL and _is_active(name)}
        found = readouts(table, roles, mip)
    if not found:
        raise InputError(_nothing_recognised(table, left_out, roles))
    kept, copies = _without_copies(table, target, found)
    beam_line = [item for item in kept if is_one_of(BEAM_LINE, item.branch)]
    anchored = [item for item in kept if item not in beam_line] or kept
    for_network, counts = _for_network(table, roles, kept)
    features = [text for item in kept for text in (item.energies, *item.shapes)] + list(map(quote_branch, for_network))
    read = frozenset().union(*(Expression.parse(text).branches for text in features))
    covered = frozenset().union(*(item.covers for item in kept))
    for name in table.columns:
        if name not in read and name not in left_out:
            left_out[name] = (
                copies.get(name) or counts.get(name) or (_COVERED if name in covered else _reason(roles[name]))
            )
    logger.info("features: %s", ", ".join([*map(_shown, kept, range(len(kept))), *for_network]))
    for reason, names in by_reason(left_out).items():
        logger.info("left out, %s: %s", reason, listed(names, _NAMED))
    return Choice(tuple(features), tuple(item.energies for item in anchored), left_out)


def by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the branches that are left out for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return reasons


def _not_asked_for(
    table: Rows, target: Expression | None, reserved: frozenset[str] | set[str], exclude: Sequence[str]
) -> dict[str, str]:
    """Return the branches that have another use or are excluded, with the reason."""
    keys = {_last(name) for name in reserved}
    left_out = {name: "the target" for name in (target.branches if target else ()) if name in table.columns}
    lengths = {f"n{name}": name for name, column in table.columns.items() if column.jagged}
    left_out |= {
        length: f"the number of elements of {name}" for length, name in lengths.items() if length in table.columns
    }
    left_out |= {name: "it has another use" for name in table.columns if name in reserved or _last(name) in keys}
    for pattern in exclude:
        names = [name for name in table.columns if fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(f"--exclude {pattern!r} is no branch: {did_you_mean(pattern, table.columns)}")
        left_out |= dict.fromkeys(names, "excluded")
    return left_out


def _last(name: str) -> str:
    """Return a name without its tree: the number of an event is the same in friends."""
    return name.rpartition(".")[2]


def _roles(table: Rows, names: Sequence[str]) -> dict[str, Role]:
    """Return what branches hold; whether a charge is electric is told by its numbers, which are few and whole."""
    flags = {name for name in names if np.dtype(table.columns[name].kind).kind == "b"}
    roles = {name: Role.BOOKKEEPING if name in flags else role_of(name) for name in names}
    charges = [name for name, role in roles.items() if role is Role.CHARGE]
    for _, first in table.chunks(charges) if charges and table.entries else ():
        for name in charges:
            values, _ = elements(first[name])
            if np.any(values % 1 != 0) or np.any(np.abs(values) > _MAX_ELECTRIC_CHARGE):
                roles[name] = Role.SIGNAL
        break
    return roles


def _is_active(name: str) -> bool:
    """Tell whether a material may be what is read out: a single block of a simulation is often called absorber."""
    return not is_one_of(frozenset({"dead", "passive", "edead", "epassive"}), name)


def _nothing_recognised(table: Rows, left_out: Mapping[str, str], roles: Mapping[str, Role]) -> str:
    reasons = by_reason({**left_out, **{name: _reason(role) for name, role in roles.items()}})
    why = "".join(f"; {reason}: {listed(names)}" for reason, names in reasons.items())
    return f"{table.source}: no branch is recognised as an energy: name the features with --features{why}"


def _reason(role: Role) -> str:
    if role in _FOR_NETWORK:
        return f"{role.value}, but not of what is measured"
    return "there is an energy beside it" if role is Role.TRANSVERSE else role.value


def _shown(readout: ReadoutBranches, number: int) -> str:
    """Return the features of a readout with a short name for an expression that comes again and again."""
    short = f"p{number}" if "(" in readout.energies and readout.shapes else readout.energies
    defined = readout.energies if short == readout.energies else f"{short} = {readout.energies}"
    return ", ".join([defined, *(shape.replace(readout.energies, short) for shape in readout.shapes)])


def _without_copies(
    table: Rows, target: Expression | None, found: Sequence[ReadoutBranches]
) -> tuple[list[ReadoutBranches], dict[str, str]]:
    """Return the readouts of different deposits in their order, and of what the others are copies.

    Two of the same deposits, such as layers with and without quenching, or hits and their contributions, have sums
    whose ratio varies by less than :data:`_SAME_DEPOSITS` of what either varies among events of about the same energy.
    """
    if len(found) < 2 or len(found) > _MAX_COMPARED or not table.entries:
        return list(found), {}
    _, first = next(iter(table.chunks({item.branch for item in found} | (target.branches if target else set()))))
    add = reduction("sum")
    with np.errstate(all="ignore"):
        sums = {item.branch: np.log(np.asarray(add(first[item.branch]), np.float64)) for item in found}
        truth = np.log(np.asarray(add(target(first)), np.float64)) if target else None
    distinct: list[ReadoutBranches] = []
    copies: dict[str, str] = {}
    for item in sorted(found, key=lambda item: item.rank):
        own = sums[item.branch]
        same = next((other for other in distinct if _is_copy(own, sums[other.branch], truth)), None)
        if same is None:
            distinct.append(item)
        else:
            copies |= dict.fromkeys(item.covers, f"the same deposits as {same.branch}")
    return [item for item in found if item in distinct], copies


def _is_copy(one: Array, other: Array, truth: Array | None) -> bool:
    """Tell whether two logarithms of energies are those of the same deposits, shape [events] each."""
    good = np.isfinite(one) & np.isfinite(other) & (True if truth is None else np.isfinite(truth))
    if np.count_nonzero(good) < max(_FEWEST, len(good) / 2):
        return False
    one, other = one[good], other[good]
    if truth is None:
        return _variation(one - other, one) < _EXACT
    truth = truth[good]
    between = _variation(one - other, truth)
    return between < max(_EXACT, _SAME_DEPOSITS * min(_variation(one - truth, truth), _variation(other - truth, truth)))


def _variation(values: Array, truth: Array) -> float:
    """Return half the width of the middle 68 % of values among events of about the same true energy."""
    order = np.argsort(truth, kind="stable")
    size = min(_TOGETHER, len(order))
    blocks = values[order][: len(order) // size * size].reshape(-1, size)
    return float(np.median(median_and_sigma_68(blocks)[1]))


def _for_network(
    table: Rows, roles: Mapping[str, Role], kept: Sequence[ReadoutBranches]
) -> tuple[list[str], dict[str, str]]:
    """Return single numbers that say where the measured object is, how wide, and of how many hits and cells.

    Returns:
        Their branches; and others with the reason why these are none.
    """
    named = frozenset(words(item.branch)[0] for item in kept)
    lists = [item.branch for item in kept if table.columns[item.branch].jagged]
    possible = [
        name
        for name, role in roles.items()
        if role in _FOR_NETWORK and table.columns[name].is_number
        if _is_of_the_object(name, role, named)
    ]
    if not possible or not table.entries:
        return possible, {}
    _, first = next(iter(table.chunks({*possible, *lists})))
    counts = {name: elements(first[name])[1] for name in lists}
    left_out = {}
    for name in possible:
        if not np.isfinite(np.asarray(first[name], np.float64)).all():
            left_out[name] = "not always finite"
        for of, count in counts.items():
            if np.array_equal(first[name], count):
                left_out[name] = f"the number of elements of {of}"
    return [name for name in possible if name not in left_out], left_out


def _is_of_the_object(name: str, role: Role, readouts: frozenset[str]) -> bool:
    """Tell whether a number belongs to what is measured and not to a jet, a vertex or a second particle."""
    before = frozenset(words(name)[:-1])
    if role is Role.COUNT:
        return True
    return bool(before & (OBJECTS | readouts)) if before or role is Role.TIME else True


@dataclass(frozen=True)
class ReadoutBranches:
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


def readouts(table: Rows, roles: Mapping[str, Role], mip: float | None) -> list[ReadoutBranches]:
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
    detectors: list[ReadoutBranches] = []
    for hits in _collections(lists, roles):
        readout = _choose_hits(table, hits, arrays, mip, _rank(0, roles[hits.energy], hits.energy))
        if readout:
            arrays = {name: size for name, size in arrays.items() if name not in readout.covers}
            detectors.append(readout)
    covered = frozenset().union(*(readout.covers for readout in detectors))
    for name, column in energies.items():
        if name not in covered and not (column.jagged and roles[name] is Role.TRANSVERSE):  # of jets, leptons
            detectors.append(_plain(name, column, roles[name]))
    if any(roles[item.branch] is not Role.TRANSVERSE for item in detectors):
        detectors = [item for item in detectors if roles[item.branch] is not Role.TRANSVERSE]
    return detectors


def _rank(coarse: int, role: Role, name: str) -> tuple[int, int, bool, int, str]:
    return coarse, ENERGIES.index(role), is_one_of(SECOND_HAND, name), len(name), name


def _plain(name: str, column: Column, role: Role) -> ReadoutBranches:
    """Return what is made of energies that are no hits: arrays, lists, and single numbers."""
    text, cells = quote_branch(name), is_one_of(CELLS, name)
    if column.jagged:
        return ReadoutBranches(name, f"sum({text})", (f"count({text})",), frozenset({name}), _rank(3, role, name))
    if not column.shape:
        return ReadoutBranches(name, text, (), frozenset({name}), _rank(5, role, name))
    layered = len(column.shape) == 1 and is_one_of(LAYERED, name) and not cells
    shapes = tuple(_in_depth(text, column.shape[0])) if layered else ()
    coarse = 1 if cells else 2 if layered else 4
    return ReadoutBranches(name, text, shapes, frozenset({name}), _rank(coarse, role, name))


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
    on_axis = [name for name in members if roles[name] is Role.POSITION and words(name)[-1] in heads]
    return min(on_axis, key=lambda name: (heads.index(words(name)[-1]), len(name)), default=None)


def _choose_hits(
    table: Rows, hits: _Hits, arrays: Mapping[str, int], mip: float | None, rank: tuple[int, int, bool, int, str]
) -> ReadoutBranches | None:
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
    sentence = (
        f"a MIP is {mip:.3g}" if mip else "no peak of a MIP; edges of the spectrum have the same energy between them"
    )
    logger.info("%s: hits%s; %s", hits.energy, where, sentence)
    add = reduction("sum")
    sums = add(first[hits.energy])
    scales = {name: _scale(add(first[name]), sums) for name, size in arrays.items() if size >= number}
    name, scale = next(((name, scale) for name, scale in scales.items() if scale), ("", 1.0))
    layers = quote_branch(name) if name else layers
    start = START_MIPS * scale * mip if mip else None
    shapes = [*_in_depth(layers, arrays.get(name, number), start), *_of_hits(hits, edges)]
    return ReadoutBranches(hits.energy, layers, tuple(shapes), hits.members | {name}, rank)


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


def find_mip(energy: Array, group: NDArray[np.int64] | None = None) -> float | None:
    """Return the most probable energy that a minimum ionising particle leaves in a cell.

    Hits that are alone in their layer are those of single particles: the track of a hadron before its shower, and the
    remains behind it. The highest peak in the spectrum of these, if it is narrow, else the only one of all hits above
    the threshold of the readout, is that of a MIP. Below lie neutrons, photons and corners of cells, above the dense
    core of a shower.

    Args:
        energy: Of the hits, in any unit, shape [hits].
        group: A number that is the same for all hits in one layer of one event, shape [hits]; ``None`` if layers are
            not known.

    Returns:
        In the unit of the hits; ``None`` if there is no such peak.
    """
    good = np.isfinite(energy) & (energy > 0)
    energy = _smeared(energy) if good.any() else energy
    if group is not None:
        _, place, size = np.unique(group, return_inverse=True, return_counts=True)
        if peak := _highest_peak(energy[good & (size[place] == 1)]):
            return peak
    return _only_peak(energy[good])


def _smeared(energy: Array) -> Array:
    """Return energies with the steps of an ADC evened out, which would make a comb of any spectrum."""
    values = np.unique(energy[: 100 * _MAX_STEPS])
    if len(values) > _MAX_STEPS or len(values) < 2:
        return energy
    places = np.arange(len(energy)) * _GOLDEN % 1 - 0.5
    return np.asarray(energy + np.diff(values).min() * places)


def _highest_peak(energy: Array) -> float | None:
    """Return the energy at the highest peak of a spectrum in the logarithm, if it is as narrow as that of a MIP."""
    if len(energy) < _MIN_HITS:
        return None
    centres, density, error = _spectrum(energy, per_energy=False)
    start = _above_threshold(density)
    highest = start + int(np.argmax(density[start:]))
    plateau = np.flatnonzero(density[start:] >= density[highest] - 2 * error[highest])
    peak = start + int(plateau[0])  # what is alone leaves no more than a MIP, whatever chance adds behind it
    if not _holds_many(peak, density):
        return None
    for side in (-1, 1):
        low = np.flatnonzero(density[peak::side] < density[peak] / 2)
        if (len(low) and low[0] * _STEP > _HALF_WIDTH) or not _stands_out(density, error, peak, side):
            return None
    return _at(peak, centres, density)


def _only_peak(energy: Array) -> float | None:
    """Return the energy at the one peak of a spectrum in the energy, in which a bulk above the MIP hides nothing."""
    if len(energy) < _MIN_HITS:
        return None
    centres, density, error = _spectrum(energy, per_energy=True)
    inner = np.arange(_above_threshold(density), len(density) - 1)
    peaks = inner[(density[inner] >= density[inner - 1]) & (density[inner] > density[inner + 1])]
    hits = density * np.exp(centres)
    single = [
        peak
        for peak in peaks.tolist()
        if _holds_many(peak, hits)
        and all(_is_near(density, peak, side) and _stands_out(density, error, peak, side) for side in (-1, 1))
    ]
    return _at(single[0], centres, density) if len(single) == 1 else None  # several are those of photo-electrons


def _spectrum(energy: Array, *, per_energy: bool) -> tuple[Array, Array, Array]:
    """Return centres of bins in the logarithm, the smoothed density of hits, and its error, shape [bins] each."""
    logarithm = np.log(energy)
    low, high = np.quantile(logarithm, [0.0005, 0.9995])
    n_bins = max(int((high - low) / _STEP) + 1, _THRESHOLD + 5)
    counts, edges = np.histogram(logarithm, n_bins, (low, low + n_bins * _STEP))
    centres = (edges[1:] + edges[:-1]) / 2
    weight = np.exp(centres[0] - centres) if per_energy else np.ones(n_bins)
    density = np.convolve(counts * weight, _SMOOTH, "same")
    error = np.sqrt(np.convolve(np.maximum(counts, 1) * weight**2, _SMOOTH, "same") / _EFFECTIVE)
    return centres, density, error


def _above_threshold(density: Array) -> int:
    """Return the first bin behind what noise and the tail of a falling spectrum pile up at the threshold."""
    bin_ = _THRESHOLD
    if density[:_THRESHOLD].max() > density[_THRESHOLD]:
        while bin_ < len(density) - 2 and density[bin_ + 1] <= density[bin_]:
            bin_ += 1
    return bin_


def _at(peak: int, centres: Array, density: Array) -> float:
    near = slice(max(peak - 1, 0), peak + 2)
    return float(np.exp(np.average(centres[near], weights=density[near])))


def _holds_many(peak: int, hits: Array) -> bool:
    """Tell whether a good part of all hits lies at a peak and behind it, which is not so in the tail of the noise."""
    return bool(hits[peak : peak + round(_HALF_WIDTH / _STEP / 2)].sum() > _MANY * hits.sum())


def _is_near(density: Array, peak: int, side: int) -> bool:
    """Tell whether a spectrum begins to fall close to a peak, which it does not where a plateau ends."""
    return bool((density[peak::side][: _NEAR + 1] < (1 - _DEPTH) * density[peak]).any())


def _stands_out(density: Array, error: Array, peak: int, side: int) -> bool:
    """Tell whether a spectrum falls on one side of a peak before it rises above it."""
    beyond = density[peak::side]
    higher = np.flatnonzero(beyond > beyond[0] + 2 * error[peak])
    valley = beyond[: higher[0] if len(higher) else None]
    lowest = int(np.argmin(valley))
    drop = beyond[0] - valley[lowest]
    return bool(drop > _DEPTH * beyond[0] and drop > _SIGMAS * np.hypot(error[peak], error[peak + side * lowest]))


_LOOK = 1000
"""Events that the shapes of features are read off."""


@dataclass(frozen=True)
class Wanted:
    """Wishes of the user about the features.

    Attributes:
        features: Expressions; empty for the automatic choice.
        also: Expressions that are added to either.
        exclude: Patterns of names of branches that are not chosen automatically.
        energies: Expressions that are energies, which the anchor combines; empty for those that look like it.
        mip: Energy of a minimum ionising particle, in the unit of the hits; ``None`` to look for it.
    """

    features: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    energies: tuple[str, ...] = ()
    mip: float | None = None


def choose(
    table: Rows, target: Expression, wanted: Wanted, reserved: frozenset[str] | set[str] = frozenset()
) -> tuple[FeatureSet, dict[str, str]]:
    """Decide on the features: those that were asked for, or else the automatic choice.

    Args:
        table: An open file; the features' shapes are read off its first events.
        target: The target, which must not be a feature.
        wanted: What was asked for.
        reserved: Branches that have another use, and are no features unless they are asked for.

    Returns:
        The features, and the branches that an automatic choice left out, with the reason.

    Raises:
        InputError: If a branch is not there, or nothing is left to use.
        UsageError: If an expression is not in the feature language.
    """
    if wanted.features and (wanted.exclude or wanted.mip is not None):
        raise UsageError("--exclude and --mip go with the automatic choice of features: leave --features out")
    chosen = None if wanted.features else automatic(table, target, reserved, wanted.exclude, wanted.mip)
    texts = [*(chosen.features if chosen else wanted.features), *wanted.also, *wanted.energies]
    expressions = [Expression.parse(text) for text in dict.fromkeys(texts)]
    for expression in expressions:
        if not expression.branches:
            raise UsageError(f"feature {expression.text!r} reads no branch")
        table.require(expression.branches)
        if expression.branches & target.branches:
            raise UsageError(f"feature {expression.text!r} reads the target {target.text!r}: leave it out")
    named = wanted.energies or (chosen.energies if chosen else ())
    asked = () if wanted.energies else wanted.also if chosen else texts
    flags = [item.text in named or (item.text in asked and is_energy(item.text)) for item in expressions]
    if not any(flags):
        logger.warning("no feature looks like an energy, so the anchor combines them all; name them with --energies")
        flags = [True] * len(expressions)
    shapes = _shapes(table, expressions)
    features = FeatureSet(
        Feature(expression.text, shape, energy)
        for expression, shape, energy in zip(expressions, shapes, flags, strict=True)
    )
    read = features.branches
    left_out = chosen.left_out if chosen else {}
    return features, {name: reason for name, reason in left_out.items() if name not in read}


def is_energy(text: str) -> bool:
    """Tell whether an expression looks like an energy: an energy-like branch, or sums and multiples of such."""
    return _is_energy(ast.parse(text.strip(), mode="eval").body)


def _is_energy(node: ast.expr) -> bool:
    name = branch_name(node)
    if name is not None:
        return looks_like_energy(name)
    match node:
        case ast.Subscript():
            return _is_energy(node.value)
        case ast.Call(func=ast.Name(id="sum" | "layers"), args=[argument, *_]):
            return _is_energy(argument)
        case ast.BinOp(op=ast.Add()):
            return _is_energy(node.left) and _is_energy(node.right)
        case ast.BinOp(op=ast.Sub()):  # of a pedestal, say
            return _is_energy(node.left)
        case ast.BinOp(op=ast.Mult() | ast.Div(), right=ast.Constant()):
            return _is_energy(node.left)
        case ast.BinOp(op=ast.Mult(), left=ast.Constant()):
            return _is_energy(node.right)
    return False


def _shapes(table: Rows, expressions: Sequence[Expression]) -> list[tuple[int, ...]]:
    names = frozenset().union(*(expression.branches for expression in expressions))
    for _, chunk in table.chunks(names):
        branches = {name: values[:_LOOK] for name, values in chunk.items()}
        events = len(next(iter(branches.values())))
        memo = dict[str, Any]()
        return [per_event(expression, branches, events, memo).shape[1:] for expression in expressions]
    raise InputError(f"{table.source}: has no events")
