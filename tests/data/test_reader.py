from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.data.expressions import Expression, quote_branch
from calomlp.data.root import open_table
from calomlp.data.sources import Source
from calomlp.errors import InputError, MissingDependencyError

Make = Callable[..., Source]


def source(path: Path, tree: str | None = None) -> Source:
    return Source(str(path), tree, path.name)


def test_the_kinds_of_branches(make_root: Make) -> None:
    columns = {
        "scalar": np.arange(5, dtype=np.int16),
        "flag": np.array([True, False] * 2 + [True]),
        "array": np.zeros((5, 3), dtype=np.float32),
        "image": np.zeros((5, 2, 4)),
        "hits": ak.Array([[1.0], [], [2.0, 3.0], [], [4.0]]),
    }
    with open_table(make_root(columns)) as table:
        assert table.entries == 5
        shapes = {name: (column.shape, column.jagged) for name, column in table.columns.items()}
    assert shapes["scalar"] == shapes["flag"] == ((), False)
    assert shapes["array"] == ((3,), False)
    assert shapes["image"] == ((2, 4), False)
    assert shapes["hits"] == ((), True)


def test_ttree_and_rntuple_hold_the_same(electrons: Path, pions: Path) -> None:
    for path, kind in ((electrons, "TTree"), (pions, "RNTuple")):
        with uproot.open(path) as file:
            assert kind in file.classnames()["events;1"]
        with open_table(source(path)) as table:
            (chunk,) = [columns for _, columns in table.chunks(["true_energy", "layer_energy"])]
            assert chunk["layer_energy"].shape == (4000, *table.columns["layer_energy"].shape)
            assert chunk["layer_energy"].dtype == np.float32
            assert chunk["true_energy"].shape == (4000,)


def test_chunks_put_together_are_the_whole(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 8100)
    values = np.arange(2500.0)
    with open_table(make_root({"x": values})) as table:
        starts, parts = zip(*[(start, columns["x"]) for start, columns in table.chunks(["x"])], strict=True)
    assert len(starts) == 3
    assert starts[1:] == tuple(np.cumsum([len(part) for part in parts])[:-1])
    assert (np.concatenate(parts) == values).all()


def test_the_identity_survives_a_copy_and_tells_files_apart(make_root: Make, tmp_path: Path) -> None:
    first, second = (make_root({"x": np.arange(3)}, name=name) for name in ("a.root", "b.root"))
    copy = tmp_path / "copy.root"
    copy.write_bytes(Path(first.path).read_bytes())
    identities = []
    for item in (first, source(copy), second):
        with open_table(item) as table:
            identities.append(table.identity)
    assert identities[0] == identities[1] != identities[2]


def test_which_tree_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        file.mktree("sub/hits", {"x": np.arange(2)})
        file["h"] = np.histogram([1.0])
    with open_table(source(path)) as table:
        assert table.source.tree == "sub/hits"
    with uproot.update(path) as file:
        file.mktree("sub/deeper/other", {"y": np.arange(3)})
    message = r"several trees, choose one as f.root:TREE: sub/hits \(2 events\), sub/deeper/other \(3 events\)"
    with pytest.raises(InputError, match=message), open_table(source(path)):
        pass
    with open_table(source(path), frozenset({"y"})) as table:
        assert table.source.tree == "sub/deeper/other"
    with open_table(source(path, "sub/deeper/other")) as table:
        assert table.entries == 3
    with pytest.raises(InputError, match="did you mean 'sub/hits'"), open_table(source(path, "sub/hit")):
        pass
    with uproot.update(path) as file:
        file.mktree("Events", {"x": np.arange(4)})
    with open_table(source(path)) as table:
        assert table.source.tree == "Events"


def test_of_several_cycles_the_newest_is_read_unless_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        for events in (3, 5):
            file.mktree("hits", {"x": np.arange(events)})
    for tree, events in ((None, 5), ("hits", 5), ("hits;2", 5), ("hits;1", 3)):
        with open_table(source(path, tree)) as table:
            assert table.entries == events
            assert sum(len(chunk["x"]) for _, chunk in table.chunks(["x"])) == events
    with pytest.raises(InputError, match="no tree 'hits;7': did you mean 'hits;2'"), open_table(source(path, "hits;7")):
        pass


NAMES = ("plain", "Muon/pt", "calo.layer", "with space", "é", "a'b", 'a"b', "lambda", "3rd")


