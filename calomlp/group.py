"""How processes that train together meet, talk, fail and part."""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from calomlp.errors import CalomlpError, ExitCode, PeerFailed, UsageError
from calomlp.processes import Meeting, Numbers, Processes

logger = logging.getLogger(__name__)

_MEETING = timedelta(minutes=10)
_PATIENCE = timedelta(days=1)
"""One that is gone is noticed at once; one that is slow, because it reads from a slow disk, is waited for."""

_FAREWELL = 2.0  # seconds
_FAILED, _HEARD, _PORT = "failed", "heard", "port"
_SMALL = 1 << 22
"""Bytes in all messages together up to which the first process adds them up by itself, which takes a tenth of a
millisecond; Gloo, which hands every message from thread to thread, took two, with tails of six, beside busy cores."""


@dataclass(frozen=True)
class Group(Processes):
    """Several processes.

    Attributes:
        lines: Of the first process those to all others, of each other the one to the first.
        shared_cores: CPU cores for each.
        between_gpus: Carries tensors that are on GPUs.
    """

    lines: tuple[socket.socket, ...] = ()
    shared_cores: int = 1
    between_gpus: dist.ProcessGroup | None = None

    @property
    def cores(self) -> int:
        """CPU cores that each process has for itself."""
        return self.shared_cores

    def gather(self, value: Any) -> list[Any]:
        """Return what every process has to say, by their numbers; tensors come from wherever they are to the CPU."""
        said = [None] * self.size
        with _talking():
            dist.all_gather_object(said, value.cpu() if isinstance(value, torch.Tensor) else value)
        return said

    def sum(self, numbers: Numbers) -> Numbers:
        """Add up what all processes have in the place of these numbers, and return them: the same bits in all."""
        tensor = torch.as_tensor(numbers)
        with _talking():
            if tensor.is_cuda:
                dist.all_reduce(tensor, group=self.between_gpus)
            elif self.size * tensor.nbytes > _SMALL:
                dist.all_reduce(tensor)
            else:
                self._sum_here(tensor.view(-1))
        return numbers

    def _sum_here(self, own: torch.Tensor) -> None:
        if self.rank:
            self.lines[0].sendall(own.numpy().data)
            _receive(self.lines[0], own.numpy())
            return
        share = torch.empty_like(own)
        for line in self.lines:
            _receive(line, share.numpy())
            own += share
        for line in self.lines:
            line.sendall(own.numpy().data)


@contextmanager
def together(meeting: Meeting, device: str) -> Iterator[Processes]:
    """Meet the other processes of a run, and part when the block ends.

    Nobody leaves a block that ends well before all are at its end: a launcher may stop the others then. If one fails,
    all do, with its exit code, and one says why.

    Args:
        meeting: Where they meet.
        device: What they compute on; messages between GPUs are carried by NCCL, large ones between CPUs by Gloo.

    Raises:
        UsageError: If the others do not come.
        PeerFailed: If another process has failed and said why.
    """
    carrier = "nccl" if device.startswith("cuda") and torch.cuda.is_available() else "gloo"
    logger.info("%d processes meet at %s:%d, %s", meeting.size, meeting.host, meeting.port, carrier)
    store = _meet(meeting)
    lines: list[socket.socket] = []
    try:
        group = _found(meeting, store, lines, carrier)
        yield group
        group.gather(None)
    except Exception as error:
        code = error.exit_code if isinstance(error, CalomlpError) else ExitCode.INTERNAL
        told = _tell(store, meeting, code)
        _hang_up(lines)  # whoever waits for a message notices
        _linger(store, meeting)
        if told is not None:
            raise PeerFailed(told) from error
        raise
    _hang_up(lines)


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


def _found(meeting: Meeting, store: Store, lines: list[socket.socket], carrier: str) -> Group:
    """Connect the processes, and find out who shares a machine and cores."""
    rank, size = meeting.rank, meeting.size
    with _talking():
        dist.init_process_group(
            "gloo", store=PrefixStore("group", store), rank=rank, world_size=size, timeout=_PATIENCE
        )
        between_gpus = dist.new_group(backend=carrier) if carrier == "nccl" else None
        lines += _connect(meeting, store)
    here = platform.node()
    everyone = Group(rank, size).gather((here, sorted(os.sched_getaffinity(0))))
    shared_cores = min(max(1, len(cores) // everyone.count((node, cores))) for node, cores in everyone)
    local_size = sum(node == here for node, _ in everyone)
    return Group(rank, size, meeting.local_rank, local_size, tuple(lines), shared_cores, between_gpus)


def _connect(meeting: Meeting, store: Store) -> list[socket.socket]:
    """Return the lines of this process."""
    lines: dict[int, socket.socket] = {}
    number = np.array([meeting.rank])
    if meeting.rank:
        lines[0] = socket.create_connection((meeting.host, int(store.get(_PORT))))
        lines[0].sendall(number.data)
    else:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        with socket.create_server(("", 0), family=family, backlog=meeting.size, dualstack_ipv6=dual) as server:
            store.set(_PORT, str(server.getsockname()[1]))
            while len(lines) < meeting.size - 1:
                line, _ = server.accept()
                _receive(line, number)
                lines[int(number[0])] = line
    for line in lines.values():
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return [lines[rank] for rank in sorted(lines)]


def _receive(line: socket.socket, array: NDArray[Any]) -> None:
    left = array.data.cast("B")
    while left:
        if not (received := line.recv_into(left)):
            raise ConnectionError
        left = left[received:]


def _hang_up(lines: Sequence[socket.socket]) -> None:
    for line in lines:
        line.close()
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
