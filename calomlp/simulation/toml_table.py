"""A TOML table that is read key by key and complains about whatever is wrong with it, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from calomlp.errors import UsageError, did_you_mean


class TomlTable:
    """Reads the keys of one table, checks them and remembers which were asked for.

    Use it as a context manager: leaving the block reports keys that nobody asked for.

    Args:
        content: The table.
        where: Its place, ``file: table``, for error messages.
    """

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, Mapping):
            raise UsageError(f"{where}: expected a table, got {content!r}")
        self._content: Mapping[str, Any] = content
        self._where = where
        self._known: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for key in self._content:
                if key not in self._known:
                    raise UsageError(f"{self._where}: unknown key {key!r}; {did_you_mean(key, self._known, limit=20)}")

    def place(self, key: str) -> str:
        """Return the place of ``key`` for error messages."""
        return f"{self._where}: {key}"

    def has(self, key: str) -> bool:
        """Whether ``key`` is there; after this question it is a known key."""
        self._known.append(key)
        return key in self._content

    def _take(self, key: str, default: object) -> Any:
        if self.has(key):
            return self._content[key]
        if default is None:
            raise UsageError(f"{self._where}: {key} is missing")
        return default

    def table(self, key: str) -> TomlTable:
        """Return the table under ``key``."""
        return TomlTable(self._take(key, None), self.place(key))

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not empty unless that is its default."""
        value = self._take(key, default)
        if not isinstance(value, str) or (not value and value != default):
            raise UsageError(f"{self.place(key)} = {value!r} is not a non-empty string")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{self.place(key)} = {value!r} is neither true nor false")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Return an integer of at least 1."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{self.place(key)} = {value!r} is not a whole number of at least 1")
        return value

    def number(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """Return a finite number that is at least 0, or above 0 where ``positive``."""
        value = self._take(key, default)
        legal = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not legal or value < 0 or (positive and value == 0):
            raise UsageError(f"{self.place(key)} = {value!r} is not a number {'above 0' if positive else '>= 0'}")
        return float(value)

    def items(self, key: str) -> list[Any]:
        """Return an array with at least one element."""
        value = self._take(key, None)
        if not isinstance(value, list) or not value:
            raise UsageError(f"{self.place(key)} = {value!r} is not an array with at least one element")
        return value
