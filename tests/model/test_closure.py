from __future__ import annotations

import numpy as np
import pytest
import torch

from calomlp.model.corrections import MAX_BINS, MIN_BIN_EVENTS, Closure, median_responses


def biased(n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Responses that fall with the logarithm of the energy, and true energies."""
    rng = np.random.default_rng(1)
    energy = np.exp(rng.uniform(0, np.log(100), n))
    return (1.05 - 0.02 * np.log(energy)) * (1 + 0.05 * rng.standard_normal(n)), energy


def test_a_bias_is_divided_out() -> None:
    closure, (response, energy) = Closure(), biased()
    closure.fit(response, energy)
    estimate = torch.from_numpy((response * energy).astype(np.float32))
    corrected = (estimate * closure(estimate)).numpy() / energy
    _, before = median_responses(response, energy)
    _, after = median_responses(corrected, energy)
    assert np.abs(before - 1).max() > 0.04
    assert np.abs(after - 1).max() < 0.003


def test_beyond_the_bins_the_factor_stays() -> None:
    closure = Closure()
    closure.fit(*biased())
    factors = closure(torch.tensor([-3.0, 0.0, 1e-3, 200.0, 1e6]))
    assert torch.isfinite(factors).all()
    assert factors[0] == factors[1] == factors[2]
    assert float(factors[3]) == pytest.approx(float(factors[4]), rel=1e-5)


def test_few_events_are_left_as_they_are() -> None:
    closure = Closure()
    closure.fit(*biased(MIN_BIN_EVENTS - 1))
    assert closure(torch.tensor([1.0, 50.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("n", [MIN_BIN_EVENTS, 3 * MIN_BIN_EVENTS, 100 * MIN_BIN_EVENTS])
def test_bins_hold_enough_events(n: int) -> None:
    energies, _ = median_responses(*biased(n))
    assert len(energies) == min(n // MIN_BIN_EVENTS, MAX_BINS)


def test_the_energies_of_a_beam_are_never_parted() -> None:
    energy = np.repeat([2.0, 5.0, 10.0, 20.0], 5000)
    response = np.repeat([1.1, 1.0, 0.95, 0.9], 5000) * np.random.default_rng(1).normal(1, 0.05, 20_000)
    closure = Closure()
    closure.fit(response, energy)
    estimate = torch.tensor([2.2, 5.0, 9.5, 18.0])
    assert (estimate * closure(estimate)).tolist() == pytest.approx([2, 5, 10, 20], rel=0.01)


def test_a_narrow_range_gets_one_factor() -> None:
    rng = np.random.default_rng(1)
    energy = rng.uniform(9, 11, 40_000)
    response = 10.5 / energy * rng.normal(1, 0.01, 40_000)  # all that was learned is the middle
    closure = Closure()
    closure.fit(response, energy)
    factors = closure(torch.tensor([5.0, 10.0, 20.0]))
    assert factors.tolist() == pytest.approx([1 / 1.05] * 3, rel=0.01)
