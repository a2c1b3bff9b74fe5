"""What ROOT itself reads of the files that are written here; `pip install root`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.cli import run
from calomlp.errors import ExitCode

pytestmark = pytest.mark.integration
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says that it is an early release
    ROOT: Any = pytest.importorskip("ROOT", reason="pip install root")

OBJECTS = ("--explode", "Photon", "--target", "Photon_true", "--energies", "Photon_raw", "--features", "Photon_raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Showers with hits and a model of showers, photons and a model of photons."""
    path = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert run(["simulate", "siw-ecal", "-n", "1500", "--hits", "-o", "data.root"]) == ExitCode.OK
        assert run(["simulate", "siw-ecal", "-n", "500", "--seed", "2", "--hits", "-o", "more.root"]) == ExitCode.OK
        layers = ("--features", "layer_energy", "--loss", "gaussian-nll", "--epochs", "1")
        assert run(["train", "data.root", *layers, "-o", "m.safetensors"]) == ExitCode.OK
        rng = np.random.default_rng(1)
        counts = rng.poisson(2, 1500)
        true = rng.uniform(1, 50, counts.sum())
        photons = ak.zip({"true": true, "raw": true * rng.normal(0.5, 0.05, len(true))})
        with uproot.recreate("photons.root") as file:
            file.mktree("events", {"Photon": ak.unflatten(photons, counts)})
        assert run(["train", "photons.root", *OBJECTS, "--epochs", "1", "-o", "photons.safetensors"]) == ExitCode.OK
    return path


def test_a_simulated_tree(folder: Path) -> None:
    frame = ROOT.RDataFrame("events", str(folder / "data.root"))
    with uproot.open(folder / "data.root") as file:
        expected = file["events"].arrays(["true_energy", "layer_energy", "hit_energy"])
    columns = frame.Define("layers", "Sum(layer_energy)").Define("hits", "Sum(hit_energy)")
    found = columns.AsNumpy(["true_energy", "layers", "hits"])
    assert found["true_energy"] == pytest.approx(expected.true_energy.to_numpy(), rel=0)
    for name in ("layer", "hit"):
        sums = np.array([np.sum(values) for values in expected[f"{name}_energy"]])
        assert found[f"{name}s"] == pytest.approx(sums, rel=1e-5, abs=1e-6)


def test_energies_are_a_friend_of_the_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    command = ["predict", "m.safetensors", "data.root", "--keep", "event_id", "--cut", "true_energy > 5"]
    assert run([*command, "-o", "energies.root"]) == ExitCode.OK
    file = ROOT.TFile("data.root")
    data = file["events"]
    data.AddFriend("calo=events", "energies.root")
    names = ["event_id", "true_energy", "calo.event_id", "calo.calo_energy", "calo.calo_sigma", "calo.calo_in_domain"]
    found = ROOT.RDataFrame(data).AsNumpy(names)
    assert (found["event_id"] == found["calo.event_id"]).all()
    with uproot.open("energies.root") as energies:
        for name in ("calo_energy", "calo_sigma", "calo_in_domain"):
            assert np.array_equal(
                found[f"calo.{name}"], energies["events"][name].array(library="np"), equal_nan=name != "calo_in_domain"
            )
    measured = ~np.isnan(found["calo.calo_energy"])
    assert (measured == (found["true_energy"] > 5)).all()
    count = data.Draw("calo.calo_energy/true_energy", "calo.calo_energy > 0", "goff")
    assert count == np.count_nonzero(measured)


def test_the_energies_of_a_chain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run(["predict", "m.safetensors", "data.root", "more.root", "-o", "chain.root"]) == ExitCode.OK
    chain = ROOT.TChain("events")
    for name in ("data.root", "more.root"):
        chain.Add(name)
    chain.AddFriend("calo=events", "chain.root")
    found = ROOT.RDataFrame(chain).AsNumpy(["true_energy", "calo.calo_energy", "calo.calo_entry"])
    assert found["calo.calo_entry"].tolist() == [*range(1500), *range(500)]
    assert np.median(found["calo.calo_energy"] / found["true_energy"]) == pytest.approx(1, abs=0.05)


def test_lists_of_energies_are_as_long_as_those_of_the_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run(["predict", "photons.safetensors", "photons.root", "-o", "energies-of-photons.root"]) == ExitCode.OK
    file = ROOT.TFile("photons.root")
    data = file["events"]
    data.AddFriend("calo=events", "energies-of-photons.root")
    frame = ROOT.RDataFrame(data).Define("response", "calo.calo_energy / Photon_true")
    assert frame.Filter("calo.calo_energy.size() == Photon_true.size()").Count().GetValue() == 1500
    found = np.concatenate([np.asarray(event) for event in frame.AsNumpy(["response"])["response"]])
    assert np.median(found) == pytest.approx(1, abs=0.03)


def test_an_rntuple(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    models = {"m.safetensors": "data.root", "photons.safetensors": "photons.root"}
    for model, data in models.items():
        output = f"rntuple-{data}"
        assert run(["predict", model, data, "--container", "rntuple", "-o", output]) == ExitCode.OK
        with uproot.open(output) as file:
            expected = ak.max(file["events"].arrays().calo_energy, axis=None)
        frame = ROOT.RDataFrame("events", output)
        assert frame.Count().GetValue() == 1500
        assert frame.Max("calo_energy").GetValue() == pytest.approx(expected)
