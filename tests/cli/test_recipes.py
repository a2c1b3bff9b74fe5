"""The recipes of sample_data for the files of others, on files like theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.cli.flags import TABLES
from calomlp.data.choice import Wanted, choose
from calomlp.data.expressions import Expression
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sources import Source
from calomlp.settings import load_config
from tests.conftest import ROOT, SAMPLE_DATA, Run

COMPAT = Path(os.environ.get("CALOMLP_COMPAT", ROOT / "../shared/compat"))
N = 1500

Columns = dict[str, Any]


def spread(rng: np.random.Generator, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many hits events have, and the energies of all of them, which add up to 80 % of the event's."""
    counts = 20 + rng.poisson(20, len(energy))
    share = rng.exponential(size=int(counts.sum()))
    event = np.arange(len(energy)).repeat(counts)
    measured = 0.8 * energy * (1 + 0.05 * rng.standard_normal(len(energy)))
    return counts, share * (measured / np.bincount(event, share))[event]


def edm4hep(folder: Path, rng: np.random.Generator) -> None:
    energy = np.exp(rng.uniform(0, 4, N))
    counts, hits = spread(rng, energy)
    radius, angle = rng.uniform(1800, 2000, len(hits)), rng.uniform(0, 6.28, len(hits))
    direction = rng.standard_normal((N, 3))
    momentum = energy[:, None] * direction / np.linalg.norm(direction, axis=1)[:, None]
    two = np.full(N, 2)

    def particles(values: np.ndarray) -> ak.Array:
        """The primary, and one that it made."""
        return ak.unflatten(np.stack([values, 3 * values], axis=1).ravel(), two)

    columns = {f"MCParticles.momentum.{axis}": particles(momentum[:, i]) for i, axis in enumerate("xyz")}
    columns["MCParticles.generatorStatus"] = ak.unflatten(np.tile([1, 0], N), two)
    for name, values in (
        ("energy", hits),
        ("position.x", radius * np.cos(angle)),
        ("position.y", radius * np.sin(angle)),
        ("position.z", rng.normal(0, 30, len(hits))),
    ):
        columns[f"ECalBarrelCollection.{name}"] = ak.unflatten(values, counts)
    write(folder / "run1.edm4hep.root", {"events": columns})


def nanoaod(folder: Path, rng: np.random.Generator) -> None:
    counts = 1 + np.arange(N) % 3
    n = int(counts.sum())
    n_gen = counts + 1
    gen = np.exp(rng.uniform(2, 5, int(n_gen.sum())))
    first = n_gen.cumsum() - n_gen
    index = np.concatenate([rng.permutation(count) for count in counts])
    matched = gen[first.repeat(counts) + index]
    unmatched = np.arange(n) % 50 == 7
    columns: Columns = {
        "Photon_pt": np.where(unmatched, 20.0, 0.9 * matched * (1 + 0.03 * rng.standard_normal(n))),
        "Photon_genPartIdx": np.where(unmatched, -1, index),
        "Photon_genPartFlav": np.where(unmatched, 0, 1),
    }
    for name in ("eta", "r9", "sieie", "hoe", "pfRelIso03_all"):
        columns[f"Photon_{name}"] = rng.random(n)
    columns = {name: ak.unflatten(values.astype(np.float32), counts) for name, values in columns.items()}
    columns |= {"GenPart_pt": ak.unflatten(gen, n_gen), "PV_npvs": rng.integers(10, 60, N)}
    write(folder / "nano.root", {"Events": columns, "Runs": {"run": np.ones(1)}})


def geant4(folder: Path, rng: np.random.Generator) -> None:
    energy = 1000 * np.exp(rng.uniform(0, 4, N))
    counts, hits = spread(rng, energy)
    event = rng.permutation(2 * N)[:N]  # from several threads, and not every event has hits
    columns = {"EventID": event.repeat(counts), "Layer": rng.integers(0, 30, len(hits)), "Edep": hits}
    truth = {"EventID": np.arange(2 * N), "Ekin": np.zeros(2 * N)}
    truth["Ekin"][event] = energy
    write(folder / "output_1.root", {"Hits": columns, "Primaries": truth})


