"""Dataclasses as JSON documents, by their type hints: writing, reading, and their JSON Schema."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def to_document(value: Any) -> Any:
    """Return what JSON can hold: dataclasses become objects, tuples and arrays lists.

    A field whose metadata say ``document=False`` is left out: it follows from the others. What has a method
    ``as_document`` becomes what that returns, and is read by the class method ``of_document``.
    """
    if hasattr(value, "as_document"):
        return to_document(value.as_document())
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
        value: From JSON; what is a dataclass already stays as it is. Keys that no field has are passed over.

    Raises:
        ValueError: If an array of numbers is none, or an enum has no such value.
    """
    if hasattr(kind, "of_document") or (isinstance(kind, type) and issubclass(kind, Enum)):
        return getattr(kind, "of_document", kind)(value)
    if is_dataclass(kind):
        if type(value) is kind:
            return value
        hints = _hints(kind)  # type: ignore[arg-type]
        known = {name: from_document(hints[name], item) for name, item in value.items() if name in hints}
        return kind(**known)  # type: ignore[operator]
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


def schema_of(kind: Any, definitions: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of what :func:`to_document` makes of a type, with descriptions from docstrings.

    Args:
        kind: A dataclass, or a type hint that stands in one.
        definitions: Where the schemas of dataclasses go, by name; those of the whole if it is not given.
    """
    if definitions is None:
        found: dict[str, Any] = {}
        root = schema_of(kind, found)
        return {**found.pop(kind.__name__), "$defs": dict(sorted(found.items()))} if root else {}
    if is_dataclass(kind):
        name = getattr(kind, "__name__", "")
        if name not in definitions:
            definitions[name] = {}  # a type may hold itself
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(argument, definitions) for argument in arguments]}
    if origin is np.ndarray:
        return {"type": "array"}  # of whole numbers, so many that looking at each by itself takes seconds
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], definitions)}
    return {}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.metadata.get("document", True)]
    told = _attributes(kind.__doc__ or "")
    return {
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {
            name: {**({"description": told[name]} if name in told else {}), **schema_of(hints[name], definitions)}
            for name in names
        },
    }


def _attributes(docstring: str) -> dict[str, str]:
    """Return what the section on attributes of a docstring says of each of them."""
    section = inspect.cleandoc(docstring).partition("\nAttributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
