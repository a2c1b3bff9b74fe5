"""Showers of a data set: mean profiles in depth and around the axis, from one pass over the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.reader import open_table
from calomlp.data.sources import Source
from calomlp.evaluation.dataset import (
    AXIS,
    ENERGY,
    HITS,
    LAYERS,
    PARTICLE,
    Array,
    Plan,
    check_hits,
    depth_of,
    flat,
    make_plan,
    nominal_branch,
    read_chunks,
    scalar_branches,
)
from calomlp.run import Run

RADII: NDArray[np.float64] = np.geomspace(0.01, 100, 121)
"""Radii at which containment is measured, in Moliere radii or in cm."""

_BLOCK = 8192  # events whose containment is in memory at a time


@dataclass(frozen=True)
class Profile:
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


class Moments:
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


def shower_profiles(sources: Sequence[Source], run: Run, *, radial: bool) -> ShowerProfiles:
    """Average the showers of files, chunk by chunk.

    The true energies are read before, to find out into which groups they fall: the nominal ones of a beam with a
    momentum spread.

    Raises:
        InputError: If a file lacks a branch, cannot be read, or does not go with the others.
    """
    plan = make_plan(sources, hits=radial, run=run)
    energies = len(plan.low)
    along, within = Moments(energies, plan.n_layers), Moments(energies, len(RADII))
    pdg_ids: set[int] = set()
    run.progress.start("reading showers", plan.events, "events")
    names = {ENERGY, LAYERS} | ({*HITS, *(AXIS if plan.true_axis else ())} if radial else set())
    for source in sources:
        with open_table(source) as table:
            nominal = nominal_branch(table)
            for branches in read_chunks(table, names | {nominal} | ({PARTICLE} & scalar_branches(table))):
                energy = branches[ENERGY].astype(np.float64)
                group = plan.group(branches[nominal].astype(np.float64))
                along.fill(group, branches[LAYERS] / energy[:, None])
                if radial:
                    check_hits(table, branches, plan.n_layers)
                    _fill_containment(within, group, branches, plan)
                pdg_ids.update(np.unique(branches.get(PARTICLE, ())).astype(int).tolist())
                run.progress.advance(len(energy))
                run.interrupt.check()
    run.progress.finish()
    depth, depth_unit = depth_of(plan.stack, plan.n_layers, pdg_ids)
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
        within.profile() if radial else None,
        plan.true_axis,
    )


def _fill_containment(within: Moments, group: NDArray[np.intp], branches: Mapping[str, Any], plan: Plan) -> None:
    """Add a chunk in blocks, because the radii of an event may take more memory than the event."""
    for first in range(0, len(group), _BLOCK):
        rows = slice(first, first + _BLOCK)
        block = {name: branches[name][rows] for name in (*HITS, *AXIS) if name in branches}
        filled, contained = _containment(block, plan)
        within.fill(group[rows][filled], contained[filled])


def _containment(block: Mapping[str, Any], plan: Plan) -> tuple[NDArray[np.bool_], Array]:
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
