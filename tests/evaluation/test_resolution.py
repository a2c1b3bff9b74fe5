from __future__ import annotations

import numpy as np
import pytest

from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import Options
from calomlp.evaluation.resolution import fit_resolution, resolution
from calomlp.model.spread import terms_of_resolution

ENERGY = np.geomspace(1, 200, 16)
TRUTH = (0.1, 0.15, 0.01)


def measured(rng: np.random.Generator, truth: tuple[float, float, float] = TRUTH) -> list[Measurement]:
    exact = resolution(ENERGY, *truth)
    return [Measurement(value * (1 + 0.01 * rng.standard_normal()), 0.01 * value) for value in exact]


def test_the_terms_are_found() -> None:
    fit = fit_resolution(list(ENERGY), [Measurement(value, 1e-4 * value) for value in resolution(ENERGY, *TRUTH)])
    assert fit is not None
    assert (fit.stochastic.value, fit.noise.value, fit.constant.value) == pytest.approx(TRUTH, rel=1e-3)
    assert fit.chi2 == pytest.approx(0, abs=1e-3)
    assert fit.ndf == 13
    assert (fit.energy_min, fit.energy_max) == pytest.approx((1, 200))
    assert fit(ENERGY) == pytest.approx(resolution(ENERGY, *TRUTH), rel=1e-3)


def test_pulls_are_normal() -> None:
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(150):
        fit = fit_resolution(list(ENERGY), measured(rng))
        assert fit is not None
        terms = (fit.stochastic, fit.noise, fit.constant)
        pulls.append([(term.value - truth) / term.error for term, truth in zip(terms, TRUTH, strict=True)])
    assert np.mean(pulls, axis=0) == pytest.approx(0, abs=0.3)
    assert np.std(pulls, axis=0) == pytest.approx(1, abs=0.2)


def test_a_term_that_is_not_there_has_an_error_all_the_same() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        fit = fit_resolution(list(ENERGY), measured(rng, (0.1, 0.0, 0.01)))
        assert fit is not None
        assert fit.noise.error > 0
        assert fit.noise.value < 4 * fit.noise.error
        assert "noise term is not determined" in fit.note


@pytest.mark.parametrize(("how", "noise"), [("quadrature", 0.02), ("linear", 0.003)])
def test_limits_are_above_the_truth_in_95_percent(how: str, noise: float) -> None:
    rng = np.random.default_rng(3)
    exact = resolution(ENERGY, 0.1, noise, 0.01, how)
    missed = told = 0
    for _ in range(300):
        points = [Measurement(value * (1 + 0.02 * rng.standard_normal()), 0.02 * value) for value in exact]
        fit = fit_resolution(list(ENERGY), points, Options(sum=how))
        assert fit is not None
        assert ("noise" in fit.limits) is (fit.noise.value < 2 * fit.noise.error)
        if "noise" in fit.limits:
            told += 1
            missed += fit.limits["noise"] < noise
            assert fit.limits["noise"] > fit.noise.value
    assert told > 90
    assert missed < 0.06 * 300


def test_chi2_rises_by_the_share_of_a_gaussian_at_a_limit() -> None:
    points = measured(np.random.default_rng(5), (0.1, 0.0, 0.01))
    fit = fit_resolution(list(ENERGY), points)
    assert fit is not None
    assert set(fit.limits) == {"noise"}
    at_limit = fit_resolution(list(ENERGY), points, Options(noise=fit.limits["noise"]))
    assert at_limit is not None
    assert at_limit.chi2 - fit.chi2 == pytest.approx(1.645**2, rel=0.1)
    assert "noise" not in at_limit.limits


def test_too_few_points() -> None:
    assert fit_resolution([1.0, 2.0, 3.0], measured(np.random.default_rng(1))[:3]) is None


def test_the_linear_problem_is_the_start() -> None:
    exact = resolution(ENERGY, *TRUTH)
    start = terms_of_resolution(ENERGY, exact, 0.01 * exact)
    assert (start.stochastic, start.noise, start.constant) == pytest.approx(TRUTH, rel=1e-6)
