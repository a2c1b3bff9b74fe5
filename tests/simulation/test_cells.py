"""Single cells: quanta in sampling layers, shares in homogeneous ones, and that they agree with whole layers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from calomlp.simulation import Detector, load_detector
from calomlp.simulation.beam import Axes
from calomlp.simulation.deposits import Component, Showers, em_in_layers, only_core, share_sideways
from calomlp.simulation.layers import Layers
from calomlp.simulation.readout import cell_signals, grids
from calomlp.simulation.request import Impact
from tests.simulation.tools import PARTS, Columns, generator, only, perfect, pull, simulate

SIW, AHCAL, CRYSTAL = (load_detector(name) for name in ("siw-ecal", "ahcal", "crystal-ecal"))
CENTRE = Impact(0.0, 0.0, 0.0)


def deposited(layers: Layers, n: int, energy: float, *, radius: float = 1.0, x: float = 0.0) -> Showers:
    """The same electromagnetic energy in every step of every event, around one axis."""
    steps = len(layers.middle)
    zero = torch.zeros(n)
    each = torch.full((n, 1, steps), energy)
    spread = only_core(torch.full((n, 1, steps), radius))
    em = Component.of(each.sum(dim=(1, 2)), each, spread, torch.full((n, 1, steps), x), torch.zeros_like(each), layers)
    return Showers(em.total, Axes(zero, zero, zero, zero), em, zero + 1.0, zero, zero)


def signals(detector: Detector, n: int, energy: float, *, radius: float = 1.0, x: float = 0.0) -> torch.Tensor:
    """Visible energies of the cells of the first group of layers, [n, layers, n_x, n_y]."""
    layers, (grid, *_) = Layers.of(detector), grids(detector)
    showers = deposited(layers, n, energy, radius=radius, x=x)
    assert showers.em is not None
    em = em_in_layers(showers.em, layers, generator(1))
    return cell_signals(showers, em, grid, layers, generator(2))[0]


def stack(cells: int, size: float, repeat: int = 4) -> Detector:
    return only(load_detector("siw-ecal", [f"layers.repeat={repeat}"]), cells=cells, cell_size=size)


@pytest.mark.physics
def test_quanta_have_the_mean_of_the_deposit_and_the_variance_of_the_sampling() -> None:
    detector = stack(2, 1e4)
    energy, c = 0.4, detector.sections[0].c_em
    found = signals(detector, 20_000, energy).sum(dim=(2, 3))  # [n, layers]
    assert found.mean().item() == pytest.approx(energy, rel=4e-3)
    assert found.var(dim=0).mean().item() == pytest.approx(c * c * energy, rel=0.02)


@pytest.mark.physics
def test_layers_fluctuate_independently() -> None:
    found = signals(stack(2, 1e4), 20_000, 0.4).sum(dim=(2, 3))
    assert torch.corrcoef(found.T).triu(1).abs().max() < 0.03


def test_small_cells_add_up_to_large_ones() -> None:
    fine, coarse = (signals(stack(cells, size), 4000, 1.0)[:, 0] for cells, size in ((12, 0.5), (4, 1.5)))
    joined = fine.unfold(1, 3, 3).unfold(2, 3, 3).sum(dim=(3, 4))
    expected = (joined.mean(dim=0), joined.std(dim=0))
    torch.testing.assert_close(coarse.mean(dim=0), expected[0], rtol=0.1, atol=3e-3)
    torch.testing.assert_close(coarse.std(dim=0), expected[1], rtol=0.1, atol=3e-3)


def test_neighbours_in_a_layer_are_independent() -> None:
    found = signals(stack(4, 0.5, repeat=1), 10_000, 1.0)[:, 0].flatten(1)
    assert torch.corrcoef(found.T).triu(1).abs().max() < 0.05


def test_each_cell_gets_its_share_of_the_profile() -> None:
    detector = stack(9, 0.7)
    edges = grids(detector)[0].edges(torch.device("cpu"))[:, None] - 0.4  # the axis is at x = 0.4 cm
    radius = torch.tensor([1.3])
    expected = only_core(radius).in_cells(edges, edges + 0.4)[..., 0]
    found = signals(detector, 5000, 1.0, radius=1.3, x=0.4).mean(dim=(0, 1))
    torch.testing.assert_close(found, expected, rtol=0.05, atol=2e-3)


def test_nothing_deposited_lights_no_cell() -> None:
    for detector in (SIW, AHCAL, CRYSTAL):
        assert signals(detector, 3, 0.0).abs().max() < 1e-37


def test_many_quanta_are_drawn_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = signals(stack(4, 1.0), 200, 10.0)
    monkeypatch.setattr("calomlp.simulation.readout._QUANTA_AT_ONCE", 1000)
    portions = signals(stack(4, 1.0), 200, 10.0)
    assert portions.sum(dim=(1, 2, 3)).mean().item() == pytest.approx(whole.sum(dim=(1, 2, 3)).mean().item(), rel=0.02)


def test_homogeneous_cells_share_all_that_is_inside() -> None:
    detector = only(CRYSTAL, response=replace(CRYSTAL.sections[0].response, c_em=0.0))
    layers, (grid,) = Layers.of(detector), grids(detector)
    showers = deposited(layers, 50, 0.5)
    assert showers.em is not None
    signal, em = cell_signals(showers, em_in_layers(showers.em, layers, generator()), grid, layers, generator())
    assert em is not None
    torch.testing.assert_close(signal.sum(dim=(2, 3)), em.inside, rtol=1e-4, atol=0)
    torch.testing.assert_close((em.inside + em.outside).sum(dim=1), showers.em.total, rtol=1e-5, atol=0)


@pytest.mark.physics
def test_the_shares_of_crystals_fluctuate_like_spots() -> None:
    # 93 ln(Z) E^0.876 spots, Grindhammer & Peters: var(p) = p (1 - p)/N
    energy, n_spots = 10.0, 93.0 * math.log(CRYSTAL.sections[0].medium.Z) * 10.0**0.876
    parts = torch.tensor([0.7, 0.2, 0.1])[:, None, None].expand(3, 20_000, 1) * energy
    spots = Layers.of(CRYSTAL).spots
    found = share_sideways(parts, torch.full((20_000,), energy), spots, generator())[..., 0] / energy
    torch.testing.assert_close(found.sum(dim=0), torch.ones(20_000))
    for share, values in zip((0.7, 0.2, 0.1), found, strict=True):
        assert values.mean().item() == pytest.approx(share, abs=1e-3)
        assert values.var().item() == pytest.approx(share * (1 - share) / (n_spots + 1), rel=0.05)


# Cells and whole layers


@pytest.mark.parametrize(
    ("name", "particle", "energy", "n", "impact"),
    [
        ("siw-ecal", "e-", "10", 2048, CENTRE),
        ("siw-ecal", "gamma", "5", 2048, Impact(6.0, 2.0, 0.0)),
        ("ahcal", "pi-", "20", 2048, CENTRE),
        ("ahcal", "e-", "20", 2048, Impact(30.0, 0.0, 0.0)),
        ("crystal-ecal", "e-", "10", 4096, CENTRE),
        ("crystal-ecal", "pi-", "20", 4096, Impact(5.0, 5.0, 0.0)),
        ("combined", "p", "30", 2048, CENTRE),
        ("shashlik", "e-", "5", 4096, Impact(4.0, 0.0, 0.0)),
    ],
)
def test_cells_measure_what_layers_do(name: str, particle: str, energy: str, n: int, impact: Impact) -> None:
    layers, cells = (simulate(perfect(name), particle, energy, n, hits=hits, impact=impact) for hits in (False, True))
    a, b = (columns["layer_energy"].sum(axis=1) for columns in (layers, cells))
    near = 1e-3 * float(energy)  # layers interpolate the sideways profile between depths
    assert b.mean() == pytest.approx(a.mean(), abs=near + 4.0 * math.hypot(a.std(), b.std()) / math.sqrt(n))
    assert b.std() == pytest.approx(a.std(), rel=4.5 / math.sqrt(n))
    for part in PARTS:
        assert cells[f"true_{part}"].mean() == pytest.approx(layers[f"true_{part}"].mean(), rel=1e-3, abs=near)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("particle", ["mu-", "pi-"])
def test_layers_are_the_sums_of_their_hits(particle: str) -> None:
    columns = simulate(AHCAL, particle, "20", 128, hits=True)
    n = 128 * 38
    total = np.bincount(columns["hit_event"] * 38 + columns["hit_layer"], columns["hit_energy"], minlength=n)
    np.testing.assert_allclose(columns["layer_energy"].flatten(), total, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("short_blocks")
def test_hits_are_in_the_middle_of_cells_of_layers_that_exist() -> None:
    columns = simulate("combined", "pi-", "50", 64, hits=True)
    x, y, layer = columns["hit_x"], columns["hit_y"], columns["hit_layer"]
    size = np.where(layer < 30, 1.0, 3.0)
    half = np.where(layer < 30, 9.0, 36.0)
    for position in (x, y):
        assert (position / size - 0.5) % 1.0 == pytest.approx(0.0, abs=1e-4)
        assert (np.abs(position) < half).all()
    assert (layer.min(), layer.max()) == (0, 77)
    assert layer.dtype == np.int16


def centre_of(columns: Columns, layers: range) -> tuple[float, float]:
    """Mean position of the energy in some layers."""
    near = np.isin(columns["hit_layer"], layers)
    weight = columns["hit_energy"][near]
    return tuple(float(np.average(columns[f"hit_{axis}"][near], weights=weight)) for axis in "xy")  # type: ignore[return-value]


@pytest.mark.physics
@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("particle", ["e-", "mu-"])
def test_inclined_particles_drift_by_depth_times_the_tangent(particle: str) -> None:
    detector = only(SIW, cells=60, cell_size=0.5)
    columns = simulate(perfect(detector), particle, "20", 64, hits=True, angle=(40.0, 40.0), impact=CENTRE)
    thickness = SIW.sections[0].medium.thickness
    for layer in (2, 5, 9):
        x, y = centre_of(columns, range(layer, layer + 1))
        assert x == pytest.approx(thickness * (layer + 0.5) * math.tan(math.radians(40.0)), abs=0.3)
        assert y == pytest.approx(0.0, abs=0.3)


@pytest.mark.usefixtures("short_blocks")
def test_a_straight_muon_lights_one_cell_in_each_layer() -> None:
    columns = simulate(perfect(SIW), "mu-", "20", 64, hits=True, impact=Impact(2.5, -3.5, 0.0))
    assert (columns["hit_counts"] == 30).all()
    assert (columns["hit_x"] == 2.5).all()
    assert (columns["hit_y"] == -3.5).all()


@pytest.mark.usefixtures("short_blocks")
def test_particles_that_miss_light_no_cell() -> None:
    for particle in ("mu-", "e-", "pi-"):
        columns = simulate(perfect(SIW), particle, "20", 8, hits=True, impact=Impact(900.0, 0.0, 0.0))
        assert columns["hit_counts"].max() <= 1
        assert columns["true_lateral_leakage"] + columns["true_rear_leakage"] == pytest.approx(20.0, rel=0.02)


@pytest.mark.usefixtures("short_blocks")
def test_a_detector_with_very_many_cells_is_read_a_few_events_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"detector": perfect(SIW), "particles": "e-", "energies": "5", "n": 64, "hits": True}
    usual = simulate(**wanted)  # type: ignore[arg-type]
    monkeypatch.setattr("calomlp.simulation.generate.CELLS_AT_ONCE", 20_000)
    few = simulate(**wanted)  # type: ignore[arg-type]
    assert abs(pull(usual["layer_energy"].sum(axis=1), few["layer_energy"].sum(axis=1))) < 4.0
