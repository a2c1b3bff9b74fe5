"""Profiles of showers: every number is that of a loop over the events."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import cos, hypot, sin, tan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import InputError
from calomlp.evaluation.profiles import ENERGY_BINS, RADII, ShowerProfiles, has_hits, shower_profiles
from calomlp.run import Run
from tests.plotting.toy_showers import (
    CENTRES,
    LAMBDA_EDGES,
    MOLIERE,
    N_LAYERS,
    PROVENANCE,
    X0_EDGES,
    toy_showers,
    write_showers,
)

EVENTS = 90
ENERGIES = (2.0, 10.0, 50.0)


def profiles_of(*paths: Path, radial: bool = True) -> ShowerProfiles:
    sources = [Source(str(path), None, path.name) for path in paths]
    return shower_profiles(sources, Run(), radial=radial)


def contained(columns: dict[str, Any], i: int, *, known: bool) -> np.ndarray:
    """The share of one event's energy within all radii, hit by hit; of the track if the geometry is known."""
    energy = np.array(columns["hit_energy"][i], dtype=float)
    layer = list(columns["hit_layer"][i])
    x, y = (np.array(columns[name][i], dtype=float) for name in ("hit_x", "hit_y"))
    radius = []
    for k in range(len(energy)):
        if known:
            theta, phi = float(columns["true_theta"][i]), float(columns["true_phi"][i])
            track = np.array([sin(theta) * cos(phi), sin(theta) * sin(phi), cos(theta)])
            depth = CENTRES[layer[k]]
            axis_x = float(columns["true_x"][i]) + depth * tan(theta) * cos(phi)
            axis_y = float(columns["true_y"][i]) + depth * tan(theta) * sin(phi)
            away = np.cross([x[k] - axis_x, y[k] - axis_y, 0], track)
            radius.append(np.linalg.norm(away) / MOLIERE[layer[k]])
        else:
            radius.append(hypot(x[k] - np.average(x, weights=energy), y[k] - np.average(y, weights=energy)))
    return np.array([energy[np.array(radius) <= r].sum() / energy.sum() for r in RADII])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("tree", [True, False])
def test_numbers_are_those_of_a_loop_over_events(tmp_path: Path, known: bool, tree: bool) -> None:
    columns = toy_showers(ENERGIES, EVENTS)
    path = write_showers(tmp_path / "s.root", columns, provenance=PROVENANCE if known else None, tree=tree)
    found = profiles_of(path)
    assert found.events == EVENTS
    assert found.pdg_ids == (11,)
    assert (found.depth_unit, found.radius_unit, found.true_axis) == (
        ("X0", "R_M", True) if known else ("layer", "cm", False)
    )
    assert found.depth == pytest.approx(X0_EDGES if known else np.arange(N_LAYERS + 1) - 0.5)
    assert found.energy_low.tolist() == found.energy_high.tolist() == list(ENERGIES)
    assert found.radial is not None
    for i, energy in enumerate(ENERGIES):
        rows = np.flatnonzero(columns["true_energy"] == energy)
        shares = columns["layer_energy"][rows].astype(float) / energy / np.diff(found.depth)
        assert found.longitudinal.events[i] == len(rows)
        assert found.longitudinal.mean[i] == pytest.approx(shares.mean(axis=0))
        assert found.longitudinal.rms[i] == pytest.approx(shares.std(axis=0, ddof=1))
        assert found.longitudinal.error[i] == pytest.approx(shares.std(axis=0, ddof=1) / len(rows) ** 0.5)
        held = np.array(
            [contained(columns, row, known=known) for row in rows.tolist() if len(columns["hit_energy"][row])]
        )
        assert 0 < len(held) < len(rows)
        assert found.radial.events[i] == len(held)
        assert found.radial.mean[i] == pytest.approx(held.mean(axis=0))
        assert found.radial.rms[i] == pytest.approx(held.std(axis=0, ddof=1), abs=1e-7)


