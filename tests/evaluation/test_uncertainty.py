"""Predicted uncertainties: right ones pass every test, wrong ones fail the one that is made for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.options import Options
from calomlp.evaluation.uncertainty import Uncertainty, UncertaintyStatistics, judge
from tests.conftest import linear_showers
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")
EVENTS = 40_000
BINS = EnergyBins("edges", bounds=(5.0, 20.0))
TRUTH = np.full(EVENTS, 10.0)


def predicted(scale: float = 1.0, shift: float = 0.0, seed: int = 1) -> tuple[Uncertainty, UncertaintyStatistics]:
    """Events with spreads of 5 to 20 %, whose predictions are wrong by a factor, or shifted by so many sigma."""
    rng = np.random.default_rng(seed)
    sigma = 10 * rng.uniform(0.05, 0.2, EVENTS)
    energy = TRUTH + sigma * (rng.standard_normal(EVENTS) + shift)
    found = UncertaintyStatistics.of(BINS.keys(TRUTH), TRUTH, energy, scale * sigma, scale * sigma)
    judgement = judge(found, BINS, Options())
    assert judgement is not None
    return judgement, found


def test_right_uncertainties_pass() -> None:
    found, _ = predicted()
    assert found.pull["core_mean"].value == pytest.approx(0, abs=0.05)
    assert found.pull["core_sigma"].value == pytest.approx(1, abs=0.05)
    assert found.coverage[0].value == pytest.approx(0.6827, abs=0.01)
    assert found.coverage[1].value == pytest.approx(0.9545, abs=0.01)
    assert found.distance < 0.02
    assert found.sharpness == pytest.approx(0.125, rel=0.05)
    for group in found.reliability:
        assert group.observed.value == pytest.approx(group.predicted, rel=0.1)


def test_wrong_uncertainties_are_found_out() -> None:
    small, _ = predicted(0.5)
    assert small.pull["core_sigma"].value == pytest.approx(2, rel=0.03)
    assert small.coverage[0].value == pytest.approx(0.3829, abs=0.01)
    assert small.distance > 0.1
    shifted, _ = predicted(shift=0.5)
    assert shifted.pull["core_mean"].value == pytest.approx(0.5, abs=0.03)


def test_scores_are_best_for_the_right_uncertainty() -> None:
    right, small, large = (predicted(scale)[0] for scale in (1, 0.5, 2))
    assert right.score < min(small.score, large.score)
    assert right.likelihood < min(small.likelihood, large.likelihood)


def test_the_score_is_that_of_a_gaussian() -> None:
    """The expected score of a Gaussian that is right is sigma/sqrt(pi)."""
    found, _ = predicted()
    assert found.score == pytest.approx(0.125 / np.sqrt(np.pi), rel=0.02)


def test_without_the_worst_events_the_resolution_is_better() -> None:
    found, _ = predicted()
    (bin_,) = found.dropped
    tenth, fifth = bin_.resolutions
    assert fifth.value < tenth.value < bin_.everything.value
    rms = [np.sqrt(np.mean(np.linspace(0.05, 0.05 + 0.15 * share, 1000) ** 2)) for share in (1, 0.9, 0.8)]
    assert tenth.value / bin_.everything.value == pytest.approx(rms[1] / rms[0], rel=0.05)
    assert fifth.value / bin_.everything.value == pytest.approx(rms[2] / rms[0], rel=0.05)


def test_impossible_uncertainties_are_counted() -> None:
    sigma = np.ones(EVENTS)
    sigma[:3], sigma[3:5], sigma[5] = np.nan, 0, -1
    found = UncertaintyStatistics.of(BINS.keys(TRUTH), TRUTH, TRUTH, sigma, sigma)
    assert found.unusable == 6
    assert found.pulls.events == EVENTS - 6
    nothing = UncertaintyStatistics.of(BINS.keys(TRUTH), TRUTH, TRUTH, -sigma * 0, sigma)
    assert judge(nothing, BINS, Options()) is None


def test_an_expression_can_have_an_uncertainty(make_root: Make) -> None:
    columns = linear_showers(10_000)
    columns["sigma"] = 0.1 * np.sqrt(columns["true_energy"])
    report = judged(make_root(columns), "sum(layer_energy)", sigma="sigma")
    assert report.uncertainty is not None
    assert report.uncertainty.coverage[0].value == pytest.approx(0.6827, abs=0.02)
    assert any("within one and two predicted sigma" in note for note in report.notes)
