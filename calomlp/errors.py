"""Every way in which calomlp can fail, and the exit code of each.

::

    CalomlpError                  1  internal error
    ├── OutputError               1  an output that cannot be written: disk full, no permission
    ├── UsageError                2  a flag, a setting or a request that makes no sense
    ├── InputError                3  data that cannot be used: missing, truncated, no such branch, non-finite, empty
    │   └── BadValueError             the file can be read, its values cannot be used
    ├── ArtefactError             4  a model, report or checkpoint that does not fit: schema, features, configuration
    ├── TrainingError             5  training diverged or became non-finite
    ├── QualityError              6  a quality gate was not met
    ├── MissingDependencyError    7  an optional package is not installed
    ├── CheckpointWritten        85  interrupted, and the same command resumes
    ├── Interrupted       130 / 143  interrupted with nothing to resume from
    ├── ReaderGone              141  the reader of the output pipe went away
    └── PeerFailed                   another process of the same run has failed, has said why, and gives its exit code

A message is one line: what is wrong, where (``file:tree:branch``), and what would be legal.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """Exit status of every command; each member's ``meaning`` is what ``--help`` prints."""

    meaning: str

    OK = 0, "done"
    INTERNAL = 1, "output cannot be written, or internal error (--debug shows the traceback)"
    USAGE = 2, "usage or configuration error"
    INPUT = 3, "input data unusable: missing, truncated, no such tree or branch, non-finite, empty selection"
    ARTEFACT = 4, "artefact incompatible: schema, features, resume configuration, an export that deviates"
    TRAINING = 5, "training failed: diverged or non-finite"
    QUALITY = 6, "quality gate not met (--require)"
    DEPENDENCY = 7, "optional dependency missing"
    CHECKPOINT = 85, "interrupted, checkpoint written: run the same command again to go on"
    SIGINT = 130, "interrupted (SIGINT), nothing to resume from"
    PIPE = 141, "the reader of the output pipe went away"
    SIGTERM = 143, "terminated (SIGTERM, SIGHUP, SIGUSR1, SIGUSR2), nothing to resume from"

    def __new__(cls, value: int, meaning: str) -> Self:
        """An ``int`` member that also carries its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class CalomlpError(Exception):
    """Root of all errors that calomlp raises on purpose.

    Args:
        message: One line; what a damaged file has in the place of a name may hold anything, and is made printable.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(character if character.isprintable() else " " for character in message))


class OutputError(CalomlpError):
    """An output that cannot be written."""


class UsageError(CalomlpError):
    """A flag, a setting or a request that makes no sense."""

    exit_code = ExitCode.USAGE


class InputError(CalomlpError):
    """Input data that cannot be used."""

    exit_code = ExitCode.INPUT


class BadValueError(InputError):
    """A file that can be read, but holds values that cannot be used."""


class ArtefactError(CalomlpError):
    """A model, report or checkpoint that does not fit what is asked of it."""

    exit_code = ExitCode.ARTEFACT


class TrainingError(CalomlpError):
    """Training diverged or produced non-finite numbers."""

    exit_code = ExitCode.TRAINING


class QualityError(CalomlpError):
    """A quality gate that the user set was not met."""

    exit_code = ExitCode.QUALITY


class MissingDependencyError(CalomlpError):
    """An optional package is needed and not installed."""

    exit_code = ExitCode.DEPENDENCY


class CheckpointWritten(CalomlpError):
    """Work was interrupted in good order; the same command goes on from the checkpoint."""

    exit_code = ExitCode.CHECKPOINT


class Interrupted(CalomlpError):
    """Work was interrupted by a signal and left nothing behind."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}, nothing was written")
        self.exit_code = ExitCode.SIGINT if signum == signal.SIGINT else ExitCode.SIGTERM


class ReaderGone(CalomlpError):
    """Nobody reads the output any more, as after ``| head``: no reason to say anything."""

    exit_code = ExitCode.PIPE


class PeerFailed(CalomlpError):
    """Another process of the same run has failed and has said why: no reason to say it again."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__()
        self.exit_code = exit_code


def did_you_mean(wrong: str, legal: Iterable[str], *, limit: int = 12) -> str:
    """Return the tail of an error message that names the legal alternatives, the likely one first.

    Args:
        wrong: What the user wrote.
        legal: What would have been legal.
        limit: At most this many alternatives are listed.
    """
    names = list(dict.fromkeys(legal))
    if not names:
        return "there is nothing to choose from"
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    limit = max(limit, len(names) if len(names) == limit + 1 else 0)  # no "and 1 more"
    listed = ", ".join(names[:limit])
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{hint}legal: {listed}{more}"
