"""What was read, and what was left out of it and why: nothing that is skipped goes unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from calomlp.data.sources import Source
from calomlp.errors import BadValueError, InputError
from calomlp.units import listed


@dataclass
class Tally:
    """Counts that grow while files are read.

    Attributes:
        events: Events that were read.
        cut: Events that did not pass the cut.
        bad: Events with a value that is missing or not finite, by branch or feature; one event may have several.
        left_out: Events that were left out because of that.
        replaced: Events in which such a value was replaced by zero.
        missing: Values that stand for a missing one.
        empty: Events without any energy, among those that were used.
        files: Files that were left out because they cannot be read, and why.
    """

    events: int = 0
    cut: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    replaced: int = 0
    missing: int = 0
    empty: int = 0
    files: dict[str, str] = field(default_factory=dict)

    def count_bad(self, name: str, events: int) -> None:
        """Count events in which a branch or feature has a bad value."""
        if events:
            self.bad[name] = self.bad.get(name, 0) + events

    def skip(self, source: Source, error: InputError, *, allowed: bool) -> None:
        """Leave a file out that cannot be read.

        Args:
            source: The file.
            error: Why it cannot be read.
            allowed: Whether files may be left out.

        Raises:
            InputError: If not, or if the file can be read and only its values cannot be used.
        """
        if not allowed or isinstance(error, BadValueError):
            raise error
        self.files[source.label] = re.sub(rf"^{re.escape(source.label)}(:[^: ]+)?: ", "", str(error))

    def add(self, other: Tally) -> None:
        """Add the counts of some more events."""
        for name in ("events", "cut", "left_out", "replaced", "missing", "empty"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, number in other.bad.items():
            self.count_bad(name, number)
        self.files |= other.files

    def selection(self, cut: str = "") -> Iterator[str]:
        """Say what the user left out.

        Args:
            cut: The condition that events had to pass.
        """
        if self.cut:
            yield f"{self.cut} of {self.events} events do not pass the cut{f' {cut}' if cut else ''} and are left out"

    def losses(self) -> Iterator[str]:
        """Say what else was left out."""
        if self.left_out:
            yield f"{self.left_out} of {self.events} events have a bad value and are left out: {self.culprits()}"
        if self.replaced:
            yield f"{self.replaced} of {self.events} events have a bad value, which counts as zero: {self.culprits()}"
        for path, reason in self.files.items():
            yield f"{path} is left out: {reason}"

    def culprits(self) -> str:
        """Return what is bad, and in how many events."""
        by_number = sorted(self.bad.items(), key=lambda item: -item[1])
        return listed([f"{name} in {number}" for name, number in by_number])
