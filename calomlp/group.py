"""Messages between processes that train together, carried by torch.distributed; a failure of one ends them all.

They trust the network that they are on: whoever reaches the port of the first process before the others is one of them.
"""

from __future__ import annotations

import io
import json
import logging
import os
import platform
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from calomlp.errors import CalomlpError, ExitCode, PeerFailed, UsageError
from calomlp.processes import Meeting, Numbers, Processes

logger = logging.getLogger(__name__)

_MEETING = timedelta(minutes=10)
_PATIENCE = timedelta(days=1)
"""One that is gone is noticed at once; one that is slow, because it reads from a slow disk, is waited for."""

_FAREWELL = 2.0  # seconds
_FAILED, _HEARD = "failed", "heard"


@dataclass(frozen=True)
class Group(Processes):
    """Several processes.

    Attributes:
        shared_cores: CPU cores for each.
    """

    shared_cores: int = 1

    @property
    def cores(self) -> int:
        """CPU cores that each process has for itself."""
        return self.shared_cores

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, by their numbers; tensors come from wherever they are to the CPU."""
        own = _packed(value)
        with _talking():
            sizes = torch.zeros(self.size, dtype=torch.int64)
            sizes[self.rank] = len(own)
            dist.all_reduce(sizes)
            padded = torch.nn.functional.pad(own, (0, int(sizes.max()) - len(own)))
            everyone = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(everyone, padded)
        return [_unpacked(packed[:size]) for packed, size in zip(everyone, sizes.tolist(), strict=True)]

    def sum(self, numbers: Numbers) -> Numbers:
        """Add up the numbers of all processes in place, and return the sums: the same bits in all."""
        with _talking():
            dist.all_reduce(torch.as_tensor(numbers))
        return numbers


def _packed(value: Any) -> Tensor:
    """Return a value as bytes: an array or a tensor as numpy writes it, anything else as JSON; never pickled."""
    stream = io.BytesIO()
    if isinstance(value, (np.ndarray, Tensor)):
        np.save(stream, value.cpu().numpy() if isinstance(value, Tensor) else value, allow_pickle=False)
        kind = b"t" if isinstance(value, Tensor) else b"a"
    else:
        stream.write(json.dumps(value).encode())
        kind = b"j"
    return torch.frombuffer(bytearray(kind + stream.getvalue()), dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Any:
    kind, content = bytes(packed[:1].numpy()), packed[1:].numpy().tobytes()
    if kind == b"j":
        return json.loads(content)
    array = np.load(io.BytesIO(content), allow_pickle=False)
    return torch.from_numpy(array) if kind == b"t" else array


@contextmanager
def together(meeting: Meeting, device: str) -> Iterator[Processes]:
    """Meet the other processes of a run, and part when the block ends.

    Nobody leaves a block that ends well before all are at its end: a launcher may stop the others then. If one fails,
    all do, with its exit code, and one says why.

    Args:
        meeting: Where they meet.
        device: What they compute on: NCCL carries what is on GPUs, Gloo everything else.

    Raises:
        UsageError: If the others do not come.
        PeerFailed: If another process has failed and said why.
    """
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") and torch.cuda.is_available() else "gloo"
    logger.info("%d processes meet at %s:%d, %s", meeting.size, meeting.host, meeting.port, backend)
    store = _meet(meeting)
    try:
        group = _connected(meeting, store, backend)
        yield group
        group.gather(None)
    except Exception as error:
        code = error.exit_code if isinstance(error, CalomlpError) else ExitCode.INTERNAL
        told = _tell(store, meeting, code)
        _hang_up()  # whoever waits for a message notices
        _linger(store, meeting)
        if told is not None:
            raise PeerFailed(told) from error
        raise
    _hang_up()


def _meet(meeting: Meeting) -> Store:
    """Wait for the others, and return what all can write to and read from."""
    place = f"{meeting.host}:{meeting.port}"
    try:
        socket.getaddrinfo(meeting.host, meeting.port)  # or they would wait for long
    except OSError as error:
        raise UsageError(f"{meeting.host}: no such host is known here; MASTER_ADDR names another one") from error
    try:
        store: Store = next(rendezvous(f"tcp://{place}", meeting.rank, meeting.size, timeout=_MEETING))[0]
    except RuntimeError as error:
        raise UsageError(
            f"{meeting.size} processes do not meet at {place}: do all run this command, and is the port free? "
            "MASTER_ADDR and MASTER_PORT name another place; in a shell that srun started, set SLURM_STEP_NUM_TASKS=1"
        ) from error
    return store


def _connected(meeting: Meeting, store: Store, backend: str) -> Group:
    """Connect the processes, and find out who shares a machine and cores."""
    rank, size = meeting.rank, meeting.size
    with _talking():
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=_PATIENCE
        )
    here = platform.node()
    everyone = Group(rank, size).gather([here, sorted(os.sched_getaffinity(0))])
    shared_cores = min(max(1, len(cores) // everyone.count([node, cores])) for node, cores in everyone)
    local_size = sum(node == here for node, _ in everyone)
    return Group(rank, size, meeting.local_rank, local_size, shared_cores)


def _hang_up() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise CalomlpError("another process of this run has ended without a word: killed, or out of memory?") from error


def _tell(store: Store, meeting: Meeting, code: ExitCode) -> ExitCode | None:
    """Tell the others of a failure; return the exit code of the first that did, if that was another one."""
    try:
        first = store.compare_set(_FAILED, "", f"{meeting.rank}:{code.name}").decode()
        store.add(_HEARD, 1)
    except RuntimeError:  # it has vanished with the first process
        return None
    rank, _, told = first.partition(":")
    return None if int(rank) == meeting.rank else ExitCode[told]


def _linger(store: Store, meeting: Meeting) -> None:
    """Keep up what the first process may hold for all until the others have heard of the failure."""
    until = time.monotonic() + _FAREWELL
    try:
        while meeting.rank == 0 and store.add(_HEARD, 0) < meeting.size and time.monotonic() < until:
            time.sleep(0.01)
    except RuntimeError:
        pass
