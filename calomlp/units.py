"""Counts and durations as people write them: ``200k``, ``1h30m``."""

from __future__ import annotations

import math
import re

from calomlp.errors import UsageError

_MULTIPLIER = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_count(text: str | int) -> int:
    """Read a number of events: ``5000``, ``200k``, ``1.5M``, ``1e6``.

    Raises:
        UsageError: If the text is not a whole number above zero.
    """
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([kMG]?)", str(text).strip().replace("_", ""))
    try:
        value = float(match[1]) * _MULTIPLIER[match[2]] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1 and value == int(value)):
        raise UsageError(f"{text!r} is not a count: legal are whole numbers above zero such as 5000, 200k, 1.5M")
    return int(value)


def parse_duration(text: str | float) -> float:
    """Read a duration in seconds: ``90``, ``90s``, ``30m``, ``1h30m``, ``2d``.

    Raises:
        UsageError: If the text is not a duration above zero.
    """
    written = str(text).strip()
    parts = re.findall(r"([0-9.]+)([smhd])", written)
    try:
        if re.fullmatch(r"[0-9.]+", written):
            seconds = float(written)
        elif "".join(number + unit for number, unit in parts) == written:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            seconds = 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{text!r} is not a duration: legal are 90, 90s, 30m, 1h30m, 2d")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration briefly: ``0.8 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
