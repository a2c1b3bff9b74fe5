"""Warnings that save a week, and features that say nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch

from calomlp.data.sample import Side
from calomlp.data.sources import Source
from calomlp.errors import InputError, UsageError
from calomlp.training import events
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import Room, fitted, linear_showers

Make = Callable[..., Source]
QUICK = TrainingSettings(hidden="8", epochs=1)


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    places = ("calomlp.training.suspicions", "calomlp.training.prepare")

    def lines() -> str:
        found = [record for record in caplog.records if record.levelno == logging.WARNING and record.name in places]
        return "\n".join(record.getMessage() for record in found)

    return lines


def test_nothing_is_said_of_healthy_data(make_root: Make, warned: Callable[[], str]) -> None:
    fitted(make_root(linear_showers(3000)), QUICK)
    assert not warned()


def test_few_energies_and_a_split_that_goes_with_them(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(6000)
    beam = np.array([2, 5, 10, 20, 40, 60, 80, 90], np.float32)[np.arange(6000) % 8]
    showers["layer_energy"] *= (beam / showers["true_energy"])[:, None]
    source = make_root(showers | {"true_energy": beam})
    fitted(source, QUICK)
    assert "only 8 distinct true energies" in warned()
    assert "--split-by energy" in warned()
    model = fitted(source, replace(QUICK, split_by="energy"))
    split = model.recipe.split
    assert len(split.validation_energies) == 1
    assert len(split.test_energies) == 2
    held = {*split.validation_energies, *split.test_energies}
    assert held < {5, 10, 20, 40, 60, 80}  # the ends are for training
    assert model.envelope.n_train == 6000 * 5 / 8
    other = fitted(source, replace(QUICK, split_by="energy", seed=3)).recipe.split
    assert other.test_energies != split.test_energies
    sides = split.sides_by_energy(beam)
    assert {float(energy) for energy in beam[sides == Side.TEST]} == set(split.test_energies)


def test_a_spectrum_is_not_split_by_energy(make_root: Make) -> None:
    with pytest.raises(InputError, match="more than 50 true energies cannot be split by energy"):
        fitted(make_root(linear_showers(3000)), replace(QUICK, split_by="energy"))
    few = linear_showers(300) | {"true_energy": np.repeat([1.0, 2.0, 3.0], 100)}
    with pytest.raises(InputError, match="3 true energies are too few to split by energy: 4 are needed"):
        fitted(make_root(few, name="few.root"), replace(QUICK, split_by="energy"))


def test_a_constant_target_and_what_else_might_be_meant(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(2000)
    decoy = make_root({**showers, "beam_energy": np.full(2000, 50.0)})
    fitted(decoy, replace(QUICK, target="beam_energy"))
    assert "all events have the true energy 50 GeV" in warned()
    assert "beam_energy may not be the truth: there is also true_energy" in warned()


def test_features_that_are_truth(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(2000)
    source = make_root({**showers, "mc_e": showers["true_energy"], "kin": 3 * showers["true_energy"] - 1})
    fitted(source, replace(QUICK, features=("layer_energy", "kin", "mc_e")))
    assert "kin, mc_e look like truth" in warned()


def test_features_that_never_change_are_dropped(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(3000)
    showers["layer_energy"][:, 4] = 0
    source = make_root({**showers, "voltage": np.full(3000, 42.0), "temperature": np.arange(3000.0)})
    model = fitted(source, replace(QUICK, also=("voltage", "temperature")))
    branches = [feature.expression for feature in model.recipe.features if "(" not in feature.expression]
    assert branches == ["layer_energy", "temperature"]
    assert warned() == "features that are the same in all events are dropped: voltage (always 42)"
    features = np.ones((2, len(model.recipe.features.columns)), np.float32)
    features[1, 4] = 1e6  # a layer that was dead in training: the network has no opinion of it
    inputs = model.regressor.inputs(torch.from_numpy(features), torch.ones(2))
    assert torch.equal(inputs[0], inputs[1])


def test_energies_that_never_change_are_no_energies(make_root: Make) -> None:
    source = make_root(linear_showers(300) | {"layer_energy": np.ones((300, 6), np.float32)})
    with pytest.raises(InputError, match=r"no energy is left: .* layer_energy \(always 1\)"):
        fitted(source, QUICK)


def test_empty_events_are_counted(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(3000)
    showers["layer_energy"][::10] = 0
    model = fitted(make_root(showers), QUICK)
    assert "300 of 3000 events have no energy at all" in warned()
    assert "--cut 'sum(layer_energy) != 0' leaves them out" in warned()
    assert model.summary["data"]["empty"] == 300


def test_units(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(3000)
    source = make_root({**showers, "true_energy": 1000 * showers["true_energy"]})
    fitted(source, QUICK)
    assert "if these are MeV, say --unit MeV" in warned()
    model = fitted(source, replace(QUICK, unit="MeV"))
    assert model.envelope.energy_max == pytest.approx(100, rel=0.01)
    assert model.recipe.target.text == "(true_energy) * 0.001"


def test_weights_of_events_count(make_root: Make) -> None:
    showers = linear_showers(4000)
    wrong = np.arange(4000) % 2 == 1
    showers["layer_energy"][wrong] *= 2  # half of the events are miscalibrated, and weigh nothing
    source = make_root({**showers, "w": (~wrong).astype(float)})
    model = fitted(source, replace(QUICK, weight="w", features=("layer_energy",)))
    assert model.summary["sum_scale"] == pytest.approx(1, rel=0.02)


def test_objects_and_energies_of_files_train(make_root: Make) -> None:
    showers = linear_showers(6000)
    counts = np.tile([1, 2, 3], 1000)
    clusters = {
        f"cluster_{name}": ak.unflatten(values, counts)
        for name, values in (("true", showers["true_energy"]), ("energy", showers["layer_energy"].sum(axis=1)))
    }
    source = make_root(clusters)
    settings = replace(QUICK, explode="cluster", target="cluster_true", features=("cluster_energy",))
    model = fitted(source, settings)
    assert model.envelope.n_train + model.envelope.n_test > 5000
    assert model.recipe.layout.explode == "cluster"
    files = [
        replace(make_root(linear_showers(500, seed=i), name=f"{i}.root"), true_energy=float(i)) for i in range(1, 9)
    ]
    model = fitted(files, replace(QUICK, split_by="energy"))
    assert [record.true_energy for record in model.files] == list(range(1, 9))


def test_what_does_not_fit_into_memory_trains_the_same(
    make_root: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_MAX_WINDOW", 512)
    source = make_root(linear_showers(5000))
    settings = replace(QUICK, epochs=3, dropout=0.1)
    memory = fitted(source, settings)
    disk = fitted(source, settings, room=Room(0, tmp_path / "cache"))
    assert disk.history == memory.history
    for name, value in memory.regressor.state_dict().items():
        assert torch.equal(value, disk.regressor.state_dict()[name])
    assert not list((tmp_path / "cache").iterdir())
    with pytest.raises(Exception, match="--optimiser gd takes all events in one step"):
        fitted(source, replace(settings, optimiser="gd"), room=Room(0, tmp_path / "cache"))


def test_marks_that_nobody_named(make_root: Make, warned: Callable[[], str]) -> None:
    showers = linear_showers(3000)
    showers["layer_energy"][::1000, 2] = -999
    source = make_root(showers)
    fitted(source, QUICK)
    assert "layer_energy[2] is -999 in" in warned()
    assert "say so with --missing" in warned()
    fitted(source, replace(QUICK, missing=(-99.0, -9.0)))
    assert "no value is -99, -9, which --missing says to stand for a missing one" in warned()


def test_numbers_of_events_are_no_features(make_root: Make) -> None:
    showers = linear_showers(3000)
    data = make_root({"Run/eventID": np.arange(3000), "layer_energy": showers["layer_energy"]})
    truth = make_root({"E": showers["true_energy"], "eventID": np.arange(3000), "id": np.ones(3000)}, name="t.root")
    model = fitted(replace(data, friends=(truth,)), replace(QUICK, target="E"))
    assert model.recipe.features.branches == {"layer_energy"}


def test_measured_energies_that_have_nothing_to_do_with_the_true_ones(
    make_root: Make, warned: Callable[[], str]
) -> None:
    showers = linear_showers(3000)
    showers["layer_energy"] = np.random.default_rng(3).permutation(showers["layer_energy"])
    fitted(make_root(showers), QUICK)
    assert "the energies that are measured follow the true ones to" in warned()


def test_a_unit_is_that_of_a_branch(make_root: Make) -> None:
    source = replace(make_root(linear_showers(300)), true_energy=5.0)
    with pytest.raises(UsageError, match="--unit is that of the branch in --target"):
        fitted(source, replace(QUICK, unit="MeV"))
    with pytest.raises(UsageError, match="unit 'mev' is unknown: legal: GeV, MeV"):
        fitted(make_root(linear_showers(300), name="b.root"), replace(QUICK, unit="mev"))


def test_a_wild_value_is_named(make_root: Make, warned: Callable[[], str]) -> None:
    columns = linear_showers(3000)
    columns["spill"] = np.random.default_rng(1).uniform(0, 1, 3000)
    columns["spill"][1500:1502] = 1e9  # for training, both of them
    columns["rare"] = np.where(np.arange(3000) % 500, 0.0, 1.0)  # which is no mistake
    fitted(make_root(columns), replace(QUICK, also=("spill", "rare")))
    assert "spill reaches 1e+09, where nearly all events stay below" in warned()
    assert "rare" not in warned()
