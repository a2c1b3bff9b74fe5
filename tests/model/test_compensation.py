"""Local software compensation: it finds weights that make electromagnetic and hadronic energy count alike."""

from __future__ import annotations

import numpy as np
import torch

from calomlp.model.corrections import Compensation

EVENTS = 40_000


def showers(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A calorimeter that sees 0.7 of the hadronic energy, in hits of low energy, and all of the electromagnetic one."""
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(np.log(5), np.log(80), EVENTS))
    electromagnetic = np.clip(rng.normal(0.5, 0.2, EVENTS), 0, 1)
    dense, thin = energy * electromagnetic, 0.7 * energy * (1 - electromagnetic)
    bins = np.stack([0.6 * thin, 0.4 * thin + 0.1 * dense, 0.9 * dense], axis=1)
    bins *= 1 + 0.05 * rng.standard_normal(bins.shape)
    total = bins.sum(axis=1)
    return tuple(torch.tensor(values, dtype=torch.float32) for values in (bins / total[:, None], total, energy))  # type: ignore[return-value]


def fitted() -> Compensation:
    shares, total, energy = showers(1)
    compensation = Compensation(3)
    compensation.fit(shares, total, energy, 0.5 * energy.sqrt(), torch.ones(EVENTS))
    return compensation


def test_before_the_fit_it_is_the_sum() -> None:
    shares, total, _ = showers(2)
    assert torch.allclose(Compensation(3)(shares, total), total, rtol=1e-5)


def test_it_resolves_better_than_the_sum() -> None:
    shares, total, energy = showers(2)
    response = fitted()(shares, total) / energy
    plain = total / energy
    assert abs(float(response.mean()) - 1) < 0.01
    assert float(response.std()) < 0.5 * float(plain.std() / plain.mean())


def test_thin_hits_weigh_more() -> None:
    weights = fitted().weights[:, 0]
    assert weights[0] > 1.2 * weights[2]


def test_nothing_but_noise_is_no_error() -> None:
    shares, total = torch.tensor([[0.0, 0, 0], [0.3, 0.3, 0.4]]), torch.tensor([0.0, -0.01])
    assert fitted()(shares, total).isfinite().all()
