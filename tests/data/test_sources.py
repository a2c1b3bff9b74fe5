from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from calomlp.data.sources import resolve
from calomlp.errors import InputError
from calomlp.streams import STDIN, Streams


@pytest.fixture
def streams() -> Iterator[Streams]:
    found = Streams(io.BytesIO(), io.BytesIO(), io.BytesIO())
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.root", "a.root"):
        (tmp_path / name).touch()
    return tmp_path


def test_paths_keep_their_order_and_repeats_are_dropped(folder: Path, streams: Streams) -> None:
    names = [str(folder / name) for name in ("b.root", "a.root", "b.root")]
    assert [source.path for source in resolve(names, streams)] == names[:2]


def test_a_pattern_is_sorted(folder: Path, streams: Streams) -> None:
    found = resolve([str(folder / "*.root")], streams)
    assert [Path(source.path).name for source in found] == ["a.root", "b.root"]


def test_a_tree_is_named_behind_a_colon_or_for_all(folder: Path, streams: Streams) -> None:
    first, second = resolve([f"{folder}/a.root:dir/hits", str(folder / "b.root")], streams, tree="events")
    assert (first.tree, second.tree) == ("dir/hits", "events")
    assert str(first).endswith("a.root:dir/hits")


def test_a_cycle_is_part_of_the_name_of_a_tree(folder: Path, streams: Streams) -> None:
    (source,) = resolve([f"{folder}/a.root:dir/hits;3"], streams)
    assert source.tree == "dir/hits;3"


def test_a_file_may_have_a_colon_in_its_name(folder: Path, streams: Streams) -> None:
    (folder / "a.root:hits").touch()
    (source,) = resolve([f"{folder}/a.root:hits"], streams)
    assert (source.path, source.tree) == (f"{folder}/a.root:hits", None)


def test_a_list_of_files(folder: Path, streams: Streams) -> None:
    (folder / "list.txt").write_text(f"# a comment\n{folder}/a.root\n\n{folder}/b.root:t\n")
    assert [source.tree for source in resolve([f"@{folder}/list.txt"], streams)] == [None, "t"]


def test_urls_are_left_to_the_reader(streams: Streams) -> None:
    (source,) = resolve(["root://host//store/a.root:events"], streams)
    assert (source.path, source.tree) == ("root://host//store/a.root", "events")


def test_an_artefact_from_a_pipe_is_called_so() -> None:
    streams = Streams(io.BytesIO(b"root\0" + bytes(20)), io.BytesIO(), io.BytesIO())
    (source,) = resolve(["-"], streams)
    assert source.label == STDIN
    streams.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch.root", "no such file"),
        ("nosuch*.root", "no file matches"),
        (".", "folder"),
        ("@nosuch", "list of files"),
    ],
)
def test_what_is_not_there(name: str, message: str, streams: Streams) -> None:
    with pytest.raises(InputError, match=message):
        resolve([name], streams)


def test_no_name_at_all(streams: Streams) -> None:
    with pytest.raises(InputError, match="no input file"):
        resolve([], streams)


def test_a_list_names_no_lists(folder: Path, streams: Streams) -> None:
    (folder / "list.txt").write_text(f"@{folder}/list.txt\n")
    with pytest.raises(InputError, match="cannot name another list"):
        resolve([f"@{folder}/list.txt"], streams)


def test_a_path_may_begin_as_a_root_file_does() -> None:
    streams = Streams(io.BytesIO(b"root://host//store/a.root\n"), io.BytesIO(), io.BytesIO())
    assert resolve(["-"], streams)[0].path == "root://host//store/a.root"
