"""Data sets of showers: what they must have, where their layers lie, and how their energies are grouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.columns import Column
from calomlp.data.origin import read_origin
from calomlp.data.reader import Table, open_table
from calomlp.data.sample import describe, remember
from calomlp.data.sources import FileRecord, Source
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


class Stack:
    """Depths of the readout layers.

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
class Plan:
    """What is known of the files before their showers are read."""

    events: int  # number of events
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


def make_plan(sources: Sequence[Source], *, hits: bool, run: Run) -> Plan:
    """Open and check every file, and find the groups of energies.

    Raises:
        InputError: If a file lacks a branch, cannot be read, or does not go with the others.
    """
    known: dict[str, FileRecord] = {}
    distinct: Array = np.empty(0)
    true_axis = True
    layouts = []
    for source in sources:
        with open_table(source) as table:
            n_layers = check_table(table, hits=hits)
            remember(known, describe(table))
            layouts.append((n_layers, _layers(table.source, n_layers)))
            if layouts[-1] != layouts[0]:
                raise InputError(f"{table.source}: has other layers than {sources[0]}: draw them apart")
            true_axis = true_axis and bool(layouts[0][1]) and set(AXIS) <= scalar_branches(table)
            nominal = nominal_branch(table)
            for branches in read_chunks(table, {nominal}):
                distinct = np.unique(np.concatenate([distinct, branches[nominal]]))
                if len(distinct) > MAX_ENERGIES:  # the range is all that matters then
                    distinct = np.concatenate([distinct[:MAX_ENERGIES], distinct[-1:]])
                run.interrupt.check()
    if not len(distinct):
        raise InputError(f"{', '.join(record.path for record in known.values())}: no events")
    n_layers, layers = layouts[0]
    low, high = distinct, distinct
    if len(distinct) > MAX_ENERGIES:
        edges = np.geomspace(distinct[0], distinct[-1], ENERGY_BINS + 1)
        low, high = edges[:-1], edges[1:]
    events = sum(record.events for record in known.values())
    return Plan(events, n_layers, Stack(layers) if layers else None, low, high, true_axis)


def check_table(table: Table, *, hits: bool) -> int:
    """Return the number of layers; refuse a file that lacks a branch or has it in another shape."""
    wanted = {ENERGY: "a number", LAYERS: "a fixed array"} | dict.fromkeys(HITS if hits else (), "a list")
    table.require(wanted)
    for name, shape in wanted.items():
        found = _shape(table.columns[name])
        if found != shape:
            raise InputError(f"{table.source}: branch {name!r} is {found} in each event, but {shape} is wanted")
    return table.columns[LAYERS].shape[0]


def nominal_branch(table: Table) -> str:
    """Return the branch of the energy that was asked for, which groups the events."""
    return NOMINAL if NOMINAL in scalar_branches(table) else ENERGY


def scalar_branches(table: Table) -> set[str]:
    """Return the branches that are one number in each event."""
    return {name for name, column in table.columns.items() if _shape(column) == "a number"}


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


def read_chunks(table: Table, names: set[str]) -> Iterator[dict[str, Any]]:
    """Read branches in chunks; refuse numbers that are not finite, and true energies that are not above zero."""
    for start, branches in table.chunks(names):
        check_finite(table, branches, start)
        yield branches


def check_finite(table: Table, branches: Mapping[str, Any], start: int) -> None:
    """Refuse numbers that are not finite, and true energies that are not above zero.

    Args:
        table: That they are from.
        branches: By name.
        start: Number of the first event.

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
            raise InputError(f"{table.source}: branch {name!r} is not {wanted} in {bad} places of {where}")


def check_hits(table: Table, branches: Mapping[str, Any], n_layers: int) -> None:
    """Refuse hits whose branches do not go together, or that are in no layer."""
    first, *others = (ak.num(branches[name]) for name in HITS)
    for name, hits in zip(HITS[1:], others, strict=True):
        if ak.any(hits != first):
            raise InputError(f"{table.source}: branch {name!r} has not as many elements as {HITS[0]!r} in every event")
    layer = flat(branches[HITS[1]])
    if len(layer) and not 0 <= layer.min() <= layer.max() < n_layers:
        raise InputError(
            f"{table.source}: branch {HITS[1]!r} goes from {layer.min():g} to {layer.max():g}, "
            f"but {LAYERS!r} has layers 0 to {n_layers - 1}"
        )


def flat(values: Any) -> Array:
    """Return all numbers of a branch in double precision, shape [numbers]."""
    flat = ak.to_numpy(ak.flatten(values, axis=None)) if isinstance(values, ak.Array) else np.ravel(values)
    return np.asarray(flat, dtype=np.float64)
