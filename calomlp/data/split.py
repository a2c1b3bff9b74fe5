"""Which side of the split an event is on: decided by a hash, so that it never depends on files, chunks or workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import UsageError


class Side(IntEnum):
    """Part of the data that an event belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Split:
    """Shares of the events for training, validation and test; they add up to one.

    Attributes:
        train: Share that the weights are fitted to.
        validation: Share that decides when to stop.
        test: Share that nothing but the evaluation sees.
        seed: Another seed gives another, independent split.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        legal = self.train > 0 and self.validation > 0 and self.test >= 0 and abs(sum(shares) - 1) < 1e-9
        if not legal:
            raise UsageError(
                f"split {shares} is not legal: three shares for train, validation and test that add up to 1, "
                "the first two above zero"
            )

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Split:
        """Read ``0.7,0.1,0.2``.

        Raises:
            UsageError: If these are not three shares that add up to one.
        """
        try:
            train, validation, test = (float(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"split {text!r} is not three numbers such as 0.7,0.1,0.2") from None
        return cls(train, validation, test, seed)

    def sides(self, identity: str, keys: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the :class:`Side` of each event.

        Args:
            identity: What identifies the file, empty when the keys are unique over all files.
            keys: Entry numbers in the file, or the values of the branch that events are grouped by, shape [events].
        """
        digest = hashlib.sha256(f"{self.seed}:{identity}".encode()).digest()
        salt = np.uint64(int.from_bytes(digest[:8], "little"))
        fraction = _mix(keys.astype(np.uint64) ^ salt).astype(np.float64) / 2.0**64
        return np.searchsorted([self.train, self.train + self.validation], fraction, side="right").astype(np.uint8)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): every bit of the input moves every bit out."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
