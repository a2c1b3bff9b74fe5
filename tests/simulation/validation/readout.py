"""Readout, noise, conservation, independence of how the work is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch

from calomlp.simulation import Detector, Request, Spectrum, load_detector
from calomlp.simulation.generate import Simulation, generate
from calomlp.simulation.request import Impact
from tests.simulation.validation.tools import Array, Row, check, simulate


@check(25, "most probable over mean signal of muons in a layer", "Landau; MOYAL, Phil. Mag. 46 (1955) 263")
def mip_peak() -> Iterator[Row]:
    for name, expected in (("siw-ecal", 0.75), ("ahcal", 0.83)):
        detector = load_detector(name, ["readout.noise=0", "readout.calibration_smear=0", "readout.non_uniformity=0"])
        if name == "ahcal":
            detector = load_detector(
                name,
                [
                    "readout.noise=0",
                    "readout.calibration_smear=0",
                    "readout.non_uniformity=0",
                    "readout.photo_electrons=0",
                    "readout.saturation=0",
                ],
            )
        signal = simulate(detector, "mu-", [20.0], 100_000)["layer_energy"][:, 0]
        counts, edges = np.histogram(signal, bins=120, range=(0, 3 * signal.mean()))
        top = slice(counts.argmax() - 6, counts.argmax() + 7)
        a, b, _ = np.polyfit(0.5 * (edges[1:] + edges[:-1])[top], counts[top], 2)
        yield Row(f"{name}", -b / (2 * a) / signal.mean(), expected, 0.03 * expected)
        yield Row(f"{name}, in MIP", -b / (2 * a) / detector.sections[0].mip, 1.0, 0.03)


def muons_miss(detector: Detector, events: int) -> dict[str, Any]:
    """Return events without any signal: muons that fly past the calorimeter."""
    return simulate(detector, "mu-", [20.0], events, hits=True, impact=Impact(500.0, 500.0, 0.0))


@check(26, "noise of empty cells, 0.12 MIP", "sum in quadrature; Gaussian tail above 0.5 MIP", suite="landing")
def noise() -> Iterator[Row]:
    detector = load_detector("ahcal", ["readout.threshold=0.5MIP"])
    n_cells = 38 * 24 * 24
    columns = muons_miss(detector, 8192)
    occupancy = columns["counts"].mean() / n_cells
    yield Row("occupancy [1e-5]", 1e5 * occupancy, 1e5 * 0.5 * math.erfc(0.5 / 0.12 / math.sqrt(2)), 0.2 * 1.5)
    open_ahcal = load_detector("ahcal", ["readout.threshold=0", "layers.repeat=4"])
    open_ahcal = replace(
        open_ahcal, sections=tuple(replace(s, readout=replace(s.readout, threshold=None)) for s in open_ahcal.sections)
    )
    total = muons_miss(open_ahcal, 8192)["layer_energy"].sum(axis=1)
    expected = 0.12 * open_ahcal.sections[0].mip * math.sqrt(4 * 24 * 24)
    yield Row("rms of the sum over that of a cell times sqrt(N)", total.std() / expected, 1.0, 0.02)


@check(27, "constant term of miscalibrated cells", "c = s sqrt(sum of squared shares)")
def miscalibration() -> Iterator[Row]:
    smear, found, expected = 0.05, [], 0.0
    quiet = ["readout.noise=0", "readout.photo_electrons=0", "response.kappa=0", "response.c_em=0"]
    exact = simulate(
        load_detector("crystal-ecal", [*quiet, "readout.calibration_smear=0"]),
        "e-",
        [50.0],
        256,
        hits=True,
        impact=Impact(sigma=0.0),
    )
    share = np.zeros((256, 49))
    share[exact["event"], np.arange(len(exact["event"])) % 49] = exact["energy"]
    mean = share.mean(axis=0) / share.sum(axis=1).mean()
    expected = smear * math.sqrt((mean**2).sum())
    for seed in range(1, 201):
        detector = load_detector(
            "crystal-ecal", [*quiet, f"readout.calibration_smear={smear}", f"calibration_seed={seed}"]
        )
        simulation = Simulation(Request(detector, (("e-", 1.0),), Spectrum((50.0,)), 1, 1, hits=True))
        factors = simulation._cells[0].calibration.flatten().numpy()
        found.append((mean * factors).sum())
    yield Row("c over s sqrt(sum f^2)", float(np.std(found)) / expected, 1.0, 0.1)


@check(28, "energy of the particle is the sum of what became of it", "conservation")
def conservation() -> Iterator[Row]:
    for name, particle in (("siw-ecal", "e-"), ("crystal-ecal", "gamma"), ("ahcal", "pi-"), ("combined", "p")):
        columns = simulate(load_detector(name), particle, (1.0, 30.0, 300.0), 4096)
        parts = ("em_energy", "hadronic_energy", "invisible_energy", "rear_leakage", "lateral_leakage")
        total = sum(columns[f"true_{part}"].astype(np.float64) for part in parts)
        yield Row(f"{particle} in {name}", float(np.abs(total / columns["true_energy"] - 1).max()), 0.0, 1e-5)


def kolmogorov_smirnov(a: Array, b: Array) -> float:
    """Probability that samples of one distribution differ more than these (asymptotic formula)."""
    both = np.sort(np.concatenate((a, b)))
    a, b = np.sort(a), np.sort(b)
    distance = np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max()
    x = (math.sqrt(len(a) * len(b) / (len(a) + len(b))) + 0.12) * distance
    return (
        min(1.0, 2.0 * sum((-1) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 101))) if x > 0.2 else 1.0
    )


@check(
    29,
    "distributions do not depend on how events are cut into groups, nor on the device",
    "Kolmogorov-Smirnov test",
    suite="landing",
)
def same_distributions() -> Iterator[Row]:
    detector = load_detector("ahcal")

    def variables(seed: int, device: str = "cpu") -> dict[str, Array]:
        request = Request(detector, (("pi-", 1.0),), Spectrum((20.0,)), 8192, seed, hits=True)
        blocks = list(generate(request, device))
        found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name != "hit"}
        found["n_hits"] = np.concatenate([block["hit"]["counts"] for block in blocks])
        for i in (2, 10, 30):
            found[f"layer {i}"] = found["layer_energy"][:, i]
        found["sum"] = found["layer_energy"].sum(axis=1)
        names = ("em_energy", "hadronic_energy", "invisible_energy", "rear_leakage", "lateral_leakage")
        return {name: found[name] for name in ("sum", "n_hits", "layer 2", "layer 10", "layer 30")} | {
            name: found[f"true_{name}"] for name in names
        }

    reference = variables(1)
    with mock.patch("calomlp.simulation.generate.EVENTS_AT_ONCE", 37):
        others = {"groups of 37 events": variables(2)}
    if torch.cuda.is_available():
        others["GPU"] = variables(1, "cuda")
    for what, other in others.items():
        least = min(kolmogorov_smirnov(reference[name], other[name]) for name in reference)
        yield Row(f"{what}, least probability of 10 variables", least, 0.5005, 0.4995)
