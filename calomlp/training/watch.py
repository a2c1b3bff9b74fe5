"""When a training run saves itself, and when it stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calomlp.errors import CheckpointWritten, Interrupted
from calomlp.interrupt import Interrupt
from calomlp.processes import Processes
from calomlp.training.checkpoint import save_checkpoint
from calomlp.training.loop import State


@dataclass
class Watch:
    """When a run must stop, and when it saves itself.

    Attributes:
        interrupt: Set by signals.
        checkpoint: Where the state is saved; ``None`` if nowhere.
        every: Seconds between checkpoints.
        max_time: Seconds after which the run stops with a checkpoint; ``None`` for no limit.
        last_good: Where the best model so far is written if the loss becomes non-finite; ``None`` if nowhere.
    """

    interrupt: Interrupt
    checkpoint: Path | None = None
    every: float = 600.0
    max_time: float | None = None
    last_good: Path | None = None

    def __post_init__(self) -> None:
        self._start = self._saved = time.monotonic()

    def asked(self) -> bool:
        """Tell whether this process must stop."""
        return self._over() or self.interrupt.requested

    def after_step(self, state: State, mark: Mapping[str, Any], processes: Processes) -> None:
        """Save or stop if it is time to; the first process saves for all.

        Raises:
            CheckpointWritten: If the run stops and can go on later.
            Interrupted: If it stops and cannot.
        """
        if self.checkpoint is None:
            if state.stop:
                raise Interrupted(self.interrupt.signum or signal.SIGTERM)
            return
        now = time.monotonic()
        if not processes.rank and (state.stop or now - self._saved >= self.every):
            save_checkpoint(self.checkpoint, state, mark)
            self._saved = now
        if state.stop:
            processes.gather(None)  # it is written
            reason = "the time is over" if self._over() else "interrupted"
            raise CheckpointWritten(
                f"{reason} in epoch {state.epoch + 1}; {self.checkpoint} holds the state: run the same command again"
            )

    def _over(self) -> bool:
        return self.max_time is not None and time.monotonic() - self._start >= self.max_time
