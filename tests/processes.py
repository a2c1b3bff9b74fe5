"""Several processes for tests: threads in their place, or processes that are told what a launcher tells them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from calomlp.processes import Numbers, Processes

SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "node[03-07,9],other",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "2",
}


@dataclass(frozen=True)
class Threads(Processes):
    """Threads in the place of processes, which share memory and hand things over there."""

    barrier: threading.Barrier = threading.Barrier(1)  # noqa: RUF009 - each test gives its own
    said: tuple[list[Any], ...] = ()

    def gather(self, value: Any) -> list[Any]:
        self.said[0][self.rank] = value
        self.barrier.wait(timeout=60)
        found = list(self.said[0])
        self.barrier.wait(timeout=60)
        return found

    def sum(self, numbers: Numbers) -> Numbers:
        tensor = torch.as_tensor(numbers)
        shares = self.gather(tensor.clone())
        tensor.copy_(torch.stack(shares).sum(dim=0, dtype=tensor.dtype))
        return numbers


def in_threads(size: int, work: Callable[[Processes], Any]) -> list[Any]:
    barrier, said = threading.Barrier(size), [None] * size

    def one(rank: int) -> Any:
        try:
            return work(Threads(rank, size, rank, size, barrier, (said,)))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def start(folder: Path, program: tuple[str, ...], **environment: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("CALOMLP_", "SLURM_"))}
    return subprocess.Popen(
        [sys.executable, *program],
        cwd=folder,
        env=known | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "calomlp")
    return start(folder, (*launcher, *arguments), OMP_NUM_THREADS="1")


def srun(
    folder: Path, size: int, *arguments: str, program: tuple[str, ...] = ("-m", "calomlp")
) -> list[subprocess.Popen[str]]:
    """Start processes with what ``srun`` tells them."""
    step = SRUN | {
        "SLURM_STEP_NUM_TASKS": str(size),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_ID": str(uuid.uuid4().int % 10_000_000),  # decides the port
    }
    return [
        start(folder, (*program, *arguments), **step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
        for rank in range(size)
    ]


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for the end of all; return exit codes, and what is on standard output and standard error."""
    said = [process.communicate(timeout=90) for process in processes]
    return [(process.returncode, *streams) for process, streams in zip(processes, said, strict=True)]
