from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from calomlp.training.optimiser import Optimiser, plateau_factor, rate_factor
from calomlp.training.training_settings import OPTIMISERS

REFERENCES = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, weight_decay=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.1),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("name", REFERENCES)
def test_the_steps_are_those_of_pytorch(name: str) -> None:
    ours, theirs = network(), network()
    optimiser = Optimiser(name, ours, weight_decay=0.1)
    reference = REFERENCES[name](theirs.parameters())
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))

    def loss() -> torch.Tensor:
        value: torch.Tensor = ours(x).square().mean()
        return value

    for _ in range(20):
        loss().backward()
        optimiser.step(0.01)
        reference.zero_grad()
        theirs(x).square().mean().backward()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_goes_downhill(name: str) -> None:
    model = network()
    optimiser = Optimiser(name, model, weight_decay=0.0)
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(2))
    y = x.sum(dim=1, keepdim=True)
    losses = []

    def loss() -> torch.Tensor:
        value: torch.Tensor = (model(x) - y).square().mean()
        return value

    for _ in range(200):
        value = loss()
        value.backward()
        optimiser.step(0.02)
        losses.append(float(value.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_a_schedule_ends_low_and_never_exceeds_its_highest_rate(schedule: str) -> None:
    factors = [rate_factor(schedule, step / 100) for step in range(101)]
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(1e-3)
    assert min(factors) > 0


def test_one_cycle_warms_up_for_a_fifth() -> None:
    assert rate_factor("one-cycle", 0.0) == pytest.approx(0.04)
    assert rate_factor("one-cycle", 0.2) == pytest.approx(1.0)
    assert rate_factor("constant", 0.7) == 1.0


def test_step_takes_a_tenth_after_half_and_after_three_quarters() -> None:
    factors = [rate_factor("step", progress) for progress in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)]
    assert factors == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


def test_a_plateau_halves_the_rate_every_five_epochs() -> None:
    falling = [1.0, 0.9, 0.8]
    assert plateau_factor([]) == plateau_factor(falling) == plateau_factor(falling + 4 * [0.8]) == 1.0
    assert plateau_factor(falling + 5 * [0.8]) == plateau_factor(falling + 9 * [0.9]) == 0.5
    assert plateau_factor(falling + 10 * [0.9]) == 0.25
    assert plateau_factor([*falling, *4 * [0.9], 0.7, *4 * [0.9]]) == 1.0  # patience begins anew


def resting(name: str, **pulls: Any) -> tuple[Optimiser, torch.Tensor]:
    """Return an optimiser whose gradient is zero, and the weights before any step."""
    optimiser = Optimiser(name, network(), **pulls)
    return optimiser, optimiser.weights.clone()


def step(optimiser: Optimiser, rate: float) -> None:
    optimiser.step(rate)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_l1_pulls_every_parameter_by_the_same(name: str) -> None:
    optimiser, before = resting(name, l1=0.3)
    step(optimiser, 0.1)
    assert torch.allclose(optimiser.weights, before - 0.1 * 0.3 * before.sign())


def test_both_pulls_add_up() -> None:
    optimiser, before = resting("adamw", l1=0.3, weight_decay=0.2)
    step(optimiser, 0.1)
    assert torch.allclose(optimiser.weights, before - 0.1 * (0.3 * before.sign() + 0.2 * before))


def test_the_average_is_that_of_the_formula_and_its_start_is_corrected() -> None:
    optimiser, _ = resting("sgd", average=0.9)
    seen: list[torch.Tensor] = []
    for _ in range(5):
        optimiser.gradient.normal_(generator=torch.Generator().manual_seed(len(seen)))
        step(optimiser, 0.1)
        seen.append(optimiser.weights.clone())
    shares = torch.tensor([0.9 ** (4 - i) for i in range(5)])
    wanted = (shares[:, None] * torch.stack(seen)).sum(dim=0) / shares.sum()
    with optimiser.averaged():
        assert torch.allclose(optimiser.weights, wanted, atol=1e-6)
    assert torch.equal(optimiser.weights, seen[-1])


def test_without_a_step_there_is_no_average() -> None:
    optimiser, before = resting("sgd", average=0.9)
    with optimiser.averaged():
        assert torch.equal(optimiser.weights, before)
