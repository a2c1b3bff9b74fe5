from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from calomlp.data.sources import Source
from calomlp.model.anchor import Anchor
from calomlp.model.network import Architecture
from calomlp.model.regressor import Regressor
from calomlp.model.spread import Spread
from calomlp.training import loop
from calomlp.training.events import FOLDS, Events
from calomlp.training.loop import State, run, summed_loss, validate
from calomlp.training.optimiser import Optimiser, plateau_factor
from calomlp.training.training_settings import TrainingSettings, make_plan
from tests.conftest import fitted, linear_showers

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
    events = Events.of(regressor.inputs(features, anchor), anchor, torch.ones(2048), truth, weight, weight)
    optimiser = Optimiser(settings.optimiser, regressor.network, average=settings.average)
    return State(regressor, optimiser, generator, ("a", "b", "c"), regressor.network), events


def fit(settings: TrainingSettings, after_step: Callable[[State], None] = lambda _: None) -> tuple[State, Events]:
    """Train and validate on the same events."""
    state, events = prepared(settings)
    plan = make_plan(settings, len(events), 3)
    run(state, events, events, settings, plan, after_step=after_step, after_epoch=lambda _: None)
    return state, events


def distance_from_least_squares(state: State, events: Events) -> float:
    """Return the largest difference [GeV] between the network and the weighted least-squares line."""
    root = events.weight.sqrt()
    design = torch.cat([events.inputs, torch.ones(len(events), 1)], dim=1)
    line = design @ torch.linalg.lstsq(design * root[:, None], (root * events.true_energy)[:, None]).solution
    with torch.no_grad():
        network = state.regressor.predict(state.regressor.network(events.inputs)[0], events.anchor, events.sigma).energy
    return float((network - line.squeeze(1)).abs().max())


def test_identity_activations_end_at_weighted_least_squares() -> None:
    assert distance_from_least_squares(*fit(LINEAR)) < 0.01


def test_the_average_is_what_is_validated_and_kept() -> None:
    settings = replace(LINEAR, average=0.98, epochs=3, optimiser="sgd", learning_rate=0.001)
    seen: list[torch.Tensor] = []
    state, _ = fit(settings, lambda state: seen.append(state.optimiser.weights.clone()))
    assert state.best_epoch == 3
    shares = 0.98 ** torch.arange(len(seen) - 1, -1, -1)
    wanted = (shares[:, None] * torch.stack(seen)).sum(dim=0) / shares.sum()
    assert torch.allclose(state.optimiser.weights, wanted, atol=1e-5)  # the best weights are in place at the end
    assert not torch.allclose(seen[-1], wanted, atol=1e-5)


def test_plateau_halves_the_rate_when_nothing_gets_better() -> None:
    state, _ = fit(replace(LINEAR, schedule="plateau", epochs=80))
    losses = [entry["validation_loss"] for entry in state.history]
    rates = [entry["learning_rate"] for entry in state.history]
    assert rates == [0.02 * plateau_factor(losses[:epoch]) for epoch in range(80)]
    assert rates[-1] < 0.02


def test_time_that_is_over_ends_in_good_order_with_what_was_learned() -> None:
    state, _ = fit(replace(LINEAR, epochs=1_000_000, stop_after=0.2))
    assert state.seconds >= 0.2
    assert 0 < state.best_epoch <= state.epoch == len(state.history)
    first = fit(replace(LINEAR, stop_after=1e-9))[0]
    assert first.epoch == first.best_epoch == 1  # one step, and it is judged
    assert first.history[0]["train_loss"] == pytest.approx(first.history[0]["validation_loss"], rel=0.5)


def test_the_best_epoch_is_kept_not_the_last() -> None:
    state, events = prepared(LINEAR)
    plan = make_plan(LINEAR, len(events), 3)
    other = Events.of(
        events.inputs, events.anchor, events.sigma, events.true_energy.flip(0), events.weight, events.fold
    )
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


