"""Hadronic showers: response, resolution, compensation, length."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calomlp.simulation import load_detector
from tests.simulation.validation.tools import Array, Row, check, deep_ahcal, resolution, simulate, sums, terms


@check(17, "vertices of pions in ahcal", "mean free path 1.10 lambda_I; exp(-5.25/1.10)", suite="landing")
def vertices() -> Iterator[Row]:
    vertex = simulate(load_detector("ahcal"), "pi-", [20.0], 100_000)["true_vertex_depth"]
    yield Row("mean depth [lambda_I]", vertex.mean(), 1.10, 0.022)
    depth = load_detector("ahcal").medium.depth_in_interaction_lengths
    yield Row("punch-through [%]", 100 * (vertex > depth).mean(), 0.85, 0.085)


@check(
    18,
    "electromagnetic share of pions",
    "Groom, NIM A572 (2007) 633; width: calibrated on arXiv:1207.4210",
    suite="landing",
)
def em_share() -> Iterator[Row]:
    for energy, mean, sd in ((10.0, 0.324, 0.287), (50.0, 0.486, None), (80.0, None, 0.138), (100.0, 0.543, None)):
        share = simulate(load_detector("ahcal"), "pi-", [energy], 50_000)["true_em_fraction"]
        if mean:
            yield Row(f"mean, {energy:g} GeV", share.mean(), mean, 0.01)
        if sd:
            yield Row(f"sd, {energy:g} GeV", share.std(), sd, 0.015)


@check(
    19,
    "response to pions in 12 lambda_I over that to electrons",
    "Groom: 1 - (1 - h/e) E^-0.17, e/h = 1.45",
    suite="landing",
)
def pion_response() -> Iterator[Row]:
    for energy in (10.0, 20.0, 50.0, 100.0):
        columns = simulate(deep_ahcal(87), "pi-", [energy], 60_000)
        early = columns["true_vertex_depth"] < 0.2  # the ionisation before it is not part of the formula
        response = columns["layer_energy"][early].sum(axis=1).mean() / energy
        expected = 1.0 - (1.0 - 1.0 / 1.45) * energy**-0.17
        yield Row(f"{energy:g} GeV", response, expected, 0.01 * expected)


@check(
    20,
    "response to protons over that to pions at 20 GeV",
    "formula with E0 = 2.6 and 1 GeV; ATLAS Tile data: 0.918",
    suite="landing",
)
def proton_response() -> Iterator[Row]:
    proton, pion = (
        simulate(deep_ahcal(87), name, [20.0], 40_000)["layer_energy"].sum(axis=1).mean() for name in ("p", "pi+")
    )
    yield Row("ratio", proton / pion, 0.959, 0.01)


@check(21, "pions in 80 layers of ahcal", "CALICE, JINST 7 (2012) P09017: 57.6 and 44.3 %/sqrt(E)", suite="landing")
def ahcal_resolution() -> Iterator[Row]:
    points = (10.0, 18.0, 30.0, 45.0, 60.0, 80.0)
    raw = sums(deep_ahcal(), "pi-", points, 30_000)[1]
    for i, expected in ((0, 18.4), (2, 10.2), (5, 6.7)):
        yield Row(f"sum, {points[i]:g} GeV [%]", 100 * raw[i], expected, 0.05 * expected)
    a, c = terms(points, raw)
    yield Row("sum, a [%]", a, 56.0, 3.0)
    yield Row("sum, c [%]", c, 2.0, 1.5)
    # A gamma distributed signal times e/h is what a calorimeter of e/h = 1 with sqrt(e/h) larger fluctuations gives.
    section = deep_ahcal().sections[0]
    response = replace(section.response, e_over_h=1.0, c_had=section.c_had * 1.45**0.5)
    compensated = replace(deep_ahcal(), sections=(replace(section, response=response),))
    yield Row(
        "both kinds of energy known, a [%]", terms(points, sums(compensated, "pi-", points, 30_000)[1])[0], 45.0, 3.0
    )


HIT_BINS = (0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 40.0, math.inf)
"""Edges of the hit energies in MIP in which software compensation weighs them."""


def compensation_inputs(columns: dict[str, Any], mip: float) -> tuple[Array, Array]:
    """Sum of the hits of each event, and its parts in bins of hit energy times 1, ln E and (ln E)^2."""
    n, n_bins = len(columns["true_energy"]), len(HIT_BINS) - 1
    kind = np.clip(np.digitize(columns["energy"] / mip, HIT_BINS) - 1, 0, n_bins - 1)
    parts = np.bincount(columns["event"] * n_bins + kind, columns["energy"], n * n_bins).reshape(n, n_bins)
    total = parts.sum(axis=1)
    log_energy = np.log(total.clip(0.5))[:, None]
    return total, np.concatenate([parts, parts * log_energy, parts * log_energy**2], axis=1)


@check(
    22,
    "pions in 60 layers of ahcal with hits, local software compensation",
    "CALICE, JINST 7 (2012) P09017",
    suite="slow",
)
def software_compensation() -> Iterator[Row]:
    detector = load_detector("ahcal", ["layers.repeat=60", "layers.cells=30"])
    mip, points = detector.sections[0].mip, (10.0, 18.0, 30.0, 45.0, 60.0, 80.0)
    learn = np.geomspace(5.0, 130.0, 60).tolist()
    columns = simulate(detector, "pi-", learn, 500, hits=True)
    _, inputs = compensation_inputs(columns, mip)
    scale = 1.0 / np.sqrt(columns["true_energy"])
    weights = np.linalg.lstsq(inputs * scale[:, None], columns["true_energy"] * scale, rcond=None)[0]
    columns = simulate(detector, "pi-", points, 4000, hits=True, seed=2)
    total, inputs = compensation_inputs(columns, mip)
    raw = resolution(total, columns["true_energy"], points)[1]
    compensated = resolution(inputs @ weights, columns["true_energy"], points)[1]
    a, c = terms(points, compensated)
    yield Row("a [%]", a, 43.5, 2.5)
    yield Row("c [%]", c, 1.75, 0.75)
    yield Row("over the plain sum, 30 GeV", compensated[2] / raw[2], 0.80, 0.04)


@check(
    23, "width of a trained network over that of known kinds of energy, pions", "no network may know more", suite="slow"
)
def network_against_oracle() -> Iterator[Row]:
    points = (10.0, 20.0, 40.0, 80.0)
    section = deep_ahcal().sections[0]
    response = replace(section.response, e_over_h=1.0, c_had=section.c_had * 1.45**0.5)
    oracle = sums(replace(deep_ahcal(), sections=(replace(section, response=response),)), "pi-", points, 30_000)[1]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}" for name in ("learn.root", "test.root", "model.safetensors", "report.json")}
        deep = ["simulate", "ahcal", "--set", "layers.repeat=80", "-p", "pi-"]
        for command in (
            [*deep, "-n", "200k", "-E", "4:150", "-o", files["learn.root"]],
            [*deep, "-n", "80k", "-E", ",".join(map(str, points)), "--seed", "2", "-o", files["test.root"]],
            ["train", files["learn.root"], "-o", files["model.safetensors"]],
            ["evaluate", files["model.safetensors"], files["test.root"], "-o", files["report.json"]],
        ):
            subprocess.run([sys.executable, "-m", "calomlp", *command], check=True, capture_output=True)
        report = json.loads(Path(files["report.json"]).read_text())
    regressor = next(curve for curve in report["curves"] if curve["name"] == "regressor")
    estimates = [each["estimates"] for each in regressor["bins"]]
    mean = np.array([each["core_mean"]["value"] for each in estimates])
    width = np.array([each["resolution"]["value"] for each in estimates])
    slope = np.gradient(np.log(mean * points), np.log(points))  # what shrinks towards the mean looks narrower
    for point, ratio in zip(points, width / slope / oracle, strict=True):
        yield Row(f"{point:g} GeV", ratio, 1.2, 0.3)


@check(
    24,
    "length of pion showers [lambda_I]",
    "Fabjan & Ludlam, Ann. Rev. Nucl. Part. Sci. 32 (1982) 335; model",
    suite="landing",
)
def pion_length() -> Iterator[Row]:
    step = deep_ahcal().sections[0].medium.depth_in_interaction_lengths
    rear = step * np.arange(1, 81)
    for energy, model, rule in ((10.0, 5.0, 4.5), (45.0, 5.5, 5.6), (80.0, 5.7, 6.0)):
        profile = simulate(deep_ahcal(), "pi-", [energy], 20_000)["layer_energy"].mean(axis=0)
        length = np.interp(0.95, profile.cumsum() / profile.sum(), rear)
        yield Row(f"95 %, {energy:g} GeV, model", length, model, 0.2)
        yield Row(f"95 %, {energy:g} GeV, rule", length, rule, 0.8)
        if energy != 45.0:
            highest = slice(max(profile.argmax() - 3, 0), profile.argmax() + 4)
            a, b, _ = np.polyfit(rear[highest] - step / 2, profile[highest], 2)
            yield Row(f"maximum, {energy:g} GeV", -b / (2 * a), {10.0: 1.2, 80.0: 1.45}[energy], 0.2)
