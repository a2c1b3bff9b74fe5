"""Files behind URLs, on a server that counts what it sends, and that fails on demand."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.data import remote
from calomlp.data.root import open_table
from calomlp.data.sources import Source, resolve
from calomlp.data.writer import read_origin
from calomlp.errors import ExitCode, InputError, Interrupted
from calomlp.run import Interrupt
from calomlp.streams import Streams
from tests.conftest import Run

pytest.importorskip("aiohttp", reason="reads https://: pip install '.[http]'")

EVENTS, BRANCHES = 20_000, 30
WANTED = ["b07", "b21"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of many branches, as large as their numbers."""
    names = [f"b{number:02}" for number in range(BRANCHES)]
    contents = {}
    for container in ("ttree", "rntuple"):
        path = tmp_path_factory.mktemp("remote") / "f.root"
        with uproot.recreate(path) as file:
            make = file.mktree if container == "ttree" else file.mkrntuple
            tree = make("events", dict.fromkeys(names, np.dtype("f8")))
            for part in range(2):
                tree.extend({name: numbers(name)[part * EVENTS // 2 :][: EVENTS // 2] for name in names})
        contents[container] = path.read_bytes()
    return contents


def numbers(name: str) -> np.ndarray:
    return np.random.default_rng(int(name[1:])).random(EVENTS)


class Server(ThreadingHTTPServer):
    """Serves one file under every name."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.etag: str | None = '"1"'
        self.ranges = True
        self.faults: Callable[[int], str] = lambda _: ""  # what happens to the request with this number
        self.elsewhere = ""  # where all other names are sent
        self.paths: list[str] = []
        self.sent = 0
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing about clients that went away."""

    def url(self, path: str = "/f.root") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def source(self) -> Source:
        return Source(self.url(), None, self.url())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        content = self.server.content
        fault = self.server.faults(len(self.server.paths))
        self.server.paths.append(self.path)
        if self.server.elsewhere not in ("", self.path):
            fault = "302"
        if fault.isdecimal():
            self.send_response(int(fault))
            self.send_header("Location", self.server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "hang":
            self.server.over.wait()
        if fault in ("hang", "drop"):
            self.close_connection = True
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        if self.server.ranges and wanted:
            start, stop = int(wanted[1]), int(wanted[2]) + 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
            content = content[start:stop]
        else:
            self.send_response(200)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "cut":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)
        self.server.sent += len(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def streams() -> Iterator[Streams]:
    found = Streams(io.BytesIO(), io.BytesIO(), io.BytesIO())
    yield found
    found.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.02, 0.03))


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[Server]:
    with Server(files["ttree"]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def read(source: Source) -> None:
    """Read two of the branches, and check them."""
    with open_table(source) as table:
        (chunk,) = [chunk for _, chunk in table.chunks(WANTED)]
    assert all((chunk[name] == numbers(name)).all() for name in WANTED)


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_only_what_is_wanted_is_transferred(server: Server, files: dict[str, bytes], container: str) -> None:
    server.content = files[container]
    read(server.source())
    assert server.sent < 2.5 * len(server.content) * len(WANTED) / BRANCHES
    assert len(server.paths) < 15


def test_a_server_that_sends_whole_files_only(server: Server) -> None:
    server.ranges = False
    with pytest.raises(InputError, match=r"f\.root: the server sends no parts of files: download it"):
        read(server.source())
    assert len(server.paths) == 1


FAULTS = pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("503", "the server answers 503 Service Unavailable"),
        ("429", "the server answers 429 Too Many Requests"),
        ("drop", "Server disconnected|.*Connection reset by peer"),
        ("cut", "Response payload is not completed"),
        ("hang", "no answer within 0.1 s"),
    ],
)


@FAULTS
@pytest.mark.parametrize(("container", "first"), [("ttree", 0), ("ttree", 3), ("rntuple", 6)])
def test_what_may_pass_is_survived(
    server: Server,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    reason: str,
    container: str,
    first: int,
) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    server.content = files[container]
    server.faults = lambda number: fault if first <= number < first + 3 else ""
    read(server.source())
    assert caplog.messages or fault == "drop"  # for a connection that was open before, aiohttp does it once itself
    for message in caplog.messages:
        assert re.fullmatch(rf"{re.escape(server.url())}: ({reason}); asking again in 0\.0[123] s", message)


@FAULTS
def test_what_does_not_pass_is_one_line_after_some_attempts(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str, reason: str
) -> None:
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    server.faults = lambda number: fault if number >= 3 else ""
    start = time.monotonic()
    with pytest.raises(InputError) as failure:
        read(server.source())
    assert time.monotonic() - start < 3
    assert re.fullmatch(f"{re.escape(server.url())}: cannot be read: ({reason})", str(failure.value))
    assert len(caplog.messages) == len(remote.PAUSES)


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_wherever_a_server_stops_it_is_the_same_line(server: Server, files: dict[str, bytes], container: str) -> None:
    server.content = files[container]
    read(server.source())
    for answers in range(len(server.paths)):
        last = len(server.paths) + answers
        server.faults = lambda number, last=last: "503" if number >= last else ""  # type: ignore[misc]
        with pytest.raises(InputError) as failure:
            read(server.source())
        assert str(failure.value) == f"{server.url()}: cannot be read: the server answers 503 Service Unavailable"


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "410", "416"])
def test_what_will_not_pass_is_not_asked_for_again(server: Server, status: str) -> None:
    server.faults = lambda _: status
    with pytest.raises(InputError, match=f"f.root: cannot be read: the server answers {status} "):
        read(server.source())
    assert len(server.paths) == 1


