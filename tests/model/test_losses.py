"""The statistic that each loss estimates, found by minimising it over one number (PHYSICS of the docstrings: bias)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from calomlp.model.losses import LOSSES, Prediction

RNG = np.random.default_rng(1)
SKEWED = torch.from_numpy(10 * RNG.gamma(4.0, 0.25, 20_001))


def minimum(name: str, truth: torch.Tensor) -> float:
    """Golden-section search of the prediction that minimises the mean loss."""
    low, high = float(truth.min()), float(truth.max())
    ratio = (5**0.5 - 1) / 2
    sigma = torch.full_like(truth, 3.0)

    def mean(prediction: float) -> float:
        return float(LOSSES[name].per_event(Prediction(torch.full_like(truth, prediction)), truth, sigma).mean())

    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if mean(left) < mean(right) else (left, high)
    return (low + high) / 2


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("chi2", lambda y: y.mean()),
        ("mse", lambda y: y.mean()),
        ("stochastic", lambda y: 1 / (1 / y).mean()),
        ("relative", lambda y: (1 / y).mean() / (1 / y**2).mean()),
        ("log", lambda y: y.log().mean().exp()),
        ("mae", lambda y: y.median()),
    ],
)
def test_what_each_loss_estimates(name: str, statistic: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert minimum(name, SKEWED) == pytest.approx(float(statistic(SKEWED)), abs=0.01)


def test_huber_and_log_cosh_are_between_mean_and_median() -> None:
    assert float(SKEWED.median()) < minimum("log-cosh", SKEWED) < minimum("huber", SKEWED) < float(SKEWED.mean())


@pytest.mark.physics
@pytest.mark.parametrize(
    ("loss", "spectrum", "bias"),
    # 50 %/sqrt(E) at 10 GeV: (k - s - q) (sigma/E)^2 with k = 1, flat s = 0, log-uniform s = 1
    [("mse", 0, 2.5), ("mse", 1, 0.0), ("stochastic", 0, 0.0), ("stochastic", 1, -2.4), ("relative", 1, -4.8)],
)
def test_the_bias_that_a_loss_leaves(loss: str, spectrum: int, bias: float) -> None:
    energy = np.linspace(0.5, 60, 6000)[:, None]  # a posterior on a grid, wide enough to have no edge at 10 GeV
    sigma = 0.5 * np.sqrt(energy)
    measured = RNG.normal(10.0, 0.5 * np.sqrt(10.0), 4000)[None]
    posterior = np.exp(-0.5 * ((measured - energy) / sigma) ** 2) / sigma * energy**-spectrum
    power = {"mse": 0, "stochastic": 1, "relative": 2}[loss]
    weighted = posterior * energy**-power
    prediction = (weighted * energy).sum(axis=0) / weighted.sum(axis=0)
    offset = measured.mean() / 10 - 1
    assert 100 * (prediction.mean() / 10 - 1 - offset) == pytest.approx(bias, abs=0.35)


def optimum(name: str, truth: torch.Tensor) -> list[float]:
    """Return energy and distances that minimise the mean loss."""
    start = [truth.mean().item(), 3.0, 3.0]
    parameters = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> torch.Tensor:
        search.zero_grad()
        energy, below, above = (value.expand(len(truth)) for value in parameters)
        prediction = Prediction(energy, above if name == "gaussian-nll" else below, above)
        loss = LOSSES[name].per_event(prediction, truth, torch.full_like(truth, 3.0)).mean()
        loss.backward()
        return loss

    search.step(closure)
    return parameters.tolist()


def test_a_gaussian_learns_mean_and_spread() -> None:
    energy, _, width = optimum("gaussian-nll", SKEWED)
    assert energy == pytest.approx(float(SKEWED.mean()), rel=1e-4)
    assert width == pytest.approx(float(SKEWED.std()), rel=1e-4)


def test_quantiles_learn_quantiles() -> None:
    median, below, above = optimum("quantiles", SKEWED)
    low, high = (float(SKEWED.quantile(share)) for share in (0.1587, 0.8413))
    assert median == pytest.approx(float(SKEWED.median()), rel=0.01)
    assert median - below == pytest.approx(low, rel=0.01)
    assert median + above == pytest.approx(high, rel=0.01)


@pytest.mark.parametrize("name", ["gaussian-nll", "quantiles"])
def test_a_loss_of_spreads_needs_spreads(name: str) -> None:
    with pytest.raises(ValueError, match="of every event"):
        LOSSES[name].per_event(Prediction(SKEWED), SKEWED, SKEWED)