def test_numbers_do_not_depend_on_chunks_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = toy_showers(ENERGIES, EVENTS)
    whole = profiles_of(write_showers(tmp_path / "s.root", columns))
    parts = [{name: values[rows] for name, values in columns.items()} for rows in (slice(40), slice(40, None))]
    paths = [write_showers(tmp_path / f"{i}.root", part) for i, part in enumerate(parts)]
    monkeypatch.setattr("calomlp.data.root._MAX_CHUNK_EVENTS", 7)
    monkeypatch.setattr("calomlp.evaluation.profiles._BLOCK", 3)
    split = profiles_of(*paths)
    assert split.radial is not None
    assert whole.radial is not None
    for one, other in ((whole.longitudinal, split.longitudinal), (whole.radial, split.radial)):
        assert one.events.tolist() == other.events.tolist()
        assert one.mean == pytest.approx(other.mean, rel=1e-12)
        assert one.rms == pytest.approx(other.rms, rel=1e-6, abs=1e-9)


def test_hadrons_are_measured_in_interaction_lengths(tmp_path: Path) -> None:
    path = write_showers(tmp_path / "s.root", toy_showers([10], 20, pdg_id=-211))
    found = profiles_of(path, radial=False)
    assert found.depth_unit == "lambda_I"
    assert found.depth == pytest.approx(LAMBDA_EDGES)
    assert found.radial is None
    assert np.isnan(found.radius_of(0.9)).all()


def test_many_energies_are_put_into_bins_equal_in_their_logarithm(tmp_path: Path) -> None:
    columns = toy_showers(np.geomspace(1, 100, 60).tolist(), 120)
    found = profiles_of(write_showers(tmp_path / "s.root", columns), radial=False)
    assert len(found.energy_low) == ENERGY_BINS
    assert found.energy_high[:-1] == pytest.approx(found.energy_low[1:])
    assert np.diff(np.log(found.energy_low)) == pytest.approx(np.log(100) / ENERGY_BINS)
    assert found.longitudinal.events.sum() == 120
    within = (columns["true_energy"] >= found.energy_low[2]) & (columns["true_energy"] < found.energy_high[2])
    assert found.longitudinal.events[2] == np.count_nonzero(within)


def test_twelve_energies_keep_a_profile_each_thirteen_do_not(tmp_path: Path) -> None:
    for number, groups in ((12, 12), (13, ENERGY_BINS)):
        path = write_showers(tmp_path / f"{number}.root", toy_showers(range(1, number + 1), 39))
        assert len(profiles_of(path, radial=False).energy_low) == groups


def test_a_beam_with_a_momentum_spread_is_grouped_by_its_nominal_energy(tmp_path: Path) -> None:
    columns = toy_showers(ENERGIES, EVENTS)
    nominal = columns["true_energy"]
    energy = (nominal * np.random.default_rng(1).normal(1, 0.01, EVENTS)).astype(np.float32)
    path = write_showers(tmp_path / "s.root", columns | {"true_energy": energy, "true_nominal_energy": nominal})
    found = profiles_of(path, radial=False)
    assert found.energy_low.tolist() == list(ENERGIES)
    shares = (columns["layer_energy"] / energy[:, None])[nominal == 10]
    assert found.longitudinal.mean[1] == pytest.approx(shares.mean(axis=0) / np.diff(X0_EDGES))


def test_summaries_are_those_of_the_mean_profiles(tmp_path: Path) -> None:
    columns = toy_showers([10], 20) | {"layer_energy": np.tile([0, 0, 4.0, 4.0, 0], (20, 1)).astype(np.float32)}
    found = profiles_of(write_showers(tmp_path / "s.root", columns))
    assert found.mean_depth == pytest.approx([8.0])
    assert found.radial is not None
    radius = found.radius_of(0.5)[0]
    assert np.interp(radius, RADII, found.radial.mean[0]) == pytest.approx(0.5)


