from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from calomlp.errors import InputError, OutputError, UsageError
from calomlp.streams import Record, Streams, atomic_path, discard


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def piped() -> Iterator[Callable[[bytes], Streams]]:
    with ExitStack() as stack:

        def make(content: bytes) -> Streams:
            streams = Streams(io.BytesIO(content), io.BytesIO(), io.BytesIO())
            stack.callback(streams.close)
            return streams

        yield make


Piped = Callable[[bytes], Streams]


def test_a_record_names_the_file_and_nothing_is_copied(piped: Piped) -> None:
    line = Record("simulate", "dataset", "a.root").to_json().encode()
    found = piped(line + b"\n" + line.replace(b"a.root", b"b.root") + b"\n").read_piped()
    assert found.paths == ("a.root", "b.root")
    assert not found.spooled


def test_lines_with_paths(piped: Piped) -> None:
    assert piped(b"a.root\n\n  b.root\n").read_piped().paths == ("a.root", "b.root")


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"root\x00\x00\xf6\x08" + bytes(100), ".root"), (b'\x05\x00\x00\x00\x00\x00\x00\x00{"a":1}', ".safetensors")],
)
def test_bytes_of_an_artefact_are_spooled(piped: Piped, content: bytes, suffix: str) -> None:
    streams = piped(content)
    found = streams.read_piped()
    assert found.spooled
    assert found.paths[0].endswith(suffix)
    assert Path(found.paths[0]).read_bytes() == content
    streams.close()
    assert not Path(found.paths[0]).exists()


def test_a_report_is_spooled_and_no_record(piped: Piped) -> None:
    found = piped(b'{"schema": "calomlp.report/1"}').read_piped()
    assert found.spooled
    assert found.paths[0].endswith(".json")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_nothing_on_standard_input(piped: Piped, content: bytes) -> None:
    with pytest.raises(InputError, match="nothing arrived"):
        piped(content).read_piped()


def test_a_terminal_is_not_waited_for() -> None:
    with pytest.raises(UsageError, match="terminal"):
        Streams(Terminal(), io.BytesIO(), io.BytesIO()).read_piped()


def test_binary_does_not_go_to_a_terminal() -> None:
    streams = Streams(io.BytesIO(), Terminal(), io.BytesIO())
    streams.check_output("-", binary=False, force=False)
    with pytest.raises(UsageError, match="binary"):
        streams.check_output("-", binary=True, force=False)


def test_an_existing_output_is_kept(piped: Piped, tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    path.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        piped(b"").check_output(str(path), binary=True, force=False)
    piped(b"").check_output(str(path), binary=True, force=True)
    with pytest.raises(UsageError, match="folder"):
        piped(b"").check_output(str(tmp_path), binary=True, force=True)


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="midway"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("midway")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_whole_and_readable_by_the_group(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert path.stat().st_mode & stat.S_IRUSR
    other = tmp_path / "b.json"
    other.write_text("")
    assert path.stat().st_mode == other.stat().st_mode


def test_an_artefact_goes_to_standard_output_only_when_complete(piped: Piped) -> None:
    streams = piped(b"")
    with pytest.raises(ValueError, match="midway"), streams.artefact("-") as path:
        path.write_text("half")
        raise ValueError("midway")
    assert isinstance(streams.stdout, io.BytesIO)
    assert streams.stdout.getvalue() == b""
    with streams.artefact("-") as path:
        path.write_text("whole")
    assert streams.stdout.getvalue() == b"whole"


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path, piped: Piped) -> None:
    real, link, fifo = (tmp_path / name for name in ("real", "link", "fifo"))
    real.write_text("old")
    link.symlink_to(real)
    with piped(b"").artefact(str(link)) as path:
        path.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with piped(b"").artefact(str(fifo)) as path:
        path.write_text("bytes")
    assert os.read(reader, 10) == b"bytes"
    os.close(reader)
    assert fifo.is_fifo()


def test_an_output_that_cannot_be_written_is_one_line(piped: Piped) -> None:
    with (
        pytest.raises(OutputError, match="/dev/full: cannot be written: No space left"),
        piped(b"").artefact("/dev/full") as path,
    ):
        path.write_text("bytes")


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left, other = tmp_path / ".m.0123abc_.part", tmp_path / ".m.checkpoint.0123abc_.part"
    for path in (left, other):
        path.write_text("half")
    with atomic_path(tmp_path / "m") as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"m", other.name}
    (tmp_path / "m.checkpoint").write_text("state")
    discard(tmp_path / "m.checkpoint")
    discard(tmp_path / "m.checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_another_program_writes_at_the_time_is_left_alone(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "m") as first:
        first.write_text("first")
        with atomic_path(tmp_path / "m") as second:
            second.write_text("second")
        discard(tmp_path / "m")
        assert first.exists()
    assert (tmp_path / "m").read_text() == "first"
