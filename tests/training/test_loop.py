from __future__ import annotations

import numpy as np
import pytest
import torch

from calomlp.model.anchor import Anchor
from calomlp.model.regressor import Architecture, Regressor
from calomlp.model.spread import Spread
from calomlp.training.events import Events
from calomlp.training.loop import State, run
from calomlp.training.optimiser import Optimiser
from calomlp.training.plan import make_plan
from calomlp.training.settings import TrainingSettings

LINEAR = TrainingSettings(
    regress="direct",
    loss="mse",
    hidden="8,8",
    activation="identity",
    learning_rate=0.02,
    batch_size=512,
    epochs=300,
    patience=300,
)


def prepared(settings: TrainingSettings) -> tuple[State, Events]:
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(2048, 3, generator=generator)
    truth = 5 + features @ torch.tensor([1.0, 2.0, -1.0]) + 0.3 * torch.randn(2048, generator=generator)
    regressor = Regressor(Architecture(3, (0, 1, 2), (8, 8), settings.activation, 0.0, settings.regress), generator)
    regressor.calibrate(Anchor(1.0, np.ones(3), Spread(0.1, 0.0, 0.0)), features, truth)
    anchor = regressor.anchor(features)
    weight = 0.5 + torch.rand(2048, generator=generator)
    events = Events.of(regressor.inputs(features, anchor), anchor, torch.ones(2048), truth, weight)
    return State(regressor, Optimiser(settings.optimiser, regressor.network, weight_decay=0.0), generator), events


def test_identity_activations_end_at_weighted_least_squares() -> None:
    state, events = prepared(LINEAR)
    plan = make_plan(LINEAR, len(events), 3)
    run(state, events, events, LINEAR, plan, after_step=lambda _: None, after_epoch=lambda _: None)
    root = events.weight.sqrt()
    design = torch.cat([events.inputs, torch.ones(len(events), 1)], dim=1)
    line = design @ torch.linalg.lstsq(design * root[:, None], (root * events.true_energy)[:, None]).solution
    with torch.no_grad():
        network = state.regressor.predict(state.regressor.network(events.inputs)[0], events.anchor, events.sigma).energy
    assert network.numpy() == pytest.approx(line.squeeze(1).numpy(), abs=0.01)


def test_the_best_epoch_is_kept_not_the_last() -> None:
    state, events = prepared(LINEAR)
    plan = make_plan(LINEAR, len(events), 3)
    other = Events.of(events.inputs, events.anchor, events.sigma, events.true_energy.flip(0), events.weight)
    run(state, events, other, LINEAR, plan, after_step=lambda _: None, after_epoch=lambda _: None)
    losses = [entry["validation_loss"] for entry in state.history]
    assert state.best_epoch < plan.epochs
    assert state.best_loss <= min(losses)
    kept = torch.cat([value.flatten() for value in state.best_weights.values()])
    assert torch.equal(kept, torch.cat([value.flatten() for value in state.regressor.network.state_dict().values()]))


def test_every_event_is_seen_once_in_an_epoch() -> None:
    settings = TrainingSettings(epochs=1, batch_size=100)
    state, events = prepared(LINEAR)
    seen: list[int] = []
    original = events.take

    class Counted(Events):
        def take(self, rows: torch.Tensor) -> Events:
            seen.extend(rows.tolist())
            return original(rows)

    counted = Counted(events.table)
    run(
        state,
        counted,
        events,
        settings,
        make_plan(settings, 2048, 3),
        after_step=lambda _: None,
        after_epoch=lambda _: None,
    )
    assert sorted(seen) == list(range(2048))
    assert seen != sorted(seen)
