"""Side of the split that an event is on: by a hash, which does not depend on files, chunks or workers, or by energy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import InputError, UsageError


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
        validation_energies: True energies [GeV] whose events are for validation, where events are split by energy.
        test_energies: True energies [GeV] whose events are for the test then.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    validation_energies: tuple[float, ...] = ()
    test_energies: tuple[float, ...] = ()

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

    def by_energy(self, distinct: NDArray[np.float32]) -> Split:
        """Decide which true energies are for validation and for the test.

        The lowest and the highest are for training, so that nothing is tested beyond the range; the others are taken
        evenly, and another seed takes others.

        Args:
            distinct: The true energies [GeV] in ascending order.

        Raises:
            InputError: If these are too few.
        """
        inner = distinct[1:-1]
        n_validation, n_test = (
            max(1, round(share * len(distinct))) if share else 0 for share in (self.validation, self.test)
        )
        held = n_validation + n_test
        if held > len(inner):
            raise InputError(
                f"{len(distinct)} true energies are too few to split by energy: {held + 2} are needed, two to train on"
            )
        taken = [float(inner[(self.seed + i * len(inner) // held) % len(inner)]) for i in range(held)]
        validation = taken[:: max(1, held // n_validation)][:n_validation]
        test = [energy for energy in taken if energy not in validation]
        return replace(self, validation_energies=tuple(sorted(validation)), test_energies=tuple(sorted(test)))

    def sides_by_energy(self, true_energy: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the :class:`Side` of each event by its true energy [GeV], shape [events]."""
        side = np.full(len(true_energy), Side.TRAIN, dtype=np.uint8)
        side[np.isin(true_energy, np.array(self.validation_energies, np.float32))] = Side.VALIDATION
        side[np.isin(true_energy, np.array(self.test_energies, np.float32))] = Side.TEST
        return side


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): every bit of the input moves every bit out."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
