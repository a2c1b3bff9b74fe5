"""What a command takes: time of the processor, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

_WATCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)
"""
"""Runs a command from a small process, because the peak of a process begins with that of the one that starts it."""


@dataclass(frozen=True)
class Used:
    """What a command took.

    Attributes:
        seconds: Time of the processor, of all its threads.
        memory: Peak of the memory that was resident [bytes].
    """

    seconds: float
    memory: float


def run(folder: Path, *words: object) -> Used:
    """Run ``calomlp`` in a folder, and return what it took."""
    command = [sys.executable, "-m", "calomlp", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True
    )
    seconds, kilobytes = done.stdout.split()
    return Used(float(seconds), int(kilobytes) * 1024)
