"""Training time and resolution beside LightGBM, on the same events and cores in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.data.split import Side
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.response import Accumulator, BinContent
from calomlp.training.settings import TrainingSettings
from tests.conftest import fitted, read, together

lightgbm = pytest.importorskip("lightgbm")
pytestmark = pytest.mark.benchmark

ROUNDS = 3


@pytest.mark.parametrize(("detector", "particle", "energies"), [("siw-ecal", "e-", "1:100"), ("ahcal", "pi-", "4:100")])
def test_faster_than_boosted_trees_and_no_worse(
    simulated: Callable[..., Source], detector: str, particle: str, energies: str
) -> None:
    training, test = (simulated(detector, particle, energies, 200_000, seed) for seed in (1, 2))
    ratios = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model = fitted(training, TrainingSettings())  # reads the file, too
        ours = time.perf_counter() - start
        data = read([training], model.recipe)
        sample = together(data)[data.side == Side.TRAIN]
        trees = lightgbm.LGBMRegressor(n_estimators=400, num_leaves=31, n_jobs=os.cpu_count(), verbose=-1)
        start = time.perf_counter()
        trees.fit(sample.features, sample.true_energy)
        theirs = time.perf_counter() - start
        ratios.append(ours / theirs)
        print(f"\n{detector}: calomlp train {ours:.2f} s, LightGBM fit {theirs:.2f} s, ratio {ratios[-1]:.2f}", end="")
    assert np.median(ratios) < 1

    events = together(read([test], model.recipe))
    low, high = map(float, energies.split(":"))
    accumulator = Accumulator(EnergyBins.over(low, high, 200_000), ("calomlp", "lightgbm"))
    energy = model.regressor.estimates(events.features).regressor.numpy()
    accumulator.fill(events.true_energy, {"calomlp": energy, "lightgbm": trees.predict(events.features)})
    content = [accumulator.content[key] for key in sorted(accumulator.content)][:-1]
    ours_, theirs_ = (slope_corrected(content, name) for name in accumulator.curves)
    print("\n  E_true [GeV]   calomlp   LightGBM: sigma/(slope E) [%]")
    for item, one, other in list(zip(content, ours_, theirs_, strict=True))[2:-1]:
        numbers = " ".join(f"{100 * value:9.2f} +- {100 * error:.2f}" for value, error in (one, other))
        print(f"{item.energy:10.2f}    {numbers}")
        assert one[0] < other[0] + np.hypot(one[1], other[1])


def slope_corrected(content: list[BinContent], name: str) -> list[tuple[float, float]]:
    """Return sigma of the core, divided by the local slope of the response and by the energy, and its error.

    A regression is drawn to the middle of its training range. Near the edges its distribution is narrower than what
    it knows of the energy; d<E_reco>/dE_true says by how much.
    """
    energy = np.array([item.energy for item in content])
    found = [estimate_all(item.histograms[name], 1) for item in content]
    slope = np.gradient(energy * [item["core_mean"].value for item in found], energy)
    widths = [item["core_sigma"] for item in found]
    return [(width.value / s, width.error / s) for width, s in zip(widths, slope, strict=True)]
