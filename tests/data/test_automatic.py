from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet, choose
from calomlp.data.layouts import open_rows
from calomlp.data.rows import Layout
from calomlp.data.sources import Source
from calomlp.errors import InputError
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress
from calomlp.simulation.dataset import write_dataset
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.request import Request, Spectrum

Make = Callable[..., Source]
N_LAYERS = 10


def showers(events: int = 200, seed: int = 1) -> dict[str, Any]:
    """Hits of 1 to 9 units in ten layers, and what they add up to; the first event has none."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 30, events)
    counts[0] = 0
    total = int(counts.sum())
    energy, layer = rng.integers(1, 10, total).astype(float), rng.integers(0, N_LAYERS, total)
    layers = np.zeros((events, N_LAYERS))
    np.add.at(layers, (np.arange(events).repeat(counts), layer), energy)
    hits = {"energy": energy, "layer": layer, "x": rng.normal(size=total), "y": rng.normal(size=total)}
    return {
        "beam": np.linspace(1, 100, events),
        **{f"hit_{name}": ak.unflatten(values, counts) for name, values in hits.items()},
        "layer_energy": layers,
    }


def chosen(source: Source) -> FeatureSet:
    with open_rows(source, Layout()) as table:
        features = choose(table, Expression.parse("beam"), [], [])
        for _, columns in table.chunks(features.branches):
            assert np.isfinite(features.matrix(columns)).all()
        return features


def texts(features: FeatureSet) -> list[str]:
    return [feature.expression for feature in features]


def energies(features: FeatureSet) -> list[str]:
    return [feature.expression for feature in features if feature.energy]


def without(columns: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name not in names}


def in_depth(layers: str, start: str | None) -> list[str]:
    return [
        *(f"depth({layers})", f"depth_rms({layers})"),
        *(f"depth({layers}, {share})" for share in (0.1, 0.5, 0.9)),
        *([f"shower_start({layers}, {start})"] if start else []),
        *(f"share({layers}[{part}], {layers})" for part in (":5", "-5:", "-2:")),
    ]


OF_HITS = [
    "lateral_rms(hit_energy, hit_x, hit_y)",
    "log1p(count(hit_energy))",
    "share(count(hit_energy), hit_energy)",
    "share(max(hit_energy), hit_energy)",
    "spectrum(hit_energy, 2, 4, 8, 14, 24, 40, 80)",
]


def test_hits_and_their_layers_have_one_recipe(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    columns = showers() | {"hit_time": showers()["hit_x"], "temperature": np.ones(200)}
    features = chosen(make_root(columns))
    assert texts(features) == ["layer_energy", *in_depth("layer_energy", "12"), *OF_HITS, "temperature"]
    assert energies(features) == ["layer_energy"]
    assert "hit_energy: hits in 10 layers; 15 % are below 2, taken for a MIP" in caplog.text


def test_without_layers_the_hits_are_added_up(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    features = chosen(make_root(without(showers(), "layer_energy")))
    layers = "layers(hit_energy, hit_layer, 10)"
    assert texts(features) == [layers, *in_depth(layers, "12"), *OF_HITS]
    assert energies(features) == [layers]
    assert f"features: p0 = {layers}, depth(p0), depth_rms(p0), " in caplog.text


def test_layers_in_another_unit_have_a_threshold_of_their_own(make_root: Make) -> None:
    columns = showers()
    features = chosen(make_root(columns | {"layer_energy": 1000 * columns["layer_energy"]}))
    assert "shower_start(layer_energy, 1.2e+04)" in texts(features)
    assert OF_HITS[-1] in texts(features)


def test_layers_of_another_calorimeter_are_added_to_the_hits(make_root: Make) -> None:
    columns = showers()
    features = chosen(make_root(columns | {"layer_energy": showers(seed=2)["layer_energy"][::-1].copy()}))
    assert energies(features) == ["layers(hit_energy, hit_layer, 10)", "layer_energy"]
    assert set(in_depth("layer_energy", None)) < set(texts(features))


def test_layers_alone(make_root: Make) -> None:
    features = chosen(make_root({"beam": np.ones(5), "layer_energy": np.ones((5, 30)), "n_hits": np.arange(5)}))
    assert texts(features) == ["layer_energy", *in_depth("layer_energy", None), "n_hits"]


@pytest.mark.parametrize(("number", "shapes"), [(2, 0), (3, 5), (7, 5), (8, 8)])
def test_few_layers_have_few_shapes(make_root: Make, number: int, shapes: int) -> None:
    features = chosen(make_root({"beam": np.ones(5), "edep_layer": np.ones((5, number))}))
    assert texts(features) == ["edep_layer", *in_depth("edep_layer", None)[:shapes]]


def test_crystals_are_no_layers(make_root: Make) -> None:
    features = chosen(make_root({"beam": np.ones(5), "crystal_energy": np.ones((5, 25))}))
    assert texts(features) == ["crystal_energy"]


def test_layers_that_only_rare_showers_reach_are_counted(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.reader._CHUNK_BYTES", 1)  # the first ten events alone decide on nothing
    columns = showers()
    columns.pop("layer_energy")
    late = ak.to_numpy(ak.max(columns["hit_layer"], axis=1)) > 8
    columns = {name: values[np.argsort(late, kind="stable")] for name, values in columns.items()}
    assert not late[np.argsort(late, kind="stable")][:10].any()
    assert energies(chosen(make_root(columns))) == ["layers(hit_energy, hit_layer, 10)"]


def test_an_array_of_something_else_has_no_shapes(make_root: Make) -> None:
    columns = {"beam": np.ones(5), "e": np.ones(5), "position": np.ones((5, 30)), "cells_energy": np.ones((5, 4, 4))}
    assert texts(chosen(make_root(columns))) == ["e", "position", "cells_energy"]


def test_planes_along_z_are_layers(make_root: Make) -> None:
    columns = without(showers(), "layer_energy")
    planes = np.array([50.0, 52.5, 55.0, 60.0, 62.5, 65.0, 67.5, 70.0, 72.5, 80.0])
    z = ak.unflatten(planes[ak.to_numpy(ak.flatten(columns["hit_layer"]))], ak.num(columns["hit_layer"]))
    features = chosen(make_root(without(columns, "hit_layer") | {"hit_pos_z": z}))
    layers = "layers(hit_energy, hit_pos_z, 13, 48.75, 81.25)"
    assert energies(features) == [layers]
    assert texts(features)[1] == f"depth({layers})"


@pytest.mark.parametrize("place", ["z", "layer"])
def test_places_that_tell_no_layers_leave_the_sum(make_root: Make, place: str) -> None:
    columns = without(showers(), "layer_energy", "hit_layer")
    features = chosen(make_root(columns | {f"hit_{place}": 1000 * columns["hit_x"]}))
    assert texts(features) == ["sum(hit_energy)", *OF_HITS]
    assert energies(features) == ["sum(hit_energy)"]


def test_hits_as_members_of_a_collection(make_root: Make) -> None:
    columns = showers()
    members = {"energy": "hit_energy", "energyError": "hit_x", "iLayer": "hit_layer", "position.y": "hit_y"}
    renamed = {f"ECalBarrel.{name}": columns[column] for name, column in members.items()}
    features = chosen(make_root({"beam": columns["beam"], **renamed}))
    layers = "layers(ECalBarrel.energy, ECalBarrel.iLayer, 10)"
    assert energies(features) == [layers]
    assert not any("Error" in text or "lateral" in text for text in texts(features))


def test_two_collections_have_a_recipe_each(make_root: Make) -> None:
    columns = without(showers(), "layer_energy")
    second = {name.replace("hit", "hcal"): values for name, values in columns.items() if name.startswith("hit_")}
    features = chosen(make_root(columns | second))
    assert energies(features) == [f"layers({name}_energy, {name}_layer, 10)" for name in ("hcal", "hit")]


@pytest.mark.parametrize(
    "columns",
    [
        {"jet_e": showers()["hit_energy"], "jet_eta": showers()["hit_x"]},
        {"a_energy": showers()["hit_energy"], "a_layer": showers(seed=2)["hit_layer"]},
        {"a_energy": -showers()["hit_energy"], "a_layer": showers()["hit_layer"]},
    ],
    ids=["no layers", "of other elements", "nothing above zero"],
)
def test_lists_that_are_no_hits_are_summed_and_counted(make_root: Make, columns: dict[str, Any]) -> None:
    features = chosen(make_root({"beam": np.ones(200), **columns}))
    assert texts(features) == [f"{function}({name})" for name in columns for function in ("sum", "count")]


def test_a_file_without_events_tells_nothing(make_root: Make) -> None:
    empty = {name: values[:0] for name, values in showers().items()}
    with pytest.raises(InputError, match="has no events"):
        chosen(make_root(empty))


@pytest.mark.parametrize(
    ("detector", "particle", "low", "high"),
    [
        ("ahcal", "pi-", 0.9, 1.05),
        ("ahcal", "e-", 0.75, 0.9),
        ("siw-ecal", "e-", 1.1, 1.3),  # of the mean over three stacks, 4.2, 7.5 and 10.8 MeV
        ("siw-ecal", "mu-", 0.55, 0.7),
    ],
)
def test_the_mip_is_that_of_the_simulation(
    tmp_path: Path, detector: str, particle: str, low: float, high: float
) -> None:
    path = tmp_path / "s.root"
    described = load_detector(detector)
    request = Request(described, ((particle, 1.0),), Spectrum.parse("4:100"), 200, 1, hits=True)
    write_dataset(request, path, "ttree", {}, progress=Progress(), interrupt=Interrupt())
    with open_rows(Source(str(path), None, "s.root"), Layout()) as table:
        features = choose(table, Expression.parse("true_energy"), [], [])
    assert energies(features) == ["layer_energy"]
    assert "nhit" not in texts(features)
    (spectrum,) = (text for text in texts(features) if text.startswith("spectrum"))
    true = np.mean([section["mip_gev"] for section in described.constants()["sections"]])
    assert low < float(spectrum.split(", ")[1]) / true < high
