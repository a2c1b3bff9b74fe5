"""Electromagnetic showers: profiles, containment, resolution of electromagnetic calorimeters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from calomlp.simulation import load_detector
from calomlp.simulation.detector import MATERIALS, Plate
from calomlp.simulation.detector_file import parse_detector
from calomlp.simulation.profile import cell_shares, mean_profile
from calomlp.simulation.request import Impact
from tests.simulation.tools import contained
from tests.simulation.validation.tools import (
    POINTS,
    Row,
    check,
    crystal,
    drawn,
    medium,
    radial,
    resolution,
    simulate,
    slices,
    sums,
    terms,
)


@check(1, "mean depth of the maximum of electrons in PbWO4 [X0]", "model; hep-ex/0001020")
def maximum() -> Iterator[Row]:
    for energy, T in ((1.0, 4.02), (10.0, 6.28), (100.0, 8.57)):
        yield Row(f"{energy:g} GeV", drawn(energy).T.mean().item(), T, 0.03)


@check(2, "growth of that depth with ln E [X0]", "PDG review: 1.0; model: 0.99")
def maximum_slope() -> Iterator[Row]:
    difference = (drawn(100.0).T.mean() - drawn(1.0).T.mean()).item()
    yield Row("1 to 100 GeV", difference / math.log(100.0), 0.99, 0.02)


@check(3, "widths of ln T and ln alpha at 10 GeV, their correlation", "hep-ex/0001020")
def profile_widths() -> Iterator[Row]:
    logs = torch.stack((drawn(10.0).T.log(), drawn(10.0).alpha.log()))
    yield Row("sigma(ln T)", logs[0].std().item(), 0.134, 0.02 * 0.134)
    yield Row("sigma(ln alpha)", logs[1].std().item(), 0.183, 0.02 * 0.183)
    yield Row("correlation", torch.corrcoef(logs)[0, 1].item(), 0.543, 0.01)


@check(4, "longitudinal profile of 5 GeV electrons in PbWO4, share in slices of 0.5 X0 [%]", "Geant4 11.4, TestEm2")
def geant4_profile() -> Iterator[Row]:
    share = simulate(slices(20.0, 0.5), "e-", [5.0], 20_000)["layer_energy"].mean(axis=0) / 5.0
    geant4 = {1.0: 0.90, 3.0: 3.70, 4.0: 4.92, 5.0: 5.44, 6.0: 5.23, 8.0: 4.42, 10.0: 2.99, 13.0: 1.32, 16.0: 0.50}
    for depth, expected in geant4.items():
        yield Row(f"from {depth:g} X0", 100.0 * share[int(2 * depth)], expected, 0.5)
    yield Row("centroid [X0]", float(np.average(np.arange(0.25, 20.0, 0.5), weights=share)), 7.5, 0.15)


@check(5, "fluctuation of such a slice at 6-6.5 X0 [% of E]", "Geant4 11.4, TestEm2")
def slice_fluctuation() -> Iterator[Row]:
    energy = simulate(slices(20.0, 0.5), "e-", [5.0], 20_000)["layer_energy"][:, 12]
    yield Row("rms", 100.0 * energy.std() / 5.0, 1.3, 0.15 * 1.3)


@check(6, "depth that contains 95 and 98 % in PbWO4 [X0]", "model; hep-ex/0001020")
def longitudinal_containment() -> Iterator[Row]:
    edges = torch.linspace(0.0, 40.0, 401)
    for energy, t95, t98 in ((10.0, 16.2, 19.0), (100.0, 19.2, 22.1)):
        contained = mean_profile(torch.tensor([energy]), medium("PbWO4")).shares(edges[None])[0].cumsum(0).numpy()
        found = np.interp([0.95, 0.98], contained, edges[1:].numpy())
        yield Row(f"95 %, {energy:g} GeV", found[0], t95, 0.2)
        yield Row(f"98 %, {energy:g} GeV", found[1], t98, 0.2)


@check(7, "leakage behind 25.8 X0 of PbWO4 [% of E]", "model; Geant4 11.4 gives means of 0.28 and 0.61")
def rear_leakage() -> Iterator[Row]:
    for energy, mean, rms in ((10.0, 0.21, 0.29), (100.0, 0.63, 0.52)):
        leakage = 100.0 * simulate(crystal(), "e-", [energy], 40_000)["true_rear_leakage"] / energy
        yield Row(f"mean, {energy:g} GeV", leakage.mean(), mean, 0.15 * mean)
        yield Row(f"rms, {energy:g} GeV", leakage.std(), rms, 0.15 * rms)


@check(8, "containment of 5 GeV electrons in PbWO4 within a radius [%]", "Geant4 11.4, TestEm2")
def geant4_radial() -> Iterator[Row]:
    spread, share = radial(medium("PbWO4"), 5.0, depth=20.0)
    for radius, expected in ((0.5, 54.3), (1.0, 71.5), (2.0, 84.4), (3.0, 90.1), (5.0, 94.8)):
        inside = contained(spread, radius * MATERIALS["PbWO4"].radiation_length)
        yield Row(f"{radius:g} X0", 100.0 * (share * inside).sum().item(), expected, 2.0)


@check(9, "radius that contains 90 and 95 % at 10 GeV [R_M]", "model; hep-ex/0001020")
def radial_containment() -> Iterator[Row]:
    for name, r90, r95 in (("PbWO4", 1.18, 1.91), ("Pb", 1.07, 1.72), ("Fe", 1.55, 2.52)):
        media = medium(name)
        spread, share = radial(media, 10.0)
        radii = torch.linspace(0.1, 5.0, 491)
        inside = (contained(spread, radii[:, None] * media.moliere_radius) * share).sum(dim=1).numpy()
        found = np.interp([0.90, 0.95], inside, radii.numpy())
        yield Row(f"90 %, {name}", found[0], r90, 0.05 * r90)
        yield Row(f"95 %, {name}", found[1], r95, 0.05 * r95)


@check(
    10,
    "share of the crystals around a central impact at 10 GeV",
    "Geant4 11.4; CMS ECAL, JINST 2 (2007) P04004: 0.78-0.80, 0.94, 0.97",
)
def crystal_shares() -> Iterator[Row]:
    columns = simulate(load_detector("crystal-ecal"), "e-", [10.0], 4096, hits=True, impact=Impact(sigma=0.0))
    for n, expected in ((1, 0.787), (3, 0.943), (5, 0.976)):
        near = np.maximum(np.abs(columns["x"]), np.abs(columns["y"])) < 2.2 * n / 2
        yield Row(f"{n} x {n}", columns["energy"][near].sum() / (10.0 * 4096), expected, 0.01)


@check(11, "integral over rectangular cells against quadrature", "closed form of the profile of hep-ex/0001020")
def cell_integral() -> Iterator[Row]:
    node, weight = np.polynomial.legendre.leggauss(60)
    for radius, x, y in ((0.7, 0.3, -0.2), (2.5, -4.0, 1.0), (6.0, 8.0, 8.0)):
        edges = [torch.tensor([centre - 0.5, centre + 0.5], dtype=torch.float64) for centre in (x, y)]
        found = cell_shares(torch.tensor(radius, dtype=torch.float64), *edges).item()
        r2 = (x + node[:, None] / 2) ** 2 + (y + node / 2) ** 2
        expected = (weight[:, None] * weight / 4 * radius**2 / (math.pi * (r2 + radius**2) ** 2)).sum()
        yield Row(f"R {radius} cm at ({x}, {y}) cm", found, expected, 1e-6)
    plane = torch.tensor([-1e9, -1.0, 0.5, 1e9], dtype=torch.float64)
    yield Row(
        "infinite plane", cell_shares(torch.tensor(2.0, dtype=torch.float64), plane, plane).sum().item(), 1.0, 1e-6
    )


@check(12, "electrons in 3 x 3 crystals, central impact", "CMS ECAL, JINST 2 (2007) P04004", suite="landing")
def crystal_resolution() -> Iterator[Row]:
    detector = load_detector("crystal-ecal")
    columns = simulate(detector, "e-", POINTS, 20_000, hits=True, impact=Impact(sigma=0.0))
    near = np.maximum(np.abs(columns["x"]), np.abs(columns["y"])) < 3.3
    total = np.bincount(columns["event"][near], columns["energy"][near], minlength=len(columns["true_energy"]))
    a, c, n = terms(POINTS, resolution(total, columns["true_energy"], POINTS)[1], noise=True)
    yield Row("a [%]", a, 2.8, 0.3)
    yield Row("n [GeV]", n, 0.12, 0.02)
    reason = "rear leakage and the widening of late showers, both as published, are 0.4 % at 100 GeV"
    yield Row("c [%]", c, 0.30, 0.1, reason)


@check(13, "electrons in siw-ecal", "CALICE, NIM A608 (2009) 372")
def siw_resolution() -> Iterator[Row]:
    columns = simulate(load_detector("siw-ecal"), "e-", POINTS, 10_000)
    energy, true = columns["layer_energy"].sum(axis=1), columns["true_energy"]
    a, c = terms(POINTS, resolution(energy, true, POINTS)[1])
    yield Row("a [%]", a, 16.6, 1.0)
    yield Row("c [%]", c, 1.1, 0.4)
    response = np.array([(energy / true)[true == np.float32(point)].mean() for point in POINTS])
    yield Row("non-linearity of the mean, largest [%]", 100 * np.abs(response / response.mean() - 1).max(), 0.0, 1.0)


@check(14, "electrons in shashlik", "LHCb, JINST 3 (2008) S08005")
def shashlik_resolution() -> Iterator[Row]:
    a, c = terms(POINTS, sums(load_detector("shashlik"), "e-", POINTS, 20_000)[1])
    yield Row("a [%]", a, 9.5, 0.8)
    yield Row("c [%]", c, 0.9, 0.3)


@check(15, "stochastic term where the absorber is twice as thick", "Del Peso & Ros, NIM A276 (1989) 456")
def sampling_scaling() -> Iterator[Row]:
    quiet = [
        "layers.layers_per_readout=1",
        *(f"readout.{knob}=0" for knob in ("noise", "calibration_smear", "non_uniformity")),
    ]
    points = (1.0, 2.0, 5.0, 10.0)
    a = [
        terms(points, sums(load_detector("shashlik", [*stack, *quiet]), "e-", points, 10_000)[1])[0]
        for stack in (
            ["layers.absorber.thickness=2mm", "layers.repeat=100"],
            ["layers.absorber.thickness=4mm", "layers.repeat=60"],
        )
    ]
    yield Row("ratio", a[1] / a[0], 1.41, 0.141)


@check(16, "e/mip of 2.3 mm Pb and 5.7 mm LAr", "formula of hep-ex/0001020; Geant4 11.4 gives 0.75")
def e_over_mip() -> Iterator[Row]:
    parts = (Plate("a", MATERIALS["Pb"], 0.23), Plate("b", MATERIALS["LAr"], 0.57, active=True))
    yield Row("e/mip", replace(load_detector("ahcal").sections[0], slices=parts).e_over_mip, 0.69, 0.005)


@check(30, "photons reach their maximum deeper than electrons [X0]", "PDG review: 1.0; model: 0.8")
def photon_maximum() -> Iterator[Row]:
    depth = {}
    for particle in ("e-", "gamma"):
        profile = simulate(slices(25.0, 0.5), particle, [10.0], 20_000)["layer_energy"].mean(axis=0)
        highest = slice(profile.argmax() - 4, profile.argmax() + 5)
        a, b, _ = np.polyfit(0.5 * np.arange(50)[highest] + 0.25, profile[highest], 2)
        depth[particle] = -b / (2 * a)
    yield Row("difference", depth["gamma"] - depth["e-"], 0.8, 0.3)


@check(
    31,
    "cells above 5 keV and radii of electrons in silicon and tungsten, cells of 5 mm",
    "Geant4 11.4, 20 x 2.1 mm + 10 x 4.2 mm W",
    suite="landing",
)
def silicon_hits() -> Iterator[Row]:
    group = {
        "repeat": 20,
        "cells": 60,
        "cell_size": "5 mm",
        "absorber": {"material": "W", "thickness": "2.1 mm"},
        "sensor": {"material": "Si", "thickness": "0.5 mm", "active": True},
        "board": {"material": "PCB", "thickness": "1.2 mm"},
        "gap": {"material": "air", "thickness": "1 mm"},
    }
    rear = group | {"name": "rear", "repeat": 10, "absorber": {"material": "W", "thickness": "4.2 mm"}}
    response = {"c_em": 0.158, "c_em_absorber": "0.65 X0", "mip_peak": 0.75}
    content = {
        "name": "si-w",
        "response": response,
        "readout": {"threshold": "0.01 MIP"},
        "layers": [group | {"name": "front"}, rear],
    }
    points = (1.0, 10.0, 100.0)
    columns = simulate(parse_detector(content), "e-", points, 512, hits=True)
    lit = np.bincount(columns["event"][columns["energy"] > 2.5e-4], minlength=len(columns["counts"]))
    for point, expected in zip(points, (55, 313, 1390), strict=True):
        yield Row(f"cells, {point:g} GeV", lit[columns["true_energy"] == point].mean(), expected, 0.2 * expected)
    x, y = (columns[axis] - columns[f"true_{axis}"][columns["event"]] for axis in ("x", "y"))
    radius = np.hypot(x, y)
    order = radius.argsort()
    share = columns["energy"][order].cumsum() / columns["energy"].sum()
    yield Row("radius of 50 % [mm]", 10 * radius[order][np.searchsorted(share, 0.5)], 4.3, 1.0)
    yield Row("radius of 90 % [mm]", 10 * radius[order][np.searchsorted(share, 0.9)], 21.0, 5.0)
    a, _ = terms(points, resolution(columns["layer_energy"].sum(axis=1), columns["true_energy"], points)[1])
    yield Row("a [%]", a, 15.8, 1.0)
