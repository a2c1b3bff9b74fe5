"""From dataclasses to JSON and back, by their type hints: one rule for everything that a report holds."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np


def to_document(value: Any) -> Any:
    """Return what JSON can hold: dataclasses become objects, tuples and arrays lists.

    A field whose metadata say ``document=False`` is left out: it follows from the others.
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = (item for item in fields(value) if item.metadata.get("document", True))
        return {item.name: to_document(getattr(value, item.name)) for item in kept}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_document(item) for item in value]
    return value


def from_document(kind: Any, value: Any) -> Any:
    """Return what a document stands for; the inverse of :func:`to_document`, for a document that follows its schema.

    Args:
        kind: A dataclass, or one of the type hints that stand in one.
        value: From JSON; what is a dataclass already stays as it is.

    Raises:
        ValueError: If an array of numbers is none.
    """
    if is_dataclass(kind):
        if type(value) is kind:
            return value
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: from_document(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (other,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else from_document(other, value)
    if origin is np.ndarray:
        array = np.array(value, dtype=None if value else np.int64)
        if array.ndim != 1 or array.dtype.kind != "i":
            raise ValueError("where whole numbers are wanted stands something else")
        return array
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(from_document(item, part) for item, part in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = arguments
        return {key(name): from_document(item, part) for name, part in value.items()}
    return value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)
