from __future__ import annotations

import math

import pytest
import torch

from calomlp.simulation import draws
from tests.simulation.tools import generator

N = 200_000


@pytest.mark.parametrize("k", [0.01, 0.5, 1.0, 1.99, 2.0, 2.5, 5.0, 50.0, 1e6])
def test_gamma_numbers_have_mean_and_variance_k(k: float) -> None:
    found = draws.gamma(torch.full((N,), k), generator()).double()
    error = 4.0 / math.sqrt(N)
    assert found.mean().item() == pytest.approx(k, rel=1e-3 + error / math.sqrt(k))
    assert found.var().item() == pytest.approx(k, rel=2e-3 + error * math.sqrt(2.0 + 6.0 / k))
    assert (found >= 0.0).all()


@pytest.mark.parametrize(("k", "distance"), [(0.3, 0.004), (2.0, 0.01), (4.0, 0.006), (100.0, 0.004)])
def test_gamma_numbers_have_the_distribution_function(k: float, distance: float) -> None:
    found = draws.gamma(torch.full((N,), k), generator()).double().sort().values
    expected = torch.special.gammainc(torch.full((N,), k, dtype=torch.float64), found)
    assert (expected - torch.linspace(0.0, 1.0, N)).abs().max() < distance


def test_gamma_numbers_of_nothing_are_nothing() -> None:
    assert draws.gamma(torch.zeros(1000), generator()).max() < 1e-37


def test_gamma_numbers_keep_the_shape_of_their_concentrations() -> None:
    assert draws.gamma(torch.ones(2, 3, 4)[:, 0].T, generator()).shape == (4, 2)


@pytest.mark.parametrize(("mean", "sd"), [(0.3, 0.1), (0.02, 0.112), (0.8, 0.1)])
def test_beta_numbers_have_the_mean_and_width_asked_for(mean: float, sd: float) -> None:
    found = draws.beta(torch.full((N,), mean), torch.full((N,), sd), generator())
    assert found.mean().item() == pytest.approx(mean, rel=0.02)
    assert found.std().item() == pytest.approx(sd, rel=0.02)
    assert ((found >= 0.0) & (found <= 1.0)).all()


def test_dirichlet_shares_sum_to_one_and_follow_their_concentrations() -> None:
    found = draws.dirichlet(torch.tensor([1.0, 0.6, 0.6]).expand(N, 3), generator())
    torch.testing.assert_close(found.sum(dim=1), torch.ones(N))
    assert found.mean(dim=0).tolist() == pytest.approx([1 / 2.2, 0.6 / 2.2, 0.6 / 2.2], rel=0.01)


def test_moyal_numbers_peak_at_zero_and_have_their_mean() -> None:
    found = draws.moyal((N,), generator())
    assert found.mean().item() == pytest.approx(draws.MOYAL_MEAN, abs=0.02)
    assert found.std().item() == pytest.approx(math.pi / math.sqrt(2.0), rel=0.02)
    counts = torch.histc(found, bins=12, min=-1.5, max=1.5)
    assert counts.argmax().item() in (5, 6)
    assert torch.isfinite(found).all()


def test_every_draw_uses_its_own_generator() -> None:
    state = torch.get_rng_state()
    some = torch.full((10,), 1.5)
    for _ in range(2):
        draws.normal((3,), generator())
        draws.uniform((3,), generator())
        draws.exponential((3,), generator())
        draws.poisson(some, generator())
        draws.gamma(some, generator())
        draws.beta(some / 5, some / 10, generator())
        draws.moyal((3,), generator())
    assert torch.equal(torch.get_rng_state(), state)
