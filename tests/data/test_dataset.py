"""Events that do not fit into memory: the same as in memory, in a file that nobody else sees."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calomlp.data.dataset import Data, load, scratch
from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.sample import Recipe, Split
from calomlp.data.sources import Source
from calomlp.errors import InputError, OutputError
from tests.conftest import Room, damage, linear_showers, quietly, read, together

Make = Callable[..., Source]
RECIPE = Recipe(FeatureSet([Feature("layer_energy", (6,), energy=True)]), Expression.parse("true_energy"), Split())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """No memory at all, and a folder."""
    return Room(0, tmp_path / "cache")


@pytest.fixture
def sources(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    monkeypatch.setattr("calomlp.data.dataset.PART", 700)
    return [make_root(linear_showers(n, seed=n), name=f"{n}.root") for n in (1000, 2000)]


def same(one: Data, other: Data) -> bool:
    pairs = [
        (getattr(together(one), name), getattr(together(other), name)) for name in ("features", "true_energy", "key")
    ]
    return all((a == b).all() for a, b in [*pairs, (one.side, other.side)])


def test_events_on_disk_are_those_in_memory_and_leave_nothing(sources: list[Source], room: Room) -> None:
    kept = read(sources, RECIPE, room=room)
    assert kept.events.on_disk
    assert same(kept, read(sources, RECIPE))
    assert not list(room.folder.iterdir())


@pytest.fixture
def stopped(sources: list[Source], room: Room, tmp_path: Path) -> Path:
    """Where the events of a training stay that was interrupted."""
    saved = tmp_path / "m.checkpoint.events"
    load(sources, RECIPE, quietly(room), saved=saved).events.save(saved)
    assert [path.name for path in tmp_path.glob("*.events*")] == [saved.name]
    return saved


def again(sources: list[Source], recipe: Recipe, room: Room, saved: Path, caplog: pytest.LogCaptureFixture) -> bool:
    """Read as a training that goes on does, and tell whether it took what was saved."""
    with caplog.at_level(logging.INFO):
        data = load(sources, recipe, quietly(room), saved=saved)
    assert same(data, read(sources, recipe))
    assert data.tally == read(sources, recipe).tally
    taken = f"{len(data.events)} events are taken from {saved}" in caplog.text
    assert taken != ("they are kept in" in caplog.text)
    return taken


def test_a_training_that_goes_on_does_not_read_again(
    sources: list[Source], room: Room, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert again(sources, replace(RECIPE, split=Split(seed=5)), room, stopped, caplog)  # of the same events


@pytest.mark.parametrize(
    "other",
    [
        {"cut": Expression.parse("true_energy > 2")},
        {"target": Expression.parse("2 * true_energy")},
        {"features": FeatureSet([Feature("layer_energy[:3]", (3,), energy=True)])},
        {"weight": Expression.parse("true_energy")},
        {"on_bad": "skip"},
        {"missing": (-1.0,)},
    ],
)
def test_events_of_another_recipe_are_not_taken(
    sources: list[Source], room: Room, stopped: Path, caplog: pytest.LogCaptureFixture, other: dict[str, object]
) -> None:
    assert not again(sources, replace(RECIPE, **other), room, stopped, caplog)  # type: ignore[arg-type]


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove", "touch"])
def test_damaged_events_and_those_of_changed_files_are_not_taken(
    sources: list[Source], room: Room, stopped: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    data = bytearray(stopped.read_bytes())
    data[100] ^= 1
    match harm:
        case "flip":
            stopped.write_bytes(data)
        case "truncate":
            stopped.write_bytes(data[:-4])
        case "empty":
            stopped.write_bytes(b"")
        case "remove":
            stopped.unlink()
        case "touch":
            os.utime(sources[0].path, (1, 1))
    assert not again(sources, RECIPE, room, stopped, caplog)
    assert ("is damaged" in caplog.text) == (harm == "flip")


def test_without_room_for_a_copy_the_training_reads_again(
    sources: list[Source], room: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(sources, RECIPE, room=room).events.save(tmp_path / "nowhere" / "m.checkpoint.events")
    assert "the events are not kept, and will be read again: No such file or directory" in caplog.text


def test_a_reading_that_fails_leaves_nothing(make_root: Make, room: Room) -> None:
    showers = linear_showers(1000)
    showers["layer_energy"][900] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read([make_root(showers)], RECIPE, room=room)
    assert not list(room.folder.iterdir())


def test_a_full_disk_is_noticed_before_the_work(
    sources: list[Source], room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(OutputError, match=r"are needed for what does not fit into memory, and 0 MB are free.*--cache"):
        read(sources, RECIPE, room=room)
    assert not list(room.folder.iterdir())


def test_a_folder_that_cannot_be_made(sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="events cannot be kept there: Not a directory"):
        read(sources, RECIPE, room=Room(0, tmp_path / "file" / "cache"))


def test_a_file_that_is_skipped_leaves_no_events_behind(
    make_root: Make, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 8000)
    sources = [make_root(linear_showers(3000, seed=n), name=f"{n}.root") for n in (1, 2, 3)]
    damage(sources[1])
    kept = read(sources, RECIPE, room=room, skip_bad_files=True)
    assert same(kept, read([sources[0], sources[2]], RECIPE))
    again = read(sources, RECIPE, room=room, skip_bad_files=True)
    assert set(again.tally.files) == {"2.root"}
    assert same(kept, again)


def test_scratch_files_vanish(tmp_path: Path) -> None:
    with scratch(tmp_path) as file:
        file.write(b"x")
        assert not list(tmp_path.iterdir())
