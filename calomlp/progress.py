"""How long work tells of its progress, without knowing who listens."""

from __future__ import annotations


class Progress:
    """A listener that hears nothing; the door passes one that draws, and tests one that records."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task of ``total`` units, for example 100000 ``events``."""

    def advance(self, amount: int) -> None:
        """``amount`` more units are done."""

    def report(self, line: str) -> None:
        """Tell one line about a stage that is complete, such as an epoch."""

    def finish(self) -> None:
        """The task is done."""
