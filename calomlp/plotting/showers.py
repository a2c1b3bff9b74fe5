"""The figures of a data set: what its showers look like along and around their axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter

from calomlp.errors import ArtefactError
from calomlp.plotting.frame import Heading, Row, framed, settle
from calomlp.plotting.points import PERCENT, shown_radius
from calomlp.plotting.quantity import count, energy_range
from calomlp.plotting.style import COLUMN, sequence, style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from calomlp.evaluation.showers import Profile, ShowerProfiles

HELD = 0.9
"""Share of the energy whose radius is quoted."""

_FEW = 6
"""Up to this many energies are listed in one block, more in two."""

_ALL_BANDS = 3
"""Up to this many energies have a band each; of more, only the lowest and the highest."""

_NAMED = 2
"""Up to this many kinds of particles are named above the axes."""

_MARKERS = 0.12
"""Distance of the markers on a curve, in diagonals of the axes."""

_UNITS = {"X0": "$X_0$", "lambda_I": r"$\lambda_\mathrm{I}$", "R_M": r"$R_\mathrm{M}$", "cm": "cm"}
_PARTICLES = {11: "e⁻", -11: "e⁺", 22: "γ", 13: "μ⁻", -13: "μ⁺", 211: "π⁺", -211: "π⁻", 2212: "p"}
_AXES = {True: "track of the particle", False: "centre of gravity of the hits"}
_NONE = "\N{EN DASH}"


def longitudinal(profiles: ShowerProfiles) -> Figure:
    """Draw the mean energy in the layers against their depth, per unit of depth and relative to the true energy."""
    unit = _UNITS.get(profiles.depth_unit)
    shown = profiles.longitudinal
    mean_depth = f"mean $t$ [{unit}]" if unit else "mean layer"
    rows = _rows(profiles, shown.events, mean_depth, profiles.mean_depth)
    few = len(shown.events) <= _ALL_BANDS
    notes = [f"bars: error of the mean; bands: RMS from shower to shower{'' if few else ', lowest and highest energy'}"]
    with style():
        figure = framed(_heading("longitudinal profile", profiles, rows, notes), width=COLUMN, height=2.6)
        axes = figure.subplots()
        x = profiles.layer_depth
        for i, look in enumerate(sequence(len(shown.events))):
            mean, error, rms = (PERCENT * values[i] for values in (shown.mean, shown.error, shown.rms))
            if few or i in (0, len(shown.events) - 1):
                axes.fill_between(x, mean - rms, mean + rms, color=look.colour, alpha=0.15, linewidth=0, zorder=1)
            axes.errorbar(x, mean, error, color=look.colour, marker=look.marker, markersize=2, elinewidth=0.7, zorder=3)
        axes.set_xlim(profiles.depth[0], profiles.depth[-1])
        axes.set_ylim(*_span(shown))
        if unit:
            axes.set_xlabel(f"depth $t$ [{unit}]")
            axes.set_ylabel(rf"$(1/E_\mathrm{{true}})\ \mathrm{{d}}E/\mathrm{{d}}t$ [% / {unit}]")
        else:
            axes.set_xlabel("layer, counted from 0")
            axes.set_ylabel(r"$E_\mathrm{layer}/E_\mathrm{true}$ [%]")
        return settle(figure)


def radial(profiles: ShowerProfiles) -> Figure:
    """Draw the mean share of the energy that is within a distance of the axis of the shower.

    Raises:
        ArtefactError: If the hits were not read.
    """
    shown = profiles.radial
    if shown is None:
        raise ArtefactError("the showers have no hits, so there is no containment to draw")
    unit = _UNITS[profiles.radius_unit]
    held, share = rf"$r_\mathrm{{{PERCENT * HELD:g}}}$", f"{PERCENT * HELD:g} %"
    notes = [f"axis: {_AXES[profiles.true_axis]}; bands: error of the mean; dotted: {share}, at {held}"]
    rows = _rows(profiles, shown.events, f"{held} [{unit}]", profiles.radius_of(HELD))
    with style():
        figure = framed(_heading("radial containment", profiles, rows, notes), width=COLUMN, height=2.6)
        axes = figure.subplots()
        axes.axhline(PERCENT * HELD, color="0.3", linewidth=0.6, linestyle=(0, (1, 1)), zorder=0.5)
        for i, look in enumerate(sequence(len(shown.events))):
            mean, error = (PERCENT * np.array([0, *values[i]]) for values in (shown.mean, shown.error))
            x = np.array([0, *profiles.radii])
            axes.fill_between(x, mean - error, mean + error, color=look.colour, alpha=0.3, linewidth=0, zorder=1)
            # curves may cover each other: their markers, equally far apart along each, take turns
            every = (_MARKERS * i / len(shown.events), _MARKERS)
            axes.plot(x, mean, color=look.colour, marker=look.marker, markersize=2, markevery=every, zorder=3)
        axes.set_xlim(0, shown_radius(profiles))
        axes.set_ylim(0, 103)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # 0, not 0.0, in the narrow corner
        axes.set_xlabel(f"distance from the axis $r$ [{unit}]")
        axes.set_ylabel("energy within $r$ [%]")
        return settle(figure)


SHOWER_FIGURES: dict[str, Callable[[ShowerProfiles], Figure]] = {"longitudinal": longitudinal, "radial": radial}
"""Every figure by name, in the order of :data:`calomlp.plotting.names.SHOWER_DESCRIPTIONS`."""


def _heading(title: str, profiles: ShowerProfiles, rows: Sequence[Row], notes: Sequence[str]) -> Heading:
    particles = ", ".join(_PARTICLES.get(pdg_id, f"PDG {pdg_id}") for pdg_id in profiles.pdg_ids)
    named = 0 < len(profiles.pdg_ids) <= _NAMED
    sample = f"{count(profiles.events)} {f'× {particles}' if named else 'events'}"
    head, *entries = rows
    if len(entries) <= _FEW:
        return Heading(title, sample, rows, notes)
    half = math.ceil(len(entries) / 2)
    return Heading(title, sample, [head, *entries[:half], head, *entries[half:]], notes, blocks=2)


def _rows(profiles: ShowerProfiles, events: NDArray[np.int64], name: str, numbers: NDArray[np.float64]) -> list[Row]:
    rows = [Row(("E [GeV]", "events", name))]
    energies = zip(profiles.energy_low.tolist(), profiles.energy_high.tolist(), strict=True)
    for (low, high), n, number, look in zip(energies, events.tolist(), numbers, sequence(len(events)), strict=True):
        rows.append(Row((energy_range(low, high), count(n), f"{number:.2f}" if np.isfinite(number) else _NONE), look))
    return rows


def _span(shown: Profile) -> tuple[float, float]:
    """Return the range that holds the means, and the bands above zero."""
    finite = np.isfinite(shown.mean)
    low = min(0.0, float(np.min(shown.mean, where=finite, initial=0)))
    tops = np.where(np.isfinite(shown.rms), shown.mean + shown.rms, shown.mean)
    high = float(np.max(tops, where=finite, initial=0)) or 1.0
    return PERCENT * 1.05 * low, PERCENT * 1.05 * high
