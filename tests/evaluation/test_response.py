from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calomlp.errors import ArtefactError
from calomlp.evaluation.accumulator import Accumulator, Unusual
from calomlp.evaluation.bins import POINTS, EnergyBins
from calomlp.evaluation.statistics import Statistics

RNG = np.random.default_rng(1)
ENERGY = np.exp(RNG.uniform(0, np.log(100), 3000))
ESTIMATE = ENERGY * (1 + 0.1 / np.sqrt(ENERGY) * RNG.standard_normal(3000))
BINS = EnergyBins.over(1, 100)


def accumulated(*parts: slice) -> Accumulator:
    total = Accumulator(("model",))
    for part in parts:
        other = Accumulator(("model",))
        other.fill(BINS.keys(ENERGY[part]), ENERGY[part], {"model": ESTIMATE[part]})
        total = total + other
    return total


def statistics(bins: EnergyBins, curve: str) -> Statistics:
    return Statistics(bins, {curve: curve}, {}, Accumulator((curve,)))


@given(st.lists(st.integers(0, 3000), unique=True, max_size=10))
@settings(max_examples=30, deadline=None)
def test_parts_merge_to_the_whole(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 3000]
    merged = accumulated(*(slice(a, b) for a, b in pairwise(edges)))
    whole = accumulated(slice(None))
    assert merged.content.keys() == whole.content.keys()
    for key, content in whole.content.items():
        one, other = content.histograms["model"], merged.content[key].histograms["model"]
        assert (one.index == other.index).all()
        assert (one.count == other.count).all()
        assert content.energy == pytest.approx(merged.content[key].energy, rel=1e-12)


def test_other_bins_or_curves_do_not_merge() -> None:
    statistics(BINS, "a").check_fits(statistics(BINS, "a"))
    with pytest.raises(ArtefactError, match="different curves cannot be merged"):
        statistics(BINS, "a").check_fits(statistics(BINS, "b"))
    with pytest.raises(ArtefactError, match=r"different energy bins .* cannot be merged"):
        statistics(BINS, "a").check_fits(statistics(EnergyBins(POINTS), "a"))


def test_no_event_is_lost() -> None:
    estimates = {"a": np.array([1.0, np.nan, -3.0, 1e6, np.inf]), "b": np.array([1.0, 1.0, 1.0, 1.0, np.nan])}
    accumulator = Accumulator(("a", "b"))
    energy = np.full(5, 10.0)
    accumulator.fill(BINS.keys(energy), energy, estimates)
    (content,) = accumulator.content.values()
    assert content.events == 5
    unusual = {name: Unusual.among(estimate) for name, estimate in estimates.items()}
    assert unusual == {"a": Unusual(missing=1, infinite=1, not_positive=1), "b": Unusual(missing=1)}
    for name, histogram in content.histograms.items():  # what is not finite in one curve is missing in that one only
        assert histogram.events + unusual[name].missing + unusual[name].infinite == 5
    assert content.histograms["a"].count.sum() == 3
    assert content.histograms["b"].count.sum() == 4


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_unusual_estimates_are_counted(kind: type[np.floating]) -> None:
    estimate: NDArray[np.floating] = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -2.0, 1e-30, 5.0]).astype(kind)
    assert Unusual.among(estimate) == Unusual(missing=1, infinite=2, not_positive=3)
    assert Unusual.among(estimate[5:]) == Unusual(not_positive=1)
    assert Unusual.among(estimate[6:]) == Unusual.among(estimate[:0]) == Unusual()


def test_blocks_of_events_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, whole = BINS.keys(ENERGY), accumulated(slice(None))
    monkeypatch.setattr("calomlp.evaluation.histogram._BLOCK", 7)
    assert np.array_equal(BINS.keys(ENERGY), keys)
    parts = accumulated(slice(None))
    for key, content in whole.content.items():
        assert parts.content[key].events == content.events
        assert parts.content[key].inverse_root == pytest.approx(content.inverse_root, rel=1e-12)


def test_events_whose_estimates_all_are_missing_count_in_their_bin() -> None:
    accumulator = Accumulator(("a",))
    accumulator.fill(np.array([2, 2, 5]), np.full(3, 4.0), {"a": np.array([np.nan, np.inf, 4.0])})
    assert {key: content.events for key, content in accumulator.content.items()} == {2: 2, 5: 1}
    assert accumulator.content[2].histograms == {}
    assert accumulator.content[2].energy == pytest.approx(4)


def test_the_abscissa_reproduces_a_stochastic_resolution() -> None:
    accumulator = Accumulator(("model",))
    accumulator.fill(EnergyBins("log", 1, 10).keys(ENERGY), ENERGY, {"model": ESTIMATE})
    (content,) = accumulator.content.values()
    assert content.energy**-0.5 == pytest.approx(np.mean(ENERGY**-0.5))


def test_bins_begin_and_end_at_the_edges_of_the_range() -> None:
    bins = EnergyBins.over(1, 100)
    keys = bins.keys(np.array([1, 100], dtype=np.float32))
    assert keys[0] == 0
    assert bins.edges(0)[0] == pytest.approx(1, rel=2e-3)
    assert bins.edges(int(keys[1]))[1] == pytest.approx(100, rel=2e-3)
    assert bins.width <= 0.2
    assert (keys[1] + 1) % 12 == 0


def test_few_events_make_wider_bins() -> None:
    bins = EnergyBins.over(1, 100)
    keys = range(int(bins.keys(np.array([100.0]))[0]) + 1)
    few, many = (bins.joined(dict.fromkeys(keys, events), lambda _: 0) for events in (5, 1000))
    assert many == bins
    assert few.edges(0)[0] == bins.edges(0)[0]
    assert few.edges(len(few.bounds) - 2)[1] == bins.edges(keys[-1])[1]
    assert 5 <= len(few.bounds) - 1 < len(keys)


def test_of_a_flat_spectrum_only_the_low_bins_are_wider() -> None:
    """14 000 events, flat in E: each bin holds a thousand if it may, and those at high energies stay narrow."""
    bins = EnergyBins.over(1, 100)
    numbers = {key: round(14_000 * (bins.edges(key)[1] - bins.edges(key)[0]) / 99) for key in range(24)}
    wider = bins.joined(numbers, lambda _: 0)
    places = bins.within(wider, numbers)
    found = [sum(numbers[key] for key in numbers if places[key] == place) for place in range(len(wider.bounds) - 1)]
    assert sum(found) == sum(numbers.values())
    assert len(found) >= 10
    assert sum(number >= 1000 for number in found) >= 8
    assert np.log(wider.bounds[-1] / wider.bounds[-2]) == pytest.approx(bins.width)
    assert np.diff(np.log(wider.bounds)).max() <= 0.8


def test_bins_on_two_sides_of_an_edge_are_not_joined() -> None:
    bins = EnergyBins.over(1, 100)
    wider = bins.joined(dict.fromkeys(range(-3, 26), 50), lambda key: -1 if key < 1 else 1 if key > 22 else 0)
    assert {bins.edges(1)[0], bins.edges(22)[1]} <= set(wider.bounds)


def test_beam_energies_are_bins_of_their_own() -> None:
    bins = EnergyBins(POINTS)
    keys = bins.keys(np.array([5.0, 10.0, 5.0, 0.1], dtype=np.float32))
    assert keys[0] == keys[2] != keys[1]
    assert bins.edges(int(keys[3])) == (0.1, 0.1)
