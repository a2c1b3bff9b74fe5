"""Beyond the training and between the energies of a test beam, a correction has no more freedom than was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from calomlp.data.sources import Source
from calomlp.model.anchor import Anchor
from calomlp.model.file import read_model, write_model
from calomlp.model.network import Architecture
from calomlp.model.region import InputProfile, Region, beam_energies, places_of
from calomlp.model.regressor import Regressor
from calomlp.model.spread import Spread
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import fitted, linear_showers

ANCHOR = Anchor(1.0, np.ones(2), Spread(0.1, 0.0, 0.0))


def draw(energies: list[float], events: int, width: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.choice(energies, events) * (1 + width * rng.standard_normal(events))


MANY = [5.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 50.0, 60.0, 80.0]


@pytest.mark.parametrize(
    ("energies", "width"), [([4.0], 0), ([3.0, 10.0, 30.0], 0), ([3.0, 10.0, 30.0], 0.02), (MANY, 0), (MANY, 0.01)]
)
def test_the_energies_of_a_beam_are_recognised(energies: list[float], width: float) -> None:
    assert beam_energies(draw(energies, 5000, width)) == pytest.approx(energies, rel=0.01)


@pytest.mark.parametrize("events", [20, 60, 1000, 50_000])
@pytest.mark.parametrize("high", [1.5, 10.0, 1000.0])
def test_a_spectrum_is_no_beam_however_few_its_events(events: int, high: float) -> None:
    energy = np.exp(np.random.default_rng(1).uniform(0, np.log(high), events))
    assert len(beam_energies(energy)) == 0
    assert len(beam_energies(energy[energy.argsort()] ** 2)) == 0


def test_an_energy_belongs_to_the_beam_that_is_closest() -> None:
    beams = np.array([3.0, 10.0, 30.0])
    assert places_of(np.array([1.0, 3.1, 9.0, 18.0, 400.0]), beams).tolist() == [0, 0, 1, 2, 2]


def test_a_region_that_was_not_fitted_changes_nothing() -> None:
    region, inputs = Region(3), torch.randn(5, 3)
    logarithm = torch.randn(5, 1)
    assert torch.equal(region(inputs, logarithm), inputs)
    assert torch.equal(region.clip(inputs), inputs)
    assert (region.faded(logarithm) == 1).all()


def profile(energies: list[float]) -> InputProfile:
    logarithm = torch.tensor(energies, dtype=torch.float64).log()
    means = torch.stack([2 * logarithm, torch.ones_like(logarithm), logarithm], dim=1)
    return InputProfile(logarithm, means, torch.ones_like(logarithm))


@pytest.mark.parametrize("energies", [[5.0, 20.0], [3.0, 10.0, 30.0], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]])
def test_of_a_beam_the_network_does_not_see_the_energy(energies: list[float]) -> None:
    region = Region(3)
    region.fit(profile(energies), None)
    logarithm = torch.linspace(-1, 6, 20)[:, None]
    inputs = torch.cat([2 * logarithm, torch.ones_like(logarithm), logarithm], dim=1)
    assert torch.allclose(region(inputs, logarithm), region(inputs, logarithm)[:1], atol=1e-5)


@pytest.mark.parametrize("energies", [[5.0, 20.0], [3.0, 10.0, 30.0], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]])
@pytest.mark.parametrize("power", [0.9, 0.7])
def test_a_count_goes_with_a_power_of_the_energy(energies: list[float], power: float) -> None:
    region, points = Region(2), profile(energies)
    counts = 100 * (power * points.logarithm).exp()
    region.fit(points._replace(means=torch.stack([counts, points.logarithm], dim=1)), None)
    logarithm = torch.linspace(0, 5, 20)[:, None]
    moved = region(torch.cat([100 * (power * logarithm).exp(), logarithm], dim=1), logarithm)
    assert torch.allclose(moved, moved[:1], rtol=1e-4)


def test_beyond_a_spectrum_events_are_as_at_its_edge_and_inside_as_they_are() -> None:
    region = Region(3)
    region.fit(profile(np.geomspace(1, 100, 12).tolist()), (0.5, 200.0))
    logarithm = torch.tensor([0.1, 0.5, 1.0, 50.0, 200.0, 2000.0]).log()[:, None]
    inputs = torch.cat([2 * logarithm, torch.ones_like(logarithm), logarithm], dim=1)
    moved = region(inputs, logarithm)
    assert torch.equal(moved[1:5], inputs[1:5])
    assert torch.allclose(moved[0], moved[1], atol=1e-6)
    assert torch.allclose(moved[-1], moved[-2], atol=1e-6)


@pytest.mark.parametrize("beams", [False, True])
def test_far_beyond_the_training_the_correction_is_that_at_the_edge(*, beams: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    energy = torch.exp(2 + 3 * torch.rand(4000, generator=generator))
    if beams:
        energy = torch.tensor([10.0, 30.0, 100.0])[torch.arange(4000) % 3]
    share = 0.5 + 0.05 * torch.randn(4000, generator=generator)
    features = torch.stack([share * energy, (1 - share) * energy, energy.log()], dim=1)
    regressor = Regressor(Architecture(3, (0, 1), (16,), "silu", 0.0, "ratio"), generator)
    regressor.calibrate(ANCHOR, features, energy)
    torch.nn.init.normal_(regressor.network.weights[-1], std=0.1, generator=generator)
    showers = [[0.6 * each, 0.4 * each, math.log(each)] for each in (1e3, 1e4)]
    one, ten = regressor.energies(np.array(showers, np.float32)).tolist()
    assert ten / one == pytest.approx(10, rel=0.02)


def test_a_model_without_a_region_says_what_it_said(make_root: Callable[..., Source], tmp_path: Path) -> None:
    source = make_root(linear_showers(1000))
    model = fitted(source, TrainingSettings(features=("layer_energy",), epochs=1, hidden="8"))
    assert model.regressor.region is not None
    model.regressor.region.load_state_dict(Region(model.regressor.architecture.n_inputs).state_dict())
    path = tmp_path / "new.safetensors"
    write_model(path, model)
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("region.")}  # noqa: SIM118
        old = safetensors.torch.save(tensors, file.metadata())
    (tmp_path / "old.safetensors").write_bytes(old)
    features = 100 * linear_showers(50, seed=3)["layer_energy"]
    before, after = (read_model(str(path.with_stem(name)), name).regressor for name in ("new", "old"))
    assert torch.equal(before.estimates(features).regressor, after.estimates(features).regressor)
