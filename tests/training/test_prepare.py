from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from calomlp.data.dataset import Data, Kept
from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.sample import Recipe, Sample, Split
from calomlp.data.sources import Source, Tally
from calomlp.errors import InputError
from calomlp.training.prepare import EVENTS_PER_SHARE, design, prepare
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import ROOM, fitted, linear_showers

LAYERS = Feature("layer_energy", (6,), energy=True)
DEPTH = Feature("depth(layer_energy)")


@pytest.mark.parametrize(
    ("features", "wanted", "events", "seen"),
    [
        ([LAYERS, DEPTH], (), 6 * EVENTS_PER_SHARE - 1, False),
        ([LAYERS, DEPTH], (), 6 * EVENTS_PER_SHARE, True),
        ([LAYERS, DEPTH], ("layer_energy", "depth(layer_energy)"), 300, True),  # what was asked for is seen
        ([LAYERS], (), 300, True),  # there is nothing else
    ],
)
def test_with_few_events_the_network_sees_shapes_instead_of_layers(
    features: list[Feature], wanted: tuple[str, ...], events: int, seen: bool
) -> None:
    columns = linear_showers(events + 100)
    recipe = Recipe(FeatureSet(features), Expression.parse("true_energy"), Split(0.8, 0.1, 0.1, 1))
    side = (np.arange(events + 100) >= events).astype(np.uint8)
    energy = columns["true_energy"]
    sample = Sample(recipe.features.matrix(columns), energy, np.ones_like(energy), np.arange(len(energy)))
    kept = Kept(len(recipe.features.columns), len(sample))
    kept.add(sample)
    data = Data(kept, side, recipe, (), Tally())
    settings = TrainingSettings(features=wanted)
    task = design(data, sample, settings, torch.device("cpu"), ROOM.folder)
    assert task.architecture.shares is seen
    train = prepare(task).train
    assert train.n_inputs == task.architecture.n_inputs == len(recipe.features.columns) + 1 - (0 if seen else 6)


def test_wild_energies_are_no_division_by_zero(make_root: Callable[..., Source]) -> None:
    columns = linear_showers(3000)
    columns["layer_energy"][100:110, 2] = 1e12
    with pytest.raises(InputError, match=r"brings \d+ of \d+ training events into the range of the true ones"):
        fitted(make_root(columns), TrainingSettings())