def test_branches_of_any_name(make_root: Make) -> None:
    with open_table(make_root({name: np.full(2, number) for number, name in enumerate(NAMES)})) as table:
        assert tuple(table.columns) == NAMES
        table.require(NAMES)
        ((_, chunk),) = table.chunks(NAMES)
        for number, name in enumerate(NAMES):
            assert Expression.parse(quote_branch(name))(chunk).tolist() == [number, number]


def test_a_branch_of_several_leaves_gives_a_column_for_each(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    identify = uproot.interpretation.identify.interpretation_of

    def as_leaves(branch: Any, *arguments: Any) -> Any:  # uproot does not write leaf lists; the bytes are the same
        if branch.name == "b":
            return uproot.AsDtype(np.dtype([("x", ">f8"), ("v", ">f8", (2,))]))
        if branch.name == "list":
            return uproot.AsJagged(uproot.AsDtype(np.dtype([("y", ">f8"), ("z", ">f8")])))
        return identify(branch, *arguments)

    monkeypatch.setattr("uproot.interpretation.identify.interpretation_of", as_leaves)
    values = np.arange(12.0).reshape(4, 3)
    lists = ak.Array([[1.0, 2.0], [], [3.0, 4.0, 5.0, 6.0], [7.0, 8.0]])
    with open_table(make_root({"b": values, "list": lists})) as table:
        shapes = {name: (column.shape, column.jagged) for name, column in table.columns.items()}
        assert shapes == {
            "b.x": ((), False),
            "b.v": ((2,), False),
            "nlist": ((), False),
            "list.y": ((), True),
            "list.z": ((), True),
        }
        ((_, chunk),) = table.chunks(shapes)
        with pytest.raises(InputError, match=r"branch 'b' is a collection: legal: b\.x, b\.v"):
            table.require(["b"])
    assert (chunk["b.x"] == values[:, 0]).all()
    assert (chunk["b.v"] == values[:, 1:]).all()
    assert chunk["list.z"].to_list() == [[2], [], [4, 6], [8]]


KINDS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_numbers_of_all_kinds(tmp_path: Path, container: str) -> None:
    columns = {kind: np.array([0, 1, 100]).astype(kind) for kind in KINDS}
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        make = file.mktree if container == "ttree" else file.mkrntuple
        make("events", columns)
    with open_table(source(path)) as table:
        assert {name: column.kind for name, column in table.columns.items()} == dict(zip(KINDS, KINDS, strict=True))
        ((_, chunk),) = table.chunks(KINDS)
    for kind, values in columns.items():
        assert chunk[kind].dtype == kind
        assert (chunk[kind] == values).all()


def rows(rng: np.random.Generator, events: int) -> ak.Array:
    def lists(depth: int) -> Any:
        return [lists(depth - 1) for _ in range(rng.poisson(2))] if depth else float(rng.normal())

    jagged = ak.Array([lists(1) for _ in range(events)])
    return ak.Array(
        {
            "number": rng.normal(size=events),
            "flag": rng.random(events) < 0.5,
            "image": ak.from_numpy(rng.normal(size=(events, 2, 3)).astype(np.float32), regulararray=True),
            "text": [f"event {number}" for number in range(events)],
            "Muon": ak.zip({"pt": jagged, "charge": ak.values_astype(jagged > 0, np.int32)}),
            "list": jagged,
            "bits": jagged > 0,
            "nested": ak.Array([lists(2) for _ in range(events)]),
            "point": ak.zip({"x": rng.normal(size=events), "y": np.arange(events)}),
        }
    )


@pytest.fixture
def clusters(tmp_path: Path) -> tuple[Path, ak.Array]:
    """An RNTuple of several clusters."""
    written = rows(np.random.default_rng(1), 348)
    path = tmp_path / "clusters.root"
    with uproot.recreate(path) as file:
        ntuple = file.mkrntuple("events", written.layout.form)
        for start, stop in pairwise((0, 40, 41, 341, 348)):
            ntuple.extend(ak.to_packed(written[start:stop]))
    return path, written


COLUMNS = ["number", "flag", "image", "Muon.pt", "Muon.charge", "list", "bits", "nested", "point.x", "point.y"]


@pytest.mark.parametrize("whole", [False, True])
def test_an_rntuple_is_the_same_page_by_page_and_cluster_by_cluster(
    clusters: tuple[Path, ak.Array], monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if whole:  # as it is for columns that were added late
        monkeypatch.setattr("calomlp.data.root.RNTuple._irregular", set(range(100)))
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 8000)
    path, expected = clusters
    with open_table(source(path)) as table:
        assert list(table.columns) == COLUMNS
        assert (table.columns["Muon.pt"].jagged, table.columns["nested"].nested) == (True, True)
        chunks = [chunk for _, chunk in table.chunks(COLUMNS)]
        with pytest.raises(InputError, match="branch 'text' is not numeric: std::string"):
            table.require(["text"])
    assert len(chunks) > 5
    for name in COLUMNS:
        values = expected
        for part in name.split("."):
            values = values[part]
        read = ak.concatenate([chunk[name] for chunk in chunks])
        assert ak.to_list(read) == ak.to_list(values), name


def test_a_large_cluster_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    events = 4_000_000
    with uproot.recreate(path) as file:
        ntuple = file.mkrntuple("events", {name: np.dtype("f8") for name in "ab"})
        ntuple.extend({name: np.zeros(events) for name in "ab"})
    tracemalloc.start()
    with open_table(source(path)) as table:
        assert sum(len(chunk["a"]) for _, chunk in table.chunks(["a"])) == events
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * events  # uproot writes one page, which is unpacked once, and never the other column


def test_branches_that_are_not_there(make_root: Make) -> None:
    message = "branch 'enrgy' is not there: did you mean 'energy'"
    with open_table(make_root({"energy": np.arange(2.0)})) as table, pytest.raises(InputError, match=message):
        table.require(["enrgy"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it is empty"), (b"hello", "it begins with b'hell'"), (b"root" + bytes(50), "f.root: ")],
)
def test_files_that_are_no_root_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.root"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message), open_table(source(path)):
        pass


def test_a_file_without_a_tree(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0])
    with pytest.raises(InputError, match="no TTree or RNTuple, but only TH1D"), open_table(source(path)):
        pass


def test_a_truncated_file_is_refused(electrons: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    path.write_bytes(electrons.read_bytes()[:200_000])
    with pytest.raises(InputError, match=r"f.root: is truncated: 200000 bytes are left of"), open_table(source(path)):
        pass


@pytest.mark.parametrize("change", ["remove", "truncate", "replace", "touch"])
def test_a_file_that_changes_while_it_is_read(make_root: Make, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 8000)
    data = make_root({"x": np.arange(5000.0)})
    other = make_root({"x": np.zeros(5000)}, name="other.root")
    path = Path(data.path)
    changes = {
        "remove": path.unlink,
        "truncate": lambda: os.truncate(path, 1000),
        "replace": lambda: Path(other.path).replace(path),
        "touch": lambda: os.utime(path, (0, 0)),
    }
    with open_table(data) as table:
        chunks = table.chunks(["x"])
        next(chunks)
        changes[change]()
        with pytest.raises(InputError, match=r"data.root: has changed while it was read"):
            next(chunks)


def test_a_tree_that_declares_more_events_than_it_has(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_root({"x": np.arange(5.0)})
    with uproot.open(data.path) as file:  # what class it has depends on what was read before
        kind = type(file["events"])
    monkeypatch.setattr(kind, "num_entries", 1e12)
    message = "data.root:events: cannot be read: it declares 1000000000000 events, but its branches hold 5"
    with pytest.raises(InputError, match=message), open_table(data):
        pass


def test_a_url_leads_to_the_same(electrons: Path) -> None:
    url = electrons.as_uri()
    with open_table(Source(url, None, url)) as table, open_table(source(electrons)) as local:
        assert table.identity == local.identity
        table.require(["layer_energy"])
        ((_, chunk),), ((_, other),) = table.chunks(["layer_energy"]), local.chunks(["layer_energy"])
        assert (chunk["layer_energy"] == other["layer_energy"]).all()


def test_a_scheme_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("uproot.open", refuse)
    with (
        pytest.raises(MissingDependencyError, match=r"not installed.*s3fs"),
        open_table(Source("s3://b/x.root", None, "x")),
    ):
        pass


def test_chunks_of_long_lists_are_small(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 4_000_000)
    hits = ak.Array(np.ones((3000, 500), dtype=np.float32))
    with open_table(make_root({"hits": ak.from_regular(hits)})) as table:
        sizes = [len(columns["hits"]) for _, columns in table.chunks(["hits"])]
    assert max(sizes) < 2500
    assert sum(sizes) == 3000
