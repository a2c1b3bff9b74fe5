"""The rehearsal: what it says is what the training does, and nothing is left of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calomlp.errors import InputError, Interrupted, TrainingError, UsageError
from calomlp.plotting.inspect_sections import rehearsal_sections
from calomlp.plotting.render import text_blocks
from calomlp.run import Interrupt
from calomlp.training.rehearsal import Rehearsal, rehearse
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import ROOM, Room, Run, fitted, linear_showers, quietly
from tests.training.test_train import Make

QUICK = TrainingSettings(hidden="16", epochs=4)


def page_of(found: Rehearsal) -> str:
    return "".join(map(str, text_blocks(rehearsal_sections(found))))


def rehearsed(make_root: Make, settings: TrainingSettings = QUICK, room: Room = ROOM) -> Rehearsal:
    source = make_root(linear_showers(4000))
    return rehearse([source], settings, quietly(room))


def test_it_says_what_the_training_does(make_root: Make) -> None:
    found = rehearsed(make_root, replace(QUICK, cut="true_energy > 1.1"))
    model = fitted(make_root(linear_showers(4000)), replace(QUICK, cut="true_energy > 1.1"))
    for name in ("parameters", "batch_size", "learning_rate", "schedule", "threads", "epochs"):
        assert getattr(found.plan, name) == model.summary[name], name
    assert list(found.events.values()) == [
        model.envelope.n_train,
        model.envelope.n_validation,
        model.envelope.n_test,
    ]
    assert found.read == sum(found.events.values()) < 4000
    cut, *edges = found.left_out
    assert cut == f"{4000 - found.read} of 4000 events do not pass the cut and are left out"
    used = [int(sentence.split()[2]) - int(sentence.split()[0]) for sentence in edges]
    assert used[1] == pytest.approx(model.summary["sides"]["validation"]["events"])
    assert found.steps_per_epoch == -(-used[0] // found.plan.batch_size)
    assert found.steps == 4 * found.steps_per_epoch
    assert found.features[0] == "layer_energy"
    assert found.inputs == model.regressor.input_names(model.recipe.features.columns)
    assert 0 < found.training_seconds < 60
    assert 0 < found.reading_seconds < 60


def test_the_time_grows_with_the_epochs_and_ends_with_the_budget(make_root: Make) -> None:
    short, long = (rehearsed(make_root, replace(QUICK, epochs=epochs)).training_seconds for epochs in (4, 400))
    assert 20 < long / short < 500
    assert rehearsed(make_root, replace(QUICK, epochs=10**6, stop_after=90.0)).training_seconds == 90


@pytest.mark.parametrize("changes", [{"optimiser": "gd", "epochs": 2}, {"epsilon": 10.0}])
def test_whatever_ends_early_is_timed_too(make_root: Make, changes: dict[str, object]) -> None:
    found = rehearsed(make_root, replace(QUICK, **changes))  # type: ignore[arg-type]
    assert found.training_seconds > 0
    assert found.plan.schedule == "one-cycle"


def test_events_that_do_not_fit_are_said_to_be_on_disk(make_root: Make, tmp_path: Path) -> None:
    found, fits = (rehearsed(make_root, room=room) for room in (Room(10_000, tmp_path / "cache"), ROOM))
    assert found.on_disk
    assert not fits.on_disk
    assert found.bytes == fits.bytes > 4 * 4000 * 11


def test_what_would_fail_fails(make_root: Make) -> None:
    with pytest.raises(UsageError, match="epochs -1 is not legal"):
        rehearsed(make_root, replace(QUICK, epochs=-1))
    with pytest.raises(InputError, match="nosuch"):
        rehearsed(make_root, replace(QUICK, target="nosuch"))
    with pytest.raises(TrainingError, match="lower the learning rate with --lr"):
        rehearsed(make_root, replace(QUICK, learning_rate=1e30, batch_size=64))
    interrupt = Interrupt()
    interrupt.signum = 15
    with pytest.raises(Interrupted):
        rehearse([make_root(linear_showers(400))], QUICK, quietly(interrupt=interrupt))


def test_a_page_of_80_columns(make_root: Make) -> None:
    text = page_of(replace(rehearsed(make_root), training_seconds=40.0, reading_seconds=3.0, bytes=12_000_000))
    assert max(map(len, text.splitlines())) <= 80
    told = " ".join(text.split())
    for part in (
        "files 1, with 4 000 events",
        "and 2 more; 11 columns",
        "inputs share of layer_energy[0], ",
        "64 events in each",
        "at most: 0.005 for adamw, times the square root of batch 64 / 1024",
        "schedule one-cycle, of adamw",
        "12 MB for events and inputs, in memory",
        "about 40 s, after 3.0 s for reading",
    ):
        assert part in told.replace("\N{NO-BREAK SPACE}", " "), (part, told)


def test_nothing_is_written_and_nothing_is_in_the_way(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_text("precious")
    done = calomlp("train", electrons, "--dry-run", "-o", "m.safetensors", "--history", "m.safetensors")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["artefact"] == "plan"
    assert record["events"]["training"] > 2000
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert (tmp_path / "m.safetensors").read_text() == "precious"
    piped = calomlp("train", "-", "--dry-run", input=electrons.read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout)["steps"] == record["steps"]
    both = calomlp("train", electrons, "--dry-run", "--find-lr")
    assert both.returncode == 2
    assert b"--find-lr looks for a learning rate, and trains nothing: leave --dry-run and --lr out" in both.stderr


def test_a_training_never_writes_over_what_it_reads(calomlp: Run, electrons: Path, tmp_path: Path) -> None:
    data = tmp_path / "e.root"
    data.write_bytes(electrons.read_bytes())
    for outputs in (("-o", "e.root"), ("-o", "m.safetensors", "--history", "m.safetensors")):
        done = calomlp("train", "e.root", *outputs, "--epochs", "1", "--force")
        assert done.returncode == 2
        assert b"this file too: choose another name for the output" in done.stderr
    assert data.read_bytes() == electrons.read_bytes()
