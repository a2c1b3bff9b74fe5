"""The figures of a data set: what its showers look like along and around their axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from calomlp.plotting.chart import Axis, Band, Chart, Heading, Line, Marks, NothingToDraw, Panel, Row, Rule
from calomlp.plotting.look import sequence
from calomlp.plotting.points import PERCENT, shown_radius
from calomlp.plotting.quantity import count, energy_range
from calomlp.plotting.tables import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calomlp.evaluation.showers import Profile, ShowerProfiles
    from calomlp.plotting.chart import Item
    from calomlp.plotting.look import Look

HELD = 0.9
"""Share of the energy whose radius is quoted."""

_FEW = 6
"""Up to this many energies are listed in one block, more in two."""

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
    rows = _rows(profiles, shown.events, mean_depth, profiles.mean_depth)
    few = len(shown.events) <= _ALL_BANDS
    notes = [f"bars: error of the mean; bands: RMS from shower to shower{'' if few else ', lowest and highest energy'}"]
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
    return Chart("longitudinal", heading("longitudinal profile", profiles, rows, notes), (panel,), 2.6)


def radial(profiles: ShowerProfiles) -> Chart:
    """Show the mean share of the energy that is within a distance of the axis of the shower."""
    shown = profiles.radial
    if shown is None:
        raise NothingToDraw("the showers have no hits, so there is no containment to draw")
    unit = UNITS[profiles.radius_unit]
    held, share = rf"$r_\mathrm{{{PERCENT * HELD:g}}}$", f"{PERCENT * HELD:g} %"
    notes = [f"axis: {_AXES[profiles.true_axis]}; bands: error of the mean; dotted: {share}, at {held}"]
    rows = _rows(profiles, shown.events, f"{held} [{unit}]", profiles.radius_of(HELD))
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
    return Chart("radial", heading("radial containment", profiles, rows, notes), (panel,), 2.6)


def heading(title: str, profiles: ShowerProfiles, rows: Sequence[Row], notes: Sequence[str]) -> Heading:
    """Return a heading with a row for each energy, in two blocks if there are many."""
    particles = ", ".join(_PARTICLES.get(pdg_id, f"PDG {pdg_id}") for pdg_id in profiles.pdg_ids)
    named = 0 < len(profiles.pdg_ids) <= _NAMED
    sample = f"{count(profiles.events)} {f'× {particles}' if named else 'events'}"
    head, *entries = rows
    if len(entries) <= _FEW:
        return Heading(title, sample, rows, notes)
    half = math.ceil(len(entries) / 2)
    return Heading(title, sample, [head, *entries[:half], head, *entries[half:]], notes, blocks=2)


def _labels(profiles: ShowerProfiles) -> list[tuple[str, Look]]:
    energies = zip(profiles.energy_low.tolist(), profiles.energy_high.tolist(), strict=True)
    return [
        (f"{energy_range(low, high)} GeV", look)
        for (low, high), look in zip(energies, sequence(len(profiles.energy_low)), strict=True)
    ]


def _rows(profiles: ShowerProfiles, events: NDArray[np.int64], name: str, numbers: NDArray[np.float64]) -> list[Row]:
    rows = [Row(("E [GeV]", "events", name))]
    labels = _labels(profiles)
    for (label, look), n, number in zip(labels, events.tolist(), numbers, strict=True):
        cells = (label.removesuffix(" GeV"), count(n), f"{number:.2f}" if np.isfinite(number) else NONE)
        rows.append(Row(cells, look))
    return rows


def _span(shown: Profile) -> tuple[float, float]:
    """Return the range that holds the means, and the bands above zero."""
    finite = np.isfinite(shown.mean)
    low = min(0.0, float(np.min(shown.mean, where=finite, initial=0)))
    tops = np.where(np.isfinite(shown.rms), shown.mean + shown.rms, shown.mean)
    high = float(np.max(tops, where=finite, initial=0)) or 1.0
    return PERCENT * 1.05 * low, PERCENT * 1.05 * high
