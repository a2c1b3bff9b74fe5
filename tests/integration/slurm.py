"""A Slurm cluster of two nodes, both this machine, with a configuration, a key and ports of its own.

The partition ``preemptible`` gives way to all others.

It needs Debian's packages, ``apt install slurm-wlm munge``, and the rights of root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
_PATIENCE = 60.0  # s, for daemons and decisions; jobs have longer
_AFTER = 0.5  # s
_NODES = 2


def available() -> bool:
    """Whether a cluster can be started here."""
    return all(shutil.which(program) for program in PROGRAMS) and os.geteuid() == 0


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Cluster:
    """Runs as long as the context."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)
        self._host = socket.gethostname().partition(".")[0]
        self._nodes = [f"node{number}" for number in range(1, 1 + _NODES)]
        self._daemons: list[subprocess.Popen[bytes]] = []
        python = str(Path(sys.executable).parent)
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "MASTER_ADDR": "127.0.0.1",  # no network knows these nodes by their names
            "PATH": os.pathsep.join([python, os.environ["PATH"]]),
        }
        self._configure()

    def _configure(self) -> None:
        munge = self.folder / "munge"
        munge.mkdir()
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        for path in (munge, munge / "key"):
            shutil.chown(path, "munge", "munge")
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        controller, *daemons = _free_ports(1 + _NODES)
        memory = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20) * 9 // 10 // _NODES
        lines = {
            "ClusterName": "test",
            "SlurmctldHost": f"{self._host}(127.0.0.1)",
            "SlurmctldPort": controller,
            "SlurmUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={munge / 'socket'}",
            "CredType": "cred/munge",
            "StateSaveLocation": self.folder / "state",
            "SlurmdSpoolDir": self.folder / "spool" / "%n",
            "SlurmctldPidFile": self.folder / "slurmctld.pid",
            "SlurmdPidFile": self.folder / "slurmd-%n.pid",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU",
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "MpiDefault": "none",
            "ReturnToService": 2,
            "SchedulerParameters": "sched_interval=2,bf_interval=2",
            "KillWait": 10,
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        for node, port in zip(self._nodes, daemons, strict=True):
            place = f"NodeHostname={self._host} NodeAddr=127.0.0.1 Port={port}"
            text += f"NodeName={node} {place} CPUs={os.cpu_count()} RealMemory={memory}\n"
        common = "Nodes=ALL MaxTime=INFINITE State=UP"
        text += f"PartitionName=all {common} Default=YES PriorityTier=2 PreemptMode=OFF\n"
        text += f"PartitionName=preemptible {common} PriorityTier=1 GraceTime=60\n"
        (self.folder / "slurm.conf").write_text(text)

    def _start(self, *command: object) -> None:
        with (self.folder / f"{len(self._daemons)}.log").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=self.environment)
            )

    def __enter__(self) -> Self:
        munge = self.folder / "munge"
        files = [
            f"--{name}={munge / name.partition('-')[0]}" for name in ("key-file", "socket", "pid-file", "seed-file")
        ]
        log = f"--log-file={munge / 'log'}"
        self._start("runuser", "-u", "munge", "--", "munged", "--foreground", *files, log)
        self.wait_for((munge / "socket").exists, "munged")
        self._start("slurmctld", "-D")
        for node in self._nodes:
            self._start("slurmd", "-D", "-N", node)
        self.wait_for(self.idle, "idle nodes")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--user", "root", check=False)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(_PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def idle(self) -> bool:
        """Whether all nodes are there, and do nothing."""
        return self.run("sinfo", "-hN", "-p", "all", "-o", "%T", check=False).split() == ["idle"] * _NODES

    def run(self, *command: object, check: bool = True, cwd: Path | None = None) -> str:
        """Run a command of Slurm and return what it prints."""
        done = subprocess.run(
            list(map(str, command)), env=self.environment, cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def submit(self, script: str, folder: Path, *options: str) -> str:
        """Submit a batch script and return the number of the job; its output is ``job.log`` in the folder."""
        path = folder / "job.sh"
        path.write_text(script)
        return self.run("sbatch", "--parsable", "-o", "job-%A-%a.log", *options, path, cwd=folder).strip()

    def state(self, job: str) -> set[str]:
        """Return the states of the tasks of a job; none if it is forgotten."""
        return set(self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T", check=False).split())

    def wait(self, job: str, timeout: float = 300) -> None:
        """Wait until a job has ended well."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"}
        self.wait_for(lambda: self.state(job) <= over, f"the end of job {job}", timeout)
        assert self.state(job) <= {"COMPLETED"}, self.run("scontrol", "show", "job", job, check=False) + self._logs()

    def wait_for(self, met: Callable[[], bool], what: str, timeout: float = _PATIENCE) -> None:
        """Wait until something is met."""
        end = time.monotonic() + timeout
        while not met():
            assert time.monotonic() < end, f"no {what} after {timeout:g} s\n{self._logs()}"
            time.sleep(_AFTER)

    def _logs(self) -> str:
        """Return the ends of what the daemons have said."""
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log"))
