from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calomlp.errors import UsageError
from calomlp.simulation import Request, Spectrum, load_detector, provenance

SIW = load_detector("siw-ecal")
FLAT = Spectrum.parse("1:100", shape="flat")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:100", Spectrum("log", (1.0, 100.0))),
        ("10", Spectrum("points", (10.0,))),
        ("5,10,20", Spectrum("points", (5.0, 10.0, 20.0))),
        (" 0.5 : 2e2 ", Spectrum("log", (0.5, 200.0))),
    ],
)
def test_spectra_are_read(text: str, expected: Spectrum) -> None:
    assert Spectrum.parse(text) == expected


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_a_spectrum_is_read_as_it_is_written(energies: list[int]) -> None:
    spectrum = Spectrum("points", tuple(map(float, energies)))
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
        ("0.05", r"energy 0.05 GeV is not legal: finite and at least 0.1 GeV"),
        ("-3", "energy -3 GeV is not legal"),
        ("1:inf", "energy inf GeV is not legal"),
        ("nan", "energy nan GeV is not legal"),
    ],
)
def test_illegal_spectra(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Spectrum.parse(text)


def test_illegal_shapes_of_spectra() -> None:
    with pytest.raises(UsageError, match="unknown spectrum shape 'lgo'; did you mean 'log'"):
        Spectrum.parse("1:10", shape="lgo")
    with pytest.raises(UsageError, match="unknown spectrum 'line'"):
        Spectrum("line", (1.0, 2.0))
    with pytest.raises(UsageError, match="at least one energy"):
        Spectrum("points", ())


def test_illegal_requests() -> None:
    with pytest.raises(UsageError, match=r"'siw-ecal' does not simulate 'pi-'; .*legal: e-, e\+"):
        Request(SIW, "pi-", FLAT, events=10, seed=1)
    with pytest.raises(UsageError, match="number of events 0"):
        Request(SIW, "e-", FLAT, events=0, seed=1)
    with pytest.raises(UsageError, match="seed -1"):
        Request(SIW, "e-", FLAT, events=10, seed=-1)
    with pytest.raises(UsageError, match="shard 2 of 2"):
        Request(SIW, "e-", FLAT, events=10, seed=1, shard=(2, 2))
    with pytest.raises(UsageError, match="11 shards of 10 events"):
        Request(SIW, "e-", FLAT, events=10, seed=1, shard=(0, 11))


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_shards_share_the_events(events: int, count: int) -> None:
    count = min(count, events)
    ranges = [Request(SIW, "e-", FLAT, events, seed=1, shard=(i, count)).event_range for i in range(count)]
    assert ranges[0].start == 0
    assert ranges[-1].stop == events
    assert all(before.stop == after.start for before, after in pairwise(ranges))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


def test_provenance_is_json_and_repeatable() -> None:
    request = Request(load_detector("ahcal"), "pi-", FLAT, events=10, seed=3, shard=(1, 2))
    document = provenance(request)
    assert json.loads(json.dumps(document, allow_nan=False)) == document == provenance(request)
    assert document["spectrum"] == {"shape": "flat", "energies_gev": [1.0, 100.0]}
    assert math.isclose(document["constants"]["depth_lambda"], 5.25, rel_tol=1e-3)
