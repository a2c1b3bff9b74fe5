from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from calomlp.data.reader import open_table
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
    monkeypatch.setattr("calomlp.data.reader._CHUNK_BYTES", 1)
    values = np.arange(2500.0)
    with open_table(make_root({"x": values})) as table:
        starts, parts = zip(*[(start, columns["x"]) for start, columns in table.chunks(["x"])], strict=True)
    assert starts == (0, 1000, 2000)
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
        file.mktree("other", {"x": np.arange(3)})
    with pytest.raises(InputError, match=r"several trees.*sub/hits, other"), open_table(source(path)):
        pass
    with open_table(source(path, "other")) as table:
        assert table.entries == 3
    with pytest.raises(InputError, match="did you mean 'other'"), open_table(source(path, "othr")):
        pass


def test_branches_that_are_not_there(make_root: Make) -> None:
    message = "branch 'enrgy' is not there: did you mean 'energy'"
    with open_table(make_root({"energy": np.arange(2.0)})) as table, pytest.raises(InputError, match=message):
        table.require(["enrgy"])


@pytest.mark.parametrize("content", [b"", b"hello", b"root" + bytes(50)])
def test_files_that_are_no_root_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.root"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"f\.root"), open_table(source(path)):
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
    with pytest.raises(InputError, match=r"f\.root"), open_table(source(path)) as table:
        list(table.chunks(["layer_energy"]))


COMPAT = Path(__file__).parents[3] / "shared" / "compat"


@pytest.mark.skipif(not COMPAT.is_dir(), reason="a collection of foreign files that is not part of the project")
@pytest.mark.parametrize("path", sorted(COMPAT.glob("*.root")), ids=lambda path: path.stem)
def test_foreign_files_are_read_or_refused_in_one_line(path: Path) -> None:
    try:
        with open_table(source(path)) as table:
            numeric = [name for name, column in table.columns.items() if not column.jagged][:3]
            next(table.chunks(numeric), None)
    except InputError as error:
        message = str(error)
    else:
        message = path.name
    assert path.name in message
    assert "\n" not in message


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
    monkeypatch.setattr("calomlp.data.reader._CHUNK_BYTES", 4_000_000)
    hits = ak.Array(np.ones((3000, 500), dtype=np.float32))
    with open_table(make_root({"hits": ak.from_regular(hits)})) as table:
        sizes = [len(columns["hits"]) for _, columns in table.chunks(["hits"])]
    assert max(sizes) < 2500
    assert sum(sizes) == 3000
