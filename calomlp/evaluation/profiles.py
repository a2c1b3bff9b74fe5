"""Showers of a data set: mean profiles in depth and around the axis, and single events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.dataset import DataFile, Dataset
from calomlp.data.root import OpenTree, open_table
from calomlp.data.rows import Rows
from calomlp.data.sample import plain_recipe
from calomlp.data.sources import Source
from calomlp.data.writer import read_origin
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.options import SIMULATION
from calomlp.run import Run
from calomlp.units import parse_quantity

ENERGY, NOMINAL, LAYERS, PARTICLE = "true_energy", "true_nominal_energy", "layer_energy", "pdg_id"
HITS = ("hit_energy", "hit_layer", "hit_x", "hit_y")
AXIS = ("true_x", "true_y", "true_theta", "true_phi")
"""Branches, as calomlp simulate writes them: energies in GeV, places in cm, directions in rad; layers count from 0."""

MAX_ENERGIES = 12
"""Up to this many distinct true energies have a profile each, more are put into :data:`ENERGY_BINS` bins."""

ENERGY_BINS = 5

_HADRONS = (211, 2212)

Array = NDArray[np.float64]

Layer = tuple[float, float, float, float]
"""A readout layer: its thickness in X0, in lambda_I and in cm, and its Moliere radius [cm]."""

RADII: NDArray[np.float64] = np.geomspace(0.01, 100, 121)
"""Radii at which containment is measured, in Moliere radii or in cm."""

_BLOCK = 8192  # events whose containment is in memory at a time

_LOOK = 1000  # events among which one is chosen
_CELL = 1.0  # cm, where there are no cells
_MAX_CELLS = 2000
_TOLERANCE = 1e-4  # cm, to which places of hits are equal


class Stack:
    """Where the readout layers lie.

    Attributes:
        x0: Boundaries [X0], shape [layers + 1].
        interaction: Boundaries [lambda_I], shape [layers + 1].
        centre: Depth of the middle of every layer [cm], shape [layers].
        moliere_radius: Of every layer [cm], shape [layers].
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        *thickness, self.moliere_radius = np.array(layers).T
        self.x0, self.interaction, cm = (np.concatenate([[0.0], np.cumsum(unit)]) for unit in thickness)
        self.centre = (cm[:-1] + cm[1:]) / 2


@dataclass(frozen=True)
class ProfilePlan:
    """What is known of the files before their showers are read."""

    dataset: Dataset  # the files
    n_layers: int  # number of layers
    stack: Stack | None  # where the layers lie, if the files say so
    low: Array  # lower edges of the groups of energies [GeV], shape [energies]
    high: Array  # upper edges [GeV], shape [energies]; equal to the lower ones for single energies
    true_axis: bool  # whether the tracks of the particles and the layers are known

    def group(self, energy: Array) -> NDArray[np.intp]:
        """Return the group of every energy, shape [events]."""
        return np.searchsorted(self.low, energy, side="right") - 1


def depth_of(stack: Stack | None, n_layers: int, pdg_ids: Iterable[int]) -> tuple[Array, str]:
    """Return the boundaries of the layers, shape [layers + 1], and their unit.

    It is ``lambda_I`` for hadrons, ``X0`` for others, and ``layer`` where the depths are not known.
    """
    if stack is None:
        return np.arange(n_layers + 1, dtype=np.float64) - 0.5, "layer"
    particles = list(pdg_ids)
    hadrons = bool(particles) and all(abs(pdg_id) in _HADRONS for pdg_id in particles)
    return (stack.interaction, "lambda_I") if hadrons else (stack.x0, "X0")


def stack_of(source: Source, n_layers: int) -> Stack | None:
    """Return where the layers of a file lie, if its provenance says so."""
    layers = _layers(source, n_layers)
    return Stack(layers) if layers else None


