"""From visible to measured energies, one effect at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from calomlp.simulation import Detector, load_detector
from calomlp.simulation.layers import Layers
from calomlp.simulation.readout import (
    Channels,
    cell_channels,
    effective_cells,
    grids,
    layer_channels,
    measure_cells,
    measure_layers,
)
from calomlp.simulation.request import Impact
from calomlp.units import Quantity
from tests.simulation.tools import Array, generator, only, perfect, simulate, wide, with_readout

AHCAL, SIW, CRYSTAL = (load_detector(name) for name in ("ahcal", "siw-ecal", "crystal-ecal"))
SMALL = only(AHCAL, repeat=2, cells=4)
MIP = SMALL.sections[0].mip
N = 20_000
NO_THRESHOLD = {"threshold": Quantity(1e-12, "GeV")}


def layered(detector: Detector, energy: float, n: int = N) -> torch.Tensor:
    """Measured layers, [n, L], of the same visible energy in each."""
    layers = Layers.of(detector)
    return measure_layers(torch.full((n, detector.n_layers), energy), layer_channels(detector, layers), generator())


def channels_of(detector: Detector) -> Channels:
    return cell_channels(detector, grids(detector)[:1], torch.device("cpu"))[0]


def measured(detector: Detector, energy: float, n: int = 2000) -> Array:
    """Measured cells of the first group of layers, [n, layers, cells, cells], 0 where they are not read out."""
    (grid, *_) = grids(detector)
    signal = torch.full((n, grid.n_layers, grid.n, grid.n), energy)
    found = torch.zeros_like(signal)
    common = torch.randn(n, generator=generator(3))
    place, values = measure_cells(signal, channels_of(detector), common, generator())
    found[tuple(place.unbind(dim=1))] = values
    return found.numpy().astype(float)


def test_a_readout_without_effects_measures_what_is_visible() -> None:
    detector = with_readout(SMALL, **NO_THRESHOLD)
    assert measured(detector, 0.7, 3) == pytest.approx(0.7)
    assert layered(detector, 0.7, 3).numpy() == pytest.approx(0.7)


# Noise


@pytest.mark.physics
def test_noise_adds_in_quadrature_and_makes_some_layers_negative() -> None:
    # 0.12 MIP in 64 tiles and 38 layers: the 0.18 GeV noise term of CALICE, JINST 7 (2012) P09017.
    noise = layered(AHCAL, 0.0)
    assert noise.sum(dim=1).std().item() == pytest.approx(0.18, rel=0.03)
    assert (noise < 0.0).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_coherent_noise_of_cells_adds_linearly() -> None:
    for cells in (2, 4):
        detector = with_readout(replace(SMALL, sections=(replace(SMALL.sections[0], cells=cells),)))
        quiet = replace(detector.sections[0].readout, coherent_noise=Quantity(0.1, "MIP"))
        found = measured(only(detector, readout=quiet), 0.0, 4000)
        assert found[:, 0].sum(axis=(1, 2)).std() == pytest.approx(0.1 * MIP * cells**2, rel=0.05)
        assert np.corrcoef(found[:, 0].sum(axis=(1, 2)), found[:, 1].sum(axis=(1, 2)))[0, 1] == pytest.approx(
            0, abs=0.07
        )


def test_noise_of_cells_adds_in_quadrature_to_coherent_noise() -> None:
    both = {"noise": Quantity(0.2, "MIP"), "coherent_noise": Quantity(0.1, "MIP")}
    total = measured(with_readout(SMALL, **both), 0.0, 4000)[:, 0].sum(axis=(1, 2))
    assert total.std() == pytest.approx(MIP * math.hypot(0.2 * 4, 0.1 * 16), rel=0.05)


def test_whole_layers_have_the_noise_of_the_cells_that_they_sum() -> None:
    both = {"noise": Quantity(0.2, "MIP"), "coherent_noise": Quantity(0.1, "MIP"), "summed_cells": 16}
    found = layered(with_readout(SMALL, **both), 0.0)
    assert found.std(dim=0).tolist() == pytest.approx([MIP * math.hypot(0.2 * 4, 0.1 * 16)] * 2, rel=0.03)


# Threshold


def test_a_threshold_cuts_signal_and_noise_alike() -> None:
    detector = with_readout(SMALL, noise=Quantity(0.2, "MIP"), threshold=Quantity(0.5, "MIP"))
    for signal, expected in ((0.0, 0.5 * math.erfc(2.5 / math.sqrt(2))), (0.5 * MIP, 0.5), (MIP, 0.9938)):
        found = measured(detector, signal)
        assert (found > 0.0).mean() == pytest.approx(expected, abs=0.006)
        assert found[found > 0.0].min() >= 0.5 * MIP


@pytest.mark.usefixtures("short_blocks")
def test_without_a_threshold_every_cell_is_read_out() -> None:
    columns = simulate(CRYSTAL, "e-", "10", 32, hits=True)
    assert (columns["hit_counts"] == 49).all()
    assert columns["hit_energy"].min() < 0.0


# Photo-electrons


@pytest.mark.physics
@pytest.mark.parametrize("excess", [1.0, 2.1])
def test_photo_statistics_have_the_variance_of_their_number(excess: float) -> None:
    energy, per_gev = 0.5, 400.0
    counted = {"photo_electrons": Quantity(per_gev, "/GeV"), "excess_noise": excess}
    for found in (measured(with_readout(SMALL, **counted), energy), layered(with_readout(SMALL, **counted), energy)):
        assert found.mean() == pytest.approx(energy, rel=2e-3)
        assert found.std() == pytest.approx(math.sqrt(excess * energy / per_gev), rel=0.02)


def test_photo_electrons_per_mip_are_per_mip() -> None:
    found = measured(with_readout(SMALL, photo_electrons=Quantity(15.0, "/MIP")), 10 * MIP)
    assert found.std() / found.mean() == pytest.approx(150**-0.5, rel=0.03)


# Saturation


def pixels(number: float, error: float = 0.0) -> Detector:
    saturated = {"saturation": Quantity(number, "pixels"), "saturation_error": error}
    return with_readout(SMALL, photo_electrons=Quantity(1e5, "/MIP"), **saturated, **NO_THRESHOLD)


def test_the_correction_for_saturation_undoes_it() -> None:
    assert measured(pixels(1e5), 2.0 * MIP) == pytest.approx(2.0 * MIP, rel=0.03)


@pytest.mark.physics
@pytest.mark.parametrize("error", [0.05, 0.2])
def test_a_wrong_number_of_pixels_leaves_a_non_linearity(error: float) -> None:
    fired = 1.0 - math.exp(-2.0)  # of the pixels, at two photo-electrons a pixel
    expected = -math.log1p(-fired / (1.0 + error)) * (1.0 + error) / 2.0
    assert expected < 0.97
    assert measured(pixels(1e5, error), 2.0 * MIP).mean() == pytest.approx(2.0 * MIP * expected, rel=0.01)


def test_when_all_pixels_have_fired_the_signal_grows_no_more() -> None:
    found = [measured(pixels(1000), energy, 10) for energy in (1.0 * MIP, 100.0 * MIP, 1e6 * MIP)]
    assert np.isfinite(found).all()
    assert found[1] == pytest.approx(found[2])
    assert found[0].max() < 1e-2 * MIP * math.log(2000)


def test_no_cell_holds_more_than_the_largest_signal() -> None:
    detector = with_readout(SMALL, saturation=Quantity(20.0, "MIP"), **NO_THRESHOLD)
    assert measured(detector, 19.0 * MIP, 3) == pytest.approx(19.0 * MIP)
    assert measured(detector, 21.0 * MIP, 3) == pytest.approx(20.0 * MIP)


def test_whole_layers_do_not_saturate() -> None:
    detector = with_readout(SMALL, saturation=Quantity(20.0, "MIP"))
    assert layered(detector, 100.0 * MIP, 3).numpy() == pytest.approx(100.0 * MIP)


# What belongs to the detector


def test_dead_cells_are_the_same_in_all_events_and_runs() -> None:
    detector = only(SMALL, cells=24, readout=replace(with_readout(SMALL).sections[0].readout, dead_cells=0.2))
    found = measured(detector, 1.0, 4) > 0.0
    assert (found == found[0]).all()
    assert 1.0 - found[0].mean() == pytest.approx(0.2, abs=0.05)
    assert (measured(detector, 2.0, 1)[0] > 0.0).tolist() == found[0].tolist()


@pytest.mark.usefixtures("short_blocks")
def test_dead_cells_are_none_of_the_hits() -> None:
    dead = perfect(AHCAL)
    dead = only(dead, readout=replace(dead.sections[0].readout, dead_cells=0.3))
    lit = {
        seed: {
            (layer, x, y)
            for layer, x, y in zip(*(columns[f"hit_{name}"].tolist() for name in ("layer", "x", "y")), strict=True)
        }
        for seed in (1, 2)
        for columns in [simulate(dead, "e-", "20", 64, seed=seed, hits=True, impact=Impact(0.0, 0.0, 0.0))]
    }
    alive = channels_of(dead).calibration.numpy() > 0.0
    for cells in lit.values():
        assert all(alive[layer, round(x / 3 + 11.5), round(y / 3 + 11.5)] for layer, x, y in cells)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("hits", [False, True])
def test_dead_layers_have_no_energy_and_no_hits(hits: bool) -> None:
    detector = replace(SIW, dead_layers=(3, 12))
    columns = simulate(detector, "e-", "20", 64, hits=hits)
    assert (columns["layer_energy"][:, [3, 12]] == 0.0).all()
    assert (columns["layer_energy"][:, [4, 11]].mean(axis=0) > 0.1).all()
    if hits:
        assert not np.isin(columns["hit_layer"], (3, 12)).any()


@pytest.mark.physics
def test_cells_are_miscalibrated_as_much_as_they_say() -> None:
    detector = only(SMALL, cells=24, readout=replace(with_readout(SMALL).sections[0].readout, calibration_smear=0.03))
    factors = channels_of(detector).calibration
    assert factors.mean().item() == pytest.approx(1.0, abs=4e-3)
    assert factors.std().item() == pytest.approx(0.03, rel=0.07)


def test_the_calibration_belongs_to_the_detector_and_not_to_the_run() -> None:
    exact = wide(with_readout(SIW))
    smeared = replace(exact, sections=tuple(replace(s, cells=18, cell_size=1.0) for s in exact.sections))
    smeared = with_readout(smeared, calibration_smear=0.1)
    exact = with_readout(smeared)
    ratios = []
    for seed in (5, 6):
        reference, found = (simulate(each, "e-", "50", 512, seed=seed)["layer_energy"] for each in (exact, smeared))
        ratio = found.astype(float) / np.where(reference > 1e-3, reference, np.nan)
        assert np.nanstd(ratio, axis=0) == pytest.approx(0.0, abs=1e-5)
        ratios.append(np.nanmean(ratio, axis=0))
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-5)
    assert 0.03 < ratios[0].std() < 0.2


def test_another_calibration_seed_is_another_detector() -> None:
    first, second = (channels_of(replace(AHCAL, calibration_seed=seed)).calibration for seed in (1, 2))
    assert abs(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]) < 0.03


@pytest.mark.physics
def test_calibration_errors_average_over_the_cells_that_share_a_layer() -> None:
    # Around its maximum a 10 GeV electron gives 79 % to one crystal and 94 % to nine of them: 1/sum f^2 = 1.6.
    assert effective_cells(CRYSTAL).item() == pytest.approx(1.6, abs=0.1)
    deep = effective_cells(SIW)
    assert deep[0] < 2.0
    assert deep[-1] > 10.0


def test_far_behind_a_shower_there_are_still_as_many_cells() -> None:
    deep = load_detector("ahcal", ["layers.repeat=200"])
    number = effective_cells(deep)
    assert torch.isfinite(number).all()
    assert (number[40:] > 50.0).all()


def test_layers_without_cells_are_one_channel() -> None:
    assert effective_cells(wide(CRYSTAL)).tolist() == [1.0]


# What is common to an event


def test_non_uniformity_is_common_to_all_cells_of_an_event() -> None:
    found = measured(with_readout(SMALL, non_uniformity=0.05, **NO_THRESHOLD), 1.0)
    assert np.ptp(found, axis=(1, 2, 3)) == pytest.approx(0.0, abs=1e-6)
    assert found[:, 0, 0, 0].std() == pytest.approx(0.05, rel=0.06)


def test_non_uniformity_is_common_to_all_layers_of_an_event() -> None:
    found = layered(with_readout(AHCAL, non_uniformity=0.05), 1.0)
    assert (found.amax(dim=1) - found.amin(dim=1)).max() < 1e-6
    assert found[:, 0].std().item() == pytest.approx(0.05, rel=0.03)


@pytest.mark.physics
def test_non_uniformity_is_a_constant_term() -> None:
    for energy in ("20", "200"):
        columns = simulate(with_readout(wide(SIW), non_uniformity=0.05), "e-", energy, 4096)
        exact = simulate(with_readout(wide(SIW)), "e-", energy, 4096)
        widths = [c["layer_energy"].sum(axis=1).std() / float(energy) for c in (columns, exact)]
        assert math.sqrt(widths[0] ** 2 - widths[1] ** 2) == pytest.approx(0.05, rel=0.05)


def test_groups_of_layers_keep_their_own_readout() -> None:
    combined = load_detector("combined")
    noise = layered(combined, 0.0).std(dim=0)
    expected = [
        section.energy(section.readout.noise) * math.sqrt(section.readout.summed_cells)
        for section in combined.sections
        for _ in range(section.n_readouts)
    ]
    assert noise.tolist() == pytest.approx(expected, rel=0.03)
