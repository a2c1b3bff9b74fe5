"""Files behind URLs: read in ranges, from servers that may be busy and over connections that may break."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib import import_module
from typing import Any, Self, TypeVar

from fsspec.asyn import sync
from fsspec.core import url_to_fs

from calomlp.errors import CalomlpError, InputError

logger = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before a request is repeated, once, twice and so on [s]."""

TIMEOUT = 30
"""How long a server may take to answer, or to go on with an answer [s]."""

_CONNECTIONS = 8
_MAX_LENGTH = 160  # characters
_MAY_PASS = frozenset(map(HTTPStatus, (408, 425, 429, 500, 502, 503, 504)))

_T = TypeVar("_T")


class Remote:
    """A file behind a URL; a context manager.

    What fails and may succeed the next time is repeated: a connection that breaks or takes too long, a server that says
    that it is busy. The clients of XRootD and S3 do that themselves, and what they give up on is not repeated here.

    Args:
        url: Its URL, for any protocol that fsspec knows.

    Raises:
        ImportError: If the protocol needs a package that is not installed.
        ValueError: If there is no such protocol.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Any = None
        self._http_stamp: tuple[int | None, str | None] | None = None
        self._passing: tuple[type[Exception], ...] = (ConnectionError, TimeoutError)
        self._lasting: tuple[type[Exception], ...] = ()
        scheme = url.partition("://")[0].lower()
        options: dict[str, Any] = {}
        if scheme in ("http", "https"):  # a URL that is encoded already may be signed, and is sent as it is
            options = {"get_client": self._connect, "encoded": "%" in url, "skip_instance_cache": True}
        elif scheme == "root":
            options = {"timeout": TIMEOUT}
        self._system, self._path = url_to_fs(url, **options)
        if scheme == "root":
            window = TIMEOUT // 6  # instead of two minutes, in which it would try to connect only once
            import_module("XRootD.client").EnvPutInt("ConnectionWindow", window)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            sync(self._system.loop, self._session.close)

    async def _connect(self, *, loop: Any, **options: Any) -> Any:  # noqa: ARG002 - it runs there
        """Return what fsspec sends its HTTP requests through."""
        import aiohttp  # noqa: PLC0415 - an optional package, which fsspec has found already

        self._passing += (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
        self._lasting = (aiohttp.ClientSSLError,)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(sock_connect=TIMEOUT, sock_read=TIMEOUT),
            headers={"Accept-Encoding": "identity"},  # a range of the file, not of something packed
            requote_redirect_url=False,  # it may be signed
            trust_env=True,  # proxies, and the passwords in ~/.netrc
            raise_for_status=self._examine,
            **options,
        )
        return self._session

    async def _examine(self, response: Any) -> None:
        """Look at the head of an answer before its body is read.

        Raises:
            ConnectionError: If the server may answer the next time.
            InputError: If it will not, or the file is not what it was.
        """
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            response.close()  # without waiting for what may be a whole file
            if response.status == HTTPStatus.OK:
                raise InputError(f"{self._url}: the server sends no parts of files: download it and read the copy")
            refusal = f"the server answers {response.status} {response.reason}"
            if response.status in _MAY_PASS:
                raise ConnectionError(refusal)
            raise InputError(f"{self._url}: cannot be read: {refusal}")
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
        mark = response.headers.get("ETag", response.headers.get("Last-Modified"))
        stamp = (int(size) if size.isdecimal() else None, mark)
        if self._http_stamp not in (None, stamp):
            raise InputError(f"{self._url}: has changed while it was read")
        self._http_stamp = stamp

    def stamp(self) -> tuple[int | None, str | None]:
        """Return the size [byte] and what else tells this version of the file from another, as far as they are known.

        Over HTTP that costs nothing, because every answer says it.

        Raises:
            InputError: If the server does not tell.
        """
        if self._http_stamp is not None:
            return self._http_stamp
        info = self._insist(lambda: self._system.info(self._path))
        return info["size"], info.get("ETag")  # replicas have times of their own

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of ranges, which are asked for side by side.

        Raises:
            InputError: If the server does not send them.
        """
        pieces: dict[tuple[int, int], bytes] = {}

        def ask() -> None:
            missing = [item for item in ranges if item not in pieces]
            starts, stops = map(list, zip(*missing, strict=True))
            answers = self._system.cat_ranges([self._path] * len(missing), starts, stops, on_error="return")
            failures = [answer for answer in answers if isinstance(answer, Exception)]
            pieces.update(pair for pair in zip(missing, answers, strict=True) if not isinstance(pair[1], Exception))
            if failures:
                raise failures[0]

        self._insist(ask)
        return [pieces[item] for item in ranges]

    def _insist(self, request: Callable[[], _T]) -> _T:
        """Make a request, and again if it fails in a way that may pass."""
        pauses = iter(PAUSES)
        while True:
            try:
                return request()
            except CalomlpError:
                raise
            except Exception as error:
                reason = _reason(error)
                pause = next(pauses, None)
                if pause is None or not self._may_pass(error):
                    raise InputError(f"{self._url}: cannot be read: {reason}") from error
            logger.warning("%s: %s; asking again in %g s", self._url, reason, pause)
            time.sleep(pause)

    def _may_pass(self, error: Exception) -> bool:
        lasting = isinstance(error, self._lasting) or getattr(error, "errno", None) == socket.EAI_NONAME
        return isinstance(error, self._passing) and not lasting


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    text = brief(error).partition(": <")[0]  # in which aiohttp repeats itself
    return re.split(r"\[(?:ERROR|FATAL)\] ", text)[-1]  # before it, XRootD says where that came up


def brief(error: Exception) -> str:
    """Return somebody else's error as one line; it may go on for pages, and repeat where the file lies."""
    message = str(getattr(error, "message", error))  # what uproot adds to it is a dump of what it was reading
    text = re.split(r"\s+(?:in|for) file |\s+in object ", message, maxsplit=1)[0]
    text = " ".join(text.split())[:_MAX_LENGTH]
    if text.startswith("expected Chunk of length"):
        return "it ends early"
    if " " in text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
