from __future__ import annotations

import pytest
import torch

from calomlp.model.region import Domain

N = 20_000


def inputs(n_inputs: int = 3) -> torch.Tensor:
    """Inputs, the first two of which nearly agree."""
    draws = torch.randn(N, n_inputs, generator=torch.Generator().manual_seed(1))
    draws[:, 1] = draws[:, 0] + 0.1 * draws[:, 1]
    return draws


def test_one_training_event_in_a_thousand_is_outside() -> None:
    domain = Domain(3)
    domain.fit(inputs(), (1.0, 100.0))
    outside = ~domain(inputs(), torch.full((N,), 50.0))
    assert float(outside.double().mean()) == pytest.approx(1e-3, abs=2e-4)


def test_inputs_that_disagree_are_outside_however_small() -> None:
    domain = Domain(3)
    domain.fit(inputs(), (1.0, 100.0))
    events = torch.tensor([[2.0, 2.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 9.0]])
    assert domain(events, torch.full((3,), 50.0)).tolist() == [True, False, False]


def test_energies_beyond_the_range_are_outside() -> None:
    domain = Domain(3)
    domain.fit(inputs(), (1.0, 100.0))
    assert domain(torch.zeros(4, 3), torch.tensor([0.9, 1.1, 99.0, 101.0])).tolist() == [False, True, True, False]


def test_before_it_is_set_everything_is_inside() -> None:
    assert Domain(3)(inputs(), torch.full((N,), -1e9)).all()


def test_of_very_many_inputs_correlations_are_left_out() -> None:
    domain = Domain(600)
    domain.fit(inputs(600)[:2000], (1.0, 100.0))
    assert tuple(domain.precision.shape) == (600, 1)
    assert domain(torch.zeros(1, 600), torch.full((1,), 50.0)).all()
    assert not domain(torch.full((1, 600), 3.0), torch.full((1,), 50.0)).any()
