"""Single values of a detector file, replaced from a command line: ``layers.absorber.thickness=3mm``."""

from __future__ import annotations

import tomllib
from typing import Any

from calomlp.errors import UsageError, did_you_mean

_OPTIONAL = ("response", "readout")
"""Tables that a detector and a group of layers may have, and get when something is put into them."""


def override(content: dict[str, Any], assignment: str) -> None:
    """Replace one value in the content of a detector file, in place; whether it is legal, the parser decides.

    A path has the keys of the file, joined by dots. In ``layers`` comes the name of a group of layers, or none for all
    of them: ``layers.rear.absorber.material=Pb`` holds for the group ``rear``, ``layers.absorber.thickness=3mm`` for
    every group that has an ``absorber``. ``response`` and ``readout`` of the detector hold for the groups that do not
    say otherwise: ``readout.noise=0.2MIP`` leaves alone a group with a noise of its own, and
    ``layers.readout.noise=0.2MIP`` does not.

    Args:
        content: The parsed TOML document.
        assignment: ``PATH=VALUE``, where the value is a number, a boolean, an array, or else text.

    Raises:
        UsageError: If the assignment has no such form, or its path leads nowhere.
    """
    path, equals, text = assignment.partition("=")
    *steps, key = (step.strip() for step in path.split("."))
    if not equals or not all([*steps, key]):
        raise UsageError(f"--set {assignment}: not PATH=VALUE, such as layers.absorber.thickness=3mm")
    tables = [content]
    for i, step in enumerate(steps):
        if step in _OPTIONAL:
            for table in tables:
                table.setdefault(step, {})
        behind = _tables_behind(tables)
        if steps[:i] == ["layers"]:
            behind |= {str(group.get("name")): [group] for group in tables}
        if step not in behind:
            place = f" in {'.'.join(steps[:i])}" if i else ""
            legal = [*behind, *(_OPTIONAL if behind else ())]
            raise UsageError(f"--set {assignment}: no {step!r}{place}; {did_you_mean(step, legal)}")
        tables = behind[step]
    for table in tables:
        table[key] = _parse_value(text)


def _tables_behind(tables: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the tables one step further by the key that leads to them; a table without that key is left behind."""
    behind: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        for key, value in table.items():
            items = value if isinstance(value, list) else [value]
            if found := [item for item in items if isinstance(item, dict)]:
                behind.setdefault(key, []).extend(found)
    return behind


def _parse_value(text: str) -> Any:
    """Read a TOML value; what is none, such as ``3mm`` or ``Pb``, is text."""
    try:
        document = tomllib.loads(f"value = {text}")
    except ValueError:
        document = {}
    return document["value"] if set(document) == {"value"} else text.strip()