def make_plan(sources: Sequence[Source], run: Run, *, hits: bool) -> ProfilePlan:
    """Open and check every file, with or without hits, and find the groups of energies.

    Raises:
        InputError: If a file lacks a branch, cannot be read, or does not go with the others.
    """
    layouts: list[tuple[int, tuple[Layer, ...]]] = []
    true_axis = True

    def check(rows: Rows) -> None:
        nonlocal true_axis
        n_layers = check_branches(rows, hits=hits)
        layouts.append((n_layers, _layers(rows.source, n_layers)))
        if layouts[-1] != layouts[0]:
            raise InputError(f"{rows.source}: has other layers than {sources[0]}: draw them apart")
        true_axis = true_axis and bool(layouts[0][1]) and set(AXIS) <= scalar_branches(rows)

    dataset = Dataset(sources, plain_recipe(ENERGY), run, check=check)
    distinct: Array = np.empty(0)
    for number in range(len(dataset)):
        with dataset.look(number) as file:
            nominal = nominal_branch(file.rows)
            for branches in read_chunks(file, {nominal}):
                distinct = np.unique(np.concatenate([distinct, branches[nominal]]))
                if len(distinct) > MAX_ENERGIES:  # the range is all that matters then
                    distinct = np.concatenate([distinct[:MAX_ENERGIES], distinct[-1:]])
    if not len(distinct):
        raise InputError(f"{', '.join(record.path for record in dataset.files)}: no events")
    n_layers, layers = layouts[0]
    low, high = distinct, distinct
    if len(distinct) > MAX_ENERGIES:
        edges = np.geomspace(distinct[0], distinct[-1], ENERGY_BINS + 1)
        low, high = edges[:-1], edges[1:]
    return ProfilePlan(dataset, n_layers, Stack(layers) if layers else None, low, high, true_axis)


def check_branches(rows: Rows | OpenTree, *, hits: bool) -> int:
    """Return the number of layers; refuse a file that lacks a branch or has it in another shape."""
    wanted = {ENERGY: "a number", LAYERS: "a fixed array"} | dict.fromkeys(HITS if hits else (), "a list")
    rows.require(wanted)
    for name, shape in wanted.items():
        if (actual := _shape(rows.columns[name])) != shape:
            raise InputError(f"{rows.source}: branch {name!r} is {actual} in each event, but {shape} is wanted")
    return rows.columns[LAYERS].shape[0]


def nominal_branch(rows: Rows | OpenTree) -> str:
    """Return the branch of the energy that was asked for, which groups the events."""
    return NOMINAL if NOMINAL in scalar_branches(rows) else ENERGY


def scalar_branches(rows: Rows | OpenTree) -> set[str]:
    """Return the branches that are one number in each event."""
    return {name for name, column in rows.columns.items() if _shape(column) == "a number"}


def _shape(column: Column) -> str:
    if column.jagged:
        return "a list of arrays" if column.shape else "a list"
    return ("a number", "a fixed array")[len(column.shape)] if len(column.shape) < 2 else "an array of arrays"


def _layers(source: Source, n_layers: int) -> tuple[Layer, ...]:
    """Return the layers that the provenance of a file describes; none for a file without one."""
    try:
        layers = tuple(_layer(group, own.get("layers_per_readout", 1)) for group, own in _described(source))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    if len(layers) != n_layers:
        raise InputError(f"{source}: the provenance describes {len(layers)} layers, {LAYERS!r} has {n_layers}")
    return layers


def cell_sizes(source: Source, n_layers: int) -> Array | None:
    """Return the sides of the cells in every layer [cm], shape [layers], if the provenance of a file tells of all."""
    try:
        sizes = [parse_quantity(own["cell_size"], "cm").value for _, own in _described(source)]
    except (KeyError, TypeError, ValueError, AttributeError, UsageError):
        return None
    return np.array(sizes) if len(sizes) == n_layers and min(sizes) > 0 else None


