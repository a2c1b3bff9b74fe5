from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calomlp.simulation import PRESETS, Request, Spectrum, load_detector
from calomlp.simulation.generate import BLOCK, Columns, block_generator, generate
from calomlp.simulation.layers import Layers
from calomlp.simulation.readout import read_out

if TYPE_CHECKING:
    from collections.abc import Iterator

AHCAL = load_detector("ahcal")
LOG = Spectrum.parse("5:100")


def columns(request: Request) -> Columns:
    blocks = list(generate(request))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def assert_same(left: Columns, right: Columns) -> None:
    assert list(left) == list(right)
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


WHOLE = Request(AHCAL, "pi-", LOG, events=2 * BLOCK + 700, seed=7)


@pytest.fixture(scope="module")
def whole() -> Columns:
    return columns(WHOLE)


def test_events_do_not_depend_on_threads(threads: int, whole: Columns) -> None:
    assert_same(columns(WHOLE), whole)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_join_to_the_whole(count: int, whole: Columns) -> None:
    shards = [columns(replace(WHOLE, shard=(i, count))) for i in range(count)]
    assert_same({name: np.concatenate([shard[name] for shard in shards]) for name in whole}, whole)


@pytest.mark.parametrize("events", [1, 15, 1000, BLOCK, BLOCK + 1])
def test_fewer_events_are_the_first_of_more(events: int, whole: Columns) -> None:
    assert_same(columns(replace(WHOLE, events=events)), {name: values[:events] for name, values in whole.items()})


def test_the_global_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    columns(Request(AHCAL, "pi-", LOG, events=10, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_and_blocks_give_other_events(whole: Columns) -> None:
    other = columns(replace(WHOLE, seed=8))
    assert not np.isin(other["true_energy"][:100], whole["true_energy"]).all()
    assert len(np.unique(whole["true_energy"])) > 0.99 * len(whole["true_energy"])
    seeds = {block_generator(seed, block).initial_seed() for seed in range(3) for block in range(1000)}
    assert len(seeds) == 3000


@pytest.mark.parametrize(
    ("name", "particle", "pdg_id"),
    [("siw-ecal", "e-", 11), ("ahcal", "e+", -11), ("ahcal", "pi-", -211), ("ahcal", "pi+", 211)],
)
def test_columns(name: str, particle: str, pdg_id: int) -> None:
    detector = load_detector(name)
    events = columns(Request(detector, particle, LOG, events=10, seed=1, shard=(1, 2)))
    assert events["event_id"].tolist() == [5, 6, 7, 8, 9]
    assert events["event_id"].dtype == np.int64
    assert events["pdg_id"].dtype == np.int32
    assert (events["pdg_id"] == pdg_id).all()
    assert events["layer_energy"].shape == (5, detector.n_layers)
    truth = {column for column in events if column.startswith("true_")}
    assert set(events) - truth == {"event_id", "pdg_id", "layer_energy"}
    assert truth == {
        "true_energy",
        "true_em_fraction",
        "true_vertex_depth",
        "true_shower_max",
        "true_em_energy",
        "true_hadronic_energy",
        "true_invisible_energy",
        "true_leakage",
    }
    for column in (*truth, "layer_energy"):
        assert events[column].dtype == np.float32
        assert np.isfinite(events[column]).all()


@pytest.mark.physics
@pytest.mark.parametrize("energies", ["0.1:1", "1:1000"])
@pytest.mark.parametrize(("name", "particle"), [*((name, "e-") for name in PRESETS), ("ahcal", "pi+")])
def test_energy_is_conserved(name: str, particle: str, energies: str) -> None:
    events = columns(Request(load_detector(name), particle, Spectrum.parse(energies), events=BLOCK, seed=1))
    parts = ("em_energy", "hadronic_energy", "invisible_energy", "leakage")
    total = sum(events[f"true_{part}"].astype(np.float64) for part in parts)
    np.testing.assert_allclose(total, events["true_energy"], rtol=1e-5)


def test_points_have_equal_numbers_of_events() -> None:
    events = columns(Request(AHCAL, "e-", Spectrum.parse("5,10,20"), events=30, seed=1))
    assert events["true_energy"].tolist() == [5.0, 10.0, 20.0] * 10


@pytest.mark.parametrize(("shape", "transform"), [("flat", np.asarray), ("log", np.log)])
def test_ranges_are_filled_evenly(shape: str, transform: np.ufunc) -> None:
    request = Request(load_detector("crystal-ecal"), "e-", Spectrum.parse("2:50", shape=shape), 100_000, seed=1)
    energy = columns(request)["true_energy"]
    low, high = transform(2.0), transform(50.0)
    u = (transform(energy) - low) / (high - low)
    assert u.min() >= 0
    assert u.max() <= 1
    counts, _ = np.histogram(u, bins=20, range=(0, 1))
    assert counts == pytest.approx(5000, rel=0.06)  # four standard deviations


@pytest.mark.physics
def test_noise_adds_in_quadrature_and_may_be_negative() -> None:
    # 0.12 MIP x 30 MeV in 64 tiles and 38 layers: the 0.18 GeV noise term of CALICE, JINST 7 (2012) P09017.
    layers = Layers.of(AHCAL)
    generator = torch.Generator().manual_seed(1)
    empty = torch.zeros(20_000, AHCAL.n_layers)
    noise = read_out(empty, layers, AHCAL.readout, torch.ones(AHCAL.n_layers), generator)
    assert noise.sum(dim=1).std().item() == pytest.approx(0.18, rel=0.03)
    assert (noise < 0).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_calibration_is_fixed_for_a_detector() -> None:
    exact = replace(AHCAL.readout, noise_mip=0.0, non_uniformity=0.0, calibration_smear=0.0)
    smeared = replace(exact, calibration_smear=0.02)
    spectrum = Spectrum.parse("50")
    factors = []
    for seed in (5, 6):
        reference, measured = (
            columns(Request(replace(AHCAL, readout=readout), "e-", spectrum, 2 * BLOCK, seed=seed))["layer_energy"][
                :, :10
            ].astype(float)
            for readout in (exact, smeared)
        )
        ratio = measured / np.where(reference > 1e-6, reference, np.nan)
        assert np.nanstd(ratio, axis=0) == pytest.approx(0.0, abs=1e-5)
        factors.append(np.nanmean(ratio, axis=0))
    assert 0.005 < factors[0].std() < 0.04
    assert factors[0] == pytest.approx(factors[1], abs=1e-5)
