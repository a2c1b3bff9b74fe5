"""How much memory a job may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")  # of the second and the first version
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_UNLIMITED = 1 << 60  # the first version writes a huge number where there is no limit
_SHARE = 4


def default_memory() -> int:
    """Return a quarter of the memory [byte] that the job may use: what the machine, cgroups and Slurm leave it."""
    return min(_limits()) // _SHARE


def _limits() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _own_cgroups():
        for name in _CGROUP_LIMITS:
            limit = _number(folder / name)
            if limit and limit < _UNLIMITED:
                yield limit
    per_node = os.environ.get("SLURM_MEM_PER_NODE", "")  # in megabytes, both
    per_cpu = os.environ.get("SLURM_MEM_PER_CPU", "")
    if per_node.isdecimal() and int(per_node):
        yield int(per_node) << 20
    elif per_cpu.isdecimal() and int(per_cpu):
        yield (int(per_cpu) << 20) * len(os.sched_getaffinity(0))


def _own_cgroups() -> Iterator[Path]:
    """Yield the folders of the control groups of this process, and of those above them."""
    yield from (_CGROUPS, _CGROUPS / "memory")  # all there is in a container
    try:
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = _CGROUPS / controllers / path.lstrip("/")
            yield from (parent for parent in (folder, *folder.parents) if parent.is_relative_to(_CGROUPS))


def _number(path: Path) -> int:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0