def test_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/f.root"
        with pytest.raises(InputError, match=r"f\.root: cannot be read: Cannot connect to host 127"):
            read(Source(url, None, url))
    assert len(caplog.messages) == len(remote.PAUSES)


@pytest.mark.parametrize("etag", ['"1"', None])
def test_a_file_that_changes_while_it_is_read(server: Server, etag: str | None) -> None:
    server.etag = etag
    with open_table(server.source()) as table:
        if etag:
            server.etag = '"2"'
        else:
            server.content += b"more"
        with pytest.raises(InputError, match=r"f\.root: has changed while it was read"):
            list(table.chunks(WANTED))


def test_a_file_that_is_not_all_there(server: Server) -> None:
    whole = len(server.content)
    server.content = server.content[: whole // 2]
    with pytest.raises(InputError, match=f"is truncated: {whole // 2} bytes are left of {whole}"):
        read(server.source())


def test_a_server_that_sends_us_elsewhere(server: Server) -> None:
    server.elsewhere = "/disk%202/f.root?signature=a%2Fb%2Bc/d%3D"
    read(server.source())
    assert set(server.paths) == {"/f.root", server.elsewhere}


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/my%20file.root:events", "/my%20file.root"),
        ("/my file.root:events", "/my%20file.root"),
        ("/f.root:events?token=a%2Fb%2Bc/d%3D", "/f.root?token=a%2Fb%2Bc/d%3D"),
        ("/f.root?token=a+b/c:events", "/f.root?token=a+b/c"),
    ],
)
def test_how_a_url_is_sent(server: Server, streams: Streams, path: str, sent: str) -> None:
    (found,) = resolve([server.url(path)], streams)
    assert found.tree == "events"
    read(found)
    assert set(server.paths) == {sent}


def test_a_second_signal_does_not_wait_for_a_server(server: Server) -> None:
    server.faults = lambda _: "hang"
    start = time.monotonic()
    with Interrupt(), pytest.raises(Interrupted):
        for delay in (0.1, 0.2):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGTERM)).start()
        read(server.source())
    assert time.monotonic() - start < 3


def test_where_a_file_is_from_is_read_if_it_can_be(server: Server, tmp_path: Path) -> None:
    assert read_origin(server.source()) == {}
    with uproot.recreate(tmp_path / "f.root") as file:
        file["provenance"] = '{"simulation": {"seed": 3}}'
    server.content = (tmp_path / "f.root").read_bytes()
    assert read_origin(server.source()) == {"simulation": {"seed": 3}}
    server.faults = lambda _: "404"
    assert read_origin(server.source()) == {}
    server.faults = lambda _: "hang"
    with Interrupt(), pytest.raises(Interrupted):  # whoever has had enough is not told that there is nothing
        for delay in (0.1, 0.2):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGTERM)).start()
        read_origin(server.source())


def test_a_command_survives_and_says_so(server: Server, calomlp: Run) -> None:
    server.faults = lambda number: "503" if number == 1 else ""
    done = calomlp("inspect", f"{server.url()}:events")
    assert done.returncode == ExitCode.OK, done.stderr
    assert b"503 Service Unavailable; asking again in " in done.stderr


def test_a_command_that_gets_nothing(server: Server, calomlp: Run) -> None:
    server.faults = lambda _: "404"
    done = calomlp("inspect", server.url())
    assert done.returncode == ExitCode.INPUT
    assert done.stderr.decode().count("\n") == 1
    assert b"the server answers 404 Not Found" in done.stderr
