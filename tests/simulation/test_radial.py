"""The radial profile against the formulas of Grindhammer & Peters, hep-ex/0001020, and its integral over cells."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.simulation import load_detector
from calomlp.simulation.detector import MATERIALS, LayerGroup, Plate
from calomlp.simulation.profile import Media, RadialSpread, cell_shares, mean_profile, radial_spread
from tests.simulation.tools import contained, media_of, medium

SIW, SHASHLIK, AHCAL = (load_detector(name).sections[0] for name in ("siw-ecal", "shashlik", "ahcal"))
CRYSTAL = load_detector("crystal-ecal").sections[0]


def published(section: LayerGroup, energy: float, tau: float) -> tuple[float, float, float]:
    """Core and tail in units of R_M, and the share of the core."""
    Z, log_energy = section.medium.Z, math.log(energy)
    core = 0.0251 + 0.00319 * log_energy + (0.1162 - 0.000381 * Z) * tau
    knee = tau - 0.645
    tail = (0.659 - 0.00309 * Z) * (math.exp(-2.59 * knee) + math.exp((0.3585 + 0.0421 * log_energy) * knee))
    x = (0.401 + 0.00187 * Z - tau) / (1.313 - 0.0686 * log_energy)
    share = (2.632 - 0.00094 * Z) * math.exp(x - math.exp(x))
    if not section.homogeneous:
        lost, per_layer = 1.0 - section.e_over_mip, 1.0 / section.sampling_frequency
        core += -0.0203 * lost + 0.0397 * per_layer * math.exp(-tau)
        tail += -0.14 * lost - 0.495 * per_layer * math.exp(-tau)
        share += lost * (0.348 - 0.642 * per_layer * math.exp(-((tau - 1.0) ** 2)))
    return max(core, 0.02), max(tail, 0.05), min(max(share, 0.0), 1.0)


def spread_of(section: LayerGroup, energy: float, tau: torch.Tensor) -> RadialSpread:
    media = media_of(section).at(torch.zeros(len(tau), dtype=torch.long))
    return radial_spread(torch.tensor([energy]), tau, media)


@pytest.mark.physics
@pytest.mark.parametrize("energy", [0.3, 10.0, 1000.0])
@pytest.mark.parametrize("section", [CRYSTAL, SIW, SHASHLIK, AHCAL], ids=lambda section: section.name)
def test_core_and_tail_are_the_published_ones(section: LayerGroup, energy: float) -> None:
    tau = torch.linspace(0.0, 4.0, 41)
    spread, radius = spread_of(section, energy, tau), section.medium.moliere_radius
    expected = np.array([published(section, energy, each) for each in tau.tolist()])
    np.testing.assert_allclose(spread.core / radius, expected[:, 0], rtol=1e-4)
    np.testing.assert_allclose(spread.tail / radius, expected[:, 1], rtol=1e-4)
    np.testing.assert_allclose(spread.core_share, expected[:, 2], atol=1e-5)


def test_layers_of_one_material_are_corrected_for_their_thickness_only() -> None:
    plates = (Plate("a", MATERIALS["W"], 0.2), Plate("b", MATERIALS["W"], 0.2, active=True))
    section = replace(SIW, slices=plates)
    spread = spread_of(section, 10.0, torch.tensor([0.5]))
    core, tail, share = published(section, 10.0, 0.5)
    assert section.e_over_mip == 1.0
    assert (spread.core / section.medium.moliere_radius).item() == pytest.approx(core, rel=1e-5)
    assert (spread.tail / section.medium.moliere_radius).item() == pytest.approx(tail, rel=1e-5)
    assert spread.core_share.item() == pytest.approx(share, rel=1e-5)


def test_far_behind_a_shower_its_width_does_not_grow_any_more() -> None:
    spread = spread_of(CRYSTAL, 10.0, torch.tensor([10.0, 1e3, 1e6]))
    assert (spread.tail == spread.tail[0]).all()
    assert torch.isfinite(spread.tail).all()


def test_steps_have_the_media_in_which_they_are() -> None:
    both = media_of(CRYSTAL, SIW).at(torch.tensor([0, 1]))
    spread = radial_spread(torch.tensor([10.0]), torch.tensor([0.7, 0.7]), both)
    for i, section in enumerate((CRYSTAL, SIW)):
        alone = spread_of(section, 10.0, torch.tensor([0.7]))
        assert spread.core[i].item() == pytest.approx(alone.core.item())
        assert spread.tail[i].item() == pytest.approx(alone.tail.item())


def mean_containment(media: Media, radii: list[float]) -> list[float]:
    """Share of the mean 10 GeV shower within radii in R_M."""
    profile = mean_profile(torch.tensor([10.0]), media)
    edges = torch.linspace(0.0, 60.0, 600)
    tau = 0.5 * (edges[1:] + edges[:-1]) * profile.tau_per_x0
    spread = radial_spread(torch.tensor([10.0]), tau, media)
    inside = contained(spread, torch.tensor(radii)[:, None] * media.moliere_radius)
    return (inside * profile.shares(edges[None])[0]).sum(dim=1).tolist()


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PbWO4", (87.7, 95.3, 98.2)),
        ("Pb", (89.1, 96.1, 98.5)),
        ("W", (88.3, 95.7, 98.4)),
        ("Fe", (83.6, 92.9, 97.1)),
        ("Cu", (83.8, 93.1, 97.2)),
        ("CsI", (86.3, 94.6, 97.9)),
    ],
)
def test_containment_within_moliere_radii(name: str, expected: tuple[float, ...]) -> None:
    found = [100.0 * share for share in mean_containment(medium(name), [1.0, 2.0, 3.5])]
    assert found == pytest.approx(expected, abs=0.4)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("section", "r90"),
    [(load_detector("siw-ecal").sections[1], 1.11), (SHASHLIK, 0.94), (AHCAL, 1.65)],
    ids=["siw-ecal", "shashlik", "ahcal"],
)
def test_radius_that_contains_nine_tenths_in_sampling_media(section: LayerGroup, r90: float) -> None:
    assert mean_containment(media_of(section).at(0), [r90]) == pytest.approx([0.90], abs=0.01)


RADII = st.floats(0.05, 30.0)
EDGES = st.lists(st.floats(-50.0, 50.0), min_size=3, max_size=8, unique=True).map(sorted)


def shares(radius: float, x: list[float], y: list[float]) -> torch.Tensor:
    return cell_shares(*(torch.tensor(values, dtype=torch.float64) for values in (radius, x, y)))


@settings(deadline=None)
@given(RADII, EDGES, EDGES)
def test_the_cells_of_a_grid_sum_to_what_they_cover(radius: float, x: list[float], y: list[float]) -> None:
    envelope = shares(radius, [x[0], x[-1]], [y[0], y[-1]])
    assert shares(radius, x, y).sum().item() == pytest.approx(envelope.item(), abs=1e-10)


@settings(deadline=None)
@given(RADII, EDGES, EDGES)
def test_the_profile_is_the_same_in_all_directions(radius: float, x: list[float], y: list[float]) -> None:
    found = shares(radius, x, y)
    mirrored = shares(radius, [-edge for edge in reversed(x)], y).flip(0)
    torch.testing.assert_close(found, mirrored, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, shares(radius, y, x).T, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(RADII, EDGES, st.floats(0.1, 10.0))
def test_only_ratios_of_lengths_matter(radius: float, x: list[float], scale: float) -> None:
    scaled = shares(radius * scale, [edge * scale for edge in x], [-scale, scale])
    torch.testing.assert_close(scaled, shares(radius, x, [-1.0, 1.0]), rtol=0, atol=1e-10)


def test_half_of_the_energy_is_within_the_radius() -> None:
    spread = RadialSpread(torch.tensor([2.0]), torch.tensor([2.0]), torch.tensor([0.3]))
    assert contained(spread, 2.0).item() == pytest.approx(0.5)


def test_what_is_inside_a_square_is_between_its_two_circles() -> None:
    inside = shares(1.5, [-2.0, 2.0], [-2.0, 2.0]).item()
    small, large = (r * r / (r * r + 1.5 * 1.5) for r in (2.0, 2.0 * math.sqrt(2)))
    assert small < inside < large


@pytest.mark.parametrize("distance", [0.0, 30.0, 500.0, 1e4])
def test_in_single_precision_no_cell_gets_less_than_nothing(distance: float) -> None:
    edges = torch.linspace(-9.0, 9.0, 19)
    found = cell_shares(torch.tensor(1.2), edges - distance, edges)
    assert (found >= 0.0).all()
    assert found.sum() <= 1.0 + 1e-5


def test_cells_weigh_core_and_tail() -> None:
    core, tail, share = torch.tensor([0.5, 0.8]), torch.tensor([3.0, 4.0]), torch.tensor([0.2, 0.9])
    edges = torch.linspace(-2.0, 2.0, 5)[:, None]
    found = RadialSpread(core, tail, share).in_cells(edges, edges)
    expected = share * cell_shares(core, edges, edges) + (1.0 - share) * cell_shares(tail, edges, edges)
    torch.testing.assert_close(found, expected)
