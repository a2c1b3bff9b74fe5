"""When a training run saves itself, and when it stops."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from calomlp.errors import CheckpointWritten
from calomlp.interrupt import Interrupt
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
    """

    interrupt: Interrupt
    checkpoint: Path | None = None
    every: float = 600.0
    max_time: float | None = None

    def __post_init__(self) -> None:
        self._start = self._saved = time.monotonic()

    def after_step(self, state: State, fingerprint_: str) -> None:
        """Save or stop if it is time to.

        Raises:
            CheckpointWritten: If the run stops and can go on later.
            Interrupted: If it stops and cannot.
        """
        now = time.monotonic()
        over = self.max_time is not None and now - self._start >= self.max_time
        stop = over or self.interrupt.requested
        if self.checkpoint is None:
            self.interrupt.check()
            return
        if stop or now - self._saved >= self.every:
            save_checkpoint(self.checkpoint, state, fingerprint_)
            self._saved = now
        if stop:
            reason = "the time is over" if over else "interrupted"
            raise CheckpointWritten(
                f"{reason} in epoch {state.epoch + 1}; {self.checkpoint} holds the state: run the same command again"
            )
