from __future__ import annotations

from dataclasses import replace

import pytest

from calomlp.errors import UsageError
from calomlp.training.training_settings import TrainingSettings, make_plan, parse_hidden, parse_rate

DEFAULT = TrainingSettings()


@pytest.mark.parametrize(
    ("events", "batch", "epochs"), [(140_000, 1024, 15), (10_000_000, 1024, 5), (14_000, 256, 37), (300, 64, 100)]
)
def test_batch_and_epochs_follow_the_sample(events: int, batch: int, epochs: int) -> None:
    plan = make_plan(DEFAULT, events, 31)
    assert (plan.batch_size, plan.epochs) == (batch, epochs)


def test_smaller_batches_mean_lower_rates() -> None:
    rates = [make_plan(replace(DEFAULT, batch_size=size), 10_000, 31).learning_rate for size in (64, 256, 1024, 4096)]
    assert rates == sorted(rates)
    assert rates[2] == rates[3]


def test_larger_networks_mean_lower_rates() -> None:
    def rate(**changes: object) -> float:
        return make_plan(replace(DEFAULT, **changes), 100_000, 47).learning_rate  # type: ignore[arg-type]

    rates = [rate(hidden=hidden) for hidden in ("16", "64,64", "256,256,256")]
    assert rates == pytest.approx([1.0e-2, 4.9e-3, 1.8e-3], rel=0.1)
    assert rate(hidden="none") == rate(hidden="8") == pytest.approx(5e-3 * 14 ** (1 / 3))
    assert rate(ensemble=5) == rates[1]  # of each network
    assert rate(optimiser="sgd", hidden="16") == rate(optimiser="sgd") == 2e-3


def test_a_rate_that_was_chosen_says_why() -> None:
    plan = make_plan(replace(DEFAULT, batch_size=256), 100_000, 47)
    assert plan.learning_rate == pytest.approx(0.00247, rel=2e-3)
    assert plan.rule == (
        "0.005 for adamw, times the square root of batch 256 / 1024, times the cube root of 7000 / 7297 parameters"
    )
    plan = make_plan(replace(DEFAULT, learning_rate=0.003), 100_000, 47)
    assert (plan.learning_rate, plan.rule) == (0.003, "as asked for")


@pytest.mark.parametrize(("text", "rate"), [("auto", None), ("AUTO", None), ("0.003", 0.003), (3e-3, 0.003), (1, 1.0)])
def test_a_rate_is_a_number_or_auto(text: str | float, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", "", 0])
def test_a_rate_that_is_neither(text: str | float) -> None:
    with pytest.raises(UsageError, match="legal are numbers above zero, or auto"):
        parse_rate(text)


def test_patience_waits_for_the_learning_rate_to_run_down() -> None:
    assert make_plan(replace(DEFAULT, epochs=300), 10_000, 31).patience == 300
    for waiting in ({"schedule": "constant"}, {"schedule": "plateau"}):
        assert make_plan(replace(DEFAULT, epochs=300, **waiting), 10_000, 31).patience == 20  # type: ignore[arg-type]
    assert make_plan(replace(DEFAULT, epochs=300, patience=7), 10_000, 31).patience == 7


@pytest.mark.parametrize("optimiser", ["gd"])
def test_some_optimisers_take_the_whole_set(optimiser: str) -> None:
    assert make_plan(replace(DEFAULT, optimiser=optimiser), 12_345, 31).batch_size == 12_345


@pytest.mark.parametrize("optimiser", ["gd"])
def test_the_whole_set_has_no_batches(optimiser: str) -> None:
    with pytest.raises(UsageError, match="leave --batch-size out"):
        make_plan(replace(DEFAULT, optimiser=optimiser, batch_size=64), 12_345, 31)


def test_a_network_without_hidden_units_has_none_to_drop() -> None:
    with pytest.raises(UsageError, match="leave one of them out"):
        make_plan(replace(DEFAULT, hidden="none", dropout=0.2), 12_345, 31)


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
        {"learning_rate": 0.0},
        {"l1": -1.0},
        {"average": 1.0},
        {"stop_after": 0.0},
        {"loss": "log", "regress": "direct"},
    ],
)
def test_settings_that_are_not_legal(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_plan(replace(DEFAULT, **wrong), 1000, 3)  # type: ignore[arg-type]
