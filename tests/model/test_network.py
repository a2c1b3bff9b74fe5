from __future__ import annotations

from typing import Any

import pytest
import torch

from calomlp.errors import UsageError
from calomlp.model.losses import GAUSSIAN, QUANTILES
from calomlp.model.network import ACTIVATIONS, MLP, Architecture


def made(activation: str = "silu", hidden: tuple[int, ...] = (64, 64, 64), **options: Any) -> MLP:
    form: dict[str, Any] = {"dropout": 0.0, "target": "direct"} | options
    return MLP(Architecture(32, (), hidden, activation, **form), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "sigmoid"])
def test_the_signal_neither_dies_nor_explodes(activation: str) -> None:
    x = torch.randn(4096, 32, generator=torch.Generator().manual_seed(2))
    assert 0.2 < float(made(activation)(x).detach().std()) < 3


def test_identity_activations_collapse_to_a_linear_model() -> None:
    network = made("identity")
    x, y = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(2))
    together, apart = network(x + 2 * y), network(x) + 2 * network(y)
    assert torch.allclose(together - apart, -2 * network(torch.zeros(1, 32)), atol=1e-4)


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert [tuple(weight.shape) for weight in made(hidden=()).weights] == [(1, 1, 32)]


def test_a_zero_output_is_zero_everywhere() -> None:
    assert not made(target="ratio")(torch.randn(10, 33)).any()  # beside 32 columns it sees the anchor
    outputs = made(head=QUANTILES)(torch.randn(10, 32))
    assert outputs[..., 0].any()
    assert not outputs[..., 1:].any()


def test_networks_that_are_computed_together_are_as_those_apart() -> None:
    together, x = made(members=3, head=GAUSSIAN), torch.randn(10, 32)
    found = together(x)
    assert found.shape == (3, 10, 2)
    for member in range(3):
        alone = made(head=GAUSSIAN)
        with torch.no_grad():
            for ours, theirs in zip(alone.parameters(), together.parameters(), strict=True):
                ours.copy_(theirs[member : member + 1])
        assert torch.allclose(alone(x)[0], found[member], atol=1e-5)
    assert not torch.allclose(found[0], found[1])


def test_dropout_acts_in_training_only_and_follows_its_generator() -> None:
    network, x = made(dropout=0.5), torch.ones(8, 32)
    once, again = (network(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, network(x, torch.Generator().manual_seed(4)))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_an_unknown_activation() -> None:
    with pytest.raises(UsageError, match="did you mean 'silu'"):
        made("silo")
