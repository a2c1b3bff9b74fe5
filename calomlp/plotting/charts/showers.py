"""The figures of a data set: what its showers look like along and around their axis."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from calomlp.evaluation.measurement import PERCENT, count, energy_range
from calomlp.plotting.chart import (
    Axis,
    Band,
    Cells,
    Chart,
    Entry,
    Line,
    Look,
    Marks,
    NothingToDraw,
    Panel,
    Rule,
    Steps,
    literal,
    sequence,
)
from calomlp.plotting.points import shown_radius
from calomlp.plotting.sections import NONE
from calomlp.plotting.view import short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calomlp.evaluation.profiles import MeanProfile, ShowerEvent, ShowerProfiles
    from calomlp.plotting.chart import Array, Item

HELD = 0.9
"""Share of the energy whose radius is quoted."""

_ALL_BANDS = 3
"""Up to this many energies have a band each; of more, only the lowest and the highest."""

_NAMED = 2
"""Up to this many kinds of particles are named above the axes."""

UNITS = {"X0": "$X_0$", "lambda_I": r"$\lambda_\mathrm{I}$", "R_M": r"$R_\mathrm{M}$", "cm": "cm"}
_PARTICLES = {11: "e⁻", -11: "e⁺", 22: "γ", 13: "μ⁻", -13: "μ⁺", 211: "π⁺", -211: "π⁻", 2212: "p"}
_AXES = {True: "track of the particle", False: "centre of gravity of the hits"}


def longitudinal(profiles: ShowerProfiles) -> Chart:
    """Show the mean energy in the layers against their depth, per unit of depth and relative to the true energy."""
    unit = UNITS.get(profiles.depth_unit)
    shown = profiles.longitudinal
    mean_depth = f"mean $t$ [{unit}]" if unit else "mean layer"
    few = len(shown.events) <= _ALL_BANDS
    bars = f"bars: error of the mean; bands: RMS from shower to shower{'' if few else ', lowest and highest energy'}"
    remarks = [_numbers(profiles, shown.events, mean_depth, profiles.mean_depth), bars]
    points: list[Item] = []
    bands: list[Item] = []
    x = profiles.layer_depth
    for i, (label, look) in enumerate(_labels(profiles)):
        mean, error, rms = (PERCENT * values[i] for values in (shown.mean, shown.error, shown.rms))
        points += [Marks(label, look, x, mean, error), Line(label, look, x, mean)]
        if few or i in (0, len(shown.events) - 1):
            bands.append(Band(f"{label}, RMS", look, x, mean - rms, mean + rms))
    ends = float(profiles.depth[0]), float(profiles.depth[-1])
    panel = Panel(
        Axis(f"depth $t$ [{unit}]" if unit else "layer, counted from 0", *ends, whole=not unit),
        Axis(
            rf"$(1/E_\mathrm{{true}})\ \mathrm{{d}}E/\mathrm{{d}}t$ [% / {unit}]"
            if unit
            else r"$E_\mathrm{layer}/E_\mathrm{true}$ [%]",
            *_span(shown),
        ),
        (*points, *bands),
    )
    title, sample = "longitudinal profile", _sample(profiles)
    return Chart("longitudinal", title, sample, (panel,), 2.4, _legend(profiles), remarks)


def radial(profiles: ShowerProfiles) -> Chart:
    """Show the mean share of the energy that is within a distance of the axis of the shower."""
    shown = profiles.radial
    if shown is None:
        raise NothingToDraw("the showers have no hits, so there is no containment to draw")
    unit = UNITS[profiles.radius_unit]
    held, share = rf"$r_\mathrm{{{PERCENT * HELD:g}}}$", f"{PERCENT * HELD:g} %"
    remarks = [
        _numbers(profiles, shown.events, f"{held} [{unit}]", profiles.radius_of(HELD)),
        f"axis: {_AXES[profiles.true_axis]}; bands: error of the mean; dotted: {share}, at {held}",
    ]
    lines: list[Item] = []
    bands: list[Item] = []
    x = np.array([0, *profiles.radii])
    for i, (label, look) in enumerate(_labels(profiles)):
        mean, error = (PERCENT * np.array([0, *values[i]]) for values in (shown.mean, shown.error))
        lines.append(Line(label, look, x, mean, marked=True))
        bands.append(Band(f"{label}, error", look, x, mean - error, mean + error))
    panel = Panel(
        Axis(f"distance from the axis $r$ [{unit}]", 0, shown_radius(profiles)),
        Axis("energy within $r$ [%]", 0, 103),
        (*lines, *bands, Rule(PERCENT * HELD, dotted=True)),
    )
    return Chart("radial", "radial containment", _sample(profiles), (panel,), 2.4, _legend(profiles), remarks)


def event(shower: ShowerEvent) -> Chart:
    """Show one shower: its layers, and its hits from above and from the side."""
    unit = UNITS.get(shower.depth_unit)
    ends = float(shower.depth[0]), float(shower.depth[-1])
    across = Axis(f"depth $t$ [{unit}]" if unit else "layer, counted from 0", *ends, whole=not unit)
    top = 1.1 * float(shower.layer_energy.max(initial=0)) or 1.0
    low = min(0.0, 1.1 * float(shower.layer_energy.min(initial=0)))
    layers = Panel(
        across,
        Axis("E of a layer [GeV]", low, top),
        (Steps("energy of the layers [GeV]", Look("#0072B2"), shower.depth, shower.layer_energy, filled=True),),
        share=0.6,
    )
    projections = (("x", shower.x_edges, shower.x), ("y", shower.y_edges, shower.y))
    span = max(np.subtract(*_filled(edges, cells)[::-1]) for _, edges, cells in projections)
    views = [
        Panel(
            across,
            Axis(f"{name} [cm]", *_reach(edges, cells, span)),
            (Cells("energy of the hits [GeV]", shower.depth, edges, cells),),
        )
        for name, edges, cells in projections
    ]
    particle = f" {_PARTICLES.get(shower.pdg_id, f'PDG {shower.pdg_id}')}" if shower.pdg_id is not None else ""
    sample = f"{shower.true_energy:.4g} GeV{particle}, {count(shower.hits)} hits"
    name = literal(short(PurePath(shower.file).name, 64))
    remarks = [f"event {shower.entry} of {name}; hits are summed along the other direction"]
    return Chart("event", "shower", sample, (layers, *views), 4.4, (), remarks)


def _filled(edges: Array, cells: Array) -> tuple[float, float]:
    """Return the range of the cells with hits."""
    filled = np.flatnonzero((cells > 0).any(axis=1))
    if not len(filled):
        return float(edges[0]), float(edges[-1])
    return float(edges[filled[0]]), float(edges[filled[-1] + 1])


def _reach(edges: Array, cells: Array, span: float) -> tuple[float, float]:
    """Return a range of a width, and some room, around the cells with hits: showers are as wide in x as in y."""
    middle = sum(_filled(edges, cells)) / 2
    return middle - 0.55 * span, middle + 0.55 * span


def _sample(profiles: ShowerProfiles) -> str:
    particles = ", ".join(_PARTICLES.get(pdg_id, f"PDG {pdg_id}") for pdg_id in profiles.pdg_ids)
    named = 0 < len(profiles.pdg_ids) <= _NAMED
    return f"{count(profiles.events)} {f'× {particles}' if named else 'events'}"


def _labels(profiles: ShowerProfiles) -> list[tuple[str, Look]]:
    labels = _ranges(profiles.energy_low, profiles.energy_high)
    return list(zip(labels, sequence(len(labels)), strict=True))


def _ranges(low: Array, high: Array) -> list[str]:
    return [f"{energy_range(*ends)} GeV" for ends in zip(low.tolist(), high.tolist(), strict=True)]


def _legend(profiles: ShowerProfiles) -> list[Entry]:
    return [Entry(label, look) for label, look in _labels(profiles)]


def _numbers(profiles: ShowerProfiles, events: NDArray[np.int64], name: str, numbers: NDArray[np.float64]) -> str:
    """Write events and a number of every energy."""
    parts = []
    for (label, _), n, number in zip(_labels(profiles), events.tolist(), numbers, strict=True):
        parts.append(f"{f'{number:.2f}' if np.isfinite(number) else NONE} at {label} ({count(n)} events)")
    return f"{name}: {', '.join(parts)}"


def _span(shown: MeanProfile) -> tuple[float, float]:
    """Return the range that holds the means, and the bands above zero."""
    finite = np.isfinite(shown.mean)
    low = min(0.0, float(np.min(shown.mean, where=finite, initial=0)))
    tops = np.where(np.isfinite(shown.rms), shown.mean + shown.rms, shown.mean)
    high = float(np.max(tops, where=finite, initial=0)) or 1.0
    return PERCENT * 1.05 * low, PERCENT * 1.05 * high
