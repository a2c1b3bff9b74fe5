from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.choice import Wanted, choose
from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sources import Source
from calomlp.errors import InputError
from calomlp.run import Run
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.output import write_dataset
from calomlp.simulation.request import Request, Spectrum

Make = Callable[..., Source]
N_LAYERS = 10


def showers(events: int = 200, seed: int = 1) -> dict[str, Any]:
    """Hits of some units in ten layers, and what they add up to; the first event has none."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 30, events)
    counts[0] = 0
    total = int(counts.sum())
    energy, layer = rng.geometric(0.3, total).astype(float), rng.integers(0, N_LAYERS, total)
    layers = np.zeros((events, N_LAYERS))
    np.add.at(layers, (np.arange(events).repeat(counts), layer), energy)
    hits = {"energy": energy, "layer": layer, "x": rng.normal(size=total), "y": rng.normal(size=total)}
    return {
        "beam": np.linspace(1, 100, events),
        **{f"hit_{name}": ak.unflatten(values, counts) for name, values in hits.items()},
        "layer_energy": layers,
    }


def chosen(source: Source, **options: Any) -> FeatureSet:
    with open_rows(source, Layout()) as table:
        features, _ = choose(table, Expression.parse("beam"), Wanted(**options))
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
    features = chosen(make_root(columns), mip=2.0)
    assert texts(features) == ["layer_energy", *in_depth("layer_energy", "12"), *OF_HITS]
    assert energies(features) == ["layer_energy"]
    assert "hit_energy: hits in 10 layers; a MIP is 2" in caplog.text
    assert "left out, the features of its hits stand for it: hit_layer, hit_time" in caplog.text
    assert "left out, not recognised as a readout: temperature" in caplog.text


def test_without_layers_the_hits_are_added_up(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    features = chosen(make_root(without(showers(), "layer_energy")), mip=2.0)
    layers = "layers(hit_energy, hit_layer, 10)"
    assert texts(features) == [layers, *in_depth(layers, "12"), *OF_HITS]
    assert energies(features) == [layers]
    assert f"features: p0 = {layers}, depth(p0), depth_rms(p0), " in caplog.text


def test_layers_in_another_unit_have_a_threshold_of_their_own(make_root: Make) -> None:
    columns = showers()
    features = chosen(make_root(columns | {"layer_energy": 1000 * columns["layer_energy"]}), mip=2.0)
    assert "shower_start(layer_energy, 1.2e+04)" in texts(features)
    assert "spectrum(hit_energy, 2, 4, 8, 14, 24, 40, 80)" in texts(features)


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
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 1)  # the first ten events alone decide on nothing
    columns = showers()
    columns.pop("layer_energy")
    late = ak.to_numpy(ak.max(columns["hit_layer"], axis=1)) > 8
    columns = {name: values[np.argsort(late, kind="stable")] for name, values in columns.items()}
    assert not late[np.argsort(late, kind="stable")][:10].any()
    assert energies(chosen(make_root(columns))) == ["layers(hit_energy, hit_layer, 10)"]


def test_an_array_of_something_else_has_no_shapes(make_root: Make) -> None:
    columns = {"beam": np.ones(5), "e": np.ones(5), "position": np.ones((5, 30)), "cells_energy": np.ones((5, 4, 4))}
    assert texts(chosen(make_root(columns))) == ["e", "cells_energy"]


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
    features = chosen(make_root(columns | {f"hit_{place}": 1000 * columns["hit_x"]}), mip=2.0)
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
    second = {name.replace("hit", "hcal"): item for name, item in showers(seed=2).items() if name.startswith("hit_")}
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
    energy, _ = columns
    features = chosen(make_root({"beam": np.ones(200), **columns}))
    assert texts(features) == [f"{function}({energy})" for function in ("sum", "count")]


def test_a_file_without_events_tells_nothing(make_root: Make) -> None:
    empty = {name: values[:0] for name, values in showers().items()}
    with pytest.raises(InputError, match="has no events"):
        chosen(make_root(empty))


def test_without_the_peak_of_a_mip_the_bins_of_the_spectrum_hold_the_same_energy(
    make_root: Make, caplog: pytest.LogCaptureFixture
) -> None:
    columns = without(showers(), "layer_energy")
    energy = np.random.default_rng(1).pareto(1.5, len(ak.flatten(columns["hit_energy"]))) + 0.1
    features = chosen(make_root(columns | {"hit_energy": ak.unflatten(energy, ak.num(columns["hit_energy"]))}))
    assert "no peak of a MIP" in caplog.text
    (spectrum,) = (text for text in texts(features) if text.startswith("spectrum"))
    edges = [0, *map(float, spectrum[:-1].split(", ")[1:]), np.inf]
    shares = np.histogram(energy, edges, weights=energy)[0] / energy.sum()
    assert shares == pytest.approx(np.full(8, 1 / 8), abs=0.03)
    assert not any("shower_start" in text for text in texts(features))


def test_the_same_deposits_enter_once(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(3)
    beam = rng.uniform(1, 100, 1000)
    share = rng.dirichlet(np.ones(20), 1000)
    layers = 0.03 * (beam * rng.normal(1, 0.05, 1000))[:, None] * share
    columns = {
        "beam": beam,
        "layer_e": layers,
        "layer_ebirks": layers * rng.normal(0.9, 0.01, (1000, 20)),
        "crystal_e": 0.1 * (beam * rng.normal(1, 0.05, 1000))[:, None] * share[:, :9],  # another detector
        "e_total": 1000 * layers.sum(axis=1),
        "hcal_energy": beam * rng.normal(0.5, 0.1, 1000),
        "left_adc": beam * rng.normal(2, 0.05, 1000),
        "right_adc": beam * rng.normal(2, 0.05, 1000),
    }
    features = chosen(make_root(columns))
    assert energies(features) == ["layer_e", "crystal_e", "hcal_energy", "left_adc", "right_adc"]
    assert "left out, the same deposits as layer_e: layer_ebirks, e_total" in caplog.text


def test_crystals_rather_than_slices_of_them(make_root: Make) -> None:
    rng = np.random.default_rng(3)
    beam = rng.uniform(1, 100, 500)
    columns = {
        "beam": beam,
        "layer_e": (beam * 0.95)[:, None] * rng.dirichlet(np.ones(26), 500),
        "crystal_e": (beam * 0.95)[:, None] * rng.dirichlet(np.ones(25), 500),
    }
    assert texts(chosen(make_root(columns))) == ["crystal_e"]


def test_a_block_that_is_called_absorber_is_read_out_if_nothing_else_is(make_root: Make) -> None:
    columns = {"beam": np.ones(5), "Eabs": np.ones(5), "Labs": np.ones(5), "Edead": np.ones(5)}
    assert texts(chosen(make_root(columns))) == ["Eabs"]
    assert texts(chosen(make_root(columns | {"Egap": np.ones(5)}))) == ["Egap"]


def test_where_the_object_is_and_how_wide_is_for_the_network(make_root: Make) -> None:
    rng = np.random.default_rng(1)
    names = ("cluster_e", "cluster_x", "cluster_sigma", "eta", "row", "n_cells", "jet_eta", "vertex_z", "x0", "t")
    columns = {name: rng.uniform(1, 2, 9) for name in names} | {"cluster_time": np.full(9, np.nan)}
    features = chosen(make_root({"beam": np.ones(9), **columns}))
    assert texts(features) == ["cluster_e", "cluster_x", "cluster_sigma", "eta", "row", "n_cells"]
    assert energies(features) == ["cluster_e"]


@pytest.mark.parametrize(("charges", "taken"), [([-1, 0, 1] * 3, False), ([3.2, 0.1, 7.7] * 3, True)])
def test_a_charge_is_electric_or_a_signal(make_root: Make, charges: list[float], taken: bool) -> None:
    columns = {"beam": np.ones(9), "ecal": np.arange(9.0), "charge": np.array(charges)}
    assert ("charge" in texts(chosen(make_root(columns)))) is taken


def test_counters_in_the_beam_are_for_the_network_alone(make_root: Make) -> None:
    features = chosen(make_root({"beam": np.ones(9), "mcal_energy": np.arange(9.0), "mcp_charge": np.arange(9) / 7}))
    assert texts(features) == ["mcal_energy", "mcp_charge"]
    assert energies(features) == ["mcal_energy"]


@pytest.mark.parametrize("threshold", [0.02, pytest.param(0.1, marks=pytest.mark.slow), 0.5])
@pytest.mark.parametrize(
    ("detector", "particle"),
    [("ahcal", "pi-"), ("ahcal", "mu-"), ("ahcal", "e-"), ("siw-ecal", "pi-"), ("siw-ecal", "mu-"), ("siw-ecal", "e-")],
)
def test_the_mip_is_that_of_the_simulation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, detector: str, particle: str, threshold: float
) -> None:
    path = tmp_path / "s.root"
    described = load_detector(detector, (f"readout.threshold={threshold}MIP", f"readout.noise={threshold / 5}MIP"))
    request = Request(described, ((particle, 1.0),), Spectrum.parse("4:100"), 500, 1, hits=True)
    write_dataset(request, path, "ttree", {}, Run())
    with open_rows(Source(str(path), None, "s.root"), Layout()) as table:
        features, _ = choose(table, Expression.parse("true_energy"), Wanted())
    assert energies(features) == ["layer_energy"]
    assert "nhit" not in texts(features)
    (spectrum,) = (text for text in texts(features) if text.startswith("spectrum"))
    true = np.mean([section["mip_gev"] for section in described.constants()["sections"]])
    if particle == "e-" and "no peak of a MIP" in caplog.text:  # in the dense core of electrons there may be none
        return
    assert float(spectrum.split(", ")[1]) / true == pytest.approx(1, abs=0.25)
