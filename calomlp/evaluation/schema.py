"""The schema of a report, as its types have it: `python -m tests.evaluation.schema > FILE` after these have changed."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from calomlp.evaluation.report import REPORT_SCHEMA, Report

_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def schema() -> dict[str, Any]:
    """Return what `calomlp/evaluation/report.schema.json` holds."""
    found = schema_of(Report)
    found["properties"] = {"schema": {"const": REPORT_SCHEMA}, **found["properties"]}
    found["required"] = ["schema", *found["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "calomlp report"}
    return {**head, **found}


def schema_of(kind: Any, definitions: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of what `to_document` makes of a type, with descriptions from docstrings.

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


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))  # noqa: T201 - this is what it is for
