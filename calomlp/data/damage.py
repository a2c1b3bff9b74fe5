"""What keeps a damaged file from filling the memory, and what is said about it."""

from __future__ import annotations

import re
import struct
from typing import Any

_MAX_COMPRESSION = 1 << 15
"""No codec of ROOT packs more tightly: zstandard, the best of them at it, needs 4 bytes for 128 KiB of the same."""

_RECORD = struct.Struct(">ihi")  # bytes in the file, version, bytes when unpacked: how every record of a file begins
_MAX_LENGTH = 160  # characters


def check_packed(packed: int, unpacked: int, start: int) -> None:
    """Refuse a piece of a file that would be larger when unpacked than it can be.

    Raises:
        ValueError: Saying where it lies.
    """
    if not 0 <= unpacked <= packed * _MAX_COMPRESSION:
        raise ValueError(f"the {packed} bytes at {start} claim to unpack to {unpacked}")


def check_record(source: Any, start: int, size: int | None = None) -> None:
    """Refuse a record of a file by its first bytes.

    Args:
        source: The bytes of the file, from uproot.
        start: Where the record begins.
        size: Its size, if it is known from elsewhere.

    Raises:
        ValueError: Saying where it lies.
    """
    packed, _, unpacked = _RECORD.unpack(source.chunk(start, start + _RECORD.size).raw_data)
    if size is not None and packed != size:
        raise ValueError(f"{packed} bytes at {start}, where {size} should be")
    check_packed(packed, unpacked, start)


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
