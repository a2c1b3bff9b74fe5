from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.data.writer import DatasetWriter

COUNTS = np.array([2, 0, 0, 3, 1, 0, 4])
N = len(COUNTS)
COLUMNS: dict[str, np.ndarray] = {
    "event_id": np.arange(N),
    "layer_energy": np.arange(2 * N, dtype=np.float32).reshape(N, 2),
}
HITS: dict[str, np.ndarray] = {
    "counts": COUNTS,
    "energy": np.linspace(0.5, 5.0, COUNTS.sum(), dtype=np.float32),
    "layer": np.arange(COUNTS.sum(), dtype=np.int16),
}
IDENTITY = "0123456789abcdef" * 2
CONTAINERS = pytest.mark.parametrize("container", ["ttree", "rntuple"])


def part(first: int, last: int) -> dict[str, Any]:
    """Events from ``first`` to ``last``, with their hits."""
    flat = slice(COUNTS[:first].sum(), COUNTS[:last].sum())
    hit = {name: values[first:last] if name == "counts" else values[flat] for name, values in HITS.items()}
    return {**{name: values[first:last] for name, values in COLUMNS.items()}, "hit": hit}


def write(path: Path, container: str, *cuts: int) -> bytes:
    """Write all events, cut into several calls."""
    edges = [0, *sorted(cuts), N]
    with DatasetWriter(path, container=container, identity=IDENTITY, provenance={"seed": 1}) as writer:
        for first, last in pairwise(edges):
            writer.extend(part(first, last))
    return path.read_bytes()


@CONTAINERS
def test_what_is_written_is_read_back(tmp_path: Path, container: str) -> None:
    write(tmp_path / "a.root", container, 2)
    with uproot.open(tmp_path / "a.root") as file:
        assert file.file.uuid.hex == IDENTITY
        assert json.loads(str(file["provenance"])) == {"seed": 1}
        arrays = file["events"].arrays()
    assert arrays["layer_energy"].tolist() == COLUMNS["layer_energy"].tolist()
    assert arrays["event_id"].tolist() == COLUMNS["event_id"].tolist()
    for name in ("energy", "layer"):
        assert arrays[f"hit_{name}"].tolist() == ak.unflatten(HITS[name], COUNTS).tolist()


@CONTAINERS
def test_numbers_keep_their_types(tmp_path: Path, container: str) -> None:
    write(tmp_path / "a.root", container)
    with uproot.open(tmp_path / "a.root") as file:
        arrays = file["events"].arrays()
    types = {
        "event_id": "int64",
        "layer_energy": "2 * float32",
        "hit_energy": "var * float32",
        "hit_layer": "var * int16",
    }
    assert {name: str(arrays[name].type.content) for name in types} == types


@CONTAINERS
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=4, unique=True))
def test_equal_events_make_equal_bytes_however_they_arrive(
    tmp_path_factory: pytest.TempPathFactory, container: str, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    assert write(folder / "a.root", container, *cuts) == write(folder / "b.root", container)


@CONTAINERS
def test_the_name_of_the_file_is_not_in_it(tmp_path: Path, container: str) -> None:
    assert write(tmp_path / "a.root", container) == write(tmp_path / "another-name.root", container)


@CONTAINERS
@pytest.mark.parametrize("flush", [1, 100])
def test_events_are_written_in_several_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, flush: int
) -> None:
    monkeypatch.setattr("calomlp.data.writer._FLUSH_BYTES", flush)
    write(tmp_path / "a.root", container, 1, 2, 3, 5)
    with uproot.open(tmp_path / "a.root") as file:
        arrays = file["events"].arrays()
    assert arrays["event_id"].tolist() == list(range(N))
    assert arrays["hit_layer"].tolist() == ak.unflatten(HITS["layer"], COUNTS).tolist()


@CONTAINERS
def test_events_without_any_hit(tmp_path: Path, container: str) -> None:
    with DatasetWriter(tmp_path / "a.root", container=container, identity=IDENTITY, provenance={}) as writer:
        writer.extend(part(1, 3))
    with uproot.open(tmp_path / "a.root") as file:
        assert file["events"]["hit_energy"].array().tolist() == [[], []]


@CONTAINERS
def test_columns_without_hits(tmp_path: Path, container: str) -> None:
    with DatasetWriter(tmp_path / "a.root", container=container, identity=IDENTITY, provenance={}) as writer:
        writer.extend(COLUMNS)
    with uproot.open(tmp_path / "a.root") as file:
        assert set(file["events"].keys()) == set(COLUMNS)


def test_what_fails_leaves_the_clock_as_it_was(tmp_path: Path) -> None:
    clock = uproot.writing._cascade.datetime
    with (
        pytest.raises(RuntimeError, match="lost"),
        DatasetWriter(tmp_path / "a.root", container="ttree", identity=IDENTITY, provenance={}) as writer,
    ):
        writer.extend(COLUMNS)
        raise RuntimeError("lost")
    assert uproot.writing._cascade.datetime is clock