@pytest.mark.parametrize("optimiser", ["sgd", "nesterov"])
def test_a_member_of_an_ensemble_moves_as_far_as_a_network_by_itself(optimiser: str) -> None:
    settings = replace(LINEAR, activation="tanh", optimiser=optimiser)
    alone, events = prepared(settings)
    form = replace(alone.regressor.architecture, members=3)
    regressor = Regressor(form, torch.Generator().manual_seed(2))
    for name, value in alone.regressor.state_dict().items():
        if not name.startswith("network."):
            regressor.state_dict()[name].copy_(value)
    for ours, theirs in zip(regressor.network.parameters(), alone.regressor.network.parameters(), strict=True):
        ours.data[0] = theirs.data[0]
    together = State(
        regressor, Optimiser(optimiser, regressor.network), alone.generator, alone.inputs, regressor.network
    )
    start = alone.optimiser.weights.clone()
    for state in (alone, together):
        for _ in range(3):
            summed_loss(state, events, len(events), "mse").backward()
            state.optimiser.step(1e-2)
    assert not torch.allclose(alone.optimiser.weights, start, atol=1e-2)
    for ours, theirs in zip(regressor.network.parameters(), alone.regressor.network.parameters(), strict=True):
        assert torch.allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-5)


def test_a_member_does_not_learn_from_the_fold_that_it_leaves_out() -> None:
    state, events = prepared(LINEAR)
    regressor = Regressor(replace(state.regressor.architecture, members=4), torch.Generator().manual_seed(2))
    optimiser = Optimiser("sgd", regressor.network)
    seen = torch.full((4,), 0.75)
    state = replace(state, regressor=regressor, optimiser=optimiser, forward=regressor.network, seen=seen)
    events.fold[:] = 2
    summed_loss(state, events, len(events), "mse").backward()
    moved = [bool(each.any()) for each in regressor.network.weights[0].grad]
    assert moved == [True, True, False, True]


@pytest.mark.parametrize("members", [1, 2, 4])
@pytest.mark.parametrize(("bias", "least", "most"), [(0.05, 0.99, 1.0), (-0.05, 0.0, 0.0)])
def test_a_correction_in_the_right_direction_is_kept(members: int, bias: float, least: float, most: float) -> None:
    settings = replace(LINEAR, regress="ratio", hidden="none", loss="chi2", learning_rate=1e-12, epochs=1)
    generator = torch.Generator().manual_seed(1)
    regressor = Regressor(Architecture(3, (0, 1, 2), (), "identity", 0.0, "ratio", members=members), generator)
    regressor.network.biases[-1].data[:] = bias
    anchor, fold = torch.rand(2000, generator=generator) + 1, torch.arange(2000.0) % FOLDS
    truth = anchor * (1.05 + 0.1 * torch.randn(2000, generator=generator))
    events = Events.of(torch.zeros(2000, 4), anchor, 0.1 * anchor, truth, torch.ones(2000), fold)
    optimiser = Optimiser("sgd", regressor.network)
    state = State(regressor, optimiser, generator, tuple("abcd"), regressor.network, corrects=True)
    state.seen = torch.full((members,), 0.75) if members > 1 else None
    run(state, events, events, settings, make_plan(settings, 2000, 4))
    assert least <= state.kept <= most


def test_the_loss_of_an_ensemble_is_told_as_a_mean(make_root: Callable[..., Source]) -> None:
    source = make_root(linear_showers(2000))
    settings = TrainingSettings(hidden="16", epochs=1, optimiser="sgd", learning_rate=1e-9, regress="direct")
    alone, three = (fitted(source, replace(settings, ensemble=members)) for members in (1, 3))
    assert three.history[0]["train_loss"] == pytest.approx(alone.history[0]["train_loss"], rel=0.5)


def test_widths_of_many_events_are_those_of_some_evenly_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    state, events = prepared(LINEAR)
    whole = validate(state.regressor, events, "mse")
    monkeypatch.setattr(loop, "WIDTH_EVENTS", 512)
    monkeypatch.setattr("calomlp.training.events._PART", 100)
    some = validate(state.regressor, events, "mse")
    taken = Events(events.table[::4])
    expected = validate(state.regressor, taken, "mse")
    assert (some.resolution, some.pull) == pytest.approx((expected.resolution, expected.pull), rel=1e-6)
    assert some.loss == pytest.approx(whole.loss, rel=1e-6)
    assert some != whole
