"""A loss that is no number: whose fault it was, and what is left."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calomlp.data.sample import Side
from calomlp.data.sources import Source
from calomlp.errors import TrainingError
from calomlp.run import Interrupt
from calomlp.training import loop
from calomlp.training.checkpoint import Watch
from calomlp.training.events import Events
from calomlp.training.loop import run
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings, make_plan
from tests.conftest import Run, fitted, linear_showers, quietly, read
from tests.training.test_loop import LINEAR, prepared
from tests.training.test_train import Make

WITH_NOISY = TrainingSettings(features=("layer_energy", "noisy"), hidden="16", epochs=2)
DIVERGES = [
    "--regress",
    "direct",
    "--loss",
    "mse",
    "--optimiser",
    "sgd",
    "--epochs",
    "50",
    "--lr",
    "1e-3",
    "--ensemble",
    "1",
]
"""Options with which five epochs of the warm-up are good, and the sixth is not."""


def failure(events: Events, validation: Events, settings: TrainingSettings = LINEAR) -> str:
    state, _ = prepared(settings)
    with pytest.raises(TrainingError) as caught:
        run(
            state,
            events,
            validation,
            settings,
            make_plan(settings, len(events), 3),
            after_step=lambda _: None,
            after_epoch=lambda _: None,
        )
    assert all(value.isfinite().all() for value in state.best_weights.values())
    return str(caught.value)


@pytest.mark.parametrize(("value", "told"), [(1e25, "1e+25"), (float("inf"), "inf"), (float("nan"), "nan")])
def test_an_outlier_is_named_with_its_batch_and_its_number(value: float, told: str) -> None:
    state, events = prepared(LINEAR)
    mean, scale = state.regressor.input_mean[1], state.regressor.input_scale[1]
    table = Events(events.table.clone())
    table.inputs[[5, 7], 1] = (value - mean) / scale
    batches = list(table.batches(512, LINEAR.seed, 0))
    first = next(n for n, batch in enumerate(batches) if not (batch.inputs.abs() < 100).all())
    number = int((~(batches[first].inputs[:, 1].abs() < 100)).sum())
    message = failure(table, events)
    assert f"not finite in epoch 1, batch {first + 1}: input b reaches {told}, " in message
    assert f"is beyond 30 in {number} of 512 events" in message
    message = failure(events, table)
    assert "not finite before the first step: input b reaches" in message
    assert "in 2 of 2048 events" in message


def test_outliers_that_are_met_after_an_epoch_only() -> None:
    settings = replace(LINEAR, regress="ratio")  # which begins with no correction, whatever its inputs
    _, events = prepared(settings)
    events.inputs[:, 2].clamp_(-3, 3)
    table = Events(events.table.clone())
    table.inputs[9, 2] = 1e6
    message = failure(events, table, settings)
    assert re.search(r"not finite in epoch \d, validation: input c reaches .*, 1e\+06 standard deviations", message)


def test_a_rate_that_is_too_high() -> None:
    _, events = prepared(LINEAR)
    message = failure(events, events, replace(LINEAR, optimiser="sgd", learning_rate=1e30))
    assert "in epoch 1, batch 2: no input is an outlier, the weights have grown without limit" in message
    assert "lower the learning rate with --lr, it was 4e+28" in message


def test_weights_that_overflow_are_never_saved() -> None:
    settings = replace(LINEAR, optimiser="sgd", learning_rate=1e38, schedule="constant")
    state, events = prepared(settings)
    saved: list[float] = []
    with pytest.raises(TrainingError, match="not finite after the step in epoch 1, batch 1: no input is an outlier"):
        run(
            state,
            events,
            events,
            settings,
            make_plan(settings, len(events), 3),
            after_step=lambda state: saved.append(float(state.optimiser.weights.sum())),
            after_epoch=lambda _: None,
        )
    assert not saved


def test_true_energies_that_no_loss_can_take() -> None:
    _, events = prepared(LINEAR)
    events.true_energy[3] = 1e30
    assert "before the first step: no input is an outlier: look at the true energies" in failure(events, events)


def test_estimates_below_zero_have_no_logarithm(make_root: Make) -> None:
    columns = linear_showers(2000)
    columns["layer_energy"] *= (10 / columns["true_energy"])[:, None]
    columns["true_energy"] = np.where(np.arange(2000) % 2, 10, 20).astype(np.float32)
    columns["layer_energy"] *= columns["true_energy"][:, None] / 10
    columns["layer_energy"][::20] *= -0.1
    with pytest.raises(TrainingError, match=r"takes estimates above zero only, and \d+ of \d+ events have others"):
        fitted(make_root(columns), TrainingSettings(features=("layer_energy",), loss="log"))


def spoilt(make_root: Make, side: Side) -> Source:
    """Return showers of which one on this side has a feature that is an outlier."""
    columns = linear_showers(2000) | {"noisy": np.random.default_rng(1).random(2000, dtype=np.float32)}
    sides = read([make_root(columns)], fitted(make_root(columns), WITH_NOISY).recipe).side
    columns["noisy"][np.flatnonzero(sides == side)[len(sides) // 40]] = 1e25
    return make_root(columns)


def test_an_outlier_on_the_validation_side_is_found_in_a_file(make_root: Make) -> None:
    with pytest.raises(TrainingError, match=r"before the first step: input noisy reaches 1e\+25, .* in 1 of \d+ "):
        fitted(spoilt(make_root, Side.VALIDATION), replace(WITH_NOISY, regress="direct", loss="mse"))


def test_a_correction_ends_where_its_inputs_do_and_an_outlier_costs_nothing(make_root: Make) -> None:
    model = fitted(spoilt(make_root, Side.VALIDATION), WITH_NOISY)
    assert 0 < model.summary["sides"]["validation"]["loss"] < 10


def test_an_outlier_on_the_test_side_costs_the_comparison_and_not_the_model(
    make_root: Make, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(WITH_NOISY, regress="direct", loss="mse")
    model = fitted(spoilt(make_root, Side.TEST), settings)
    assert set(model.summary["sides"]) == {"training", "validation"}
    assert "the loss of the test events is not finite, they are not compared: input noisy reaches 1e+25" in caplog.text
    assert "events: leave these out with --cut" in caplog.text
    assert "--lr" not in caplog.text


def test_inputs_have_names(make_root: Make) -> None:
    showers = make_root({**linear_showers(300), "spill": np.arange(300)})
    settings = TrainingSettings(features=("spill", "layer_energy"), epochs=1)
    columns = ["spill", *(f"layer_energy[{layer}]" for layer in range(6))]
    names = fitted(showers, settings).regressor.input_names(columns)
    assert names == (*(f"share of {name}" for name in columns[1:]), "spill", "logarithm of the anchor")
    assert fitted(showers, replace(settings, regress="log")).regressor.input_names(columns) == tuple(columns)


def test_a_checkpoint_of_what_fails_again_is_removed(make_root: Make, tmp_path: Path) -> None:
    settings = TrainingSettings(hidden="16", learning_rate=1e30, batch_size=64)
    watch = Watch(Interrupt(), tmp_path / "c", every=0.0)
    with pytest.raises(TrainingError, match="nothing was worth keeping"):
        fitted(make_root(linear_showers(1000)), settings, watch)
    assert {path.name for path in tmp_path.iterdir()} == {"data.root"}


def test_the_best_model_so_far_is_kept_under_a_name_of_its_own(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    done = calomlp("train", electrons, *DIVERGES, "-o", "m.safetensors", "--checkpoint-every", "0.01s")
    assert done.returncode == 5
    assert b"not finite in epoch 6, batch" in done.stderr
    best = re.search(rb"; m.safetensors.last-good holds the model of epoch (\d), the best one\n$", done.stderr)
    assert best is not None
    assert {path.name for path in tmp_path.iterdir()} == {"m.safetensors.last-good"}
    inspected = json.loads(calomlp("inspect", "m.safetensors.last-good").stdout)["model"]["summary"]
    assert inspected["best_epoch"] == int(best[1]) <= inspected["epochs"] == 5
    assert inspected["ended"].startswith("the loss is not finite in epoch 6, batch")
    assert calomlp("evaluate", "m.safetensors.last-good", "-o", "r.json").returncode == 0

    before = (tmp_path / "m.safetensors.last-good").read_bytes()
    again = calomlp("train", electrons, *DIVERGES, "-o", "m.safetensors")
    assert again.returncode == 2
    assert b"m.safetensors.last-good exists already" in again.stderr
    assert (tmp_path / "m.safetensors.last-good").read_bytes() == before
    replaced = calomlp("train", electrons, *DIVERGES, "--seed", "2", "-o", "m.safetensors", "--force")
    assert replaced.returncode == 5
    assert (tmp_path / "m.safetensors.last-good").read_bytes() != before


def test_a_pipe_has_no_place_for_the_best_model_so_far(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    done = calomlp("train", electrons, *DIVERGES, "-o", "-")
    assert done.returncode == 5
    assert done.stdout == b""
    assert re.search(rb"the model of epoch \d was good and is lost, because it has no file of its own", done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_best_model_that_cannot_be_written_hides_no_failure(
    make_root: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "rate_factor", lambda _, done: 1.0 if done < 0.5 else 1e35)
    with pytest.raises(TrainingError, match=r"in epoch 3, .*the model of epoch \d cannot be written to .*No such file"):
        train(
            [make_root(linear_showers(2000))],
            TrainingSettings(hidden="16", epochs=4, learning_rate=1e-3, ensemble=1),
            quietly(),
            watch=Watch(Interrupt(), last_good=tmp_path / "nosuch" / "m"),
        )
