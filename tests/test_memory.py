from __future__ import annotations

import os
from pathlib import Path

import pytest

from calomlp import run


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "_CGROUPS", tmp_path)
    monkeypatch.setattr(run, "_OWN_CGROUPS", tmp_path / "own")
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def limit(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("cgroups")
def test_without_limits_it_is_a_quarter_of_the_machine() -> None:
    assert run.default_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def test_the_strictest_control_group_counts(cgroups: Path) -> None:
    limit(cgroups / "own", "0::/slice/job\n")
    limit(cgroups / "slice/job/memory.max", "max\n")
    limit(cgroups / "slice/memory.max", "800000000\n")
    limit(cgroups / "memory.max", "900000000\n")
    assert run.default_memory() == 200_000_000


def test_control_groups_of_the_first_version(cgroups: Path) -> None:
    limit(cgroups / "own", "5:cpu:/job\n4:memory:/job\n")
    limit(cgroups / "memory/job/memory.limit_in_bytes", "400000000\n")
    limit(cgroups / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert run.default_memory() == 100_000_000


def test_slurm(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    assert run.default_memory() == (100 << 20) * len(os.sched_getaffinity(0)) // 4
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "64")
    assert run.default_memory() == (64 << 20) // 4
    assert cgroups.is_dir()
