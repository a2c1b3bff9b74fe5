from __future__ import annotations

import numpy as np
import pytest

from calomlp.errors import InputError
from calomlp.model.anchor import SPECTRUM_POWER, SpectrumWeights, fit_anchor
from calomlp.model.spread import Spread, bins_of_energy, fit_spread, non_negative_least_squares
from tests.conftest import linear_showers


def test_weights_turn_any_spectrum_into_the_same() -> None:
    rng = np.random.default_rng(1)
    for energy in (rng.uniform(1, 100, 100_000), np.exp(rng.uniform(0, np.log(100), 100_000))):
        weights = SpectrumWeights(energy, np.ones(len(energy)))(energy)
        assert weights.mean() == pytest.approx(1)
        density, edges = np.histogram(np.log(energy), bins=10, weights=weights)
        centres = np.exp((edges[1:] + edges[:-1]) / 2)
        slope = np.polyfit(np.log(centres[2:]), np.log(density[2:]), 1)[0]
        assert slope == pytest.approx(1 - SPECTRUM_POWER, abs=0.05)


@pytest.mark.physics
def test_the_median_of_a_gamma_variate_is_a_third_of_its_scale_below_the_mean() -> None:
    # Choi, Proc. Am. Math. Soc. 121 (1994) 245: median = k - 1/3 + O(1/k); why the spectrum is E^(-2/3)
    draws = np.random.default_rng(1).gamma(30.0, size=1_000_000)
    assert 30 - np.median(draws) == pytest.approx(1 / 3, abs=0.02)


def test_a_rare_event_does_not_rule() -> None:
    energy = np.append(np.full(100_000, 50.0), 1.0)
    weights = SpectrumWeights(energy, np.ones(len(energy)))(energy)
    assert weights.max() / weights.min() == pytest.approx(100, rel=0.75)


def test_miscalibrated_layers_are_found() -> None:
    showers = linear_showers(20_000)
    true_weights = np.array([0.5, 1.0, 2.0, 1.0, 1.5, 1.0])
    energies = (showers["layer_energy"] / true_weights).astype(np.float32)
    anchor = fit_anchor(energies, showers["true_energy"], np.ones(20_000))
    assert anchor.weights == pytest.approx(true_weights, rel=0.05)
    assert anchor.spread.stochastic == pytest.approx(0.1, rel=0.1)  # by construction: 10 %/sqrt(E)


def test_leaking_showers_do_not_rule_the_anchor() -> None:
    showers = linear_showers(5000)
    energies, truth = showers["layer_energy"].copy(), showers["true_energy"]
    energies[::20] *= 0.2
    anchor = fit_anchor(energies, truth, np.ones(5000))
    response = (energies @ anchor.weights / truth)[np.arange(5000) % 20 > 0]
    assert response.mean() == pytest.approx(1, abs=0.02)
    assert anchor.weights == pytest.approx(np.ones(6), rel=0.1)


def test_with_few_events_the_anchor_stays_near_the_sum() -> None:
    showers = linear_showers(12)
    anchor = fit_anchor(showers["layer_energy"], showers["true_energy"], np.ones(12))
    assert anchor.weights == pytest.approx(anchor.sum_scale, rel=0.6)
    assert anchor.sum_scale == pytest.approx(1, rel=0.05)


def test_energies_of_any_unit_give_gev() -> None:
    showers = linear_showers(5000)
    anchor = fit_anchor(1000 * showers["layer_energy"], showers["true_energy"], np.ones(5000))
    assert anchor.sum_scale == pytest.approx(1e-3, rel=0.02)


def test_energies_that_add_up_to_nothing() -> None:
    with pytest.raises(InputError, match="are these energies"):
        fit_anchor(np.zeros((100, 3), dtype=np.float32), np.ones(100, dtype=np.float32), np.ones(100))


def test_the_spread_of_a_calorimeter_is_measured() -> None:
    rng = np.random.default_rng(1)
    energy = np.exp(rng.uniform(0, np.log(200), 200_000))
    truth = Spread(0.1, 0.2, 0.01)
    measured = energy + np.sqrt(0.1**2 * energy + 0.2**2 + 0.01**2 * energy**2) * rng.standard_normal(len(energy))
    found = fit_spread(measured, energy, bins_of_energy(energy))
    assert (found.stochastic, found.noise, found.constant) == pytest.approx(
        (truth.stochastic, truth.noise, truth.constant), rel=0.1
    )


def test_the_spread_at_a_negative_energy_is_that_of_its_size() -> None:
    spread = Spread(0.1, 0.2, 0.01)
    assert spread.variance(-5.0) == spread.variance(5.0) > 0


def test_non_negative_least_squares() -> None:
    rng = np.random.default_rng(1)
    design = rng.random((20, 3))
    solution = np.array([1.0, 0.0, 2.0])
    assert non_negative_least_squares(design, design @ solution) == pytest.approx(solution, abs=1e-9)
    found = non_negative_least_squares(design, design @ np.array([1.0, -1.0, 2.0]))
    assert (found >= 0).all()
