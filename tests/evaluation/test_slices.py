from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.options import Options
from calomlp.evaluation.slices import SliceRequest, SliceStatistics, Slicing, dependences, describe
from tests.conftest import linear_showers
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")
RNG = np.random.default_rng(1)
ENERGY = np.full(30_000, 10.0)
VALUES = RNG.uniform(0, 10, 30_000)


def statistics(slope: float, slicing: Slicing, values: np.ndarray = VALUES) -> SliceStatistics:
    estimate = ENERGY * (1 + slope * (values - 5) + 0.1 * RNG.standard_normal(len(values)))
    return SliceStatistics.of(slicing, values, ENERGY, {"model": estimate})


@pytest.mark.parametrize(
    ("text", "expression", "number", "edges"),
    [
        ("pdg_id", "pdg_id", 0, ()),
        ("shower_start:10", "shower_start", 10, ()),
        ("true_x:-5,0,5.5", "true_x", 0, (-5, 0, 5.5)),
        ("sum(layer_energy[:5]):4", "sum(layer_energy[:5])", 4, ()),
        ("layer_energy[3]", "layer_energy[3]", 0, ()),
    ],
)
def test_requests(text: str, expression: str, number: int, edges: tuple[float, ...]) -> None:
    found = SliceRequest.parse(text)
    assert (found.expression.text, found.number, found.edges) == (expression, number, edges)


@pytest.mark.parametrize("text", ["x:1", "x:5,3", "x:101", "x:-4", "3:10", "x:1e,2"])
def test_requests_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        SliceRequest.parse(text)


def test_few_whole_numbers_are_slices_of_their_own() -> None:
    numbers = np.array([-211.0, 2212, -211, 11])
    slicing = SliceRequest.parse("pdg_id").slicing(numbers)
    assert slicing.edges == ()
    assert slicing.keys(numbers).tolist() == [-211, 2212, -211, 11]
    assert slicing.bounds(11) == (11, 11)


def test_other_numbers_are_sliced_evenly() -> None:
    slicing = SliceRequest.parse("x:4").slicing(VALUES)
    assert slicing.edges == pytest.approx((2.5, 5, 7.5), abs=0.1)
    assert np.bincount(slicing.keys(VALUES)) == pytest.approx([7500] * 4, rel=0.05)
    assert slicing.bounds(0) == (None, slicing.edges[0])
    assert slicing.bounds(3) == (slicing.edges[2], None)


def test_a_trend_is_found_and_none_is_not() -> None:
    slicing = Slicing("x", (2.0, 4.0, 6.0, 8.0))
    (flat,), (steep,) = (dependences(statistics(slope, slicing), Options()) for slope in (0.0, 0.003))
    assert flat.trend is not None
    assert steep.trend is not None
    assert flat.trend.p_value > 1e-3
    assert steep.trend.p_value < 1e-6
    assert steep.trend.slope.value == pytest.approx(0.003, abs=4 * steep.trend.slope.error)
    assert steep.trend.largest == pytest.approx(0.024, rel=0.3)
    assert "does not depend on x within the errors" in describe(flat, "MLP")
    assert "MLP: the response depends on x: medians from 0.98" in describe(steep, "MLP")


@pytest.mark.physics
@pytest.mark.slow
def test_chances_are_those_of_chi_square() -> None:
    slicing = Slicing("x", (2.0, 4.0, 6.0, 8.0))
    found = [dependences(statistics(0.0, slicing), Options(seed=i))[0].trend for i in range(60)]
    chances = np.array([trend.p_value for trend in found if trend])
    assert 0.35 < chances.mean() < 0.65
    assert 0.2 < np.mean(chances < 0.5) < 0.8


def test_parts_add_up() -> None:
    slicing = Slicing("x", (5.0,))
    estimate = ENERGY * 1.1
    whole = SliceStatistics.of(slicing, VALUES, ENERGY, {"m": estimate})
    parts = [SliceStatistics.of(slicing, VALUES[s], ENERGY[s], {"m": estimate[s]}) for s in (np.s_[:7], np.s_[7:])]
    total = parts[0] + parts[1]
    assert {key: item.events for key, item in total.responses.content.items()} == {
        key: item.events for key, item in whole.responses.content.items()
    }
    assert total.totals == pytest.approx(whole.totals)


def test_numbers_that_are_missing_are_counted() -> None:
    values = VALUES.copy()
    values[:123] = np.nan
    assert statistics(0, Slicing("x", (5.0,)), values).missing == 123


def test_too_many_different_values() -> None:
    with pytest.raises(InputError, match=r"more than 100 different values: say how many slices to make"):
        statistics(0, Slicing("x"), np.arange(30_000.0))
    with pytest.raises(InputError, match="is not a number in any of the first 3 events"):
        SliceRequest.parse("x:4").slicing(np.full(3, np.nan))


def test_the_report_tells_of_it(make_root: Make) -> None:
    columns = {**linear_showers(20_000), "side": np.arange(20_000) % 2}
    columns["layer_energy"][1::2] *= 1.01
    report = judged(make_root(columns), "sum(layer_energy)", by=("side",))
    (found,) = report.dependences
    assert [(item.low, item.high, item.events) for item in found.slices] == [(0, 0, 10_000), (1, 1, 10_000)]
    assert any("the response depends on side" in note for note in report.notes)
