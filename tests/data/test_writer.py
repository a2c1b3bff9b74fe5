from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.data.writer import DatasetWriter

COLUMNS: dict[str, np.ndarray] = {
    "event_id": np.arange(5),
    "layer_energy": np.arange(10, dtype=np.float32).reshape(5, 2),
}
IDENTITY = "0123456789abcdef" * 2


def write(path: Path, container: str, parts: int) -> None:
    with DatasetWriter(path, container=container, identity=IDENTITY, provenance={"seed": 1}) as writer:
        for rows in np.array_split(np.arange(5), parts):
            writer.extend({name: values[rows] for name, values in COLUMNS.items()})


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_what_is_written_is_read_back(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.root"
    write(path, container, 2)
    with uproot.open(path) as file:
        assert file.file.uuid.hex == IDENTITY
        assert json.loads(str(file["provenance"])) == {"seed": 1}
        arrays = file["events"].arrays()
    assert arrays["layer_energy"].tolist() == COLUMNS["layer_energy"].tolist()
    assert arrays["event_id"].tolist() == COLUMNS["event_id"].tolist()


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_equal_events_make_equal_bytes(tmp_path: Path, container: str) -> None:
    for name, parts in (("a.root", 1), ("b.root", 3)):
        write(tmp_path / name, container, parts)
    assert (tmp_path / "a.root").read_bytes() == (tmp_path / "b.root").read_bytes()


def test_many_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.writer._FLUSH_EVENTS", 2)
    write(tmp_path / "a.root", "ttree", 5)
    with uproot.open(tmp_path / "a.root") as file:
        assert file["events"]["event_id"].array().tolist() == [0, 1, 2, 3, 4]
