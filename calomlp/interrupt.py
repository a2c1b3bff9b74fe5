"""Signals: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self

from calomlp.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What batch systems send before they stop a job, a closed terminal, and Ctrl-C."""


class Interrupt:
    """A flag that signals set and that long work looks at, once per batch or block.

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
