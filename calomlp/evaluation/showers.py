"""Showers of a data set: mean profiles in depth and around the axis, from one pass over the events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from calomlp.data.reader import Column, Table, open_table
from calomlp.data.record import FileRecord
from calomlp.data.sample import describe, remember
from calomlp.data.sources import Source
from calomlp.data.writer import PROVENANCE_KEY
from calomlp.errors import InputError
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress

ENERGY, NOMINAL, LAYERS, PARTICLE = "true_energy", "true_nominal_energy", "layer_energy", "pdg_id"
HITS = ("hit_energy", "hit_layer", "hit_x", "hit_y")
AXIS = ("true_x", "true_y", "true_theta", "true_phi")
"""Branches, as calomlp simulate writes them: energies in GeV, places in cm, directions in rad; layers count from 0."""

MAX_ENERGIES = 12
"""Up to this many distinct true energies have a profile each, more are put into :data:`ENERGY_BINS` bins."""

ENERGY_BINS = 5

RADII: NDArray[np.float64] = np.geomspace(0.01, 100, 121)
"""Radii at which containment is measured, in Moliere radii or in cm."""

_HADRONS = (211, 2212)
_BLOCK = 8192  # events whose containment is in memory at a time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """A quantity at several places of a shower, for every group of energies.

    Attributes:
        events: Number of showers, shape [energies].
        mean: Mean over showers, shape [energies, places].
        rms: Standard deviation from shower to shower, shape [energies, places]; NaN for a single shower.
    """

    events: NDArray[np.int64]
    mean: Array
    rms: Array

    @property
    def error(self) -> Array:
        """Standard error of the mean, shape [energies, places]."""
        return np.asarray(self.rms / np.sqrt(self.events)[:, None])


@dataclass(frozen=True)
class ShowerProfiles:
    """Mean showers of a data set.

    Attributes:
        energy_low: Lower edges of the groups of energies [GeV], shape [energies], in ascending order.
        energy_high: Upper edges [GeV], shape [energies]; equal to the lower ones for single energies.
        pdg_ids: The particles that are in the data set; empty if it does not say.
        events: Number of events.
        depth: Boundaries of the layers in units of ``depth_unit``, shape [layers + 1].
        depth_unit: ``X0``, ``lambda_I``, or ``layer`` where the depths are not known.
        longitudinal: Energy of a layer over true energy and per unit of depth, places are layers.
        radii: Distances from the axis in units of ``radius_unit``, shape [radii].
        radius_unit: ``R_M`` or, where the Moliere radius of the layers is not known, ``cm``.
        radial: Share of the energy of all hits that is within the radii; ``None`` if hits were not asked for.
        true_axis: Whether the axis is that of the particle; otherwise it goes through the centre of gravity of the
            hits.
    """

    energy_low: Array
    energy_high: Array
    pdg_ids: tuple[int, ...]
    events: int
    depth: Array
    depth_unit: str
    longitudinal: Profile
    radii: Array
    radius_unit: str
    radial: Profile | None
    true_axis: bool

    @property
    def layer_depth(self) -> Array:
        """Depth of the middle of every layer, shape [layers]."""
        return np.asarray((self.depth[:-1] + self.depth[1:]) / 2)

    @property
    def mean_depth(self) -> Array:
        """Centre of gravity of the mean profiles, shape [energies]; NaN where nothing was measured."""
        weight = self.longitudinal.mean * np.diff(self.depth)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(weight @ self.layer_depth / weight.sum(axis=1))

    def radius_of(self, share: float) -> Array:
        """Return the radius that holds this share of the energy in the mean, shape [energies]; NaN beyond all radii."""
        if self.radial is None:
            return np.full(len(self.energy_low), np.nan)
        radii = [0, *self.radii]
        return np.array([np.interp(share, [0, *mean], radii, right=np.nan) for mean in self.radial.mean])


_Layer = tuple[float, float, float, float]
"""A readout layer: its thickness in X0, in lambda_I and in cm, and its Moliere radius [cm]."""


class _Stack:
    """Where the readout layers lie.

    Attributes:
        x0: Boundaries [X0], shape [layers + 1].
        interaction: Boundaries [lambda_I], shape [layers + 1].
        centre: Depth of the middle of every layer [cm], shape [layers].
        moliere_radius: Of every layer [cm], shape [layers].
    """

    def __init__(self, layers: Sequence[_Layer]) -> None:
        *thickness, self.moliere_radius = np.array(layers).T
        self.x0, self.interaction, cm = (np.concatenate([[0.0], np.cumsum(unit)]) for unit in thickness)
        self.centre = (cm[:-1] + cm[1:]) / 2


@dataclass(frozen=True)
class _Plan:
    """What is known of the files before their showers are read."""

    events: int
    n_layers: int
    stack: _Stack | None
    low: Array
    high: Array
    true_axis: bool

    def group(self, energy: Array) -> NDArray[np.intp]:
        """Return the group of every energy, shape [events]."""
        return np.searchsorted(self.low, energy, side="right") - 1


class _Moments:
    """Sums over showers, in double precision, from which a profile follows."""

    def __init__(self, energies: int, places: int) -> None:
        self._events = np.zeros(energies, dtype=np.int64)
        self._sum = np.zeros((energies, places))
        self._squares = np.zeros((energies, places))

    def fill(self, group: NDArray[np.intp], values: Array) -> None:
        """Add showers: their groups of energy, shape [events], and values, shape [events, places]."""
        for i in np.unique(group):
            chosen = values[group == i]
            self._events[i] += len(chosen)
            self._sum[i] += chosen.sum(axis=0)
            self._squares[i] += np.square(chosen).sum(axis=0)

    def profile(self, unit: Array | float = 1.0) -> Profile:
        """Return the profile of the values over a unit, shape [places]."""
        n = self._events[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):  # a group without showers has no mean, one has no spread
            mean = self._sum / n
            variance = np.maximum(self._squares / n - mean**2, 0) * n / (n - 1)
            return Profile(self._events, mean / unit, np.sqrt(variance) / unit)


def has_hits(sources: Sequence[Source]) -> bool:
    """Whether every file has the branches of hits."""
    for source in sources:
        with open_table(source) as table:
            if not set(HITS) <= table.columns.keys():
                return False
    return True


def shower_profiles(
    sources: Sequence[Source], *, radial: bool, progress: Progress, interrupt: Interrupt
) -> ShowerProfiles:
    """Average the showers of files, chunk by chunk.

    The true energies are read before, to find out into which groups they fall: the nominal ones of a beam with a
    momentum spread.

    Args:
        sources: The files.
        radial: Whether to read the hits.
        progress: Told of every chunk.
        interrupt: Looked at after every chunk.

    Raises:
        InputError: If a file lacks a branch, cannot be read, or does not go with the others.
    """
    plan = _plan(sources, radial=radial, interrupt=interrupt)
    energies = len(plan.low)
    along, around = _Moments(energies, plan.n_layers), _Moments(energies, len(RADII))
    pdg_ids: set[int] = set()
    progress.start("reading showers", plan.events, "events")
    names = {ENERGY, LAYERS} | ({*HITS, *(AXIS if plan.true_axis else ())} if radial else set())
    for source in sources:
        with open_table(source) as table:
            nominal = _nominal(table)
            for branches in _chunks(table, names | {nominal} | ({PARTICLE} & _numbers(table))):
                energy = branches[ENERGY].astype(np.float64)
                group = plan.group(branches[nominal].astype(np.float64))
                along.fill(group, branches[LAYERS] / energy[:, None])
                if radial:
                    _check_hits(table, branches, plan.n_layers)
                    _fill_containment(around, group, branches, plan)
                pdg_ids.update(np.unique(branches.get(PARTICLE, ())).astype(int).tolist())
                progress.advance(len(energy))
                interrupt.check()
    progress.finish()
    hadrons = bool(pdg_ids) and all(abs(pdg_id) in _HADRONS for pdg_id in pdg_ids)
    depth: Array = np.arange(plan.n_layers + 1, dtype=np.float64) - 0.5
    depth_unit = "layer"
    if plan.stack:
        depth, depth_unit = (plan.stack.interaction, "lambda_I") if hadrons else (plan.stack.x0, "X0")
    return ShowerProfiles(
        plan.low,
        plan.high,
        tuple(sorted(pdg_ids)),
        plan.events,
        depth,
        depth_unit,
        along.profile(np.diff(depth)),
        RADII,
        "R_M" if plan.stack else "cm",
        around.profile() if radial else None,
        plan.true_axis,
    )


def _plan(sources: Sequence[Source], *, radial: bool, interrupt: Interrupt) -> _Plan:
    """Open and check every file, and find the groups of energies."""
    records: list[FileRecord] = []
    distinct: Array = np.empty(0)
    true_axis = True
    layouts = []
    for source in sources:
        with open_table(source) as table:
            n_layers = _check(table, radial=radial)
            remember(records, describe(table))
            layouts.append((n_layers, _layers(table.source, n_layers)))
            if layouts[-1] != layouts[0]:
                raise InputError(f"{table.source}: has other layers than {sources[0]}: draw them apart")
            true_axis = true_axis and bool(layouts[0][1]) and set(AXIS) <= _numbers(table)
            nominal = _nominal(table)
            for branches in _chunks(table, {nominal}):
                distinct = np.unique(np.concatenate([distinct, branches[nominal]]))
                if len(distinct) > MAX_ENERGIES:  # the range is all that matters then
                    distinct = np.concatenate([distinct[:MAX_ENERGIES], distinct[-1:]])
                interrupt.check()
    if not len(distinct):
        raise InputError(f"{', '.join(record.path for record in records)}: no events")
    n_layers, layers = layouts[0]
    low, high = distinct, distinct
    if len(distinct) > MAX_ENERGIES:
        edges = np.geomspace(distinct[0], distinct[-1], ENERGY_BINS + 1)
        low, high = edges[:-1], edges[1:]
    events = sum(record.events for record in records)
    return _Plan(events, n_layers, _Stack(layers) if layers else None, low, high, true_axis)


def _check(table: Table, *, radial: bool) -> int:
    """Return the number of layers; refuse a file that lacks a branch or has it in another shape."""
    wanted = {ENERGY: "a number", LAYERS: "a fixed array"} | dict.fromkeys(HITS if radial else (), "a list")
    table.require(wanted)
    for name, shape in wanted.items():
        found = _shape(table.columns[name])
        if found != shape:
            raise InputError(f"{table.source}: branch {name!r} is {found} in each event, but {shape} is wanted")
    return table.columns[LAYERS].shape[0]


def _nominal(table: Table) -> str:
    """Return the branch of the energy that was asked for, which groups the events."""
    return NOMINAL if NOMINAL in _numbers(table) else ENERGY


def _numbers(table: Table) -> set[str]:
    """Return the branches that are one number in each event."""
    return {name for name, column in table.columns.items() if _shape(column) == "a number"}


def _shape(column: Column) -> str:
    if column.jagged:
        return "a list of arrays" if column.shape else "a list"
    return ("a number", "a fixed array")[len(column.shape)] if len(column.shape) < 2 else "an array of arrays"


def _layers(source: Source, n_layers: int) -> tuple[_Layer, ...]:
    """Return the layers that the provenance of a file describes; none for a file without one."""
    with uproot.open(source.path) as file:
        try:
            made = json.loads(str(file[PROVENANCE_KEY]))["simulation"]
            groups = made["constants"]["sections"]
            settings = made["detector"].get("layers") or [{}] * len(groups)
            layers = [
                layer
                for group, own in zip(groups, settings, strict=True)
                for layer in [_layer(group, own.get("layers_per_readout", 1))] * group["n_readouts"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            return ()
    if len(layers) != n_layers:
        raise InputError(f"{source}: the provenance describes {len(layers)} layers, {LAYERS!r} has {n_layers}")
    return tuple(layers)


def _layer(group: Mapping[str, Any], layers_per_readout: int) -> _Layer:
    x0, interaction = (layers_per_readout * group[f"depth_per_layer_{unit}"] for unit in ("x0", "lambda"))
    return x0, interaction, x0 * group["radiation_length_cm"], group["moliere_radius_cm"]


def _chunks(table: Table, names: set[str]) -> Iterator[dict[str, Any]]:
    """Read branches in chunks; refuse numbers that are not finite, and true energies that are not above zero."""
    for start, branches in table.chunks(names):
        for name, values in branches.items():
            flat = _flat(values)
            floor = 0.0 if name in (ENERGY, NOMINAL) else -np.inf
            bad = np.count_nonzero(~(np.isfinite(flat) & (flat > floor)))
            if bad:
                wanted = "finite" if np.isinf(floor) else "finite and above zero"
                where = f"events {start} to {start + len(values) - 1}"
                raise InputError(f"{table.source}: branch {name!r} is not {wanted} in {bad} places of {where}")
        yield branches


def _check_hits(table: Table, branches: Mapping[str, Any], n_layers: int) -> None:
    """Refuse hits whose branches do not go together, or that are in no layer."""
    first, *others = (ak.num(branches[name]) for name in HITS)
    for name, hits in zip(HITS[1:], others, strict=True):
        if ak.any(hits != first):
            raise InputError(f"{table.source}: branch {name!r} has not as many elements as {HITS[0]!r} in every event")
    layer = _flat(branches[HITS[1]])
    if len(layer) and not 0 <= layer.min() <= layer.max() < n_layers:
        raise InputError(
            f"{table.source}: branch {HITS[1]!r} goes from {layer.min():g} to {layer.max():g}, "
            f"but {LAYERS!r} has layers 0 to {n_layers - 1}"
        )


def _flat(values: Any) -> Array:
    """Return all numbers of a branch in double precision, shape [numbers]."""
    flat = ak.to_numpy(ak.flatten(values, axis=None)) if isinstance(values, ak.Array) else np.ravel(values)
    return np.asarray(flat, dtype=np.float64)


def _fill_containment(moments: _Moments, group: NDArray[np.intp], branches: Mapping[str, Any], plan: _Plan) -> None:
    """Add a chunk in blocks, because the radii of an event may take more memory than the event."""
    for first in range(0, len(group), _BLOCK):
        rows = slice(first, first + _BLOCK)
        block = {name: branches[name][rows] for name in (*HITS, *AXIS) if name in branches}
        filled, contained = _containment(block, plan)
        moments.fill(group[rows][filled], contained[filled])


def _containment(block: Mapping[str, Any], plan: _Plan) -> tuple[NDArray[np.bool_], Array]:
    """Return which events have energy in hits, shape [events], and its share within radii, shape [events, radii]."""
    energy, place, x, y = (_flat(block[name]) for name in HITS)  # [hits]
    layer = place.astype(np.intp)
    hits = ak.to_numpy(ak.num(block[HITS[0]]))
    n = len(hits)
    event = np.repeat(np.arange(n), hits)
    total = np.bincount(event, energy, n)
    filled = total > 0
    weight = energy / np.where(filled, total, 1)[event]
    if plan.stack and plan.true_axis:
        track = [_flat(block[name])[event] for name in AXIS]
        radius = _distance(x, y, plan.stack.centre[layer], *track)
    else:
        radius = np.hypot(*(x_ - np.bincount(event, weight * x_, n)[event] for x_ in (x, y)))
    if plan.stack:
        radius /= plan.stack.moliere_radius[layer]
    width = len(RADII) + 1
    ring = np.searchsorted(RADII, radius)  # the first radius that holds the hit
    rings = np.bincount(event * width + ring, weight, n * width).reshape(n, width)
    return filled, rings[:, :-1].cumsum(axis=1)


def _distance(x: Array, y: Array, depth: Array, x_0: Array, y_0: Array, theta: Array, phi: Array) -> Array:
    """Return the distance of every hit from the track of its particle [cm], shape [hits].

    The track leaves (x_0, y_0) at the front at an angle theta to the beam; the distance is at a right angle to it.
    """
    across_x = x - x_0 - depth * np.tan(theta) * np.cos(phi)
    across_y = y - y_0 - depth * np.tan(theta) * np.sin(phi)
    along = np.sin(theta) * (across_x * np.cos(phi) + across_y * np.sin(phi))
    return np.sqrt(np.maximum(across_x**2 + across_y**2 - along**2, 0))
