"""What explains the true energy: files whose truth is known by construction."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.training.prepare import plan_recipe
from calomlp.training.suspicions import Explanation, look_for_truth
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import fitted

Make = Callable[..., Source]
N = 4000


def sampled(seed: int = 1) -> dict[str, Any]:
    """A sampling calorimeter as a simulation writes it: visible, absorber, dead and leaked energies add up exactly."""
    rng = np.random.default_rng(seed)
    truth = np.exp(rng.uniform(0, np.log(100), N))
    leak = truth * 0.02 * rng.gamma(1, 1, N)
    dead = truth * 0.01 * rng.gamma(2, 0.5, N)
    visible = (truth - leak - dead) * np.clip(0.03 * (1 + 0.1 * rng.normal(size=N) / np.sqrt(truth)), 0.01, 0.1)
    layers = visible[:, None] * rng.dirichlet(np.full(10, 3.0), N)
    return {
        "true_energy": truth,
        "layer_e": layers,
        "e_abs": truth - leak - dead - visible,
        "e_dead": dead,
        "leak_rear": leak,
        "cpu_s": truth * rng.normal(1, 0.05, N),
        "event": np.arange(N),
    }


def renamed(columns: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): values for name, values in columns.items()}


def look(source: Source, **settings: Any) -> Explanation:
    return look_for_truth([source], plan_recipe([source], TrainingSettings(**settings)))


def test_the_readout_is_no_truth(make_root: Make) -> None:
    assert look(make_root(sampled())) == Explanation()


def test_what_a_simulation_knows_is_named_with_its_sum(make_root: Make) -> None:
    found = look(make_root(sampled()), also=("e_abs", "e_dead", "leak_rear"))
    assert set(found.suspects) == {"e_abs", "e_dead", "leak_rear"}
    for part in ("layer_e", "add up to the true energy", "where the readout gives"):
        assert part in found.sentence


@pytest.mark.parametrize("one", ["e_abs", "leak_rear"])
def test_a_part_of_the_sum_is_told_by_what_is_left_out(make_root: Make, one: str) -> None:
    found = look(make_root(sampled()), also=(one,))
    assert found.suspects == (one,)
    assert "left out)" in found.sentence


def test_names_can_lie(make_root: Make) -> None:
    """The energy in the absorber under the name of a detector, and under a name that says nothing."""
    columns = sampled()
    columns["e_abs"] += columns.pop("leak_rear") + columns.pop("e_dead")
    found = look(make_root(renamed(columns, e_abs="tail_energy")))
    assert set(found.suspects) == {"tail_energy", "layer_e"}  # which of them lies, the numbers do not say
    found = look(make_root(renamed(columns, e_abs="value"), name="b.root"), also=("value",))
    assert found.suspects == ("value",)
    columns = sampled() | {"volts": np.sqrt(sampled()["true_energy"])}
    assert look(make_root(columns, name="c.root"), also=("volts / 2",)).suspects == ("volts / 2",)


def test_what_is_good_by_right_raises_no_alarm(make_root: Make) -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(2, 100, N)
    fraction = rng.beta(0.5, 0.8, N)
    columns = {
        "true_energy": truth,
        "ecal": truth * fraction * rng.normal(1, 0.1, N),
        "hcal": truth * (1 - fraction) * rng.normal(1, 0.1, N),
        "p": truth * rng.normal(1, 0.004, N),
        "reco_energy": truth * rng.normal(1, 0.03, N),
    }
    source = make_root(columns)
    assert look(source).suspects == ()
    assert look(source, also=("p",)).suspects == ()
    crystals = {
        "true_energy": truth,
        "crystal_e": truth[:, None] * rng.dirichlet(np.ones(9), N) * rng.normal(1, 0.002, (N, 1)),
    }
    assert look(make_root(crystals, name="c.root")).suspects == ()


def test_a_branch_that_is_missed_is_named(make_root: Make) -> None:
    rng = np.random.default_rng(2)
    columns = sampled() | {"p": sampled()["true_energy"] * rng.normal(1, 0.01, N), "noise": rng.normal(size=N)}
    assert look(make_root(columns)).worth_adding == ("p",)


def test_few_energies_are_looked_at_too(make_root: Make) -> None:
    columns = sampled()
    factor = np.array([5.0, 10.0, 20.0])[np.arange(N) % 3] / columns["true_energy"]
    columns = {
        name: values if name == "event" else values * (factor[:, None] if values.ndim > 1 else factor)
        for name, values in columns.items()
    }
    source = make_root(columns)
    assert look(source) == Explanation()
    assert look(source, also=("e_abs",)).suspects == ("e_abs",)


def test_a_file_that_is_left_out_is_not_looked_at(make_root: Make, tmp_path: Path) -> None:
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"root, but no file")
    good = make_root(sampled())
    settings = TrainingSettings(epochs=1, hidden="8", on_bad_file="skip")
    model = fitted([Source(str(broken), None, "broken.root"), good], settings)
    assert list(model.summary["data"]["files"]) == ["broken.root"]
    assert not model.summary["warnings"]
    one = make_root(sampled() | {"true_energy": np.full(N, 5.0)}, name="one.root")
    model = fitted([Source(str(broken), None, "broken.root"), one], settings)
    assert "all events have the true energy 5 GeV" in model.summary["warnings"][0]["sentence"]


FULL = Path(os.environ.get("CALOMLP_GEANT4", Path(__file__).parents[3] / "shared" / "geant4"))


@pytest.mark.skipif(not FULL.is_dir(), reason="the full-simulation samples are not there")
@pytest.mark.parametrize("name", ["pbsci_e", "siw_e", "pbwo4_e", "fesci_pi"])
def test_full_simulation_readout_is_clean_and_its_truth_is_named(name: str) -> None:
    path = str(FULL / f"{name}_log.root")
    source = Source(path, None, path)
    recipe = plan_recipe([source], TrainingSettings(target="e_true"))
    mips = {"siw_e": 0.14, "fesci_pi": 0.85}  # most probable losses [MeV] in 0.5 mm of silicon, 5 mm of scintillator
    for text in (item.expression for item in recipe.features if item.expression.startswith("spectrum(")):
        assert float(text.split(", ")[1]) == pytest.approx(mips[name], rel=0.25)
    allowed = {"layer_e", "crystal_e", "hit_e", "hit_layer", "hit_ix", "hit_iy", "hit_x", "hit_y"}
    assert recipe.features.branches <= allowed
    assert look_for_truth([source], recipe) == Explanation()
    if name in ("pbsci_e", "siw_e"):
        found = look(source, target="e_true", also=("e_abs", "e_dead", "leak_rear"))
        assert set(found.suspects) == {"e_abs", "e_dead", "leak_rear"}
        assert "e_abs" in found.sentence
