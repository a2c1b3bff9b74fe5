"""Overtraining and learning curves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import CheckpointWritten
from calomlp.model.outcome import Overtraining, Performance
from calomlp.run import Interrupt
from calomlp.training import loop
from calomlp.training.checkpoint import Watch
from calomlp.training.diagnosis import more_data, overtraining, worse
from calomlp.training.reporter import reporter
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import fitted, linear_showers, quietly

Make = Callable[..., Source]
QUICK = TrainingSettings(hidden="16", epochs=3)


def side(events: int, pull: float) -> Performance:
    return Performance(0.0, pull, pull, events)


@pytest.mark.parametrize(
    ("sides", "found"),
    [
        (
            {"training": side(100_000, 0.1), "validation": side(10_000, 0.13), "test": side(20_000, 0.1)},
            Overtraining.NONE,
        ),
        (
            {"training": side(100_000, 0.1), "validation": side(10_000, 0.1), "test": side(20_000, 0.11)},
            Overtraining.OVERTRAINED,
        ),
        ({"training": side(100_000, 0.1), "validation": side(10_000, 0.13)}, Overtraining.OVERTRAINED),
        (
            {"training": side(20_000, 0.1), "test": side(4000, 0.1035)},
            Overtraining.PERHAPS,
        ),  # between two and three standard errors
        ({"training": side(300, 0.1), "test": side(100, 0.11)}, Overtraining.NONE),  # which may be a fluctuation
        ({"training": side(10_000_000, 0.1), "test": side(10_000_000, 0.101)}, Overtraining.NONE),  # which is no matter
    ],
)
def test_what_counts_as_overtraining(sides: dict[str, Performance], found: Overtraining) -> None:
    status, sentence = overtraining(sides)
    assert status == found
    assert sentence.startswith(f"{found}: ")
    assert ("--weight-decay or --dropout help" in sentence) is (found == Overtraining.OVERTRAINED)


def test_the_verdict_counts_standard_errors_as_they_are() -> None:
    rng = np.random.default_rng(1)
    ordered = np.sort(rng.standard_normal((2000, 400)), axis=1)
    halves = (ordered[:, int(0.8413 * 400)] - ordered[:, int(0.1587 * 400)]) / 2
    _, sentence = overtraining({"training": side(10**12, 1.0), "test": side(400, 1.0)})
    assert float(sentence.split("+- ")[1].split(")")[0]) == pytest.approx(100 * halves.std(), rel=0.1)


def test_sides_may_differ_in_their_energies(make_root: Make) -> None:
    columns = linear_showers(9000)
    beams = np.array([2, 5, 10, 20, 50, 80], np.float32)[np.arange(9000) % 6]
    columns["layer_energy"] += (beams - columns["true_energy"])[:, None] / 6  # the showers keep their fluctuations
    columns["true_energy"] = beams
    model = fitted(make_root(columns), replace(QUICK, split_by="energy"))
    sides = model.summary["sides"]
    assert abs(sides["test"]["resolution"] / sides["training"]["resolution"] - 1) > 0.1
    assert model.summary["overtraining"].startswith("no sign")


def test_every_side_is_told(make_root: Make) -> None:
    model = fitted(make_root(linear_showers(3000)), QUICK)
    sides = model.summary["sides"]
    assert [*sides] == ["training", "validation", "test"]
    assert sides["validation"]["loss"] == pytest.approx(model.summary["validation_loss"], rel=1e-6)
    assert model.summary["overtraining"].startswith("no sign of overtraining")
    without = fitted(make_root(linear_showers(3000), name="b.root"), replace(QUICK, split="0.8,0.2,0"))
    assert [*without.summary["sides"]] == ["training", "validation"]


def test_a_network_that_is_too_large_for_its_events_is_found(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = loop._judge
    monkeypatch.setattr(loop, "_judge", lambda state, _: judge(state, -state.epoch))  # the last epoch, and not the best
    settings = TrainingSettings(
        features=("layer_energy", "noise"),
        regress="log",
        loss="log",
        hidden="128,128",
        epochs=150,
        batch_size=64,
        learning_rate=0.003,
        patience=150,
        schedule="constant",
        split="0.3,0.02,0.68",
    )
    noise = np.random.default_rng(2).normal(size=(1500, 50))  # to be learned by heart
    model = fitted(make_root({**linear_showers(1500), "noise": noise}), settings)
    assert model.summary["overtraining"].startswith("overtrained: the residuals of test events")


def test_a_network_that_is_worse_than_a_line_is_called_so(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(QUICK, regress="direct", loss="mse", epochs=1)
    model = fitted(make_root(linear_showers(6000)), settings)
    (told,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("worse than"))
    assert model.summary["worse"] == told
    network, line, total = map(float, re.findall(r"([\d.]+) %", told))
    assert network > 2 * line
    assert line == pytest.approx(total, rel=0.1)
    assert "of the linear anchor" in told
    assert "of the calibrated sum; more events or other features, or --regress ratio, may help" in told
    assert "worse" not in fitted(make_root(linear_showers(6000), name="b.root"), QUICK).summary


def test_luck_is_not_called_worse() -> None:
    found = {"network": 0.104, "linear anchor": 0.1, "calibrated sum": 0.2}
    assert not worse(found, 1000, "ratio")
    told = worse(found, 10_000, "ratio")
    assert told.endswith("is 10.40 %, beside 10.00 % of the linear anchor; more events or other features may help")


def test_a_learning_curve_says_whether_more_data_would_help(make_root: Make) -> None:
    source = make_root(linear_showers(8000))
    model = fitted(source, replace(QUICK, learning_curve=True))
    curve = model.summary["learning_curve"]
    events = [point["events"] for point in curve]
    assert events[-1] == model.summary["sides"]["training"]["events"]
    assert np.array(events[1:]) / np.array(events[:-1]) == pytest.approx([2, 2, 2], rel=0.05)
    assert "the resolution improved by" in model.summary["more_data"]
    assert fitted(source, QUICK).summary["sides"] == model.summary["sides"]  # the curve changes nothing
    assert more_data([side(100, 0.2), side(200, 0.15)]).endswith("improved by 25.0 %: more events would still help")
    assert more_data([side(100, 0.2), side(200, 0.2)]).endswith("0.0 %: more events of this kind would bring little")


def test_the_history_is_written_while_the_training_goes_on(make_root: Make, tmp_path: Path) -> None:
    source, history, checkpoint = make_root(linear_showers(4000)), tmp_path / "h.jsonl", tmp_path / "checkpoint"

    class Soon(Interrupt):
        @property
        def requested(self) -> bool:
            return history.exists()

    def run(interrupt: Interrupt) -> list[dict[str, float]]:
        watch = Watch(interrupt, checkpoint)
        with reporter(history) as tell:
            model = train([source], QUICK, quietly(interrupt=interrupt), watch=watch, tell=tell)
        return list(model.history)

    with pytest.raises(CheckpointWritten):
        run(Soon())
    assert len(history.read_text().splitlines()) == 1
    entries = run(Interrupt())
    assert [json.loads(line) for line in history.read_text().splitlines()] == entries
    assert len(entries) == 3
