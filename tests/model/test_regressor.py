from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from calomlp.model.anchor import Anchor
from calomlp.model.network import Architecture
from calomlp.model.regressor import Regressor
from calomlp.model.spread import Spread
from calomlp.training.training_settings import REGRESS

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


@pytest.mark.parametrize("target", REGRESS)
def test_every_input_is_standardised(target: str) -> None:
    regressor = made(target)
    inputs = regressor.standardised(FEATURES, regressor.anchor(FEATURES))
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


def test_many_events_are_estimated_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    features = 50 * torch.rand(100, 3, generator=torch.Generator().manual_seed(2)).numpy()
    whole = made("ratio").estimates(features)
    monkeypatch.setattr("calomlp.model.regressor._PART", 7)
    parts = made("ratio").estimates(features)
    assert parts.below is whole.below is None
    for name in ("sum", "anchor", "regressor", "in_domain"):
        assert getattr(parts, name).tolist() == pytest.approx(getattr(whole, name).tolist(), rel=1e-6)
    assert len(made("ratio").estimates(features[:0]).regressor) == 0


def test_a_logarithm_gives_energies_above_zero() -> None:
    assert (made("log")(FEATURES) > 0).all()


def test_a_network_that_does_not_see_the_shares() -> None:
    architecture = replace(made("ratio").architecture, shares=False)
    assert architecture.n_inputs == 2
    regressor = Regressor(architecture, torch.Generator().manual_seed(1))
    regressor.calibrate(ANCHOR, FEATURES, TRUE_ENERGY)
    torch.nn.init.ones_(regressor.network.weights[-1])
    anchor = regressor.anchor(FEATURES)
    assert anchor.tolist() == pytest.approx([4.0, 40.0, 0.1])
    seen = regressor.raw_inputs(FEATURES, anchor)
    assert seen[:, 0].tolist() == FEATURES[:, 2].tolist()
    assert torch.allclose(seen[:2, 1], anchor[:2].log(), atol=0.02)
    shared_otherwise = FEATURES[:1] + torch.tensor([[1.5, -1.0, 0.0]])  # with the same anchor
    assert torch.allclose(regressor(shared_otherwise), regressor(FEATURES[:1]))
    assert not torch.allclose(regressor(FEATURES[:1]), anchor[:1])


def test_an_architecture_that_says_nothing_of_shares_sees_them() -> None:
    described = asdict(made("ratio").architecture)
    del described["shares"]
    assert Architecture(**described).n_inputs == 4


@pytest.mark.parametrize("target", ["direct", "log"])
def test_without_an_anchor_the_network_sees_every_column(target: str) -> None:
    assert replace(made(target).architecture, shares=False).n_inputs == 3
