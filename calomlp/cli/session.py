"""One run of one command: its streams, its progress display, its signals, its last word."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

from calomlp.cli.console import PlainProgress, TerminalProgress, wrapped
from calomlp.errors import ExitCode, InputError, PeerFailed, UsageError
from calomlp.processes import find_meeting
from calomlp.run import Progress, Run
from calomlp.streams import STDIN, Record, Streams


class Session:
    """Streams, progress, signals and last word of a command; a context manager.

    Args:
        name: The command as the user typed it, for messages.
        force: Replace existing outputs.
        json: Report in JSON on a terminal too.
        quiet: Say nothing but warnings and errors.
    """

    def __init__(self, name: str, *, force: bool, json: bool, quiet: bool) -> None:
        self.force = force
        self.streams = Streams()
        self.json = json or not self.streams.stdout.isatty()
        drawn = self.streams.stderr.isatty() and not quiet
        display = TerminalProgress() if drawn else PlainProgress(name, quiet=quiet)
        self.run = Run(display)
        self._handler = _Handler(name, display)
        self._logger = logging.getLogger("calomlp")
        self._level = logging.WARNING if quiet else logging.INFO
        self._level_before = self._logger.level

    def __enter__(self) -> Self:
        self._logger.addHandler(self._handler)
        self._logger.setLevel(self._level)
        self._logger.propagate = False
        self.run.interrupt.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.run.progress.finish()
        self.run.interrupt.__exit__(*error)
        self._logger.removeHandler(self._handler)
        self._logger.propagate = True
        self._logger.setLevel(self._level_before)
        self.streams.close()

    def mute(self) -> None:
        """Leave all reporting to another process."""
        self.run = replace(self.run, progress=Progress())
        self._logger.setLevel(logging.CRITICAL)

    @property
    def seconds(self) -> float:
        """Seconds since the session began, or since its input arrived."""
        return time.monotonic() - self.streams.ready

    def one_path(self, name: str, what: str) -> tuple[str, str]:
        """Return path and label of the one artefact that a name or ``-`` stands for.

        Args:
            name: A path, or ``-`` for standard input.
            what: What it should be, for messages.

        Raises:
            UsageError: If no name was given, or standard input names several.
            InputError: If there is no such file.
        """
        if not name:
            raise UsageError(f"no {what} was named: give a file, or - for standard input")
        label = name
        if name == "-":
            piped = self.streams.read_piped()
            if len(piped.paths) != 1:
                raise UsageError(f"{STDIN} names {len(piped.paths)} files, but one {what} is wanted")
            name = piped.paths[0]
            label = STDIN if piped.spooled else name
        if not Path(name).is_file():
            raise InputError(f"{label}: no such file (a {what} is wanted)")
        return name, label

    def refuse_processes(self, instead: str) -> None:
        """Refuse to be one of several processes that torchrun or srun has started; the first one says why.

        Raises:
            UsageError: With what to do instead.
        """
        meeting = find_meeting(os.environ)
        if meeting is None:
            return
        if meeting.rank:
            raise PeerFailed(ExitCode.USAGE)
        raise UsageError(f"this is one of {meeting.size} processes, which only train can be: {instead}")

    def finish(self, record: Record, summary: str) -> None:
        """Report what was made, unless the artefact itself went to standard output.

        Args:
            record: For programs.
            summary: For people.
        """
        if record.path == "-":
            return
        self.streams.print_line(record.to_json() if self.json else wrapped(summary, sys.stdout))


class _Handler(logging.Handler):
    """Shows log messages through the progress display, so that neither breaks the other."""

    def __init__(self, name: str, progress: PlainProgress | TerminalProgress) -> None:
        super().__init__()
        self._name = name
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning: " if record.levelno >= logging.WARNING else ""
        self._progress.write(f"{self._name}: {level}{record.getMessage()}")
