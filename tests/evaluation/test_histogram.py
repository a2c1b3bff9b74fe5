"""Histograms: relative bins with exact edges, exact counts however the events are parted, as small as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.evaluation.estimators import resolution_ratio
from calomlp.evaluation.histogram import Histogram, Joint, edges, fine_bins, fine_width, histograms, ranked
from calomlp.evaluation.options import Options

RNG = np.random.default_rng(1)
FINE = 2.0**-12  # width of the bin that begins at one
X = RNG.normal(1, 0.1, 20_000)
Y = X + RNG.normal(0, 0.03, 20_000)


@given(st.lists(st.integers(1, 19_999), unique=True, max_size=6))
@settings(max_examples=20, deadline=None)
def test_parts_of_a_joint_histogram_add_up_to_the_whole(cuts: list[int]) -> None:
    parts = [Joint.of(x, y) for x, y in zip(np.split(X, sorted(cuts)), np.split(Y, sorted(cuts)), strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    whole = Joint.of(X, Y)
    assert total.level == whole.level
    for name in ("x", "y", "count"):
        assert np.array_equal(getattr(total, name), getattr(whole, name))


def test_a_joint_histogram_is_as_fine_as_its_size_allows() -> None:
    few, many = Joint.of(X[:500], Y[:500]), Joint.of(X, Y)
    assert few.level == 0
    assert few.edges(few.x)[0].min() == edges(fine_bins(X[:500])).min()
    assert many.level > 0
    assert len(many.count) <= 2048
    assert many.count.sum() == 20_000
    assert np.average(np.mean(many.edges(many.x), axis=0), weights=many.count) == pytest.approx(X.mean(), abs=1e-3)


def test_wild_numbers_have_a_cell_too() -> None:
    joint = Joint.of(np.array([1e300, -1e300, 1.0]), np.array([0.0, 1e9, -1e9]))
    assert joint.count.sum() == 3


def test_many_histograms_are_those_of_each_group() -> None:
    keys = RNG.integers(-3, 9, 20_000)
    found = histograms(*ranked(keys), X)
    assert sorted(found) == sorted(set(keys.tolist()))
    for key, histogram in found.items():
        alone = Histogram.of(X[keys == key])
        assert np.array_equal(histogram.index, alone.index)
        assert np.array_equal(histogram.count, alone.count)


@given(st.floats(-(2.0**127), 2.0**127, width=32))
@settings(max_examples=300, deadline=None)
def test_every_number_is_in_a_bin_that_is_fine_at_its_scale(value: float) -> None:
    (index,) = fine_bins(np.array([value]))
    low, high = edges(index + np.array([0, 1]))
    assert low <= value < high or low < value <= high or value == low == 0
    assert high - low == fine_width(value)
    if abs(value) >= 2.0**-126:
        assert 2.0**-13 < (high - low) / abs(value) <= 2.0**-12
    assert edges(fine_bins(np.array([-value])) + 1) == -low  # negative ones mirror the others


def test_bins_are_ordered_and_meet() -> None:
    first, last = fine_bins(np.array([-1e30, 1e30])).tolist()
    index = np.arange(first, last, 997)
    assert (np.diff(edges(index)) > 0).all()
    assert fine_bins(np.array([1.0, 1 + FINE, 1 - FINE / 2, 2.0, 0.5])).tolist() == [0, 1, -1, 4096, -4096]
    zero = fine_bins(np.array([0.0]))
    assert edges(zero) == 0
    assert fine_bins(np.array([3.0], dtype=np.float32)) == fine_bins(np.array([3.0]))


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**50])
def test_bins_do_not_know_the_unit(scale: float) -> None:
    one, other = Histogram.of(X), Histogram.of(scale * X)
    assert np.array_equal(one.count, other.count)
    assert other.centres == pytest.approx(scale * one.centres, rel=1e-15)
    assert Histogram.of(-X).centres == pytest.approx(-one.centres[::-1], rel=1e-15)


def test_the_mean_is_that_of_the_centres_of_the_fine_bins() -> None:
    assert Histogram.of(X).mean == pytest.approx(X.mean(), abs=FINE / 100)
    assert Histogram.of(np.ones(3)).mean == 1 + FINE / 2  # as far off as it can be
    assert Histogram.of(np.array([1e6, 1.0, -20.0, 1e6])).mean == pytest.approx((2e6 - 19) / 4, rel=1e-4)


@given(st.lists(st.integers(0, 20_000), unique=True, max_size=6))
@settings(max_examples=20, deadline=None)
def test_counts_are_the_same_however_events_are_parted(cuts: list[int]) -> None:
    parts = [Histogram.of(part) for part in np.split(X, sorted(cuts))]
    total, whole = sum(parts[1:], parts[0]), Histogram.of(X)
    assert np.array_equal(total.index, whole.index)
    assert np.array_equal(total.count, whole.count)


def test_what_is_not_finite_is_left_out() -> None:
    response = np.array([np.nan, 1.0, np.inf, -np.inf, 2.0, 50.0, 1e300])
    keys = np.array([3, 3, 3, 4, 4, 5, 6])
    found = histograms(*ranked(keys), response)
    assert {key: item.events for key, item in found.items()} == {3: 1, 4: 1, 5: 1}


@pytest.mark.parametrize("wild", [1.0, 50.0, np.nan, -1e-30, -3e38, 0.0])
def test_wild_responses_do_not_move_the_others(wild: float) -> None:
    keys = RNG.integers(-3, 9, 20_000)
    whole = histograms(*ranked(keys), X)
    mixed = histograms(*ranked(np.append(keys, keys[:50])), np.append(X, np.full(50, wild)))
    for key, histogram in whole.items():
        more = Histogram.of(np.full(np.count_nonzero(keys[:50] == key), wild))
        assert np.array_equal(mixed[key].index, (histogram + more).index)
        assert np.array_equal(mixed[key].count, (histogram + more).count)


@pytest.mark.parametrize("wild", [1.0, 50.0, np.nan])
def test_the_size_of_the_blocks_does_not_matter(wild: float, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, response = RNG.integers(-3, 9, 1000), np.concatenate([X[:999], [wild]]).astype(np.float32)
    whole = histograms(*ranked(keys), response)
    monkeypatch.setattr("calomlp.evaluation.histogram._BLOCK", 7)
    for key, histogram in histograms(*ranked(keys), response).items():
        for name, value in vars(histogram).items():
            assert np.array_equal(value, getattr(whole[key], name))


@pytest.mark.parametrize("keys", [[5, 5, 7], [10**12, 3, -4], [0]])
def test_keys_are_ranked(keys: list[int]) -> None:
    found, rank = ranked(np.array(keys))
    assert set(keys) <= set(found.tolist())
    assert found[rank].tolist() == keys


def test_nothing_has_an_empty_histogram() -> None:
    assert Histogram.of(np.empty(0)).events == 0
    assert (Histogram.of(np.empty(0)) + Histogram.of(X)).events == 20_000


@pytest.mark.physics
def test_the_error_of_a_ratio_is_that_of_the_same_events() -> None:
    """Against repeated experiments: shared fluctuations do not count."""
    rng = np.random.default_rng(5)
    ratios, errors = [], []
    for i in range(100):
        x = rng.normal(1, 0.1, 3000)
        y = x + rng.normal(0, 0.03, 3000)
        found = resolution_ratio(Joint.of(x, y), Options(seed=i))
        ratios.append(found.value)
        errors.append(found.error)
    assert np.mean(ratios) == pytest.approx(0.1 / np.hypot(0.1, 0.03), rel=0.01)
    assert np.mean(errors) == pytest.approx(np.std(ratios, ddof=1), rel=0.3)
    independent = np.mean(ratios) * np.sqrt(2) * 1.13 / np.sqrt(3000)
    assert np.mean(errors) < 0.7 * independent
