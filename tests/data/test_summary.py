"""What a file is said to hold, and how to begin with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.data.root import open_file
from calomlp.data.sources import Source, energies_from_names
from calomlp.data.suggestions import PLACEHOLDER, BranchSummary, Suggestions, TreeSummary, suggest, summarise
from calomlp.errors import InputError
from calomlp.run import Interrupt

Make = Callable[..., Source]

N = 400
RNG = np.random.default_rng(1)
HITS = ak.Array([RNG.exponential(1, number) for number in RNG.poisson(3, N)])
SHOWERS = {
    "event": np.arange(N),
    "true_energy": np.repeat([10.0, 20.0, 50.0, 100.0], N // 4),
    "layer_energy": RNG.exponential(1, (N, 5)),
    "hit_energy": HITS,
    "hit_x": HITS * 2,
}


def look(source: Source) -> list[TreeSummary]:
    with open_file(source) as file:
        return summarise(file, Interrupt())


def branches(source: Source) -> dict[str, BranchSummary]:
    (tree,) = look(source)
    return {branch.name: branch for branch in tree.branches}


def suggestions(source: Source) -> Suggestions:
    found = suggest(look(source), source, "f.root")
    assert found is not None
    return found


def test_what_is_counted(make_root: Make) -> None:
    values = np.array([0.0, 0.0, 3.0, np.nan, np.inf, 1.0, 1.0, 1.0])
    found = branches(make_root({"x": values, "k": np.full(8, 7), "h": ak.Array([[1.0, 2.0], [], [6.0], *[[]] * 5])}))
    x, k, h = (found[name].values for name in "xkh")
    assert x is not None
    assert (x.numbers, x.min, x.mean, x.max, x.non_finite, x.zeros) == (8, 0, 1, 3, 2, 0.25)
    assert (x.distinct, x.repeats, x.constant) == (3, 3 / 8, False)
    assert k is not None
    assert k.constant
    assert h is not None
    assert (h.numbers, h.mean, h.per_event, h.distinct) == (3, 3, 3 / 8, None)


def test_layouts(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        regular = {"number": np.zeros(2), "array": np.zeros((2, 3)), "image": np.zeros((2, 3, 4))}
        columns = {name: ak.from_numpy(values, regulararray=True) for name, values in regular.items()}
        others = {"text": ["a", "b"], "list": ak.Array([[1.0], []]), "nested": ak.Array([[[1.0], []], []])}
        file.mkrntuple("events", ak.Array(columns | others))
    found = branches(Source(str(path), None, "f.root"))
    layouts = {name: branch.layout for name, branch in found.items()}
    assert layouts == {
        "number": "number",
        "array": "3",
        "image": "3x4",
        "text": "not numeric",
        "list": "list",
        "nested": "list of lists",
    }
    assert found["text"].type == "std::string"


def test_a_bounded_number_of_events_is_read(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.suggestions.MAX_EVENTS", 100)
    (tree,) = look(make_root(SHOWERS))
    assert (tree.events, tree.events_read) == (N, 100)
    monkeypatch.setattr("calomlp.data.suggestions._MAX_BYTES", 1000)
    (tree,) = look(make_root(SHOWERS))
    assert tree.events_read is not None
    assert 1 <= tree.events_read < 20


def test_an_empty_tree(make_root: Make) -> None:
    (tree,) = look(make_root({"x": np.zeros(0)}))
    assert (tree.events, tree.events_read) == (0, 0)
    assert [branch.values for branch in tree.branches] == [None]


def test_a_branch_that_cannot_be_read_is_marked_and_stops_nothing(make_root: Make) -> None:
    found = branches(make_root({"x": np.ones(3), "odd[3]": np.ones(3)}))  # uproot writes this one so that it is damaged
    assert found["odd[3]"].layout == "unreadable"
    assert "wrong number of entries" in found["odd[3]"].problem
    assert found["x"].values is not None


@pytest.fixture
def several(tmp_path: Path) -> Source:
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        file.mktree("run/hits", {"Event": np.repeat(np.arange(50), 4), "Energy": np.ones(200)})
        file.mktree("run/info", {"x": np.zeros(1)})
    return Source(str(path), None, "f.root")


def test_which_trees_are_looked_into(several: Source) -> None:
    assert [tree.events_read for tree in look(several)] == [200, 1]
    named = Source(several.path, "run/info", "f.root")
    assert [tree.events_read for tree in look(named)] == [None, 1]
    with uproot.update(several.path) as file:
        file.mktree("events", {"x": np.zeros(7)})
    assert {tree.name: tree.events_read for tree in look(several)}["events"] == 7
    assert sum(tree.events_read is None for tree in look(several)) == 2
    with pytest.raises(InputError, match="no tree 'rum/info': did you mean 'run/info'"):
        look(Source(several.path, "rum/info", "f.root"))


def test_rows_that_are_hits_are_told(several: Source) -> None:
    found = suggestions(several)
    assert found.tree == "run/hits"
    assert "many entries share their Event: the command makes one event of them" in found.notes
    assert shlex.split(found.command)[2] == "f.root:run/hits"
    assert "--group-by Event" in found.command


def test_a_data_set_of_showers(make_root: Make) -> None:
    found = suggestions(make_root(SHOWERS))
    assert (found.target, found.unit, found.layers, found.hits) == (
        "true_energy",
        "GeV",
        ("layer_energy",),
        ("hit_energy",),
    )
    assert found.command == "calomlp train f.root -t true_energy --split-by energy -o model.safetensors"
    assert found.notes == ("true_energy takes 4 values: the command tests at some that it does not train on",)


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        ({"mc_energy": SHOWERS["true_energy"] * 1000}, "mc_energy"),
        ({"E_true": SHOWERS["true_energy"]}, "E_true"),
        ({"Beam Energy": SHOWERS["true_energy"]}, 'branch("Beam Energy")'),
        ({"beam_energy": np.full(N, 7.0), "gen.e": SHOWERS["true_energy"]}, "gen.e"),
        ({"beam_energy": np.full(N, 7.0)}, "beam_energy"),
        ({"true_energy": np.zeros(N)}, None),
        ({"true_energy": np.full(N, np.nan)}, None),
        ({"true_energy": -SHOWERS["true_energy"]}, None),
        ({"mc_energy": HITS, "hit_energy": HITS}, "max(mc_energy)"),
        ({"total_energy": SHOWERS["true_energy"], "true_nhit": np.ones(N)}, None),
        ({"ntrue_energy": np.ones(N)}, None),
    ],
)
def test_what_looks_like_the_true_energy(make_root: Make, columns: dict[str, Any], target: str | None) -> None:
    found = suggestions(make_root(columns))
    assert found.target == target
    assert shlex.split(found.command)[4] == (target or PLACEHOLDER)
    assert target or any(PLACEHOLDER in note for note in found.notes)


def test_what_is_suspicious_is_named(make_root: Make) -> None:
    adc = np.where(np.arange(N) % 9, np.arange(N) % 7, -999.0)
    gaps = np.where(np.arange(N) % 9, 5.0, np.nan)
    columns = SHOWERS | {"adc": adc, "edep": gaps, "voltage": np.full(N, 3.0), "run": np.ones(N), "odd[3]": np.ones(N)}
    found = suggestions(make_root(columns))
    assert found.notes[1:] == (
        "-999 looks like a missing value in adc: the command leaves such events out",
        "cannot be read: odd[3]",
        "the same in all events that were read: voltage",
        "not always finite: edep: the command leaves such events out",
    )
    assert "--missing -999 --on-bad skip" in found.command
    assert {"layer_energy", "sum(hit_energy)", "adc", "edep"} < set(found.features)
    assert found.left_out["voltage"] == "not recognised as a readout"


@pytest.mark.parametrize(
    ("name", "factor", "unit", "note"),
    [
        ("true_energy", 1e3, "MeV", "true_energy goes up to 100000, which looks like MeV"),
        ("true_energy", 1e6, "keV", "true_energy goes up to 1e+08, which looks like keV"),
        ("true_energy_keV", 1.0, "keV", "true_energy_keV goes up to 100, which looks like keV"),
        ("true_energy", 20.0, "GeV", "true_energy goes up to 2000: if these are MeV, say --unit MeV"),
    ],
)
def test_units_are_told(make_root: Make, name: str, factor: float, unit: str, note: str) -> None:
    found = suggestions(make_root({name: SHOWERS["true_energy"] * factor}))
    assert found.unit == unit
    assert found.notes[0] == note
    assert (f"--unit {unit}" in found.command) is (unit != "GeV")


@pytest.mark.parametrize(
    ("path", "pattern", "notes"),
    [
        ("run_3_10GeV.root", "([0-9]+)GeV", ["says 10 GeV; if it means 3.10 GeV", "([0-9][0-9.p,_-]*)"]),
        ("e_3p5GeV.root", "([0-9][0-9.p,_-]*)GeV", ["says 3.5 GeV"]),
        ("e_0_5GeV.root", "([0-9][0-9.p,_-]*)GeV", ["says 0.5 GeV; if it means 5 GeV"]),
        ("e_2.5_GeV.root", "([0-9][0-9.p,_-]*)_GeV", ["says 2.5 GeV"]),
        ("source_511keV.root", "(?P<keV>[0-9]+)keV", ["says 511 keV"]),
        ("20GeV_to_30GeV.root", None, []),
        ("run7.root", None, []),
    ],
)
def test_energies_in_names_of_files(make_root: Make, path: str, pattern: str | None, notes: list[str]) -> None:
    source = make_root({"ecal": np.arange(1.0, 30.0), "hcal": np.arange(2.0, 31.0)})
    found = suggest(look(source), source, path)
    assert found is not None
    words = shlex.split(found.command)
    assert (words[words.index("--target-from-name") + 1] if pattern else None) == pattern
    assert all(any(note in said for said in found.notes) for note in notes)
    if pattern:
        (named,) = energies_from_names([Source(path, None, path)], pattern)
        assert named.true_energy is not None
        assert f"says {named.true_energy * (1e6 if 'keV' in path else 1):g}" in found.notes[-1]


def test_what_is_left_out_is_said(make_root: Make) -> None:
    rng = np.random.default_rng(1)
    columns = {f"Other{i}.x": rng.normal(size=30) for i in range(250)}
    columns |= {"true": rng.uniform(1, 9, 30), "e1": rng.normal(size=30), "leak_rear": rng.normal(size=30)}
    found = suggestions(make_root(columns))
    assert (found.target, found.features) == ("true", ("e1",))
    assert len(found.left_out) == 252
    assert "features: e1" in found.sentences
    assert "left out, known to a simulation only: leak_rear" in found.sentences
