"""What the regressor is measured against: the same events and features, one thread, and nothing but their fit timed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product

import lightgbm
import numpy as np
import torch
import xgboost
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from calomlp.compute import threads
from calomlp.data.sample import Sample
from calomlp.evaluation.accumulator import Accumulator
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.options import Options

Array = NDArray[np.floating]
Predictor = Callable[[Array], Array]

TREES = 400
EPOCHS = 40
HIDDEN = (64, 64)


@dataclass(frozen=True)
class Fitted:
    """What a rival ended with: the seconds of its fit, and what predicts energies [GeV]."""

    seconds: float
    predict: Predictor


def plain_loop(train: Sample, _: Sample) -> Predictor:
    """Fit the network of a tutorial: a DataLoader with batches of 256, Adam, squared error, standardised numbers."""
    torch.manual_seed(1)
    x, y = torch.from_numpy(train.features), torch.from_numpy(train.true_energy)[:, None]
    mean, scale = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    centre, width = y.mean(), y.std()
    widths = (x.shape[1], *HIDDEN)
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())]
    network = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))
    optimiser = torch.optim.Adam(network.parameters())
    loader = DataLoader(TensorDataset((x - mean) / scale, (y - centre) / width), batch_size=256, shuffle=True)
    for _epoch in range(EPOCHS):
        for inputs, target in loader:
            optimiser.zero_grad()
            nn.functional.mse_loss(network(inputs), target).backward()
            optimiser.step()

    @torch.no_grad()
    def predict(features: Array) -> Array:
        found: Array = (centre + width * network((torch.from_numpy(features) - mean) / scale)[:, 0]).numpy()
        return found

    return predict


def sklearn_network(train: Sample, _: Sample) -> Predictor:
    """Fit scikit-learn's network on standardised numbers."""
    mean, scale = train.features.mean(axis=0), np.maximum(train.features.std(axis=0), 1e-6)
    centre, width = train.true_energy.mean(), train.true_energy.std()
    network = MLPRegressor(hidden_layer_sizes=HIDDEN, max_iter=EPOCHS, random_state=1)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        network.fit((train.features - mean) / scale, (train.true_energy - centre) / width)
    return lambda features: centre + width * network.predict((features - mean) / scale)


def lightgbm_trees(train: Sample, _: Sample) -> Predictor:
    """Fit 400 trees of LightGBM."""
    trees = lightgbm.LGBMRegressor(n_estimators=TREES, n_jobs=1, verbose=-1)
    trees.fit(train.features, train.true_energy)
    return lambda features: np.asarray(trees.predict(features))


def xgboost_trees(train: Sample, _: Sample) -> Predictor:
    """Fit 400 trees of XGBoost."""
    trees = xgboost.XGBRegressor(n_estimators=TREES, learning_rate=0.1, n_jobs=1)
    trees.fit(train.features, train.true_energy)
    return lambda features: np.asarray(trees.predict(features))


RIVALS: dict[str, tuple[Callable[[Sample, Sample], Predictor], float]] = {
    "plain PyTorch loop": (plain_loop, 30),
    "scikit-learn MLPRegressor": (sklearn_network, 8),
    "LightGBM": (lightgbm_trees, 10),
    "XGBoost": (xgboost_trees, 10),
}
"""How each is fitted, and how many times as fast the regressor is to be."""


def timed(fit: Callable[[Sample, Sample], Predictor], train: Sample, validation: Sample) -> Fitted:
    """Fit on one thread."""
    with threads(1), threadpool_limits(1):
        start = time.process_time()
        predict = fit(train, validation)
        return Fitted(time.process_time() - start, predict)


def tuned_trees(train: Sample, validation: Sample) -> Predictor:
    """Fit LightGBM as someone would who cares: of twelve tunings the one with the narrowest response in validation.

    Trees learn the logarithm of the energy, or that of the factor on the sum of the features that a line through them
    makes the best of; their size and that of their leaves vary, and the validation events say when to stop.
    """
    line = _line(train)
    best, chosen = np.inf, None
    for predict in (_grown(train, validation, *tuning) for tuning in product((None, line), (7, 15, 31), (20, 100))):
        ratio = predict(validation.features) / validation.true_energy
        low, high = np.quantile(ratio, [0.1587, 0.8413])
        if (width := float((high - low) / (high + low))) < best:
            best, chosen = width, predict
    assert chosen is not None
    return chosen


def _line(train: Sample) -> Predictor:
    """Fit a line through all features, every event weighed by its energy."""
    x = np.column_stack([train.features, np.ones(len(train))]).astype(np.float64)
    solution = np.linalg.lstsq(x / train.true_energy[:, None], np.ones(len(train)), rcond=None)[0]
    least = train.true_energy.min() / 2
    return lambda features: np.maximum(features @ solution[:-1] + solution[-1], least)


def _grown(train: Sample, validation: Sample, scale: Predictor | None, leaves: int, smallest: int) -> Predictor:
    """Fit trees to the logarithm of the energy over a scale."""

    def start(features: Array) -> Array:
        return np.zeros(len(features)) if scale is None else np.log(scale(features))

    trees = lightgbm.LGBMRegressor(
        n_estimators=3000,
        num_leaves=leaves,
        learning_rate=0.05,
        min_child_samples=smallest,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.8,
        n_jobs=1,
        verbose=-1,
    )
    trees.fit(
        train.features,
        np.log(train.true_energy) - start(train.features),
        eval_set=[(validation.features, np.log(validation.true_energy) - start(validation.features))],
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )
    return lambda features: np.exp(np.asarray(trees.predict(features)) + start(features))


def widths(
    events: Sample, energies: Mapping[str, Array], low: float, high: float
) -> tuple[list[float], dict[str, list[tuple[float, float]]]]:
    """Return the centres of the inner bins [GeV], and of each curve the relative widths in them with their errors.

    A width is that of the core, divided by the energy and by the local slope of the response. A regression is drawn to
    the middle of its training range, and near the edges its distribution is narrower than what it knows of the energy;
    d<E_reco>/dE_true says by how much.

    Args:
        events: Test events.
        energies: What each curve says of them [GeV], shape [events].
        low: Lower end of the true energies [GeV].
        high: Upper end [GeV].
    """
    bins, accumulator = EnergyBins.over(low, high), Accumulator(tuple(energies))
    estimates = {name: np.asarray(values) for name, values in energies.items()}
    accumulator.fill(bins.keys(events.true_energy), events.true_energy, estimates)
    numbers = {key: item.events for key, item in accumulator.content.items()}
    wider = bins.joined(numbers, lambda _: 0)
    accumulator = accumulator.grouped(bins.within(wider, numbers))
    content = [accumulator.content[key] for key in sorted(accumulator.content)]
    content = [item for item in content if item.histograms[accumulator.curves[0]].events > 100]
    centres = np.array([item.energy for item in content])
    curves = {}
    for name in energies:
        found = [estimate_all(item.histograms[name], Options()) for item in content]
        slope = np.gradient(centres * [item["core_mean"].value for item in found], centres)
        pairs = zip((item["core_sigma"] for item in found), slope, strict=True)
        curves[name] = [(width.value / s, width.error / s) for width, s in pairs][2:-2]
    return centres[2:-2].tolist(), curves
