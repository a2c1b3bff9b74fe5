"""Energy resolution of the plain sum of layers in the presets, against the measured calorimeters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calomlp.simulation import Request, Spectrum, load_detector
from calomlp.simulation.generate import generate

if TYPE_CHECKING:
    from calomlp.simulation.detector import Detector

ELECTRON_POINTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PION_POINTS = (10.0, 18.0, 30.0, 45.0, 60.0, 80.0)


def core(energy: np.ndarray) -> tuple[float, float]:
    """Mean and sigma of the Gaussian core: iterated truncation at 2 sigma, corrected for the tails cut away."""
    mean, sigma = np.median(energy), 1.4826 * np.median(np.abs(energy - np.median(energy)))
    for _ in range(20):
        inside = energy[np.abs(energy - mean) < 2.0 * sigma]
        mean, sigma = inside.mean(), inside.std() / 0.8796
    return float(mean), float(sigma)


def measure(detector: Detector, particle: str, points: tuple[float, ...], events: int) -> tuple[np.ndarray, np.ndarray]:
    """Response and relative resolution at each point, with ``events`` each."""
    request = Request(detector, particle, Spectrum("points", points), events * len(points), seed=1)
    blocks = list(generate(request))
    total = np.concatenate([block["layer_energy"].sum(axis=1) for block in blocks])
    true = np.concatenate([block["true_energy"] for block in blocks])
    mean, sigma = np.array([core(total[true == np.float32(energy)]) for energy in points]).T
    return mean / np.array(points), sigma / mean


def fit(points: tuple[float, ...], resolution: np.ndarray, *, noise: bool = False) -> list[float]:
    """Terms a, c (and n) of the quadratic sum a/sqrt(E) (+) c (+) n/E; in per cent, n in GeV."""
    energy = np.array(points)
    terms = np.stack([1 / energy, np.ones_like(energy), *([energy**-2.0] if noise else [])], axis=1)
    squares = np.linalg.lstsq(terms / resolution[:, None] ** 2, np.ones_like(energy), rcond=None)[0]
    a, c, *n = np.sign(squares) * np.sqrt(np.abs(squares))
    return [100 * a, 100 * c, *n]


@pytest.mark.physics
def test_siw_ecal_electrons() -> None:
    # CALICE, NIM A608 (2009) 372: 16.6 %/sqrt(E) (+) 1.1 %, linear within 1 %.
    response, resolution = measure(load_detector("siw-ecal"), "e-", ELECTRON_POINTS, 10_000)
    a, c = fit(ELECTRON_POINTS, resolution)
    assert a == pytest.approx(16.6, abs=1.0)
    assert c == pytest.approx(1.1, abs=0.4)
    assert response / response.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.physics
def test_crystal_ecal_electrons() -> None:
    # CMS ECAL, JINST 2 (2007) P04004: 2.8 %/sqrt(E) (+) 0.12 GeV/E (+) 0.30 %, 3 x 3 crystals.
    _, resolution = measure(load_detector("crystal-ecal"), "e-", ELECTRON_POINTS, 100_000)
    a, c, n = fit(ELECTRON_POINTS, resolution, noise=True)
    assert a == pytest.approx(2.8, abs=0.3)
    assert c == pytest.approx(0.30, abs=0.1)
    assert n == pytest.approx(0.12, abs=0.02)


@pytest.mark.physics
def test_shashlik_electrons() -> None:
    # LHCb, JINST 3 (2008) S08005: 9-10 %/sqrt(E) (+) 0.8-1 %.
    _, resolution = measure(load_detector("shashlik"), "e-", ELECTRON_POINTS, 20_000)
    a, c = fit(ELECTRON_POINTS, resolution)
    assert a == pytest.approx(9.5, abs=0.8)
    assert c == pytest.approx(0.9, abs=0.3)


def deep_ahcal(*, compensated: bool = False) -> Detector:
    """80 layers, 11 lambda, without noise; ``compensated``: each kind of energy is known and has its own weight.

    A gamma distributed signal times e/h is what a calorimeter of e/h = 1 with sqrt(e/h) larger fluctuations gives.
    """
    detector = load_detector("ahcal")
    assert detector.hadrons is not None
    hadrons = detector.hadrons
    if compensated:
        hadrons = replace(hadrons, e_over_h=1.0, c_had=hadrons.c_had * hadrons.e_over_h**0.5)
    return replace(
        detector,
        sections=(replace(detector.sections[0], repeat=80),),
        readout=replace(detector.readout, noise_mip=0.0, non_uniformity=0.0, calibration_smear=0.0),
        hadrons=hadrons,
    )


@pytest.mark.physics
def test_ahcal_pions_before_and_after_compensation() -> None:
    # CALICE, JINST 7 (2012) P09017: 57.6 %/sqrt(E) (+) 1.6 % raw, 44.3 %/sqrt(E) (+) 1.8 % with software compensation.
    _, raw = measure(deep_ahcal(), "pi-", PION_POINTS, 10_000)
    assert 100 * raw[[0, 2, 5]] == pytest.approx([18.4, 10.2, 6.7], rel=0.05)
    a, c = fit(PION_POINTS, raw)
    assert a == pytest.approx(56.0, abs=3.0)
    assert c == pytest.approx(2.0, abs=1.5)
    _, compensated = measure(deep_ahcal(compensated=True), "pi-", PION_POINTS, 10_000)
    assert fit(PION_POINTS, compensated)[0] == pytest.approx(45.0, abs=3.0)


@pytest.mark.physics
def test_ahcal_electrons() -> None:
    # CALICE, JINST 6 (2011) P04003: 21.9 %/sqrt(E) (+) 1.0 %, 10-50 GeV.
    points = (10.0, 15.0, 20.0, 30.0, 50.0)
    _, resolution = measure(load_detector("ahcal"), "e+", points, 10_000)
    expected = np.hypot(0.219 / np.sqrt(points), 0.010)
    assert resolution == pytest.approx(expected, rel=0.06)
