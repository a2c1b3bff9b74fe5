"""A run of a command: its progress, its signals, its processes, its memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

from calomlp.errors import Interrupted
from calomlp.processes import ALONE, Processes

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What batch systems send before they stop a job, a closed terminal, and Ctrl-C."""

_CGROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")  # of the second and the first version
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # the first version writes a huge number where there is no limit
_SHARE = 4


class Progress:
    """Listener to the progress of long work, which does nothing; the command line passes one that draws."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task of ``total`` units, for example 100000 ``events``."""

    def advance(self, amount: int) -> None:
        """``amount`` more units are done."""

    def report(self, line: str) -> None:
        """Tell one line about a stage that is complete, such as an epoch."""

    def finish(self) -> None:
        """The task is done."""


class Interrupt:
    """A flag that the first signal sets and that long work looks at, once per batch or block; the second ends at once.

    Used as a context manager it installs the handlers and puts the old ones back. Outside the main thread, where Python
    delivers no signals, it is a flag that nobody sets.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup is respected
            self._previous = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is not None:
            raise Interrupted(signum)
        self.signum = signum

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signum is not None

    def check(self) -> None:
        """Raise :class:`~calomlp.errors.Interrupted` if a signal has arrived; for work that has nothing to save."""
        if self.signum is not None:
            raise Interrupted(self.signum)


def default_memory() -> int:
    """Return a quarter of the memory [byte] that the job may use: what the machine, cgroups and Slurm leave it."""
    return min(_limits()) // _SHARE


def _limits() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _own_cgroups():
        for name in _CGROUP_LIMITS:
            limit = _number(folder / name)
            if limit and limit < _UNLIMITED:
                yield limit
    per_node = os.environ.get("SLURM_MEM_PER_NODE", "")  # in megabytes, both
    per_cpu = os.environ.get("SLURM_MEM_PER_CPU", "")
    if per_node.isdecimal() and int(per_node):
        yield int(per_node) << 20
    elif per_cpu.isdecimal() and int(per_cpu):
        yield (int(per_cpu) << 20) * len(os.sched_getaffinity(0))


def _own_cgroups() -> Iterator[Path]:
    """Yield the folders of the control groups of this process, and of those above them."""
    yield from (_CGROUPS, _CGROUPS / "memory")  # all there is in a container
    try:
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = _CGROUPS / controllers / path.lstrip("/")
            yield from (parent for parent in (folder, *folder.parents) if parent.is_relative_to(_CGROUPS))


def _number(path: Path) -> int:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


def default_folder() -> Path:
    """Return the folder in which programs keep what they can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "calomlp").expanduser()


@dataclass(frozen=True)
class Run:
    """One run of a command; by default alone, silent, with the memory of the job.

    Attributes:
        progress: Told of every chunk, batch or block.
        interrupt: Looked at as often.
        processes: Those that work together.
        memory: What events of this process may take in memory [byte].
        folder: Where events go that do not fit.
    """

    progress: Progress = field(default_factory=Progress)
    interrupt: Interrupt = field(default_factory=Interrupt)
    processes: Processes = ALONE
    memory: int = field(default_factory=default_memory)
    folder: Path = field(default_factory=default_folder)
