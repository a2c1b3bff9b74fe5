from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calomlp.errors import UsageError
from calomlp.simulation import Request, Spectrum, load_detector, provenance
from calomlp.simulation.request import BLOCK, MAX_EVENTS, Impact, parse_angle, parse_particles

SIW = load_detector("siw-ecal")
FLAT = Spectrum.parse("1:100", shape="flat")
ELECTRONS = (("e-", 1.0),)


def make(**how: Any) -> Request:
    return Request(**{"detector": SIW, "particles": ELECTRONS, "spectrum": FLAT, "events": 10, "seed": 1, **how})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:100", Spectrum((1.0, 100.0), -1.0)),
        ("10", Spectrum((10.0,))),
        ("5,10,20", Spectrum((5.0, 10.0, 20.0))),
        (" 0.5 : 2e2 ", Spectrum((0.5, 200.0), -1.0)),
        ("0.1:10000", Spectrum((0.1, 1e4), -1.0)),
    ],
)
def test_spectra_are_read(text: str, expected: Spectrum) -> None:
    assert Spectrum.parse(text) == expected


@pytest.mark.parametrize(("shape", "index"), [("log", -1.0), ("flat", 0.0), ("E^-2.7", -2.7), ("E^+1", 1.0)])
def test_shapes_are_exponents(shape: str, index: float) -> None:
    assert Spectrum.parse("1:100", shape=shape).index == index
    assert Spectrum.parse("5,10", shape=shape).index is None


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_a_spectrum_is_read_as_it_is_written(energies: list[int]) -> None:
    spectrum = Spectrum(tuple(map(float, energies)))
    assert Spectrum.parse(str(spectrum)) == spectrum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a range such as 1:100 nor points"),
        ("1-100", "neither a range"),
        ("1,2:3", "neither a range"),
        ("100:1", "'100:1': the lower edge must be below the upper edge"),
        ("5:5", "the lower edge must be below"),
        ("1:2:3", "the lower edge must be below"),
        ("0.05", "energy 0.05 GeV is not legal: from 0.1 GeV to 10 TeV"),
        ("1:20000", "energy 20000 GeV is not legal"),
        ("-3", "energy -3 GeV is not legal"),
        ("1:inf", "energy inf GeV is not legal"),
        ("nan", "energy nan GeV is not legal"),
    ],
)
def test_illegal_energies(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Spectrum.parse(text)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("lgo", "unknown spectrum shape 'lgo'; did you mean 'log'"),
        ("E^", "unknown spectrum shape"),
        ("E^1.2.3", "or a power law such as E"),
        ("E^-11", r"E\^-11 is not legal: from E\^-10 to E\^10"),
        ("E^500", r"E\^500 is not legal"),
    ],
)
def test_illegal_shapes(shape: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Spectrum.parse("1:10", shape=shape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cell", Impact()),
        ("1,-2", Impact(1.0, -2.0, 0.0)),
        ("0,0,0.5", Impact(0.0, 0.0, 0.5)),
        ("1e4,0", Impact(1e4, 0, 0)),
    ],
)
def test_impact_points_are_read(text: str, expected: Impact) -> None:
    assert Impact.parse(text) == expected


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "x,y", "0,0,-1", "nan,0", "1e39,0", "0,-10001", "0,0,inf"])
def test_illegal_impact_points(text: str) -> None:
    with pytest.raises(UsageError, match="is not legal: cell, a point x,y or a Gaussian beam"):
        Impact.parse(text)


@pytest.mark.parametrize(("text", "expected"), [("0", (0.0, 0.0)), ("12.5", (12.5, 12.5)), ("0:60", (0.0, 60.0))])
def test_angles_are_read(text: str, expected: tuple[float, float]) -> None:
    assert parse_angle(text) == expected


@pytest.mark.parametrize("text", ["", "steep", "61", "-1", "20:10", "1:2:3", "nan", "0:nan"])
def test_illegal_angles(text: str) -> None:
    with pytest.raises(UsageError, match="from 0 to 60 degrees"):
        parse_angle(text)