def test_one_shower_has_a_mean_and_no_spread(tmp_path: Path) -> None:
    found = profiles_of(write_showers(tmp_path / "s.root", toy_showers([10], 1)), radial=False)
    assert np.isfinite(found.longitudinal.mean).all()
    assert np.isnan(found.longitudinal.rms).all()


@pytest.mark.parametrize("provenance", ["no json", "[]", '{"simulation": {}}', '{"simulation": {"constants": 3}}'])
def test_a_foreign_provenance_is_none(tmp_path: Path, provenance: str) -> None:
    path = write_showers(tmp_path / "s.root", toy_showers([10], 5), provenance=provenance)
    assert profiles_of(path).depth_unit == "layer"


def not_finite(layers: np.ndarray) -> np.ndarray:
    return np.where(np.arange(layers.size).reshape(layers.shape) == 12, np.nan, layers)


BROKEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no layers": lambda good: {name: values for name, values in good.items() if name != "layer_energy"},
    "no hits": lambda good: {name: values for name, values in good.items() if not name.startswith("hit_")},
    "jagged layers": lambda good: good | {"layer_energy": good["hit_energy"]},
    "flat hits": lambda good: good | {"hit_x": good["true_x"]},
    "energy of zero": lambda good: good | {"true_energy": 0 * good["true_energy"]},
    "not finite": lambda good: good | {"layer_energy": not_finite(good["layer_energy"])},
    "layer too deep": lambda good: good | {"hit_layer": good["hit_layer"] + 1},
    "uneven hits": lambda good: good | {"hit_x": good["hit_x"][::-1]},
    "other layers": lambda good: good | {"layer_energy": good["layer_energy"][:, :3]},
    "no events": lambda good: {name: values[:0] for name, values in good.items()},
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no layers", "branch 'layer_energy' is not there"),
        ("no hits", "branch 'hit_energy' is not there"),
        ("jagged layers", "'layer_energy' is a list in each event, but a fixed array is wanted"),
        ("flat hits", "'hit_x' is a number in each event, but a list is wanted"),
        ("energy of zero", "'true_energy' is not finite and above zero in 20 places of events 0 to 19"),
        ("not finite", "'layer_energy' is not finite in 1 places of events 0 to 19"),
        ("layer too deep", "'hit_layer' goes from 1 to 5, but 'layer_energy' has layers 0 to 4"),
        ("uneven hits", "'hit_x' has not as many elements as 'hit_energy'"),
        ("other layers", "the provenance describes 5 layers, 'layer_energy' has 3"),
        ("no events", "s.root: no events"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, message: str) -> None:
    path = write_showers(tmp_path / "s.root", BROKEN[name](toy_showers([10], 20)), tree=name != "no events")
    with pytest.raises(InputError, match=message) as error:
        profiles_of(path)
    assert "\n" not in str(error.value)
    assert "s.root" in str(error.value)


def test_files_of_different_detectors_are_drawn_apart(tmp_path: Path) -> None:
    other = json.loads(json.dumps(PROVENANCE))
    other["simulation"]["constants"]["sections"][0]["moliere_radius_cm"] = 3.0
    paths = [
        write_showers(tmp_path / "a.root", toy_showers([10], 5)),
        write_showers(tmp_path / "b.root", toy_showers([10], 5), provenance=other),
    ]
    with pytest.raises(InputError, match=r"b\.root:events: has other layers than a\.root"):
        profiles_of(*paths)


def test_hits_are_there_if_every_file_has_them(tmp_path: Path) -> None:
    columns = toy_showers([10], 5)
    paths = [
        write_showers(tmp_path / "a.root", columns),
        write_showers(tmp_path / "b.root", BROKEN["no hits"](columns)),
    ]
    sources = [Source(str(path), None, path.name) for path in paths]
    assert has_hits(sources[:1])
    assert not has_hits(sources)
