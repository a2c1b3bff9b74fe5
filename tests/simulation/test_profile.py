from __future__ import annotations

import numpy as np
import pytest
import torch

from calomlp.simulation.detector import Section
from calomlp.simulation.materials import MATERIALS
from calomlp.simulation.media import Slice
from calomlp.simulation.profile import MIN_ALPHA, MIN_T, Media, Profile, draw_profile, mean_profile

# Reference numbers: GFlash (Grindhammer & Peters, hep-ex/0001020) evaluated independently with scipy.


def medium(*names: str) -> Media:
    slices = tuple(Slice(MATERIALS[name], 1.0, active=i == len(names) - 1) for i, name in enumerate(names))
    return Media.of([Section("", slices, 1)]).at(0)


def showers(energy: float, events: int = 200_000) -> Profile:
    return draw_profile(torch.full((events,), energy), medium("PbWO4"), torch.Generator().manual_seed(1))


@pytest.mark.physics
@pytest.mark.parametrize(("energy", "shower_max"), [(1.0, 4.02), (10.0, 6.28), (100.0, 8.57)])
def test_mean_shower_maximum_in_lead_tungstate(energy: float, shower_max: float) -> None:
    assert showers(energy).T.mean().item() == pytest.approx(shower_max, abs=0.03)


@pytest.mark.physics
def test_shower_maximum_moves_by_one_radiation_length_per_e_fold() -> None:
    slope = (showers(100.0).T.mean() - showers(1.0).T.mean()).item() / np.log(100.0)
    assert slope == pytest.approx(0.99, abs=0.02)  # PDG review: 1.0


@pytest.mark.physics
def test_widths_and_correlation_at_10_gev() -> None:
    profile = showers(10.0)
    logs = torch.stack((profile.T.log(), profile.alpha.log()))
    assert logs[0].std().item() == pytest.approx(0.134, rel=0.02)
    assert logs[1].std().item() == pytest.approx(0.183, rel=0.02)
    assert torch.corrcoef(logs)[0, 1].item() == pytest.approx(0.543, abs=0.01)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "energy", "T", "alpha", "t95", "t98"),
    [
        ("PbWO4", 10.0, 6.18, 3.92, 16.2, 19.0),
        ("PbWO4", 100.0, 8.48, 5.13, 19.2, 22.1),
        ("Pb", 10.0, 6.36, 3.97, 16.5, 19.3),
        ("Fe", 10.0, 5.32, 3.82, 14.2, 16.6),
        ("W", 10.0, 6.27, 3.95, 16.3, 19.2),
        ("CsI", 10.0, 6.00, 3.89, 15.8, 18.5),
    ],
)
def test_mean_profile_and_containment(name: str, energy: float, T: float, alpha: float, t95: float, t98: float) -> None:
    profile = mean_profile(torch.tensor(energy), medium(name))
    assert profile.T.item() == pytest.approx(T, abs=0.01)
    assert profile.alpha.item() == pytest.approx(alpha, abs=0.02)
    depth = torch.linspace(0.0, 30.0, 3001)
    contained = profile.contained(depth).numpy()
    assert np.interp([0.95, 0.98], contained, depth.numpy()) == pytest.approx([t95, t98], abs=0.2)


def test_sampling_media_have_earlier_showers() -> None:
    energy = torch.tensor(10.0)
    sandwich = Section("", (Slice(MATERIALS["Pb"], 0.2), Slice(MATERIALS["polystyrene"], 0.4, active=True)), 1)
    media = Media.of([sandwich]).at(0)
    log_y = np.log(10.0 / sandwich.medium.critical_energy)
    assert mean_profile(energy, media).T.item() == pytest.approx(log_y - 0.858 - 0.59 / 2.732 - 0.53 * 0.3484, abs=1e-3)


def test_very_coarse_media_count_as_homogeneous() -> None:
    coarse = Section("", (Slice(MATERIALS["brass"], 5.05), Slice(MATERIALS["polystyrene"], 0.37, active=True)), 1)
    media = Media.of([coarse]).at(0)
    assert media.layer_depth.item() == 0.0
    assert media.transition.item() == 0.0


@pytest.mark.parametrize("names", [("PbWO4",), ("Fe", "polystyrene")])
def test_profiles_stay_legal_at_every_energy(names: tuple[str, ...]) -> None:
    energy = torch.logspace(-4, 4, 50_000)
    profile = draw_profile(energy, medium(*names), torch.Generator().manual_seed(1))
    for parameter, smallest in ((profile.T, MIN_T), (profile.alpha, MIN_ALPHA)):
        assert torch.isfinite(parameter).all()
        assert parameter.min() >= smallest
