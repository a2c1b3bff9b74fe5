"""The learning-rate finder: what it sees, what follows from it, and how it is told."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from calomlp.errors import Interrupted, TrainingError, UsageError
from calomlp.plotting.charts.learning import rates
from calomlp.plotting.terminal import draw
from calomlp.run import Interrupt
from calomlp.training.rehearsal import RateCurve, curve, find_rate, risen, suggest
from calomlp.training.training_settings import TrainingSettings, make_plan
from tests.conftest import Run, fitted, linear_showers, quietly
from tests.training.test_loop import LINEAR, prepared
from tests.training.test_train import Make

RATES = np.geomspace(1e-6, 10, 200).tolist()


def test_a_tenth_of_where_the_loss_rises_for_good() -> None:
    losses = np.ones(200)
    losses[30:38] = 5.0  # a burst that ends
    losses[150:] = 3.0
    assert suggest(RATES, losses.tolist()) == RATES[150] / 10
    assert suggest(RATES, np.ones(200).tolist()) == RATES[-1] / 10
    assert suggest(RATES[:152], losses[:152].tolist()) == RATES[150] / 10  # up to the end


def test_losses_below_zero_rise_too() -> None:
    losses = [0.5] * 20 + [-0.01] * 20 + [0.03, 0.2]
    assert risen(losses, 4.0).tolist() == [False] * 41 + [True]


def test_rates_grow_by_a_constant_factor_until_the_loss_is_four_times_its_best() -> None:
    settings = TrainingSettings(regress="direct", loss="mse", hidden="8,8", optimiser="sgd", batch_size=256)
    state, events = prepared(settings)
    steps: list[None] = []
    rates, losses = curve(state, events, settings, make_plan(settings, len(events), 3), lambda: steps.append(None))
    assert rates == pytest.approx(RATES[: len(rates)])
    assert len(steps) == len(rates) - 1 < 199  # the last rate was too much to take a step with
    assert losses[-1] > 4 * min(losses)
    assert 0 < suggest(rates, losses) < rates[-1] / 9


def test_a_loss_that_is_no_number_from_the_beginning() -> None:
    state, events = prepared(LINEAR)
    events.true_energy.fill_(float("nan"))
    with pytest.raises(TrainingError, match="at the lowest learning rates"):
        curve(state, events, LINEAR, make_plan(LINEAR, len(events), 3), lambda: None)


def test_what_is_found_fits_the_data_and_is_the_same_again(make_root: Make) -> None:
    source = make_root(linear_showers(3000))
    settings = TrainingSettings(hidden="16", learning_rate=0.5)
    first, again = (find_rate([source], settings, quietly()) for _ in range(2))
    assert first == again
    assert 1e-4 < first.suggestion < 0.1
    assert first.automatic == make_plan(TrainingSettings(hidden="16"), 2100, 15).learning_rate


def test_a_signal_ends_the_search(make_root: Make) -> None:
    interrupt = Interrupt()
    interrupt.signum = 15
    with pytest.raises(Interrupted):
        find_rate([make_root(linear_showers(300))], TrainingSettings(), quietly(interrupt=interrupt))


@pytest.mark.parametrize("width", [60, 100])
def test_the_drawing_fits_and_names_both_rates(width: int) -> None:
    losses = np.concatenate([np.full(150, 0.5), np.geomspace(0.5, 50, 50)])
    text = draw(
        [rates(asdict(RateCurve(tuple(RATES), tuple(losses.tolist()), 0.0021, 0.0049)))], width, 20, colour=False
    )
    lines = text.split("\n")
    assert len(lines) <= 20
    assert max(map(len, lines)) <= width
    for part in ("suggested: 0.0021", "automatic: 0.0049", "learning rate", "0.01"):
        assert part in text


def test_one_record_and_no_model(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    done = calomlp("train", electrons, "--find-lr", "--hidden", "16")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["artefact"] == "learning-rate"
    assert len(record["rates"]) == len(record["losses"]) > 50
    assert 0 < record["suggestion"] < 1
    assert 0 < record["automatic"] < 1
    assert not list(tmp_path.iterdir())


def test_a_drawing_and_a_sentence_on_a_terminal(electrons: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "calomlp", "train", str(electrons), "--find-lr", "-q"]
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, env=environment) as process:
        os.close(follower)
        text = b""
        while part := _read(leader):
            text += part
        assert process.wait() == 0
    os.close(leader)
    assert b"suggested: --learning-rate" in text.splitlines()[-1]
    assert b"search for a learning rate: loss" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how a terminal says that nobody writes any more
        return b""


def test_the_rate_is_looked_for_where_the_training_would_start(make_root: Make) -> None:
    source = make_root(linear_showers(4000))
    first = fitted(source, TrainingSettings(features=("layer_energy",), hidden="16", epochs=2))
    found = [find_rate([source], TrainingSettings(), quietly(), init) for init in (None, first)]
    assert found[1].automatic < found[0].automatic  # fine-tuning takes smaller steps
    with pytest.raises(UsageError, match="--hidden 8 is not that of the model to start from"):
        find_rate([source], TrainingSettings(hidden="8"), quietly(), first)
