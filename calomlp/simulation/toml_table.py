"""A TOML table that is read key by key and complains about whatever is wrong with it, in one line."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, Self

from calomlp.errors import UsageError, did_you_mean
from calomlp.units import Quantity, parse_quantity

_LIMITS = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}
_HUGE = 1e99
"""Beyond this, a number is no physics, and its square no number."""


class TomlTable:
    """Reads the keys of one table, checks them and remembers which were asked for.

    Use it as a context manager: leaving the block reports keys that nobody asked for.

    Args:
        content: The table.
        file: Name of the file, for error messages.
        path: Place of the table in the file, such as ``layers.front``; empty for the whole document.
    """

    def __init__(self, content: object, file: str, path: str = "") -> None:
        self._file = file
        self.path = path
        if not isinstance(content, Mapping):
            raise UsageError(f"{self.where}: expected a table, got {content!r}")
        self._content: Mapping[str, Any] = content
        self._known: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for key in self._content:
                if key not in self._known:
                    raise UsageError(f"{self.where}: unknown key {key!r}; {did_you_mean(key, self._known, limit=20)}")

    @property
    def where(self) -> str:
        """File and table, for error messages."""
        return f"{self._file}: {self.path}" if self.path else self._file

    def place(self, key: str) -> str:
        """Return the place of ``key`` for error messages."""
        return f"{self.where}: {key}"

    def has(self, key: str) -> bool:
        """Whether ``key`` is there; after this question it is a known key."""
        self._known.append(key)
        return key in self._content

    def take(self, key: str, default: object = None) -> Any:
        """Return what is under ``key``, or a default that is not None."""
        if self.has(key):
            return self._content[key]
        if default is None:
            raise UsageError(f"{self.where}: {key} is missing")
        return default

    def _below(self, key: str, content: object) -> TomlTable:
        return TomlTable(content, self._file, f"{self.path}.{key}" if self.path else key)

    def table(self, key: str) -> TomlTable:
        """Return the table under ``key``, an empty one if it is not there."""
        return self._below(key, self.take(key, {}))

    def tables(self, key: str) -> list[TomlTable]:
        """Return the tables of an array that has at least one."""
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise UsageError(f"{self.place(key)} = {value!r} is not an array with at least one table")
        return [self._below(f"{key}[{i}]", item) for i, item in enumerate(value)]

    def other_tables(self) -> dict[str, TomlTable]:
        """Return the tables under keys that nobody has asked for yet, in order."""
        others = [key for key, value in self._content.items() if isinstance(value, Mapping) and key not in self._known]
        return {key: self.table(key) for key in others}

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not empty unless that is its default."""
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and value != default):
            raise UsageError(f"{self.place(key)} = {value!r} is not a non-empty string")
        return value

    def word(self, key: str) -> str:
        """Return a string that can be part of a path."""
        value = self.text(key)
        if not re.fullmatch(r"[a-z0-9-]+", value):
            raise UsageError(f"{self.place(key)} = {value!r} is not legal: lower-case letters, digits and -")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{self.place(key)} = {value!r} is neither true nor false")
        return value

    def count(self, key: str, default: int | None = None, *, at_most: int) -> int:
        """Return an integer of at least 1."""
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= at_most:
            raise UsageError(f"{self.place(key)} = {value!r} is not a whole number from 1 to {at_most}")
        return value

    def indices(self, key: str, size: int) -> tuple[int, ...]:
        """Return an array of integers from 0 to ``size - 1``, sorted and each once; an empty one if it is not there."""
        values = self.take(key, [])
        if not isinstance(values, list):
            raise UsageError(f"{self.place(key)} = {values!r} is not an array of whole numbers")
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
                raise UsageError(f"{self.place(key)}: {value!r} is not a whole number from 0 to {size - 1}")
        return tuple(sorted(set(values)))

    def number(self, key: str, **limits: float) -> float:
        """Return a number.

        Args:
            key: Its key.
            limits: What it must be: ``above``, ``at_least``, ``below``, ``at_most``.
        """
        value = self.take(key)
        legal = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE
        if not legal or not all(_LIMITS[name](value, limit) for name, limit in limits.items()):
            wanted = " and ".join(f"{name.replace('_', ' ')} {limit:g}" for name, limit in limits.items())
            raise UsageError(f"{self.place(key)} = {value!r} is not a number that is {wanted}")
        return float(value)

    def quantity(self, key: str, *units: str) -> Quantity:
        """Return a number with a unit, converted to one of ``units``."""
        return parse_quantity(self.take(key), *units, where=self.place(key))
