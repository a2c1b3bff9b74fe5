from __future__ import annotations

import pytest
import torch
from torch import nn

from calomlp.training.optimiser import Optimiser, rate_factor
from calomlp.training.settings import OPTIMISERS

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
    for _ in range(20):
        ours(x).square().mean().backward()
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
    for _ in range(200):
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step(0.02)
        losses.append(float(loss.detach()))
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