def gate(folder: Path, rng: np.random.Generator) -> None:
    for kev in (511, 662, 1275):
        counts, hits = spread(rng, np.full(N, kev / 1000))
        columns = {"eventID": np.arange(N).repeat(counts), "edep": hits.astype(np.float32)}
        columns |= {f"localPos{axis}": rng.normal(size=len(hits)) for axis in "XY"}
        write(folder / f"source_1_{kev}keV.root", {"Hits": columns})


def write(path: Path, trees: dict[str, Columns]) -> None:
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            file.mktree(name, columns)


Recipe = tuple[Callable[[Path, np.random.Generator], None], tuple[str, ...], float, float, float]

RECIPES: dict[str, Recipe] = {
    "edm4hep": (edm4hep, ("*.edm4hep.root",), 1, 54.6, 1 / 0.8),
    "nanoaod": (nanoaod, ("nano.root",), 7.4, 148.4, 1 / 0.9),
    "geant4": (geant4, ("output_*.root",), 1, 54.6, 1e-3 / 0.8),
    "gate": (gate, (), 0.511e-3, 1.275e-3, 1e-3 / 0.8),
}
"""How files are made, how they are named, lowest and highest true energy [GeV], and GeV per unit that is measured."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_evaluates(calomlp: Run, tmp_path: Path, name: str) -> None:
    make, files, low, high, scale = RECIPES[name]
    make(tmp_path, np.random.default_rng(1))
    config = SAMPLE_DATA / f"{name}.toml"
    trained = calomlp("train", *files, "--config", config, "--epochs", "2", "-o", "m.safetensors")
    assert trained.returncode == 0, trained.stderr.decode()
    document = json.loads(calomlp("inspect", "m.safetensors", "--json").stdout)["model"]
    envelope = document["envelope"]
    assert envelope["energy_min"] == pytest.approx(low, rel=0.02)
    assert envelope["energy_max"] == pytest.approx(high, rel=0.02)
    assert document["summary"]["sum_scale"] == pytest.approx(scale, rel=0.02)
    assert document["history"][-1]["validation_resolution"] < 0.1
    evaluated = calomlp("evaluate", "m.safetensors", "-o", "r.json")
    assert evaluated.returncode == 0, evaluated.stderr.decode()
    first, *_ = json.loads((tmp_path / "r.json").read_text())["curves"]
    assert sum(bin_["events"] for bin_ in first["bins"]) > N / 10


@pytest.mark.skipif(not COMPAT.is_dir(), reason="a collection of foreign files, not part of the project")
@pytest.mark.parametrize(
    ("recipe", "file", "rename"),
    [
        (
            "edm4hep",
            "coffea_edm4hep.root:events",
            {"MCParticles": "MCParticleCollection", "ECalBarrelCollection": "CalorimeterHitCollection"},
        ),
        ("nanoaod", "cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1.root:Events", {}),
        ("nanoaod", "nano_dy_empty.root:Events", {}),
        (
            "geant4",
            "uproot-from-geant4.root:HitStrips",
            {"EventID": "Event", "Edep": "Energy", "Layer": "Laystrip % 30", "Ekin": "p"},
        ),
    ],
)
def test_a_recipe_reads_files_from_the_wild(recipe: str, file: str, rename: dict[str, str]) -> None:
    table = load_config(str(SAMPLE_DATA / f"{recipe}.toml"), "train", TABLES)

    def own(text: str) -> str:
        for ours, theirs in rename.items():
            text = text.replace(ours, theirs)
        return text

    path, _, tree = file.partition(":")
    friends = (Source(str(COMPAT / path), "GeneratedTracks", path),) if recipe == "geant4" else ()
    source = Source(str(COMPAT / path), tree, path, friends=friends)
    layout = Layout(table.get("explode", ""), own(table.get("group_by", "")))
    target = Expression.parse(own(table["target"]))
    features = [own(text) for text in table["features"]]
    with open_rows(source, layout) as rows:
        needed = target.branches.union(*(Expression.parse(text).branches for text in features))
        rows.require(needed)
        read = 0
        for entries, columns in rows.chunks(needed):
            wanted = Wanted(tuple(features), energies=tuple(table.get("energies", [])))
            matrix = choose(rows, target, wanted)[0].matrix(columns)
            assert matrix.shape == (len(entries), len(matrix[0])) if len(entries) else True
            read += len(entries)
        assert read == rows.entries
