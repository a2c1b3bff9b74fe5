"""What particles do in whole detectors: electrons, photons, hadrons, muons, straight and inclined."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from calomlp.simulation import Detector, load_detector
from calomlp.simulation.beam import Axes
from calomlp.simulation.deposits import (
    CONVERSION_LENGTH,
    PION,
    PROTON,
    Showers,
    draw_em_fraction,
    electrons,
    hadrons,
    mean_em_fraction,
    photons,
)
from calomlp.simulation.generate import shower
from calomlp.simulation.layers import Layers
from calomlp.simulation.request import Impact
from tests.simulation.tools import Array, Columns, generator, only, perfect, pull, simulate, wide

SIW, AHCAL, CRYSTAL = (load_detector(name) for name in ("siw-ecal", "ahcal", "crystal-ecal"))
N = 4096


def straight(n: int = N, degrees: float = 0.0) -> Axes:
    zero = torch.zeros(n)
    return Axes(zero, zero, zero + math.radians(degrees), zero)


def showers(detector: Detector, particle: str, energy: float, n: int = N, degrees: float = 0.0) -> Showers:
    return shower(particle, Layers.of(detector), straight(n, degrees), torch.full((n,), energy), generator())


def mean_depth(columns: Columns) -> float:
    """Centre of gravity in layers."""
    profile = columns["layer_energy"].mean(axis=0)
    return float(np.average(np.arange(len(profile)) + 0.5, weights=profile))


def test_an_electron_is_one_cascade_and_a_photon_two() -> None:
    layers = Layers.of(wide(CRYSTAL))
    for particle, k in ((electrons, 1), (photons, 2)):
        found = particle(layers, straight(), torch.full((N,), 10.0), generator())
        assert found.em is not None
        assert found.em.energy.shape[:2] == (N, k)
        torch.testing.assert_close(found.em.total, torch.full((N,), 10.0))


@pytest.mark.physics
def test_photons_convert_after_nine_sevenths_of_a_radiation_length() -> None:
    thin = load_detector(
        "crystal-ecal", ["layers.crystal.thickness=0.08925mm", "layers.repeat=1000"]
    )  # 100 steps an X0
    found = showers(wide(thin), "gamma", 10.0, n=2000)
    assert found.em is not None
    x0_per_step = Layers.of(thin).x0_edges[1].item()
    before = x0_per_step * (found.em.energy.sum(dim=1) == 0.0).sum(dim=1).numpy()
    assert before.mean() == pytest.approx(CONVERSION_LENGTH, rel=0.08)
    assert before.std() == pytest.approx(CONVERSION_LENGTH, rel=0.08)


@pytest.mark.physics
def test_the_pair_shares_the_energy_evenly() -> None:
    found = showers(wide(CRYSTAL), "gamma", 10.0)
    assert found.em is not None
    share = found.em.energy.sum(dim=2)[:, 0] / found.em.energy.sum(dim=(1, 2))
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    assert share.std().item() == pytest.approx(12**-0.5, rel=0.05)


def test_electrons_and_positrons_are_alike() -> None:
    first, second = (simulate(SIW, name, "10", 256)["layer_energy"] for name in ("e-", "e+"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.physics
@pytest.mark.parametrize("particle", ["e-", "pi-"])
def test_inclined_showers_are_as_deep_along_their_axis(particle: str) -> None:
    deep = load_detector("ahcal", ["layers.repeat=120"])
    straight_, inclined = (
        simulate(perfect(wide(deep)), particle, "20", 4 * N, angle=(angle, angle)) for angle in (0.0, 60.0)
    )
    assert mean_depth(inclined) == pytest.approx(0.5 * mean_depth(straight_), rel=0.03)


def test_an_inclined_calorimeter_contains_more() -> None:
    leakage = [simulate(wide(CRYSTAL), "e-", "50", N, angle=(a, a))["true_rear_leakage"].mean() for a in (0.0, 45.0)]
    assert leakage[1] < 0.1 * leakage[0]


@pytest.mark.parametrize("name", ["siw-ecal", "crystal-ecal"])
def test_the_farther_from_the_centre_the_more_leaks_to_the_side(name: str) -> None:
    leakage = [
        simulate(name, "e-", "10", 256, impact=Impact(x, 0.0, 0.0))["true_lateral_leakage"].mean()
        for x in (0.0, 4.0, 7.0, 12.0, 500.0)
    ]
    assert leakage == sorted(leakage)
    assert leakage[0] < 0.4
    assert leakage[-1] == pytest.approx(10.0, rel=0.01)


def test_at_the_edge_of_the_calorimeter_half_of_a_shower_leaks() -> None:
    columns = simulate("crystal-ecal", "e-", "10", 512, impact=Impact(7.7, 0.0, 0.0))
    behind = columns["true_rear_leakage"].mean()
    assert columns["true_lateral_leakage"].mean() == pytest.approx(0.5 * (10.0 - behind), rel=0.02)


def test_layers_without_sides_lose_nothing_there() -> None:
    for particle in ("e-", "pi-"):
        leakage = simulate(wide(AHCAL), particle, "20", 512)["true_lateral_leakage"]
        assert np.abs(leakage).max() < 1e-4


@pytest.mark.physics
def test_the_maximum_that_is_told_is_that_of_the_layers() -> None:
    thin = load_detector("crystal-ecal", ["layers.crystal.thickness=0.8925mm", "layers.repeat=250", "response.kappa=0"])
    columns = simulate(perfect(wide(only(thin, response=replace(thin.sections[0].response, c_em=0.0)))), "e-", "10", 64)
    step = Layers.of(thin).x0_edges[1].item()
    found = step * (columns["layer_energy"].argmax(axis=1) + 0.5)
    assert found == pytest.approx(columns["true_shower_max"], abs=step)


# Media that change


def test_groups_of_equal_layers_are_one_calorimeter() -> None:
    front, rear = (replace(AHCAL.sections[0], name=name, repeat=n) for name, n in (("a", 10), ("b", 28)))
    whole, halves = (
        simulate(perfect(each), "pi-", "20", N) for each in (AHCAL, replace(AHCAL, sections=(front, rear)))
    )
    np.testing.assert_allclose(whole["true_rear_leakage"], halves["true_rear_leakage"], atol=1e-3)
    np.testing.assert_allclose(whole["true_em_energy"], halves["true_em_energy"], atol=2e-2)
    assert abs(pull(whole["layer_energy"].sum(axis=1), halves["layer_energy"].sum(axis=1))) < 4.0


@pytest.mark.physics
def test_a_shower_that_changes_media_counts_its_depth_in_radiation_lengths() -> None:
    ecal, hcal = CRYSTAL.sections[0], AHCAL.sections[0]
    block = replace(ecal.slices[0], thickness=4.0 * ecal.medium.radiation_length)
    front = replace(ecal, slices=(block,), cells=None, cell_size=math.inf)
    both = replace(CRYSTAL, sections=(front, replace(hcal, cells=None, cell_size=math.inf)))
    alone = wide(load_detector("crystal-ecal", ["layers.crystal.thickness=35.7mm", "layers.repeat=10"]))
    mixed, homogeneous = (simulate(perfect(each), "e-", "10", N) for each in (both, alone))
    shares = [columns["layer_energy"][:, 0].mean() for columns in (mixed, homogeneous)]
    assert shares[0] == pytest.approx(shares[1], rel=0.01)
    assert mixed["layer_energy"].sum(axis=1).mean() == pytest.approx(10.0, rel=0.005)


def test_in_front_of_sampling_layers_crystals_make_a_better_measurement() -> None:
    ecal = replace(CRYSTAL.sections[0], cells=None, cell_size=math.inf)
    both = replace(CRYSTAL, sections=(ecal, replace(AHCAL.sections[0], cells=None, cell_size=math.inf)))
    total = [simulate(perfect(each), "e-", "50", N)["layer_energy"].sum(axis=1) for each in (both, wide(AHCAL))]
    assert total[0].std() < 0.3 * total[1].std()
    assert total[0].mean() == pytest.approx(50.0, rel=2e-3)


# Hadrons


@pytest.mark.physics
def test_protons_interact_earlier_than_pions() -> None:
    depth = [simulate(AHCAL, name, "20", 8 * N)["true_vertex_depth"] for name in ("p", "pi+")]
    assert depth[0].mean() == pytest.approx(1.0, rel=0.03)
    assert depth[1].mean() == pytest.approx(1.1, rel=0.03)


@pytest.mark.physics
@pytest.mark.parametrize(("E0", "energy", "share"), [(1.0, 20.0, 0.399), (1.0, 500.0, 0.652), (2.6, 20.0, 0.293)])
def test_the_mean_electromagnetic_share_follows_the_power_law(E0: float, energy: float, share: float) -> None:
    # 1 - (E/E0)^(m-1), m = 0.83: Gabriel et al., NIM A338 (1994) 336.
    assert mean_em_fraction(torch.tensor(energy), E0).item() == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("energy", [0.0, 1e-6, 0.3, 1.0, 1e4])
def test_electromagnetic_shares_are_shares_at_every_energy(energy: float) -> None:
    for hadron in (PION, PROTON):
        share = draw_em_fraction(torch.full((10_000,), energy), hadron.E0, generator())
        assert ((share >= 0.0) & (share <= 1.0)).all()


def test_the_electromagnetic_share_is_skewed_to_large_values_at_low_energy() -> None:
    share = draw_em_fraction(torch.full((100_000,), 5.0), 1.0, generator()).numpy()
    assert ((share - share.mean()) ** 3).mean() / share.std() ** 3 > 0.3


@pytest.mark.physics
def test_before_it_interacts_a_hadron_leaves_one_mip_in_each_layer() -> None:
    columns = simulate(perfect(AHCAL), "pi-", "20", 4 * N)
    late = columns["true_vertex_depth"] > 20 * AHCAL.sections[0].medium.depth_in_interaction_lengths
    signal = columns["layer_energy"][late][:, :20]
    assert signal.mean() == pytest.approx(AHCAL.sections[0].mip_signal, rel=0.01)


@pytest.mark.physics
def test_what_punches_through_leaks_but_for_its_ionisation() -> None:
    columns = simulate(wide(AHCAL), "pi-", "20", 8 * N)
    through = columns["true_vertex_depth"] > AHCAL.medium.depth_in_interaction_lengths
    assert through.sum() > 100
    assert columns["true_rear_leakage"][through] == pytest.approx(20.0 - AHCAL.medium.mip_loss, rel=1e-4)
    assert (columns["true_em_energy"][through] == 0.0).all()


def test_a_slow_hadron_stops_before_it_interacts() -> None:
    columns = simulate(wide(AHCAL), "p", "0.1", N)  # its range is four layers, half an interaction length
    stopped = columns["true_vertex_depth"] > 1.0
    assert columns["true_hadronic_energy"][stopped] == pytest.approx(0.1, rel=1e-5)


@pytest.mark.physics
def test_hadrons_are_wider_than_electrons() -> None:
    leakage = {name: simulate(AHCAL, name, "50", N)["true_lateral_leakage"].mean() for name in ("pi-", "e-")}
    assert leakage["pi-"] > 5.0 * leakage["e-"]


def test_all_the_energy_of_a_hadron_is_accounted_for_before_any_layer() -> None:
    found = hadrons(Layers.of(AHCAL), straight(), torch.full((N,), 30.0), PION, generator())
    assert found.em is not None
    assert found.hadronic is not None
    assert found.track is not None
    total = found.em.total + found.hadronic.total + found.track.loss.sum(dim=1)
    torch.testing.assert_close(total, torch.full((N,), 30.0), rtol=1e-5, atol=0)


# Muons


def mean_loss(columns: Columns) -> Array:
    loss: Array = columns["true_hadronic_energy"]
    return loss


@pytest.mark.physics
@pytest.mark.parametrize("name", ["siw-ecal", "crystal-ecal", "shashlik", "ahcal", "combined"])
def test_muons_lose_what_the_table_of_materials_says(name: str) -> None:
    detector = load_detector(name)
    columns = simulate(perfect(detector), "mu-", "20", 1024)
    assert mean_loss(columns) == pytest.approx(detector.medium.mip_loss, rel=1e-4)
    assert columns["true_rear_leakage"] == pytest.approx(20.0 - detector.medium.mip_loss, rel=1e-5)
    mean = [s.mip_signal for s in detector.sections for _ in range(s.n_readouts)]
    assert columns["layer_energy"].mean(axis=0) == pytest.approx(mean, rel=0.06)


def test_slow_muons_stop() -> None:
    columns = simulate(perfect(AHCAL), "mu+", "0.5", 512)
    range_ = 0.5 / AHCAL.sections[0].medium.mip_loss  # 19 of 38 layers
    assert mean_loss(columns) == pytest.approx(0.5, rel=1e-5)
    assert columns["true_rear_leakage"].max() < 1e-6
    assert (columns["layer_energy"][:, : int(range_)] > 0.0).all()
    assert (columns["layer_energy"][:, int(range_) + 1 :] == 0.0).all()


def test_inclined_muons_lose_more() -> None:
    columns = simulate(perfect(wide(SIW)), "mu-", "20", 512, angle=(60.0, 60.0))
    assert mean_loss(columns) == pytest.approx(2.0 * SIW.medium.mip_loss, rel=1e-4)


def test_muons_that_miss_leave_nothing() -> None:
    columns = simulate(perfect(SIW), "mu-", "20", 64, impact=Impact(50.0, 0.0, 0.0))
    assert columns["layer_energy"].max() == 0.0
    assert columns["true_lateral_leakage"] == pytest.approx(SIW.medium.mip_loss, rel=1e-4)


def test_muons_that_leave_through_a_side_end_there() -> None:
    columns = simulate(perfect(SIW), "mu-", "20", 64, angle=(45.0, 45.0), impact=Impact(0.0, 0.0, 0.0))
    lit = (columns["layer_energy"] > 0.0).any(axis=0)
    depth = np.cumsum([s.medium.thickness for s in SIW.sections for _ in range(s.repeat)])
    assert lit[: np.searchsorted(depth, 8.5)].all()
    assert not lit[np.searchsorted(depth, 9.5) :].any()


@pytest.mark.physics
def test_readouts_that_sum_layers_fluctuate_less() -> None:
    single, grouped = (
        simulate(perfect(load_detector("shashlik", [f"layers.layers_per_readout={n}"])), "mu-", "20", N)["layer_energy"]
        for n in (1, 11)
    )
    assert grouped.shape[1] == 6
    assert grouped[:, 0].mean() == pytest.approx(single[:, :11].sum(axis=1).mean(), rel=0.01)
    assert grouped[:, 0].std() == pytest.approx(single[:, :11].sum(axis=1).std(), rel=0.08)


def test_grouped_layers_measure_what_single_ones_do() -> None:
    single, grouped = (
        simulate(perfect(load_detector("shashlik", [f"layers.layers_per_readout={n}"])), "e-", "5", 4 * N)
        for n in (1, 66)
    )
    a, b = (columns["layer_energy"].sum(axis=1) for columns in (single, grouped))
    assert abs(pull(a, b)) < 4.0
    assert b.std() == pytest.approx(a.std(), rel=0.03)
