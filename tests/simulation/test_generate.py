"""Events in blocks: what they depend on and what not, and that every legal request gives finite, conserved energies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calomlp.simulation import PRESETS, Request, load_detector
from calomlp.simulation.detector import HADRONS
from calomlp.simulation.generate import PDG_ID, block_generator
from calomlp.simulation.request import BLOCK, MAX_EVENTS, Impact
from tests.simulation.tools import PARTS, Array, Columns, columns_of, join, perfect, request, same, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

MIXTURE = "e-:2,gamma,mu-,pi-:2,p"
SIW = load_detector("siw-ecal", ["layers.repeat=4"])
LAYERS = request("ahcal", MIXTURE, "5:100", 2 * BLOCK + 700, seed=7, angle=(0.0, 30.0), momentum_spread=0.02)
HITS = request(SIW, MIXTURE, "1:20", BLOCK + 300, seed=7, hits=True)
CASES = pytest.mark.parametrize("case", ["layers", "hits"])


@pytest.fixture(scope="module")
def whole() -> dict[str, Columns]:
    return {"layers": columns_of(LAYERS), "hits": columns_of(HITS)}


def wanted(case: str) -> Request:
    return LAYERS if case == "layers" else HITS


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


# What events depend on


@CASES
def test_events_do_not_depend_on_threads(threads: int, whole: dict[str, Columns], case: str) -> None:
    few = replace(wanted(case), events=BLOCK // 2)
    found = columns_of(few)
    np.testing.assert_array_equal(found["layer_energy"], whole[case]["layer_energy"][: BLOCK // 2])
    assert torch.get_num_threads() == threads


@CASES
@pytest.mark.parametrize("count", [2, 3])
def test_shards_join_to_the_whole(whole: dict[str, Columns], case: str, count: int) -> None:
    shards = [columns_of(replace(wanted(case), shard=(i, count))) for i in range(count)]
    joined = {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0] if name != "hit_event"}
    same(joined, {name: values for name, values in whole[case].items() if name != "hit_event"})


@CASES
@pytest.mark.parametrize("events", [1, 15, BLOCK, BLOCK + 1])
def test_fewer_events_are_the_first_of_more(whole: dict[str, Columns], case: str, events: int) -> None:
    hits = int(whole[case]["hit_counts"][:events].sum()) if case == "hits" else 0
    first = {
        name: values[: hits if name.startswith("hit_") and name != "hit_counts" else events]
        for name, values in whole[case].items()
    }
    same(columns_of(replace(wanted(case), events=events)), first)


@CASES
def test_the_global_random_numbers_are_left_alone(case: str) -> None:
    torch.manual_seed(3)
    before, state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    columns_of(replace(wanted(case), events=10))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index] # noqa: NPY002


def test_the_state_of_the_global_random_numbers_does_not_matter(whole: dict[str, Columns]) -> None:
    torch.manual_seed(1234)
    found = columns_of(replace(LAYERS, events=10))
    np.testing.assert_array_equal(found["layer_energy"], whole["layers"]["layer_energy"][:10])


def test_seeds_and_blocks_give_other_events(whole: dict[str, Columns]) -> None:
    other, energy = columns_of(replace(LAYERS, seed=8, events=100)), whole["layers"]["true_energy"]
    assert not np.isin(other["true_energy"], energy).all()
    assert len(np.unique(energy)) > 0.99 * len(energy)


def test_no_two_blocks_of_a_run_have_the_same_random_numbers() -> None:
    cpu = torch.device("cpu")
    last = MAX_EVENTS // BLOCK - 1
    blocks = [*range(1000), *range(last - 1000, last + 1)]
    assert len({block_generator(1, block, cpu).initial_seed() for block in blocks}) == len(blocks)
    assert len({block_generator(seed, 0, cpu).initial_seed() for seed in range(1000)}) == 1000


@pytest.mark.parametrize("seed", [0, 2**32, 2**64 + 1])
def test_every_seed_is_good_for_events(seed: int) -> None:
    assert np.isfinite(simulate(SIW, "e-", "10", 3, seed=seed)["layer_energy"]).all()


# What is in a block


@pytest.mark.parametrize("particle", PDG_ID)
def test_columns(particle: str) -> None:
    detector = load_detector("ahcal")
    events = simulate(detector, particle, "5:100", 10, shard=(1, 2))
    assert events["event_id"].tolist() == [5, 6, 7, 8, 9]
    assert events["event_id"].dtype == np.int64
    assert events["pdg_id"].dtype == np.int32
    assert (events["pdg_id"] == PDG_ID[particle]).all()
    assert events["layer_energy"].shape == (5, detector.n_layers)
    truth = ("energy", "em_fraction", "vertex_depth", "shower_max", "x", "y", "theta", "phi", *PARTS)
    assert set(events) == {"event_id", "pdg_id", "layer_energy", *(f"true_{name}" for name in truth)}
    for column in (*(f"true_{name}" for name in truth), "layer_energy"):
        assert events[column].dtype == np.float32


def test_columns_of_hits() -> None:
    events = simulate(SIW, "e-", "10", 5, hits=True)
    dtypes = {"counts": np.int64, "energy": np.float32, "layer": np.int16, "x": np.float32, "y": np.float32}
    assert {name.removeprefix("hit_") for name in events if name.startswith("hit_")} == {*dtypes, "event"}
    assert all(events[f"hit_{name}"].dtype == dtype for name, dtype in dtypes.items())


def test_the_nominal_energy_is_written_where_it_is_another() -> None:
    spread = simulate("ahcal", "pi-", "20", 1000, momentum_spread=0.03)
    assert (spread["true_nominal_energy"] == 20.0).all()
    assert spread["true_energy"].std() == pytest.approx(0.6, rel=0.1)
    assert "true_nominal_energy" not in simulate("ahcal", "pi-", "20", 10)


def test_points_take_turns_whatever_the_particles_are() -> None:
    events = simulate("ahcal", MIXTURE, "5,10,20", 300)
    assert events["true_energy"].tolist() == [5.0, 10.0, 20.0] * 100


def test_in_a_mixture_every_event_is_that_of_its_particle() -> None:
    events = simulate(perfect("ahcal"), MIXTURE, "50", BLOCK)
    em, hadronic, kind = events["true_em_energy"], events["true_hadronic_energy"], events["pdg_id"]
    assert (em[np.isin(kind, (11, 22))] > 45.0).all()
    assert (hadronic[np.isin(kind, (11, 22))] == 0.0).all()
    assert (em[kind == 13] == 0.0).all()
    assert (hadronic[kind == 13] < 2.0).all()
    assert (events["layer_energy"].sum(axis=1)[kind == 13] < 3.0).all()
    assert (events["true_vertex_depth"][np.isin(kind, (-211, 2212))] > 0.0).all()
    assert (events["true_vertex_depth"][np.isin(kind, (11, 13, 22))] == 0.0).all()


def test_a_mixture_may_lack_particles_in_a_block(short_blocks: int) -> None:
    blocks = request(SIW, "pi-:1e-6,e-:3,mu-:1e-6,gamma:1", "10", 5 * short_blocks, hits=True)
    events = columns_of(blocks)
    assert set(events["pdg_id"].tolist()) <= {11, 22}
    assert events["event_id"].tolist() == list(range(5 * short_blocks))
    assert (events["hit_counts"] > 0).all()


def test_hits_belong_to_their_events(whole: dict[str, Columns]) -> None:
    events = whole["hits"]
    total = np.bincount(events["hit_event"], events["hit_energy"], minlength=len(events["event_id"]))
    np.testing.assert_allclose(total, events["layer_energy"].sum(axis=1), rtol=1e-4, atol=1e-5)
    assert events["hit_counts"].sum() == len(events["hit_energy"]) == len(events["hit_event"])


# Every legal request


def check(events: Columns) -> None:
    for name, values in events.items():
        assert np.isfinite(values).all(), name
    energy: Array = events["true_energy"].astype(float)
    total = sum(events[f"true_{part}"].astype(float) for part in PARTS)
    np.testing.assert_allclose(total, energy, rtol=1e-5)
    for part in ("em_energy", "hadronic_energy", "rear_leakage", "lateral_leakage"):
        assert events[f"true_{part}"].min() >= 0.0, part
    assert ((events["true_em_fraction"] >= 0.0) & (events["true_em_fraction"] <= 1.0)).all()


FUZZ = pytest.mark.parametrize(
    ("particle", "how"),
    [
        ("e-", {}),
        ("gamma", {"impact": Impact(9.0, 0.0, 0.0)}),
        ("gamma", {"angle": (60.0, 60.0)}),
        ("mu-", {"angle": (0.0, 60.0)}),
        ("pi-", {"impact": Impact(0.0, 0.0, 30.0)}),
        ("pi+", {"angle": (60.0, 60.0)}),
        ("p", {"impact": Impact(500.0, 300.0, 0.0)}),
        ("e-", {"impact": Impact(1e4, 1e4, 0.0)}),
        (",".join(PDG_ID), {"impact": Impact(sigma=0.0), "momentum_spread": 0.2}),
    ],
    ids=str,
)


@pytest.mark.physics
@FUZZ
@pytest.mark.parametrize("name", PRESETS)
def test_energy_is_finite_and_conserved_at_every_energy(
    monkeypatch: pytest.MonkeyPatch, name: str, particle: str, how: dict[str, object]
) -> None:
    for module in ("generate", "request"):
        monkeypatch.setattr(f"calomlp.simulation.{module}.BLOCK", 512)
    check(simulate(name, particle, "0.1,0.2,0.5,1,100,10000", 512, **how))


@pytest.mark.physics
@FUZZ
@pytest.mark.parametrize("name", PRESETS)
def test_the_same_with_hits(name: str, particle: str, how: dict[str, object], short_blocks: int) -> None:
    check(simulate(name, particle, "0.1,0.3,3,100", short_blocks, hits=True, **how))


@pytest.mark.physics
@pytest.mark.parametrize("particle", ["e-", "pi-"])
def test_ten_tera_electronvolts_with_hits(monkeypatch: pytest.MonkeyPatch, particle: str) -> None:
    for module in ("generate", "request"):
        monkeypatch.setattr(f"calomlp.simulation.{module}.BLOCK", 8)
    check(simulate("combined", particle, "10000", 8, hits=True))


def test_one_event() -> None:
    for hits in (False, True):
        check(simulate(SIW, "e-", "5", 1, hits=hits))


def test_one_layer_without_anything_else(short_blocks: int) -> None:
    single = load_detector("siw-ecal", ["layers.repeat=1", "layers.cells=1", "layers.cell_size=1cm"])
    single = replace(single, sections=single.sections[:1])
    for particle in ("e-", "pi-", "mu-"):
        check(simulate(single, particle, "10", short_blocks, hits=True))
        check(simulate(single, particle, "10", short_blocks))


def test_a_detector_without_hadrons_simulates_none() -> None:
    bare = perfect(SIW)
    sections = tuple(replace(s, response=replace(s.response, c_had=None, e_over_h=None)) for s in bare.sections)
    bare = replace(bare, sections=sections)
    assert not set(HADRONS) & set(bare.particles)
    check(simulate(bare, "e-,mu-,gamma", "10", 100))


def test_blocks_join_in_order(whole: dict[str, Columns]) -> None:
    assert whole["layers"]["event_id"].tolist() == list(range(2 * BLOCK + 700))
    assert join([whole["layers"]])["event_id"].tolist() == list(range(2 * BLOCK + 700))