def test_mixtures_are_read() -> None:
    assert parse_particles("pi+") == (("pi+", 1.0),)
    assert parse_particles("e-:1, pi-:3") == (("e-", 1.0), ("pi-", 3.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e-:0", "'0' is not a weight from 1e-06 to 1e[+]06; write e-:1,pi-:3"),
        ("e-:-1", "'-1' is not a weight"),
        ("e-:many", "'many' is not a weight"),
        ("e-:nan", "'nan' is not a weight"),
        ("e-:1e-300,pi-:1e-300", "'1e-300' is not a weight"),
        ("e-:inf", "'inf' is not a weight"),
        ("e-,pi-,e-", "'e-' is named twice"),
    ],
)
def test_illegal_mixtures(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_particles(text)


BARE = load_detector("ahcal", ["response.c_em=0.005"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"particles": (("pi0", 1.0),)}, r"'siw-ecal' does not simulate 'pi0'; did you mean '.*legal: e-, e\+"),
        ({"particles": (("e-", 1.0), ("", 1.0))}, "does not simulate ''"),
        ({"events": 0}, "number of events 0 is not legal: from 1 to 8.8e"),
        ({"events": MAX_EVENTS + 1}, "number of events 8796093022209 is not legal"),
        ({"seed": -1}, "seed -1 is not legal"),
        ({"shard": (2, 2)}, "shard 2 of 2 is not legal"),
        ({"shard": (-1, 2)}, "shard -1 of 2 is not legal"),
        ({"shard": (0, 0)}, "shard 0 of 0 is not legal"),
        ({"shard": (0, 11)}, "11 shards of 10 events are not legal"),
        ({"momentum_spread": 0.3}, "momentum spread 0.3 is not legal: from 0 to 0.2"),
        ({"momentum_spread": math.nan}, "momentum spread nan is not legal"),
        ({"detector": BARE, "hits": True}, "layers 'steel': with hits, c_em = 0.0050.* is not legal: at least 0.01"),
    ],
)
def test_illegal_requests(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(**how)
    assert "\n" not in str(caught.value)


def test_hits_need_cells(tmp_path: Any) -> None:
    file = tmp_path / "bare.toml"
    file.write_text(
        'name = "bare"\nlayers = [{ name = "a", sensor = { material = "Si", thickness = "1 mm", active = true } }]'
    )
    with pytest.raises(UsageError, match=r"detector 'bare': layers 'a' have no cells, .* give cells and cell_size"):
        make(detector=load_detector(file), hits=True)


def test_hits_of_many_cells_need_a_threshold() -> None:
    with pytest.raises(UsageError, match="threshold is missing: each event would have 21888 hits"):
        make(detector=load_detector("ahcal", ["readout.threshold=0"]), hits=True)


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_shards_share_the_events(events: int, count: int) -> None:
    count = min(count, events)
    ranges = [make(events=events, shard=(i, count)).event_range for i in range(count)]
    assert ranges[0].start == 0
    assert ranges[-1].stop == events
    assert all(before.stop == after.start for before, after in pairwise(ranges))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


@given(st.integers(1, 10**6), st.integers(1, 20), st.data())
def test_the_blocks_of_a_share_hold_its_events(events: int, count: int, data: st.DataObject) -> None:
    count = min(count, events)
    request = make(events=events, shard=(data.draw(st.integers(0, count - 1)), count))
    assert request.blocks.start * BLOCK <= request.event_range.start < (request.blocks.start + 1) * BLOCK
    assert (request.blocks.stop - 1) * BLOCK < request.event_range.stop <= request.blocks.stop * BLOCK


def test_provenance_is_json_and_repeatable() -> None:
    particles = (("pi-", 3.0), ("e-", 1.0))
    request = make(detector=load_detector("ahcal"), particles=particles, seed=3, shard=(1, 2), angle=(0.0, 20.0))
    document = provenance(request)
    assert json.loads(json.dumps(document, allow_nan=False)) == document == provenance(request)
    assert document["particles"] == {"pi-": 3.0, "e-": 1.0}
    assert document["spectrum"] == {"index": 0.0, "energies_gev": [1.0, 100.0]}
    assert document["impact_cm"] == "cell"
    assert document["angle_degrees"] == [0.0, 20.0]
    assert math.isclose(document["constants"]["depth_lambda"], 5.25, rel_tol=1e-3)


@pytest.mark.parametrize(
    "how",
    [
        {"particles": (("e+", 1.0),)},
        {"spectrum": Spectrum.parse("1:100")},
        {"events": 11},
        {"seed": 2},
        {"shard": (1, 2)},
        {"hits": True},
        {"momentum_spread": 0.01},
        {"impact": Impact(1.0, 0.0, 0.0)},
        {"angle": (1.0, 1.0)},
        {"detector": load_detector("siw-ecal", ["layers.front.repeat=9"])},
        {"detector": load_detector("siw-ecal", ["calibration_seed=2"])},
    ],
    ids=str,
)
def test_all_that_the_events_depend_on_is_in_the_provenance(how: dict[str, Any]) -> None:
    assert provenance(make(**how)) != provenance(make())
