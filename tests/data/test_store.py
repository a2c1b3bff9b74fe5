"""Events that do not fit into memory: the same as in memory, kept in a cache that survives crashes and rivals."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calomlp.data import store
from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.load import Data
from calomlp.data.sample import Recipe, Sample
from calomlp.data.sources import Source
from calomlp.data.split import Split
from calomlp.data.store import Cache, OnDisk
from calomlp.errors import InputError, OutputError
from tests.conftest import Room, damage, linear_showers, read, together

Make = Callable[..., Source]
RECIPE = Recipe(FeatureSet([Feature("layer_energy", (6,), energy=True)]), Expression.parse("true_energy"), Split())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """No memory at all, and a folder."""
    return Room(0, tmp_path / "cache")


@pytest.fixture
def sources(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    monkeypatch.setattr("calomlp.data.store.PART", 700)
    return [make_root(linear_showers(n, seed=n), name=f"{n}.root") for n in (1000, 2000)]


def same(one: Data, other: Data) -> bool:
    pairs = [
        (getattr(together(one), name), getattr(together(other), name)) for name in ("features", "true_energy", "key")
    ]
    return all((a == b).all() for a, b in [*pairs, (one.side, other.side)])


def entries(room: Room) -> list[Path]:
    return list(room.folder.iterdir())


def test_events_on_disk_are_those_in_memory(sources: list[Source], room: Room) -> None:
    kept = read(sources, RECIPE, room=room)
    assert kept.events.on_disk
    assert same(kept, read(sources, RECIPE))
    assert len(entries(room)) == 1


def test_the_cache_is_used_again(
    sources: list[Source], room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = replace(RECIPE, cut=Expression.parse("layer_energy[0] > 0.5"))
    first = read(sources, recipe, room=room)
    monkeypatch.setattr("calomlp.data.load._read", lambda *_: pytest.fail("files are read again"))
    with caplog.at_level(logging.INFO):
        again = read(sources, replace(recipe, split=Split(seed=5)), room=room)  # another split of the same events
    assert same(replace(again, side=first.side), first)
    assert (again.side != first.side).any()
    assert again.tally == first.tally
    assert again.tally.cut > 0
    assert f"{len(first.events)} events are taken from" in caplog.text


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
def test_another_question_is_another_entry(sources: list[Source], room: Room, other: dict[str, object]) -> None:
    read(sources, RECIPE, room=room)
    read(sources, replace(RECIPE, **other), room=room)  # type: ignore[arg-type]
    assert len(entries(room)) == 2


def test_a_file_that_has_changed_is_read_again(sources: list[Source], room: Room) -> None:
    read(sources, RECIPE, room=room)
    os.utime(sources[0].path, (1, 1))
    read(sources, RECIPE, room=room)
    assert len(entries(room)) == 2


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_entry_is_made_anew(sources: list[Source], room: Room, harm: str) -> None:
    first = read(sources, RECIPE, room=room)
    (entry,) = entries(room)
    file = entry / "features"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    match harm:
        case "flip":
            file.write_bytes(data)
        case "truncate":
            file.write_bytes(data[:-4])
        case "remove":
            file.unlink()
        case "manifest":
            (entry / "manifest.json").write_text("{")
    again = read(sources, RECIPE, room=room)
    assert same(again, read(sources, RECIPE))
    assert len(entries(room)) == 1
    del first  # its files were mapped until here


def test_a_reading_that_fails_leaves_nothing(make_root: Make, room: Room) -> None:
    showers = linear_showers(1000)
    showers["layer_energy"][900] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read([make_root(showers)], RECIPE, room=room)
    assert not entries(room)


def test_of_two_jobs_that_write_the_same_the_first_wins(room: Room) -> None:
    chunk = Sample(np.ones((5, 2), np.float32), np.ones(5, np.float32), np.ones(5, np.float32), np.arange(5))
    cache = Cache(room.folder, "same")
    writers = [OnDisk(cache, 2) for _ in range(2)]
    for writer in writers:
        writer.add(chunk)
        writer.keep({})
        writer.discard()
    found = cache.read()
    assert found is not None
    assert len(found[0]) == 5
    assert len(entries(room)) == 1


def test_what_nobody_used_for_a_month_is_removed(sources: list[Source], room: Room) -> None:
    read(sources, RECIPE, room=room)
    (old,) = entries(room)
    month = time.time() - 31 * 86400
    os.utime(old / "manifest.json", (month, month))
    read(sources[:1], RECIPE, room=room)
    assert old not in entries(room)


def test_a_full_disk_is_noticed_before_the_work(
    sources: list[Source], room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(OutputError, match=r"are needed for what does not fit into memory, and 0 MB are free.*--cache"):
        read(sources, RECIPE, room=room)
    assert not entries(room)


def test_a_folder_that_cannot_be_made(sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="events cannot be kept there: Not a directory"):
        read(sources, RECIPE, room=Room(0, tmp_path / "file" / "cache"))


def test_a_file_that_is_skipped_leaves_no_events_behind(
    make_root: Make, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calomlp.data.reader._CHUNK_BYTES", 8000)
    sources = [make_root(linear_showers(3000, seed=n), name=f"{n}.root") for n in (1, 2, 3)]
    damage(sources[1])
    kept = read(sources, RECIPE, room=room, skip_bad_files=True)
    assert same(kept, read([sources[0], sources[2]], RECIPE))
    again = read(sources, RECIPE, room=room, skip_bad_files=True)
    assert set(again.tally.files) == {"2.root"}
    assert same(kept, again)


def test_scratch_files_vanish(tmp_path: Path) -> None:
    with store.scratch(tmp_path) as file:
        file.write(b"x")
        assert not list(tmp_path.iterdir())
