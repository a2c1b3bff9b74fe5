"""Toys: bias and error of every estimator for distributions whose width is known, and pulls of the fit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import LINEAR, Options
from calomlp.evaluation.resolution import fit_resolution, resolution

pytestmark = [pytest.mark.physics, pytest.mark.slow]

SIGMA = 0.1
EVENTS = 2000
EXPERIMENTS = 300

Sample = Callable[[np.random.Generator, int], np.ndarray]


def gaussian(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(1, SIGMA, n)


def tailed(rng: np.random.Generator, n: int) -> np.ndarray:
    """A Gaussian with a tenth of the events in an exponential low tail, as leakage makes it."""
    return rng.normal(1, SIGMA, n) - rng.exponential(3 * SIGMA, n) * (rng.random(n) < 0.1)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """A gamma variate of 25 quanta: what sampling leaves of a shower of low energy."""
    return rng.gamma(25, 1 / 25, n)


@pytest.mark.parametrize("draw", [gaussian, tailed, skewed], ids=lambda draw: draw.__name__)
def test_errors_cover_and_values_are_unbiased(draw: Sample) -> None:
    """The truth is what a million events give; the bias allowed is what E.2 of the literature has at this number."""
    rng = np.random.default_rng(11)
    truth = estimate_all(Histogram.of(draw(rng, 1_000_000)), Options())
    found = [estimate_all(Histogram.of(draw(rng, EVENTS)), Options(seed=i)) for i in range(EXPERIMENTS)]
    for name, exact in truth.items():
        values = np.array([item[name].value for item in found])
        errors = np.array([item[name].error for item in found])
        scatter = values.std(ddof=1)
        bias, unit = values.mean() - exact.value, scatter / math.sqrt(EXPERIMENTS)
        allowed = {
            "fwhm": 0.02 * exact.value,  # the density is smoothed
            "mode": 0.15 * SIGMA,
            "tail_2sigma": 0.0015,
            "tail_3sigma": 0.0015,
            "sigma_eff": 0.015 * exact.value,
        }.get(name, 0.004 * abs(exact.value) + 0.0005)
        assert abs(bias) < allowed + 3 * unit, (name, bias / exact.value, unit)
        assert errors.mean() == pytest.approx(scatter, rel=0.25), name
        if name not in ("mean90", "mode", "rms90"):  # whose errors are not Gaussian
            covered = np.mean(np.abs(values - values.mean()) < errors)
            assert 0.58 < covered < 0.79, (name, covered)


@pytest.mark.parametrize(("events", "bias"), [(100, -0.017), (300, -0.005)])
def test_the_core_of_few_events_is_a_little_low(events: int, bias: float) -> None:
    rng = np.random.default_rng(12)
    found = [
        estimate_all(Histogram.of(gaussian(rng, events)), Options())["core_sigma"].value / SIGMA - 1
        for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(bias, abs=float(3 * np.std(found) / math.sqrt(len(found)) + 0.004))


@pytest.mark.parametrize("how", ["quadrature", LINEAR])
def test_pulls_of_the_fit_are_normal(how: str) -> None:
    """500 fits recover a, n and c with pulls of mean 0 and width 1."""
    energy, exact = np.geomspace(1, 200, 16), (0.1, 0.15, 0.01)
    rng = np.random.default_rng(13)
    value = resolution(energy, *exact, how)
    pulls = []
    for _ in range(500):
        seen = [Measurement(v * (1 + 0.01 * rng.standard_normal()), 0.01 * v) for v in value]
        fit = fit_resolution(list(energy), seen, Options(sum=how))
        assert fit is not None
        terms = (fit.stochastic, fit.noise, fit.constant)
        pulls.append([(term.value - true) / term.error for term, true in zip(terms, exact, strict=True)])
    assert np.mean(pulls, axis=0) == pytest.approx(0, abs=0.15)
    assert np.std(pulls, axis=0) == pytest.approx(1, abs=0.1)
