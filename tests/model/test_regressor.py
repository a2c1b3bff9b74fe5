from __future__ import annotations

import numpy as np
import pytest
import torch

from calomlp.model.anchor import Anchor
from calomlp.model.regressor import TARGETS, Architecture, Regressor
from calomlp.model.spread import Spread

FEATURES = torch.tensor([[1.0, 2.0, 7.0], [10.0, 20.0, 7.5], [-0.5, 0.4, 8.0]])
TRUE_ENERGY = torch.tensor([4.0, 40.0, 1.0])
ANCHOR = Anchor(1.3, np.array([1.0, 1.5]), Spread(0.1, 0.0, 0.0))


def made(target: str) -> Regressor:
    regressor = Regressor(Architecture(3, (0, 1), (8,), "tanh", 0.0, target), torch.Generator().manual_seed(1))
    regressor.calibrate(ANCHOR, FEATURES, TRUE_ENERGY)
    return regressor


def test_a_new_ratio_is_the_anchor_itself_also_below_zero() -> None:
    regressor = made("ratio")
    energy = regressor(FEATURES)
    assert energy.tolist() == pytest.approx([4.0, 40.0, 0.1])
    negative = regressor(torch.tensor([[-1.0, -1.0, 7.0]]))
    assert negative.tolist() == pytest.approx([-2.5])


def test_the_inputs_of_a_ratio_do_not_grow_with_energy() -> None:
    regressor = made("ratio")
    shower = torch.tensor([[30.0, 20.0, 7.0]])
    small, large = (regressor.raw_inputs(scale * shower, regressor.anchor(scale * shower))[0] for scale in (1.0, 10.0))
    assert torch.allclose(small[:2], large[:2], atol=1e-3)
    assert float(large[-1] - small[-1]) == pytest.approx(np.log(10), abs=1e-3)


def test_far_outside_a_ratio_grows_like_the_line() -> None:
    regressor = made("ratio")
    shower = torch.tensor([[30.0, 20.0, 0.0]])
    one, ten = (float(regressor(scale * shower).detach()) for scale in (1.0, 10.0))
    assert ten / one == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_is_standardised(target: str) -> None:
    regressor = made(target)
    inputs = regressor.inputs(FEATURES, regressor.anchor(FEATURES))
    assert inputs.mean(dim=0).abs().max() < 1e-5
    assert torch.allclose(inputs.std(dim=0), torch.ones(inputs.shape[1]), atol=1e-4)


def test_a_constant_feature_does_no_harm() -> None:
    regressor = Regressor(Architecture(3, (0, 1), (8,), "tanh", 0.0, "direct"), torch.Generator().manual_seed(1))
    constant = FEATURES.clone()
    constant[:, 2] = 3.0
    regressor.calibrate(ANCHOR, constant, TRUE_ENERGY)
    assert torch.isfinite(regressor(constant)).all()


def test_the_baselines_are_the_sum_and_the_line() -> None:
    estimates = made("direct").estimates(FEATURES.numpy())
    assert estimates.sum.tolist() == pytest.approx([3.9, 39.0, -0.13], rel=1e-5)
    assert estimates.anchor.tolist() == pytest.approx([4.0, 40.0, 0.1], rel=1e-5)


def test_a_logarithm_gives_energies_above_zero() -> None:
    assert (made("log")(FEATURES) > 0).all()
