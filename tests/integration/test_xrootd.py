"""Reading through a real XRootD server, which may go away.

It needs the server, ``apt install xrootd-server`` or ``conda install xrootd``, and the client, ``pip install
'.[xrootd]'``; then ``pytest -m integration``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from calomlp.data import remote, root
from calomlp.data.root import open_table
from calomlp.data.sources import Source
from calomlp.errors import ExitCode, InputError
from tests.conftest import SAMPLE_DATA, Run

pytest.importorskip("fsspec_xrootd", reason="no XRootD client: pip install '.[xrootd]'")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("xrootd") is None, reason="no XRootD server: apt install xrootd-server"),
]

USER = "xrootd"  # which the Debian package makes, and the server becomes, because it does not run as root


class Server:
    """Serves a folder of its own on a port of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xrootd-"))  # that of pytest is closed to other users
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        admin = self.folder / "admin"
        admin.mkdir()
        lines = (f"xrd.port {self.port}", f"all.export {self.folder}", f"all.adminpath {admin}", f"all.pidpath {admin}")
        (self.folder / "server.cfg").write_text("\n".join(lines) + "\n")
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(admin, USER)
        self.start()

    def start(self) -> None:
        become = ["-R", USER] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["xrootd", *become, "-c", self.folder / "server.cfg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError("the XRootD server does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def source(self, name: str) -> Source:
        url = f"root://127.0.0.1:{self.port}/{self.folder}/{name}"
        return Source(url, None, url)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        for path in SAMPLE_DATA.glob("*.root"):
            shutil.copy(path, server.folder)
        yield server


def read(source: Source) -> dict[str, np.ndarray]:
    with open_table(source) as table:
        (chunk,) = [chunk for _, chunk in table.chunks(["true_energy", "layer_energy"])]
    return chunk


@pytest.mark.parametrize("name", ["electrons.root", "pions.root"])
def test_a_file_is_the_same_as_here(server: Server, name: str) -> None:
    there, here = read(server.source(name)), read(Source(str(SAMPLE_DATA / name), None, name))
    assert all((there[column] == here[column]).all() for column in here)


def test_a_command(server: Server, calomlp: Run) -> None:
    done = calomlp("inspect", f"{server.source('electrons.root').path}:events")
    assert done.returncode == ExitCode.OK, done.stderr


def test_a_file_that_is_not_there(server: Server) -> None:
    with pytest.raises(InputError, match=r"x\.root: cannot be read: .*no such file"):
        read(server.source("x.root"))


@pytest.fixture
def chunks(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Iterator[tuple[int, dict[str, np.ndarray]]]]:
    """Chunks of a file of which a few have been read."""
    monkeypatch.setattr(remote, "TIMEOUT", 6)
    monkeypatch.setattr(root, "_CHUNK_BYTES", 50_000)
    with open_table(server.source("electrons.root")) as table:
        chunks = table.chunks(["true_energy", "layer_energy"])
        assert next(chunks)[0] == 0
        yield chunks


def test_a_server_that_comes_back(server: Server, chunks: Iterator[tuple[int, dict[str, np.ndarray]]]) -> None:
    server.kill()
    restart = threading.Timer(2, server.start)
    restart.start()
    events = sum(len(chunk["true_energy"]) for _, chunk in chunks)
    restart.join()
    assert 3000 < events < 4000


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_goes_away(
    server: Server, chunks: Iterator[tuple[int, dict[str, np.ndarray]]], signum: signal.Signals
) -> None:
    server.process.send_signal(signum)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"electrons\.root: cannot be read: (Connection error|Operation expired)$"):
        list(chunks)
    assert time.monotonic() - start < 20
