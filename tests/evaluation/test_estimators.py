"""Estimators against their known values for Gaussian data, and their errors against repeated experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calomlp.evaluation.estimators import MIN_EVENTS, MIN_QUOTED, estimate_all
from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.options import RELATIVE_TO, WIDTHS, Options

SIGMA = 0.1
LARGE = Histogram.of(np.random.default_rng(1).normal(1.0, SIGMA, 1_000_000))

# Relative error of a width times sqrt(N), and error of a location in sigma/sqrt(N), for Gaussian samples.
WIDTH_ERRORS = {"rms": 0.707, "rms90": 0.80, "sigma_eff": 0.95, "sigma_68": 0.97, "core_sigma": 1.13}
LOCATION_ERRORS = {"mean": 1.00, "core_mean": 1.15, "median": 1.25, "mean90": 1.3}


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "value", "tolerance"),
    [
        ("mean", 1.0, 4e-4),
        ("median", 1.0, 5e-4),
        ("core_mean", 1.0, 4e-4),
        ("mean90", 1.0, 1e-3),
        ("rms", SIGMA, 3e-4),
        ("core_sigma", SIGMA, 4e-4),
        ("sigma_68", SIGMA, 4e-4),
        ("sigma_eff", SIGMA, 6e-4),
        ("rms90", 0.7893 * SIGMA, 3e-4),  # M. Thomson, NIM A611 (2009) 25: RMS90 of a Gaussian is 0.7893 sigma
        ("resolution", SIGMA, 5e-4),
    ],
)
def test_values_for_a_gaussian(name: str, value: float, tolerance: float) -> None:
    assert estimate_all(LARGE, Options(seed=1))[name].value == pytest.approx(value, abs=tolerance)


@pytest.mark.physics
def test_errors_cover_the_scatter_of_repeated_experiments() -> None:
    n, experiments = 1000, 60
    rng = np.random.default_rng(2)
    found = [estimate_all(Histogram.of(rng.normal(1.0, SIGMA, n)), Options(seed=1)) for _ in range(experiments)]
    for names, unit in ((WIDTH_ERRORS, None), (LOCATION_ERRORS, SIGMA)):
        for name, expected in names.items():
            scale = (unit or np.mean([item[name].value for item in found])) / math.sqrt(n)
            quoted = np.mean([item[name].error for item in found]) / scale
            scatter = np.std([item[name].value for item in found], ddof=1) / scale
            assert quoted == pytest.approx(expected, rel=0.25), name
            assert scatter == pytest.approx(quoted, rel=0.4), name  # sixty experiments know it to 9 %


@pytest.mark.physics
@pytest.mark.parametrize(("n", "bias"), [(1000, -0.016), (3000, -0.008)])
def test_the_effective_sigma_of_few_events_is_biased_low(n: int, bias: float) -> None:
    rng = np.random.default_rng(3)
    values = [
        estimate_all(Histogram.of(rng.normal(1.0, SIGMA, n)), Options(seed=1))["sigma_eff"].value for _ in range(60)
    ]
    assert np.mean(values) / SIGMA - 1 == pytest.approx(bias, abs=0.006)


@pytest.mark.parametrize(("n", "there"), [(300, False), (MIN_QUOTED - 1, False), (MIN_QUOTED, True)])
def test_the_effective_sigma_of_too_few_events_has_no_value(n: int, there: bool) -> None:
    found = estimate_all(Histogram.of(np.random.default_rng(3).normal(1.0, SIGMA, n)), Options(seed=1))
    assert ("sigma_eff" in found) == there
    assert "core_sigma" in found


def test_the_core_does_not_see_a_tail() -> None:
    rng = np.random.default_rng(4)
    tailed = np.concatenate([rng.normal(1.0, SIGMA, 100_000), rng.uniform(0, 0.6, 3000)])
    found = estimate_all(Histogram.of(tailed), Options(seed=1))
    assert found["core_mean"].value == pytest.approx(1.0, abs=0.003)
    assert found["core_sigma"].value == pytest.approx(SIGMA, rel=0.02)
    assert found["rms"].value > 1.15 * SIGMA
    assert found["mean"].value < 0.985


@pytest.mark.parametrize("n", [1, MIN_EVENTS - 1])
def test_too_few_events_have_no_estimates(n: int) -> None:
    assert estimate_all(Histogram.of(np.ones(n)), Options(seed=1)) == {}


def test_a_single_value_has_no_width_but_does_not_fail() -> None:
    found = estimate_all(Histogram.of(np.ones(500)), Options(seed=1))
    assert found["median"].value == pytest.approx(1.0, abs=3e-4)
    assert all(math.isfinite(item.value) and math.isfinite(item.error) for item in found.values())


def test_the_bootstrap_follows_its_seed() -> None:
    histogram = Histogram.of(np.random.default_rng(1).normal(1.0, SIGMA, 500))
    assert estimate_all(histogram, Options(seed=1)) == estimate_all(histogram, Options(seed=1))
    assert estimate_all(histogram, Options(seed=1)) != estimate_all(histogram, Options(seed=2))


@pytest.mark.parametrize("name", WIDTHS)
def test_any_width_can_be_the_resolution(name: str) -> None:
    found = estimate_all(LARGE, Options(width=name))
    relative, absolute = (estimate_all(LARGE, Options(width=name, relative_to=to))["resolution"] for to in RELATIVE_TO)
    assert found["resolution"] == relative
    expected = 0.7893 * SIGMA if name == "rms90" else SIGMA
    assert absolute.value == pytest.approx(expected, rel=0.01)
    assert relative.value == pytest.approx(expected, rel=0.01)
    assert abs(found["bias"].value) < 0.005
