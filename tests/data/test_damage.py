"""Damaged files: refused in one line or read, and in any case soon and in little memory."""

from __future__ import annotations

import resource
import struct
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calomlp.data.remote import brief
from calomlp.data.root import _check_packed, open_file
from calomlp.data.sources import Source
from calomlp.errors import InputError

MAX_GROWTH = 200_000  # kB

CODECS = {
    "none": uproot.ZLIB(0),
    "zlib": uproot.ZLIB(1),
    "lzma": uproot.LZMA(1),
    "lz4": uproot.LZ4(1),
    "zstd": uproot.ZSTD(1),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small files of all kinds, most of whose bytes say how the others are to be read."""
    rng = np.random.default_rng(1)
    lists = ak.Array([rng.normal(size=number) for number in rng.poisson(2, 40)])
    columns = {"number": rng.normal(size=40), "array": rng.normal(size=(40, 3)), "list": lists}
    folder = tmp_path_factory.mktemp("originals")
    for name, codec in CODECS.items():
        with uproot.recreate(folder / f"tree-{name}.root", compression=codec) as file:
            tree = file.mktree("folder/tree", {name: kinds(values) for name, values in columns.items()})
            for part in (slice(0, 25), slice(25, 40)):
                tree.extend({name: values[part] for name, values in columns.items()})
        with uproot.recreate(folder / f"ntuple-{name}.root", compression=codec) as file:
            file.mkrntuple("events", ak.Array({**columns, "hits": ak.zip({"e": lists, "x": lists})}))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def kinds(values: Any) -> Any:
    return "var * float64" if isinstance(values, ak.Array) else np.dtype((values.dtype, values.shape[1:]))


PLACES = st.floats(0, 1, exclude_max=True)
EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x7f\xff", b"\x40\0\0\0", bytes(64)]
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
    st.tuples(st.just("write"), PLACES, st.sampled_from(EXTREMES)),
    st.tuples(st.just("copy"), PLACES, PLACES),
    st.tuples(st.just("truncate"), PLACES, st.none()),
)


def damaged(data: bytes, damage: list[tuple[str, float, Any]]) -> bytes:
    result = bytearray(data)
    for kind, place, detail in damage:
        at = int(place * len(result))
        if kind == "flip" and result:
            result[at] ^= 1 << detail
        elif kind == "write":
            result[at : at + len(detail)] = detail
        elif kind == "copy":
            other = int(detail * len(result))
            result[at : at + 16] = result[other : other + 16]
        elif kind == "truncate":
            del result[at:]
    return bytes(result)


def read_all(path: Path) -> None:
    """Read all that can be read; whatever cannot must say so in one line with the name of the file."""
    try:
        with open_file(Source(str(path), None, "f.root")) as file:
            for tree in file.trees:
                try:
                    table = file.table(tree)
                    for name in table.columns:
                        stop = min(table.entries, 1000)
                        assert sum(len(chunk[name]) for _, chunk in table.chunks([name], stop)) == stop
                except InputError as error:
                    check(error)
            file.choose(frozenset())
    except InputError as error:
        check(error)


def check(error: InputError) -> None:
    assert str(error).startswith("f.root")
    assert "\n" not in str(error)
    assert len(str(error)) < 500


def hurt(path: Path, originals: list[bytes], which: int, damage: list[tuple[str, float, Any]]) -> None:
    path.write_bytes(damaged(originals[which], damage))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_all(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH


soon = partial(settings, deadline=timedelta(seconds=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
CASES = (st.integers(0, 2 * len(CODECS) - 1), st.lists(DAMAGE, min_size=1, max_size=4))


@given(*CASES)
@soon(max_examples=150)
def test_damage_is_told_in_one_line(tmp_path: Path, originals: list[bytes], which: int, damage: Any) -> None:
    hurt(tmp_path / "f.root", originals, which, damage)


@pytest.mark.landing
@given(*CASES)
@soon(max_examples=8000)
def test_much_damage_is_told_in_one_line(tmp_path: Path, originals: list[bytes], which: int, damage: Any) -> None:
    hurt(tmp_path / "f.root", originals, which, damage)


def test_files_without_damage_are_read(tmp_path: Path, originals: list[bytes]) -> None:
    for data in originals:
        path = tmp_path / "f.root"
        path.write_bytes(data)
        with open_file(Source(str(path), None, "f.root")) as file:
            (tree,) = file.trees
            table = file.table(tree)
            ((_, chunk),) = table.chunks(["number", "list"])
            assert len(chunk["number"]) == len(chunk["list"]) == 40


def redirect(path: Path, old: int, new: int) -> None:
    """Make what points to one place of a file point to another; the record there says itself where it is."""
    data = bytearray(path.read_bytes())
    for form in (">q", ">i"):
        pointer = struct.pack(form, old)
        found = data.find(pointer)
        while found >= 0 and old <= found < old + 64:
            found = data.find(pointer, found + 1)
        if found >= 0:
            data[found : found + len(pointer)] = struct.pack(form, new)
            path.write_bytes(data)
            return
    raise AssertionError(f"nothing points to {old}")


def test_two_baskets_at_one_place_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("t", {"x": np.dtype("f8")})
        for part in (np.arange(50.0), np.arange(50.0)):
            tree.extend({"x": part})
    with uproot.open(path) as file:
        first, second = file["t"]["x"].member("fBasketSeek")[:2].tolist()
    redirect(path, second, first)
    with open_file(Source(str(path), None, "f.root")) as file:
        with pytest.raises(InputError, match=r"f.root:t: branch 'x' cannot be read: its list of baskets is damaged"):
            file.table("t").require(["x"])
        with pytest.raises(InputError, match="branch 'x' cannot be read after event 0: its list of baskets"):
            list(file.table("t").chunks(["x"]))


def test_a_folder_in_itself_is_entered_once(tmp_path: Path) -> None:
    path = tmp_path / "f.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("folder/t", {"x": np.arange(3)})
        file.mktree("t", {"x": np.arange(3)})
    with uproot.open(path) as file:
        outer, inner = file._fSeekKeys, file["folder"]._fSeekKeys
    redirect(path, inner, outer)
    with open_file(Source(str(path), None, "f.root")) as file:
        assert set(file.trees) == {"t", "folder/t"}


def test_what_unpacks_to_more_than_it_can_is_refused() -> None:
    _check_packed(58, 1 << 20, 0)  # a page of zeros
    with pytest.raises(ValueError, match="the 355 bytes at 734 claim to unpack to 536871688"):
        _check_packed(355, 536871688, 734)
    with pytest.raises(ValueError, match="claim"):
        _check_packed(355, -1, 734)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("not so\nin file /a/b.root\nin object /t"), "not so"),
        (KeyError("x"), "KeyError: 'x'"),
        (AssertionError(), "AssertionError"),
        (OSError("expected Chunk of length 7,\nreceived 0 bytes from Source\nfor file path f"), "it ends early"),
    ],
)
def test_somebody_elses_error_in_one_line(error: Exception, text: str) -> None:
    assert brief(error) == text
