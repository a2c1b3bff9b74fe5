"""One event of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.sources import Source, resolve
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.profiles import ShowerEvent, shower_event
from calomlp.streams import Streams
from tests.plotting.toy_showers import LAMBDA_EDGES, N_LAYERS, PROVENANCE, X0_EDGES, toy_showers, write_showers

ENERGIES = (2.0, 10.0, 50.0)
EVENTS = 90


def sources_of(*paths: Path) -> list[Source]:
    return [Source(str(path), None, path.name) for path in paths]


def one_event(hits: list[tuple[float, int, float, float]], **others: Any) -> dict[str, Any]:
    """Return the columns of an event with these hits: energy, layer, x and y."""
    names = ("hit_energy", "hit_layer", "hit_x", "hit_y")
    columns = zip(*hits, strict=True) if hits else [()] * len(names)
    kinds = (np.float32, np.int32, np.float32, np.float32)
    branches = {
        name: ak.unflatten(np.array(values, dtype=kind), [len(values)])
        for name, values, kind in zip(names, columns, kinds, strict=True)
    }
    return {"true_energy": np.ones(1), "layer_energy": np.ones((1, N_LAYERS)), **branches, **others}


def with_cells(*sizes: str) -> dict[str, Any]:
    """Return the provenance of a detector whose groups of layers have such cells."""
    simulation: dict[str, Any] = {**PROVENANCE["simulation"]}
    groups = zip(simulation["detector"]["layers"], sizes, strict=True)
    return {"simulation": {**simulation, "detector": {"layers": [{**own, "cell_size": size} for own, size in groups]}}}


def test_a_data_set_without_hits_is_refused(tmp_path: Path) -> None:
    columns = {name: values for name, values in toy_showers(ENERGIES, 5).items() if not name.startswith("hit_")}
    path = write_showers(tmp_path / "s.root", columns)
    for call in (lambda: shower_event(sources_of(path)), lambda: event_of(path, 3)):
        with pytest.raises(InputError, match=r"s\.root:events: branch 'hit_energy' is not there") as error:
            call()
        assert "\n" not in str(error.value)


def event_of(path: Path, number: int | None = None) -> ShowerEvent:
    return shower_event(sources_of(path), number)


@pytest.mark.parametrize("tree", [True, False])
def test_an_event_is_counted_through_all_files(tmp_path: Path, tree: bool) -> None:
    columns = toy_showers(ENERGIES, EVENTS)
    cuts = (slice(40), slice(40, 70), slice(70, None))
    for i, rows in enumerate(cuts):
        write_showers(tmp_path / f"{i}.root", {k: v[rows] for k, v in columns.items()}, tree=tree)
    listed = tmp_path / "files.txt"
    listed.write_text("\n".join(str(tmp_path / f"{i}.root") for i in range(len(cuts))))
    sources = resolve([f"@{listed}"], Streams())
    for number, file, entry in ((0, 0, 0), (39, 0, 39), (40, 1, 0), (69, 1, 29), (89, 2, 19)):
        found = shower_event(sources, number)
        assert (found.file, found.entry) == (str(tmp_path / f"{file}.root"), entry)
        assert found.true_energy == columns["true_energy"][number]
        assert found.pdg_id == 11
        assert found.layer_energy.tolist() == columns["layer_energy"][number].tolist()
        assert found.depth.tolist() == X0_EDGES
        assert found.depth_unit == "X0"
        hits = [np.array(columns[name][number]) for name in ("hit_energy", "hit_layer")]
        assert found.hits == len(hits[0])
        in_layers = np.bincount(hits[1], hits[0], N_LAYERS)
        for edges, energy in ((found.x_edges, found.x), (found.y_edges, found.y)):
            assert energy.shape == (len(edges) - 1, N_LAYERS)
            assert energy.sum(axis=0) == pytest.approx(in_layers)
    for number in (90, 5000, -1):
        with pytest.raises(UsageError, match=rf"event {number} is not there: there are 90 events, counted from 0"):
            shower_event(sources, number)


def test_without_a_number_an_event_has_as_many_hits_as_the_median(tmp_path: Path, monkeypatch: Any) -> None:
    columns = toy_showers(ENERGIES, EVENTS)
    parts = [{name: values[rows] for name, values in columns.items()} for rows in (slice(40), slice(40, None))]
    paths = [write_showers(tmp_path / f"{i}.root", part) for i, part in enumerate(parts)]
    hits = ak.to_numpy(ak.num(columns["hit_energy"])).tolist()
    for look in (1000, 41, 7):
        monkeypatch.setattr("calomlp.evaluation.profiles._LOOK", look)
        seen = hits[:look]
        middle = sorted(seen)[(len(seen) - 1) // 2]
        assert shower_event(sources_of(*paths)).entry == seen.index(middle) % 40
        assert shower_event(sources_of(*paths)).hits == middle


def test_no_events_are_no_event(tmp_path: Path) -> None:
    empty = {name: values[:0] for name, values in toy_showers(ENERGIES, 5).items()}
    path = write_showers(tmp_path / "s.root", empty)
    with pytest.raises(InputError, match=r"s\.root: no events"):
        event_of(path)
    with pytest.raises(UsageError, match="there are 0 events"):
        event_of(path, 0)


def test_hadrons_and_unknown_particles_have_their_depths(tmp_path: Path) -> None:
    pions = event_of(write_showers(tmp_path / "p.root", toy_showers([10], 5, pdg_id=211)), 1)
    assert (pions.depth_unit, pions.pdg_id) == ("lambda_I", 211)
    assert pions.depth == pytest.approx(LAMBDA_EDGES)
    hits = [(1.0, 0, 0.5, 0.5)]
    unknown = event_of(write_showers(tmp_path / "u.root", one_event(hits)))
    assert (unknown.depth_unit, unknown.pdg_id) == ("X0", None)
    nothing = event_of(write_showers(tmp_path / "n.root", one_event(hits), provenance=None))
    assert nothing.depth_unit == "layer"
    assert nothing.depth == pytest.approx(np.arange(N_LAYERS + 1) - 0.5)


def test_cells_follow_from_the_places_of_the_hits(tmp_path: Path) -> None:
    hits = [(1.0, 0, -1.53, 0.0), (2.0, 0, 0.51, 0.0), (4.0, 3, 1.53, 3.0), (8.0, 3, 0.51, 9.0), (16.0, 3, 0.51, 9.0)]
    found = event_of(write_showers(tmp_path / "s.root", one_event(hits), provenance=None))
    assert found.x_edges == pytest.approx([-2.04, -1.02, 0, 1.02, 2.04], abs=1e-4)
    assert found.x[:, 0].tolist() == [1, 0, 2, 0]
    assert found.x[:, 3].tolist() == [0, 0, 24, 4]  # nothing leaks into a neighbour
    assert not found.x[:, [1, 2, 4]].any()
    assert found.y_edges == pytest.approx([-1.5, 1.5, 4.5, 7.5, 10.5], abs=1e-4)
    assert found.y[:, 3].tolist() == [0, 4, 0, 24]


def test_cells_of_a_known_size_are_wide_as_they_are(tmp_path: Path) -> None:
    hits = [(1.0, 0, -0.5, 1.5), (2.0, 1, 0.5, 1.5), (9.0, 3, -1.5, 1.5), (3.0, 4, 1.5, -1.5)]
    path = write_showers(tmp_path / "s.root", one_event(hits), provenance=with_cells("1 cm", "3 cm"))
    found = event_of(path)
    assert found.x_edges.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert found.x[:, 0].tolist() == [0, 0, 1, 0, 0, 0]
    assert found.x[:, 1].tolist() == [0, 0, 0, 2, 0, 0]
    assert found.x[:, 3] == pytest.approx([3, 3, 3, 0, 0, 0])
    assert found.x[:, 4] == pytest.approx([0, 0, 0, 1, 1, 1])
    assert found.y[:, 3] == pytest.approx([0, 0, 0, 3, 3, 3])


@pytest.mark.parametrize("sizes", [("1 cm", "no size"), ("0 cm", "1 cm"), ("1 GeV", "1 cm")])
def test_cells_that_are_not_described_are_taken_from_the_hits(tmp_path: Path, sizes: tuple[str, str]) -> None:
    hits = [(1.0, 0, -2.0, 0.0), (2.0, 1, 2.0, 0.0), (2.0, 1, 4.0, 0.0)]
    found = event_of(write_showers(tmp_path / "s.root", one_event(hits), provenance=with_cells(*sizes)))
    assert found.x_edges.tolist() == [-3, -1, 1, 3, 5]
    assert found.y_edges.tolist() == [-0.5, 0.5]


def test_places_on_no_grid_are_put_into_bins_of_a_centimetre(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hits = [(1.0, 0, x, 1e6 * x) for x in rng.uniform(-5, 5, 300).tolist()]
    found = event_of(write_showers(tmp_path / "s.root", one_event(hits), provenance=None))
    assert np.diff(found.x_edges) == pytest.approx(1)
    places = np.array([x for _, _, x, _ in hits], dtype=np.float32)
    assert found.x_edges[0] == pytest.approx(places.min())
    assert found.x[:, 0] == pytest.approx(np.histogram(places, found.x_edges)[0], abs=0.01)
    assert 1900 < len(found.y) <= 2001  # bounded, however far they are apart
    assert found.y.sum() == pytest.approx(300)


def test_an_event_without_hits_is_empty(tmp_path: Path) -> None:
    found = event_of(write_showers(tmp_path / "s.root", one_event([])))
    assert (found.hits, found.x.shape, found.y.shape) == (0, (1, N_LAYERS), (1, N_LAYERS))
    assert not found.x.any()


def test_an_event_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = write_showers(tmp_path / "s.root", one_event([(1.0, 9, 0.0, 0.0)]))
    with pytest.raises(InputError, match="'hit_layer' goes from 9 to 9"):
        event_of(path)
    path = write_showers(tmp_path / "n.root", one_event([(1.0, 0, np.nan, 0.0)]))
    with pytest.raises(InputError, match="'hit_x' is not finite in 1 places of events 0 to 0"):
        event_of(path, 0)
