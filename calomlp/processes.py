"""Processes that train together: the interface, the single process, and what launchers say; ``group.py`` has several.

``torchrun`` and ``srun`` start the same command several times, and tell each in its environment which one it is. All of
them read everything and keep their share of the events, every so many-th; the first one speaks and writes for all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from calomlp.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Numbers = TypeVar("Numbers", "NDArray[Any]", "Tensor")

_PORTS = range(20_000, 32_768)  # below those that systems give out by themselves


@dataclass(frozen=True)
class Processes:
    """The processes of a run as one of them sees them; this one is alone."""

    rank: int = 0  # its number, from zero on
    size: int = 1  # how many there are
    local_rank: int = 0  # its number among those of the same machine
    local_size: int = 1  # how many run there

    @property
    def cores(self) -> int:
        """CPU cores that each process has for itself."""
        return len(os.sched_getaffinity(0))

    def own(self, events: int) -> range:
        """Return the places of this process's events among so many."""
        return range(self.rank, events, self.size)

    def places(self, rows: slice) -> slice:
        """Return the places that some of this process's events have among those of all."""
        return slice(self.rank + self.size * rows.start, self.rank + self.size * rows.stop, self.size)

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, by their numbers: an array, a tensor, or what JSON can hold."""
        return [value]

    def agree(self, value: Any) -> bool:
        """Whether all processes have the same value."""
        values = self.gather(value)
        return all(other == values[0] for other in values)

    def sum(self, numbers: Numbers) -> Numbers:
        """Add up what all processes have in the place of these numbers, there, and return them."""
        return numbers


ALONE = Processes()


@dataclass(frozen=True)
class Meeting:
    """Meeting place of the processes of a run."""

    rank: int  # number of this one
    size: int  # how many there are
    local_rank: int  # its number among those of the same machine
    host: str  # where they meet
    port: int  # the same


def find_meeting(environment: Mapping[str, str]) -> Meeting | None:
    """Read from the environment which process this is; ``None`` if it is alone.

    ``srun`` is recognised by the variables of a job step; a batch script has those of a job, and is alone.

    Raises:
        UsageError: If a variable is missing or makes no sense.
    """
    torchrun = "RANK" in environment or "WORLD_SIZE" in environment
    if not torchrun and "SLURM_STEP_NUM_TASKS" not in environment:
        return None

    def text(name: str) -> str:
        if name not in environment:
            sign = next(one for one in ("WORLD_SIZE", "RANK", "SLURM_STEP_NUM_TASKS") if one in environment)
            starter = "torchrun" if torchrun else "srun"
            raise UsageError(f"{name} is not set, but {sign} is: start the command with {starter}, or unset that")
        return environment[name]

    def number(name: str, low: int = 0, high: int = 2**32) -> int:
        if not (text(name).isdecimal() and low <= int(text(name)) <= high):
            raise UsageError(f"{name} is {text(name)!r}: it must be a whole number from {low} to {high}")
        return int(text(name))

    names = (
        ("WORLD_SIZE", "RANK", "LOCAL_RANK") if torchrun else ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID")
    )
    if (size := number(names[0], 1)) == 1:
        return None
    rank, local_rank = (number(name, 0, size - 1) for name in names[1:])
    host = text("MASTER_ADDR") if torchrun or "MASTER_ADDR" in environment else _first_host(text("SLURM_STEP_NODELIST"))
    if torchrun or "MASTER_PORT" in environment:
        port = number("MASTER_PORT", 1, 2**16 - 1)
    else:
        port = _PORTS[(101 * number("SLURM_JOB_ID") + number("SLURM_STEP_ID")) % len(_PORTS)]
    return Meeting(rank, size, local_rank, host, port)


def _first_host(nodes: str) -> str:
    """Return the first of the hosts that Slurm writes as ``node[03-07,9],other``."""
    first = re.match(r"(?:[^,[]|\[[^]]*\])*", nodes)
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", first.group() if first else "")