def _described(source: Source) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return constants and settings of every readout layer as the provenance of a file has them."""
    made = read_origin(source)[SIMULATION]
    groups = made["constants"]["sections"]
    settings = made["detector"].get("layers") or [{}] * len(groups)
    layers = zip(groups, settings, strict=True)
    return [(group, own) for group, own in layers for _ in range(group["n_readouts"])]


def _layer(group: Mapping[str, Any], layers_per_readout: int) -> Layer:
    x0, interaction = (layers_per_readout * group[f"depth_per_layer_{unit}"] for unit in ("x0", "lambda"))
    return x0, interaction, x0 * group["radiation_length_cm"], group["moliere_radius_cm"]


def read_chunks(file: DataFile, names: set[str]) -> Iterator[Mapping[str, Any]]:
    """Read branches in chunks; refuse numbers that are not finite, and true energies that are not above zero."""
    for some in file.selected(frozenset(names)):
        check_finite(file.rows, some.branches, int(some.piece.numbers[0]))
        yield some.branches


def check_finite(rows: Rows | OpenTree, branches: Mapping[str, Any], start: int) -> None:
    """Refuse numbers that are not finite, and true energies that are not above zero, in events from ``start`` on.

    Raises:
        InputError: Naming the branch.
    """
    for name, values in branches.items():
        numbers = flat(values)
        floor = 0.0 if name in (ENERGY, NOMINAL) else -np.inf
        bad = np.count_nonzero(~(np.isfinite(numbers) & (numbers > floor)))
        if bad:
            wanted = "finite" if np.isinf(floor) else "finite and above zero"
            where = f"events {start} to {start + len(values) - 1}"
            raise InputError(f"{rows.source}: branch {name!r} is not {wanted} in {bad} places of {where}")


def check_hits(rows: Rows | OpenTree, branches: Mapping[str, Any], n_layers: int) -> None:
    """Refuse hits whose branches do not go together, or that are in no layer."""
    first, *others = (ak.num(branches[name]) for name in HITS)
    for name, hits in zip(HITS[1:], others, strict=True):
        if ak.any(hits != first):
            raise InputError(f"{rows.source}: branch {name!r} has not as many elements as {HITS[0]!r} in every event")
    layer = flat(branches[HITS[1]])
    if len(layer) and not 0 <= layer.min() <= layer.max() < n_layers:
        raise InputError(
            f"{rows.source}: branch {HITS[1]!r} goes from {layer.min():g} to {layer.max():g}, "
            f"but {LAYERS!r} has layers 0 to {n_layers - 1}"
        )


def flat(values: Any) -> Array:
    """Return all numbers of a branch in double precision, shape [numbers]."""
    flat = ak.to_numpy(ak.flatten(values, axis=None)) if isinstance(values, ak.Array) else np.ravel(values)
    return np.asarray(flat, dtype=np.float64)


@dataclass(frozen=True)
class MeanProfile:
    """A quantity at several places of a shower, for every group of energies."""

    events: NDArray[np.int64]  # number of showers, shape [energies]
    mean: Array  # mean over showers, shape [energies, places]
    rms: Array  # standard deviation from shower to shower, shape [energies, places]; NaN for a single shower

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
    longitudinal: MeanProfile
    radii: Array
    radius_unit: str
    radial: MeanProfile | None
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


class ShowerMoments:
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

    def profile(self, unit: Array | float = 1.0) -> MeanProfile:
        """Return the profile of the values over a unit, shape [places]."""
        n = self._events[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):  # a group without showers has no mean, one has no spread
            mean = self._sum / n
            variance = np.maximum(self._squares / n - mean**2, 0) * n / (n - 1)
            return MeanProfile(self._events, mean / unit, np.sqrt(variance) / unit)


def has_hits(sources: Sequence[Source]) -> bool:
    """Whether every file has the branches of hits."""
    for source in sources:
        with open_table(source) as table:
            if not set(HITS) <= table.columns.keys():
                return False
    return True


def shower_profiles(sources: Sequence[Source], run: Run, *, radial: bool) -> ShowerProfiles:
    """Average the showers of files, chunk by chunk, with or without the hits.

    The true energies are read before, to find out into which groups they fall: the nominal ones of a beam with a
    momentum spread.

    Raises:
        InputError: If a file lacks a branch, cannot be read, or does not go with the others.
    """
    plan = make_plan(sources, run, hits=radial)
    energies = len(plan.low)
    along, within = ShowerMoments(energies, plan.n_layers), ShowerMoments(energies, len(RADII))
    pdg_ids: set[int] = set()
    run.progress.start("reading showers", plan.dataset.events, "events")
    names = {ENERGY, LAYERS} | ({*HITS, *(AXIS if plan.true_axis else ())} if radial else set())
    for number in range(len(plan.dataset)):
        with plan.dataset.open(number) as file:
            nominal = nominal_branch(file.rows)
            for branches in read_chunks(file, names | {nominal} | ({PARTICLE} & scalar_branches(file.rows))):
                energy = branches[ENERGY].astype(np.float64)
                group = plan.group(branches[nominal].astype(np.float64))
                along.fill(group, branches[LAYERS] / energy[:, None])
                if radial:
                    check_hits(file.rows, branches, plan.n_layers)
                    _fill_containment(within, group, branches, plan)
                pdg_ids.update(np.unique(branches.get(PARTICLE, ())).astype(int).tolist())
    run.progress.finish()
    depth, depth_unit = depth_of(plan.stack, plan.n_layers, pdg_ids)
    return ShowerProfiles(
        plan.low,
        plan.high,
        tuple(sorted(pdg_ids)),
        plan.dataset.events,
        depth,
        depth_unit,
        along.profile(np.diff(depth)),
        RADII,
        "R_M" if plan.stack else "cm",
        within.profile() if radial else None,
        plan.true_axis,
    )


def _fill_containment(
    within: ShowerMoments, group: NDArray[np.intp], branches: Mapping[str, Any], plan: ProfilePlan
) -> None:
    """Add a chunk in blocks, because the radii of an event may take more memory than the event."""
    for first in range(0, len(group), _BLOCK):
        rows = slice(first, first + _BLOCK)
        block = {name: branches[name][rows] for name in (*HITS, *AXIS) if name in branches}
        filled, contained = _containment(block, plan)
        within.fill(group[rows][filled], contained[filled])


def _containment(block: Mapping[str, Any], plan: ProfilePlan) -> tuple[NDArray[np.bool_], Array]:
    """Return which events have energy in hits, shape [events], and its share within radii, shape [events, radii]."""
    energy, place, x, y = (flat(block[name]) for name in HITS)  # [hits]
    layer = place.astype(np.intp)
    hits = ak.to_numpy(ak.num(block[HITS[0]]))
    n = len(hits)
    event = np.repeat(np.arange(n), hits)
    total = np.bincount(event, energy, n)
    filled = total > 0
    weight = energy / np.where(filled, total, 1)[event]
    if plan.stack and plan.true_axis:
        track = [flat(block[name])[event] for name in AXIS]
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


@dataclass(frozen=True)
class ShowerEvent:
    """One event."""

    file: str  # what messages call its file
    entry: int  # its number in that file, counted from 0
    true_energy: float  # [GeV]
    pdg_id: int | None  # the particle; None if the file does not say
    hits: int  # number of hits
    layer_energy: Array  # energies of the layers [GeV], shape [layers]
    depth: Array  # boundaries of the layers in units of depth_unit, shape [layers + 1]
    depth_unit: str  # X0, lambda_I, or layer where the depths are not known
    x_edges: Array  # boundaries of the cells in x [cm], shape [cells in x + 1]
    x: Array  # energy of the hits [GeV], shape [cells in x, layers]
    y_edges: Array  # boundaries of the cells in y [cm], shape [cells in y + 1]
    y: Array  # energy of the hits [GeV], shape [cells in y, layers]


def shower_event(sources: Sequence[Source], number: int | None = None) -> ShowerEvent:
    """Read one event.

    Args:
        sources: The files.
        number: Counted from 0 through all files in their order; without it, the first event that has as many hits as
            the median of the first ones.

    Raises:
        UsageError: If there is no event of this number.
        InputError: If a file lacks a branch, has no hits, cannot be read, or there are no events.
    """
    if number is None:
        number = _typical(sources)
    events = 0
    for source in sources:
        with open_table(source) as table:
            n_layers = check_branches(table, hits=True)
            if 0 <= number < events + table.entries:
                return _event(table, n_layers, number - events)
            events += table.entries
    raise UsageError(f"event {number} is not there: there are {events} events, counted from 0")


def _typical(sources: Sequence[Source]) -> int:
    """Return the number of the first event that has as many hits as half of the first ones have at most."""
    candidates: list[NDArray[np.int64]] = []
    left = _LOOK
    for source in sources:
        with open_table(source) as table:
            check_branches(table, hits=True)
            candidates += [ak.to_numpy(ak.num(chunk[HITS[0]])) for _, chunk in table.chunks({HITS[0]}, left)]
            left -= min(left, table.entries)
        if not left:
            break
    if left == _LOOK:
        raise InputError(f"{', '.join(source.label for source in sources)}: no events")
    hits = np.concatenate(candidates)
    return int(np.argmax(hits == np.sort(hits)[(len(hits) - 1) // 2]))


def _event(table: OpenTree, n_layers: int, entry: int) -> ShowerEvent:
    names = {ENERGY, LAYERS, *HITS} | ({PARTICLE} & scalar_branches(table))
    branches: Mapping[str, Any] = {name: table.read(name, entry, entry + 1) for name in sorted(names)}
    check_finite(table, branches, entry)
    check_hits(table, branches, n_layers)
    pdg_id = int(branches[PARTICLE][0]) if PARTICLE in branches else None
    stack = stack_of(table.source, n_layers)
    depth, depth_unit = depth_of(stack, n_layers, () if pdg_id is None else (pdg_id,))
    energy, layer, x, y = (flat(branches[name]) for name in HITS)
    sizes = cell_sizes(table.source, n_layers)
    (x_edges, in_x), (y_edges, in_y) = (
        _project(place, layer.astype(np.intp), energy, sizes, n_layers) for place in (x, y)
    )
    return ShowerEvent(
        table.source.label,
        entry,
        float(branches[ENERGY][0]),
        pdg_id,
        len(energy),
        flat(branches[LAYERS]),
        depth,
        depth_unit,
        x_edges,
        in_x,
        y_edges,
        in_y,
    )


def _project(
    place: Array, layer: NDArray[np.intp], energy: Array, sizes: Array | None, n_layers: int
) -> tuple[Array, Array]:
    """Add up hits along one direction, in cells of one width; the energy of a wider cell is spread over it.

    Args:
        place: Middle of the cells [cm], shape [hits].
        layer: Shape [hits].
        energy: [GeV], shape [hits].
        sizes: Sides of the cells in every layer [cm], shape [layers], if they are known.
        n_layers: Number of layers.

    Returns:
        Boundaries of the cells [cm], shape [cells + 1], and the energy in them [GeV], shape [cells, layers].
    """
    if not len(place):
        return np.array([-0.5, 0.5]) * _CELL, np.zeros((1, n_layers))
    if sizes is None:
        sizes = np.full(n_layers, _spacing(place))
    size = sizes[layer]
    low = float(np.min(place - size / 2))
    extent = float(np.max(place + size / 2)) - low
    width = max(float(sizes.min()) or _CELL, extent / _MAX_CELLS)
    # In units of the width, and rounded: a cell must not reach into its neighbour by what single precision loses.
    start = np.round((place - size / 2 - low) / width, 3)
    span = np.maximum(np.round(size / width, 3), 1e-3)
    cells = int(np.ceil(np.max(start + span)))
    first = np.floor(start).astype(np.intp)
    projection = np.zeros(cells * n_layers)
    for step in range(int(np.ceil(span.max())) + 1):  # as many cells as the widest reaches into
        cell = first + step
        shared = np.maximum(np.minimum(cell + 1, start + span) - np.maximum(cell, start), 0) / span
        projection += np.bincount(np.minimum(cell, cells - 1) * n_layers + layer, energy * shared, len(projection))
    edges = np.asarray(low + width * np.arange(cells + 1), dtype=np.float64)
    return edges, projection.reshape(cells, n_layers)


def _spacing(place: Array) -> float:
    """Return the distance between cells that are not described [cm]; 0 if hits are not in equal cells."""
    gaps = np.diff(np.unique(np.round(place / _TOLERANCE))) * _TOLERANCE
    if not len(gaps):
        return _CELL
    smallest = float(gaps.min())
    steps = gaps / smallest
    equal = bool(np.all(np.abs(steps - np.rint(steps)) < 0.05)) and steps.sum() < _MAX_CELLS
    return smallest if equal else 0.0
