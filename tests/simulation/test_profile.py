"""The longitudinal profile against the formulas of Grindhammer & Peters, hep-ex/0001020, in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector import MATERIALS, Plate
from calomlp.simulation.layers import Layers
from calomlp.simulation.profile import MIN_ALPHA, MIN_T, Media, draw_profile, mean_profile, step_shares
from tests.simulation.tools import generator, media_of, medium

LEAD = (Plate("a", MATERIALS["Pb"], 0.2), Plate("b", MATERIALS["polystyrene"], 0.4, active=True))
SANDWICH = replace(load_detector("shashlik").sections[0], slices=LEAD)


def exact_shares(alpha: torch.Tensor, beta: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """The same integrals from incomplete gamma functions in double precision."""
    alpha, beta, depth = (values.double() for values in (alpha, beta, depth))
    contained: torch.Tensor = torch.special.gammainc(alpha[..., None], beta[..., None] * depth)
    return contained.diff(dim=-1)


def depths(edges: torch.Tensor, n: int, path: float = 1.0) -> torch.Tensor:
    """Edges counted from n starting points that are spread over the front half."""
    start = torch.linspace(0.0, 0.5, n) * edges[-1]
    return (edges - start[:, None]).clamp(min=0.0) * path


@pytest.mark.parametrize("energy", [0.1, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("name", PRESETS)
def test_shares_of_cascades_in_the_steps_of_detectors_are_exact(name: str, energy: float) -> None:
    layers = Layers.of(load_detector(name))
    profile = draw_profile(torch.full((300,), energy), layers.section_media.at(0), generator())
    for path in (1.0, 2.0):  # along the normal, and at 60 degrees
        depth = depths(layers.x0_edges, 300, path)
        expected = exact_shares(profile.alpha, (profile.alpha - 1.0) / profile.T, depth)
        assert (profile.shares(depth) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", PRESETS)
def test_shares_of_hadrons_are_exact_where_their_profile_is_infinite_at_the_vertex(name: str) -> None:
    layers = Layers.of(load_detector(name))
    alpha, beta = torch.linspace(0.15, 2.0, 1000), torch.linspace(1.5, 0.5, 1000)
    depth = depths(layers.lambda_edges, 1000)
    assert (step_shares(alpha, beta, depth) - exact_shares(alpha, beta, depth)).abs().max() < 2e-4


def test_a_profile_that_begins_just_before_the_end_of_a_step_loses_nothing() -> None:
    start = torch.tensor([0.999, 0.9999, 0.999999])
    depth = (torch.arange(11.0) - start[:, None]).clamp(min=0.0)
    alpha, beta = torch.full((3,), 0.4), torch.full((3,), 0.9)
    torch.testing.assert_close(
        step_shares(alpha, beta, depth), exact_shares(alpha, beta, depth).float(), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("first", [9.5, 9.0, 50.0])
def test_profiles_that_begin_in_the_last_step_or_behind_it(first: float) -> None:
    depth = (torch.arange(11.0) - first).clamp(min=0.0)[None]
    alpha, beta = torch.tensor([2.5]), torch.tensor([0.5])
    torch.testing.assert_close(step_shares(alpha, beta, depth), exact_shares(alpha, beta, depth).float())


@settings(deadline=None)
@given(
    st.floats(0.1, 12.0),
    st.floats(0.05, 8.0),
    st.lists(st.floats(1e-3, 5.0), min_size=1, max_size=12),
    st.floats(0.0, 20.0),
)
def test_shares_are_no_less_than_nothing_and_no_more_than_all(
    alpha: float, beta: float, steps: list[float], start: float
) -> None:
    depth = (torch.tensor([0.0, *np.cumsum(steps)]) - start).clamp(min=0.0)
    shares = step_shares(torch.tensor(alpha), torch.tensor(beta), depth.float())
    assert (shares >= 0.0).all()
    assert shares.sum() <= 1.0 + 1e-6


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "energy", "T", "alpha", "mean", "t90", "t99"),
    [
        ("PbWO4", 1.0, 3.88, 2.71, 6.15, 11.2, 18.0),
        ("PbWO4", 100.0, 8.48, 5.13, 10.54, 16.8, 24.2),
        ("Pb", 10.0, 6.36, 3.97, 8.50, 14.2, 21.4),
        ("Fe", 1.0, 3.02, 2.47, 5.07, 9.4, 15.4),
        ("Fe", 10.0, 5.32, 3.82, 7.21, 12.2, 18.4),
        ("Fe", 100.0, 7.63, 5.16, 9.46, 15.0, 21.7),
        ("W", 10.0, 6.27, 3.95, 8.40, 14.1, 21.2),
        ("CsI", 10.0, 6.00, 3.89, 8.08, 13.6, 20.5),
    ],
)
def test_mean_profile_and_the_depths_that_contain_it(
    name: str, energy: float, T: float, alpha: float, mean: float, t90: float, t99: float
) -> None:
    profile = mean_profile(torch.tensor([energy]), medium(name))
    assert profile.T.item() == pytest.approx(T, abs=0.01)
    assert profile.alpha.item() == pytest.approx(alpha, abs=0.01)
    assert (profile.alpha * profile.T / (profile.alpha - 1.0)).item() == pytest.approx(mean, abs=0.02)
    depth = torch.linspace(0.0, 30.0, 301)
    contained = profile.shares(depth[None])[0].cumsum(0).numpy()
    assert np.interp([0.90, 0.99], contained, depth[1:].numpy()) == pytest.approx([t90, t99], abs=0.15)


@pytest.mark.physics
@pytest.mark.parametrize("energy", [1.0, 10.0, 200.0])
def test_sampling_moves_and_sharpens_the_mean_profile(energy: float) -> None:
    log_y, Z = math.log(energy / SANDWICH.medium.critical_energy), SANDWICH.medium.Z
    profile = mean_profile(torch.tensor(energy), media_of(SANDWICH).at(0))
    T = log_y - 0.858 - 0.59 / SANDWICH.sampling_frequency - 0.53 * (1.0 - SANDWICH.e_over_mip)
    alpha = 0.21 + (0.492 + 2.38 / Z) * log_y - 0.444 / SANDWICH.sampling_frequency
    assert profile.T.item() == pytest.approx(T, rel=1e-5)
    assert profile.alpha.item() == pytest.approx(alpha, rel=1e-5)


@pytest.mark.physics
def test_sampling_changes_means_widths_and_correlation_of_single_profiles() -> None:
    log_y, Z = math.log(10.0 / SANDWICH.medium.critical_energy), SANDWICH.medium.Z
    drawn = draw_profile(torch.full((200_000,), 10.0), media_of(SANDWICH).at(0), generator())
    log_T, log_alpha = drawn.T.log(), drawn.alpha.log()
    T = log_y - 0.812 - 0.55 / SANDWICH.sampling_frequency - 0.69 * (1.0 - SANDWICH.e_over_mip)
    alpha = 0.81 + (0.458 + 2.26 / Z) * log_y - 0.476 / SANDWICH.sampling_frequency
    assert log_T.mean().item() == pytest.approx(math.log(T), abs=2e-3)
    assert log_alpha.mean().item() == pytest.approx(math.log(alpha), abs=2e-3)
    assert log_T.std().item() == pytest.approx(1.0 / (-2.5 + 1.25 * log_y), rel=0.01)
    assert log_alpha.std().item() == pytest.approx(1.0 / (-0.82 + 0.79 * log_y), rel=0.01)
    correlation = torch.corrcoef(torch.stack((log_T, log_alpha)))[0, 1].item()
    assert correlation == pytest.approx(0.784 - 0.023 * log_y, abs=0.01)


def test_media_that_are_sampled_less_than_every_three_radiation_lengths_count_as_homogeneous() -> None:
    coarse = (Plate("a", MATERIALS["brass"], 5.05), Plate("b", MATERIALS["polystyrene"], 0.37, active=True))
    found = media_of(replace(SANDWICH, slices=coarse)).at(0)
    assert SANDWICH.sampling_frequency > 0.3 > replace(SANDWICH, slices=coarse).sampling_frequency
    assert (found.layer_depth.item(), found.transition.item()) == (0.0, 0.0)
    torch.testing.assert_close(found.fluctuations, medium("brass").fluctuations)


@pytest.mark.parametrize("media", [medium("PbWO4"), medium("Fe", "polystyrene"), medium("U", "polystyrene")])
def test_profiles_are_legal_at_every_energy(media: Media) -> None:
    profile = draw_profile(torch.logspace(-9, 5, 50_000), media, generator())
    for parameter, smallest in ((profile.T, MIN_T), (profile.alpha, MIN_ALPHA), (profile.tau_per_x0, 0.0)):
        assert torch.isfinite(parameter).all()
        assert parameter.min() >= smallest


def test_the_relative_depth_is_counted_from_the_centre_of_gravity_of_each_cascade() -> None:
    media = medium("PbWO4")
    drawn = draw_profile(torch.full((1000,), 10.0), media, generator())
    mean_alpha = 0.81 + (0.458 + 2.26 / 68.36) * math.log(10.0 / media.critical_energy.item())
    centre = drawn.T * drawn.alpha / (drawn.alpha - 1.0)
    torch.testing.assert_close(drawn.tau_per_x0 * centre, torch.full((1000,), mean_alpha / (mean_alpha - 1.0)))
