"""Whatever the events are like, there is a model, or one sentence that says why not; and no unit matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import InputError
from calomlp.model.anchor import fit_anchor
from calomlp.training.training_settings import REGRESS, TrainingSettings
from tests.conftest import crossed, fitted, linear_showers

Make = Callable[..., Source]
Columns = dict[str, np.ndarray]

EVENTS = 1500
QUICK = TrainingSettings(features=("layer_energy",), epochs=2, hidden="8")


def showers(
    *, energies: tuple[float, ...] = (), empty: float = 0.0, exact: bool = False, events: int = EVENTS
) -> Columns:
    """Return linear showers.

    Args:
        energies: True energies [GeV]; a spectrum if there are none.
        empty: Share of the events that have no energy at all.
        exact: Whether the energies in the layers do not fluctuate.
        events: Number of events.
    """
    columns = linear_showers(events)
    response = columns["layer_energy"] / columns["true_energy"][:, None]
    if energies:
        columns["true_energy"] = np.array(energies, np.float32)[np.arange(events) % len(energies)]
    if exact:
        response = np.full_like(response, 1 / 6)
    columns["layer_energy"] = response * columns["true_energy"][:, None]
    columns["layer_energy"][np.random.default_rng(2).random(events) < empty] = 0
    return columns


def changed(**changes: Callable[[np.ndarray], np.ndarray]) -> Columns:
    columns = showers()
    return columns | {name: change(columns[name]) for name, change in changes.items()}


def layer_of_nothing(layers: np.ndarray) -> np.ndarray:
    return layers * np.array([1, 1, 0, 1, 1, 1], np.float32)


def two_of_nothing(layers: np.ndarray) -> np.ndarray:
    return np.concatenate([0 * layers[:2], layers[2:]])


GOOD = {
    "a layer of nothing": changed(layer_energy=layer_of_nothing),
    "two empty events": changed(layer_energy=two_of_nothing),
    "one energy": showers(energies=(10,)),
    "one energy, some empty": showers(energies=(10,), empty=0.1),
    "one energy, exact": showers(energies=(10,), exact=True, empty=0.1),
    "two energies, exact": showers(energies=(10, 20), exact=True),
    "no spread at all": showers(exact=True),
    "no spread, some empty": showers(exact=True, empty=0.05),
    "some empty": showers(empty=0.02),
    "few": showers(events=300),
    "target of 1e-12": changed(true_energy=lambda energy: energy.astype(np.float64) * 1e-12),
    "target of 1e12": changed(true_energy=lambda energy: energy.astype(np.float64) * 1e12),
    "readout of 1e-12": changed(layer_energy=lambda energy: energy.astype(np.float64) * 1e-12),
    "readout of 1e12": changed(layer_energy=lambda energy: energy.astype(np.float64) * 1e12),
}


@pytest.mark.parametrize("regress", REGRESS)
@pytest.mark.parametrize("name", GOOD)
def test_there_is_a_model(make_root: Make, name: str, regress: str) -> None:
    columns = GOOD[name]
    model = fitted(make_root(columns), replace(QUICK, regress=regress))
    assert np.isfinite(model.regressor.energies(columns["layer_energy"].astype(np.float32))).all()
    assert (model.regressor.expected_spread(columns["layer_energy"].astype(np.float32)) > 0).all()


BAD = {
    "nothing": (changed(layer_energy=np.zeros_like), "no energy is left"),
    "always the same": (changed(layer_energy=np.ones_like), "no energy is left"),
    "negative": (changed(layer_energy=np.negative), "are these energies?"),
    "no true energy": (changed(true_energy=np.zeros_like), "not finite and above zero"),
    "most empty": (showers(empty=0.9), "into the range of the true ones"),
    "sixty": (showers(events=60), "where 20 are needed"),
}


@pytest.mark.parametrize("name", BAD)
def test_there_is_a_reason_why_not(make_root: Make, name: str) -> None:
    columns, reason = BAD[name]
    with pytest.raises(InputError, match=reason):
        fitted(make_root(columns), QUICK)


def test_an_energy_of_nothing_is_uncertain_however_good_the_calorimeter() -> None:
    columns = showers(exact=True, empty=0.05)
    anchor = fit_anchor(columns["layer_energy"], columns["true_energy"], np.ones(EVENTS))
    assert 0 < anchor.spread.noise < 0.001
    assert anchor.spread.variance(0.0) > 0


SCALED = TrainingSettings(features=("layer_energy", "depth(layer_energy)"), epochs=8, hidden="16")


def bent(factor: float = 1.0, unit: float = 1.0) -> Columns:
    """Showers whose energy leaks, so that a line does not mend it; read out in one unit, and true in another."""
    columns = linear_showers(6000)
    leak = np.random.default_rng(3).uniform(0, 0.6, 6000)
    columns["layer_energy"][:, 4:] *= (1 - leak)[:, None]
    columns["layer_energy"] = columns["layer_energy"].astype(np.float64) * factor
    columns["true_energy"] = columns["true_energy"].astype(np.float64) * unit
    return columns


def energies(make_root: Make, settings: TrainingSettings, factor: float = 1.0, unit: float = 1.0) -> np.ndarray:
    model = fitted(make_root(bent(factor, unit)), settings)
    test = bent(factor)["layer_energy"].astype(np.float32)
    features = model.recipe.features.matrix({"layer_energy": test})
    return model.regressor.energies(features).astype(np.float64)


@pytest.mark.parametrize(("regress", "factor"), crossed(REGRESS, [1e-6, 7.0, 1e6], 3))
def test_the_unit_of_the_readout_does_not_matter(make_root: Make, regress: str, factor: float) -> None:
    settings = replace(SCALED, regress=regress)
    assert energies(make_root, settings, factor) == pytest.approx(energies(make_root, settings), rel=1e-3)


def test_nor_does_that_of_the_true_energy(make_root: Make) -> None:
    in_mev = energies(make_root, replace(SCALED, unit="MeV"), factor=1e3, unit=1e3)
    assert in_mev == pytest.approx(energies(make_root, SCALED), rel=1e-3)
