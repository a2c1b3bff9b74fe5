"""One event of a data set, for its display: layers and hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.reader import Table, open_table
from calomlp.data.sources import Source
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.dataset import (
    ENERGY,
    HITS,
    LAYERS,
    PARTICLE,
    Array,
    cell_sizes,
    check_finite,
    check_hits,
    check_table,
    depth_of,
    flat,
    scalar_branches,
    stack_of,
)

_LOOK = 1000  # events among which one is chosen
_CELL = 1.0  # cm, where there are no cells
_MAX_CELLS = 2000
_TOLERANCE = 1e-4  # cm, to which places of hits are equal


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
            n_layers = check_table(table, hits=True)
            if 0 <= number < events + table.entries:
                return _event(table, n_layers, number - events)
            events += table.entries
    raise UsageError(f"event {number} is not there: there are {events} events, counted from 0")


def _typical(sources: Sequence[Source]) -> int:
    """Return the number of the first event that has as many hits as half of the first ones have at most."""
    found: list[NDArray[np.int64]] = []
    left = _LOOK
    for source in sources:
        with open_table(source) as table:
            check_table(table, hits=True)
            found += [ak.to_numpy(ak.num(chunk[HITS[0]])) for _, chunk in table.chunks({HITS[0]}, left)]
            left -= min(left, table.entries)
        if not left:
            break
    if left == _LOOK:
        raise InputError(f"{', '.join(source.label for source in sources)}: no events")
    hits = np.concatenate(found)
    return int(np.argmax(hits == np.sort(hits)[(len(hits) - 1) // 2]))


def _event(table: Table, n_layers: int, entry: int) -> ShowerEvent:
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
    found = np.zeros(cells * n_layers)
    for step in range(int(np.ceil(span.max())) + 1):  # as many cells as the widest reaches into
        cell = first + step
        shared = np.maximum(np.minimum(cell + 1, start + span) - np.maximum(cell, start), 0) / span
        found += np.bincount(np.minimum(cell, cells - 1) * n_layers + layer, energy * shared, len(found))
    edges = np.asarray(low + width * np.arange(cells + 1), dtype=np.float64)
    return edges, found.reshape(cells, n_layers)


def _spacing(place: Array) -> float:
    """Return the distance between cells that are not described [cm]; 0 if hits are not in equal cells."""
    gaps = np.diff(np.unique(np.round(place / _TOLERANCE))) * _TOLERANCE
    if not len(gaps):
        return _CELL
    smallest = float(gaps.min())
    steps = gaps / smallest
    equal = bool(np.all(np.abs(steps - np.rint(steps)) < 0.05)) and steps.sum() < _MAX_CELLS
    return smallest if equal else 0.0
