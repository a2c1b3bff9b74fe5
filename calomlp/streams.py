"""Standard streams and files: artefacts in, artefacts out, one record.

An artefact is written beside its target under a temporary name, flushed to disk and renamed, so that a file with the
final name is always whole. ``-`` is standard input or output.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from calomlp.errors import InputError, OutputError, ReaderGone, UsageError

RECORD_SCHEMA = "calomlp.record/1"
STDIN = "<stdin>"
"""What messages call an artefact that came through standard input."""

MAGIC_SIZE = 16
"""So many bytes are enough for :func:`kind_of`."""

SUFFIXES = {".root": "dataset", ".safetensors": "model", ".json": "report"}
"""What a file is by its name, where its first bytes do not tell because it is damaged."""

_BINARY = {"dataset": ".root", "model": ".safetensors"}
_COPY_SIZE = 1 << 20


@dataclass(frozen=True)
class Record:
    """The one line that a command leaves on standard output when its artefact went to a file."""

    action: str  # the command
    artefact: str  # what it made: dataset, model, report, figures or onnx
    path: str  # where that lies
    summary: dict[str, Any] = field(default_factory=dict)  # numbers worth knowing without opening the artefact
    status: str = "done"  # done, unless the command says otherwise

    def to_json(self) -> str:
        """Write the record as one line of JSON."""
        body = {"schema": RECORD_SCHEMA, "action": self.action, "status": self.status, "artefact": self.artefact}
        return json.dumps({**body, "path": self.path, **self.summary}, allow_nan=False)


@dataclass(frozen=True)
class Piped:
    """Content of standard input: files by name, or one artefact that was spooled to a temporary file."""

    paths: tuple[str, ...]
    spooled: bool


class Streams:
    """The three standard streams and the temporary files that belong to them; tests pass their own."""

    def __init__(
        self, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, stderr: BinaryIO | None = None
    ) -> None:
        self.stdin = stdin or getattr(sys.stdin, "buffer", None)  # a daemon may have none
        self.stdout = stdout or sys.stdout.buffer
        self.stderr = stderr or sys.stderr.buffer
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self._piped: Piped | None = None
        self.ready = time.monotonic()  # when work could begin: a command in a pipe waits for the one before it

    def close(self) -> None:
        """Remove the temporary files."""
        if self._spool is not None:
            self._spool.cleanup()

    def _temporary(self, name: str) -> Path:
        if self._spool is None:
            self._spool = tempfile.TemporaryDirectory(prefix="calomlp-")
        return Path(self._spool.name, name)

    def read_piped(self) -> Piped:
        """Read standard input, once: an artefact's bytes, records of earlier commands, or lines with paths.

        Raises:
            InputError: If nothing arrives.
            UsageError: If standard input is a terminal.
        """
        if self._piped is None:
            if self.stdin is None or self.stdin.closed:
                raise InputError(f"{STDIN}: standard input is closed")
            if self.stdin.isatty():
                raise UsageError("'-' reads standard input, which is a terminal: pipe something in, or name a file")
            self._piped = self._read_piped(self.stdin)
            self.ready = time.monotonic()
        return self._piped

    def _read_piped(self, stdin: BinaryIO) -> Piped:
        head = stdin.read(MAGIC_SIZE)
        if not head.strip():
            raise InputError(f"{STDIN}: nothing arrived; did the command before this one fail?")
        kind = kind_of(head)
        if kind in _BINARY:
            return self._spool_artefact(head, stdin, _BINARY[kind])
        text = (head + stdin.read()).decode(errors="replace")
        try:
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            lines = []
        if lines and all(
            isinstance(line, dict) and line.get("schema") == RECORD_SCHEMA and line["path"] for line in lines
        ):
            return Piped(tuple(str(line["path"]) for line in lines), spooled=False)
        if text.lstrip().startswith("{"):
            path = self._temporary("stdin.json")
            path.write_text(text, encoding="utf-8")
            return Piped((str(path),), spooled=True)
        return Piped(tuple(line.strip() for line in text.splitlines() if line.strip()), spooled=False)

    def _spool_artefact(self, head: bytes, stdin: BinaryIO, suffix: str) -> Piped:
        path = self._temporary(f"stdin{suffix}")
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stdin, file, _COPY_SIZE)
        return Piped((str(path),), spooled=True)

    def check_output(self, output: str, *, binary: bool, force: bool) -> None:
        """Refuse an output before long work begins.

        Raises:
            UsageError: If the file exists and ``force`` is not given, its folder cannot be written to, or binary data
                would go to a terminal.
        """
        if output == "-":
            if binary and self.stdout.isatty():
                raise UsageError("binary output does not go to a terminal: name a file with -o, or pipe it on")
            return
        target = Path(output)
        if target.is_dir():
            raise UsageError(f"{output} is a folder: name a file with -o")
        if target.exists() and not force:
            raise UsageError(f"{output} exists already: choose another name, or replace it with --force")
        ensure_folder(target.parent)

    def check_distinct(self, outputs: Iterable[str | None], inputs: Iterable[str]) -> None:
        """Refuse an output that the same command reads, or writes twice: with ``--force`` it would be gone.

        Raises:
            UsageError: Naming it.
        """
        taken = {os.path.realpath(path): "reads" for path in inputs if path != "-"}
        for output in outputs:
            if output is None or output == "-":
                continue
            place = os.path.realpath(output)
            if place in taken:
                raise UsageError(
                    f"{output}: this command {taken[place]} this file too: choose another name for the output"
                )
            taken[place] = "writes"

    @contextmanager
    def artefact(self, output: str) -> Iterator[Path]:
        """Give a temporary path to write an artefact to, and put it in place if the block ends well.

        Args:
            output: The final path, or ``-`` for standard output.

        Raises:
            OutputError: If it cannot be written.
            ReaderGone: If nobody reads standard output any more.
        """
        target = Path(output)
        try:
            if output == "-":
                temporary = self._temporary("stdout")
                yield temporary
                with temporary.open("rb") as file:
                    self._write(lambda: shutil.copyfileobj(file, self.stdout, _COPY_SIZE))
            elif target.exists() and not target.is_file():  # a device or a named pipe is written to, never replaced
                temporary = self._temporary("special")
                yield temporary
                with temporary.open("rb") as file, target.open("wb") as special:
                    shutil.copyfileobj(file, special, _COPY_SIZE)
            else:
                with atomic_path(target.resolve()) as temporary:  # behind a link, the file is replaced, not the link
                    yield temporary
        except OSError as error:
            raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error

    def print_line(self, text: str) -> None:
        """Write a line of text to standard output.

        Raises:
            ReaderGone: If nobody reads it any more.
        """
        self._write(lambda: self.stdout.write(text.encode() + b"\n"))

    def _write(self, write: Callable[[], object]) -> None:
        try:
            write()
            self.stdout.flush()
        except BrokenPipeError as error:
            raise ReaderGone(str(error)) from error
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error


def kind_of(head: bytes) -> str:
    """Return what an artefact is, ``dataset``, ``model`` or ``report``, or nothing if its first bytes do not tell."""
    if head.startswith(b"root\0"):  # text, such as root://, has no zero byte
        return "dataset"
    if head[4:9] == b"\0\0\0\0{":  # eight bytes of length, which is below 4 GB, then the JSON header
        return "model"
    return "report" if head.lstrip().startswith(b"{") else ""


def kind_of_file(path: str) -> str:
    """Return what an artefact is by how it begins, or else by its name; nothing if neither tells."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(MAGIC_SIZE)
    except OSError:
        head = b""
    return kind_of(head) or SUFFIXES.get(Path(path).suffix, "")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``, and rename it to ``target`` if the block ends well."""
    with temporary_beside(target) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files, an artefact is for the whole group
        temporary.replace(target)


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``, which is gone when the block ends."""
    _sweep(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with suppress(OSError):
            _lock(handle)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def discard(target: Path) -> None:
    """Remove a file, if it is there, and what a program that was killed while it wrote it has left beside it."""
    _sweep(target)
    target.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Remove temporary files of ``target`` that nobody writes any more: a lock ends with the program that holds it."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.????????.part"):
        with suppress(OSError), left.open("r+b") as file:
            _lock(file.fileno())
            left.unlink()


def _lock(handle: int) -> None:
    """Take a file for oneself.

    Raises:
        OSError: If another has it, or the file system has no locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def ensure_folder(folder: Path) -> None:
    """Make a folder for outputs if it is not there.

    Raises:
        UsageError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot make this folder for the output ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: no permission to write into this folder")
