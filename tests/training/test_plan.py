from __future__ import annotations

from dataclasses import replace

import pytest

from calomlp.errors import UsageError
from calomlp.training.plan import make_plan, parse_hidden
from calomlp.training.settings import TrainingSettings

DEFAULT = TrainingSettings()


@pytest.mark.parametrize(
    ("events", "batch", "epochs"), [(140_000, 1024, 6), (10_000_000, 1024, 5), (14_000, 256, 15), (300, 64, 100)]
)
def test_batch_and_epochs_follow_the_sample(events: int, batch: int, epochs: int) -> None:
    plan = make_plan(DEFAULT, events, 31)
    assert (plan.batch_size, plan.epochs) == (batch, epochs)


def test_smaller_batches_mean_lower_rates() -> None:
    rates = [make_plan(replace(DEFAULT, batch_size=size), 10_000, 31).learning_rate for size in (64, 256, 1024, 4096)]
    assert rates == sorted(rates)
    assert rates[2] == rates[3]


def test_patience_waits_for_the_learning_rate_to_run_down() -> None:
    assert make_plan(replace(DEFAULT, epochs=300), 10_000, 31).patience == 300
    assert make_plan(replace(DEFAULT, epochs=300, schedule="constant"), 10_000, 31).patience == 20
    assert make_plan(replace(DEFAULT, epochs=300, patience=7), 10_000, 31).patience == 7


def test_gradient_descent_takes_the_whole_set() -> None:
    assert make_plan(replace(DEFAULT, optimiser="gd"), 12_345, 31).batch_size == 12_345


def test_small_steps_take_one_thread() -> None:
    assert make_plan(DEFAULT, 140_000, 31).threads == 1
    assert make_plan(replace(DEFAULT, threads=3), 140_000, 31).threads == 3


def test_the_parameters_are_counted() -> None:
    assert make_plan(replace(DEFAULT, hidden="4,5"), 1000, 3).parameters == 16 + 25 + 6
    assert make_plan(replace(DEFAULT, hidden="none"), 1000, 3).parameters == 4


def test_hidden_layers() -> None:
    assert parse_hidden("64,32") == (64, 32)
    assert parse_hidden("none") == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "hubert"},
        {"activation": "tan"},
        {"optimiser": "adamax"},
        {"schedule": "never"},
        {"regress": "ratios"},
        {"hidden": "64,0"},
        {"hidden": "a"},
        {"dropout": 1.0},
        {"patience": -1},
        {"epochs": -1},
        {"learning_rate": float("nan")},
        {"loss": "log", "regress": "direct"},
    ],
)
def test_settings_that_are_not_legal(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_plan(replace(DEFAULT, **wrong), 1000, 3)  # type: ignore[arg-type]
