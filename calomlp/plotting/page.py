"""Pages of text and tables, 80 columns wide, for a terminal or a plain file; nothing is printed here."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from calomlp.plotting.quantity import count
from calomlp.plotting.tables import Table, versions

Page = list[str | tuple[str, Table]]
"""Blocks of text, and tables with their titles, in the order in which they are read."""

WIDTH = 80

_MAX_FILES = 20
_HANGING = "  "


def fill(text: str, *, indent: str = "", hanging: str = _HANGING) -> str:
    """Wrap a sentence.

    Args:
        text: The sentence.
        indent: What its first line begins with.
        hanging: What the others begin with.
    """
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Write a line for each fact, its name on the left; long ones go on below themselves, empty ones are left out."""
    told = [(name, text) for name, text in rows if text]
    indent = max(len(name) for name, _ in told) + 3
    return "\n".join(fill(text, indent=f" {name}".ljust(indent), hanging=" " * indent) for name, text in told)


def origin(title: str, provenance: Mapping[str, Any]) -> str:
    """Write what made an artefact: versions, and the command if it was made by one.

    Args:
        title: What to begin with.
        provenance: As :func:`calomlp.provenance.provenance` returns it.
    """
    made = ", ".join(filter(None, (versions(provenance), provenance.get("machine"))))
    words = provenance.get("command")
    return f"{fill(f'{title} {made}')}" + (f":\n\n{shell_lines(words)}" if words else "")


def shell_lines(words: Iterable[str]) -> str:
    """Write a command on as many lines as it needs, so that it can be read, and copied into a shell as it is."""
    arguments: list[str] = []
    for before, word in pairwise(["", *words]):
        if before.startswith("-") and not word.startswith("-"):  # a flag and its value stay together
            arguments[-1] += f" {shlex.quote(word)}"
        else:
            arguments.append(shlex.quote(word))
    lines = [_HANGING]
    for argument in arguments:
        if lines[-1].strip() and len(f"{lines[-1]}{argument} \\") > WIDTH:
            lines.append(3 * _HANGING)
        lines[-1] += f"{argument} "
    return "\\\n".join(lines).rstrip()


def file_table(files: Iterable[tuple[str, str, int]]) -> Table:
    """Return a row for each file: path, tree and number of events; of very many, the first."""
    rows = [(path, tree, count(events)) for path, tree, events in files]
    return Table(("file", "tree", "events"), first_rows(rows, _MAX_FILES))


def first_rows(rows: Sequence[tuple[object, ...]], limit: int) -> tuple[tuple[str, ...], ...]:
    """Return the first rows of a table as text, and one that says how many there are besides."""
    first = tuple(tuple(map(str, row)) for row in rows[:limit])
    if len(rows) <= limit:
        return first
    more = f"and {count(len(rows) - limit)} more, all in --json"
    return (*first, (more, *("",) * (len(rows[0]) - 1)))
