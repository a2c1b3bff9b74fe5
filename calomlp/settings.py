"""Settings: one definition gives the flag, its help, the TOML key, the environment variable and the default.

Every command has one frozen dataclass whose fields are made with :func:`setting`. The door turns it into flags, and the
core receives it filled in.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from calomlp.errors import UsageError, did_you_mean

_FILE_KEYS = ("files", "true_energy", "tree")


@dataclass(frozen=True)
class Setting:
    """Declaration of a setting: its help, its flags, its legal values.

    Attributes:
        help: One line for ``--help``.
        flags: Short or alternative flags; the long one is the field's name.
        panel: Heading under which ``--help`` lists it.
        choices: The legal values, where they are few.
        parse: Turns text into the value, where the type alone does not.
        metavar: Placeholder of the value in ``--help``.
        positional: Whether it is an argument and not a flag.
    """

    help: str
    flags: tuple[str, ...] = ()
    panel: str = "Main"
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    positional: bool = False


def setting(default: Any, help: str, *flags: str, **details: Any) -> Any:  # noqa: A002 - the word that typer uses too
    """Declare a field of a settings dataclass; see :class:`Setting` for ``details``."""
    return field(default=default, metadata={"setting": Setting(help, flags, **details)})


def declared(kind: type[Any]) -> dict[str, Setting]:
    """Return the settings of a dataclass by field name, in order."""
    return {item.name: item.metadata["setting"] for item in fields(kind)}


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the legal ones.

    Raises:
        UsageError: With a did-you-mean.
    """
    if value not in choices:
        raise UsageError(f"{name} {value!r} is unknown: {did_you_mean(value, choices)}")


def load_config(path: str, command: str, tables: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Read one command's table of a TOML configuration file, and the files that it names for all commands.

    Tables ``[[data]]`` name files and say what is known of them; they stand for the ``data`` of every command whose own
    table has none::

        [[data]]
        files = "run10*.root"  # or several
        true_energy = 10       # of all their events, in GeV
        tree = "hits"

    Args:
        path: The file.
        command: The command whose table is wanted.
        tables: The settings dataclass of every command.

    Returns:
        The values in the table, still untyped; empty if the file has no such table.

    Raises:
        UsageError: If the file cannot be read, or holds a table or a key that is unknown.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read this configuration file ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    files = _files(path, document.pop("data", []))
    several = {table: {item.name for item in fields(kind) if item.default == ()} for table, kind in tables.items()}
    for table, values in document.items():
        if table not in tables or not isinstance(values, dict):
            raise UsageError(f"{path}: unknown table [{table}]: {did_you_mean(table, tables)}")
        known = declared(tables[table])
        for key in values:
            if key not in known:
                raise UsageError(f"{path}: unknown key {key!r} in [{table}]: {did_you_mean(key, known, limit=40)}")
            if key in several[table] and not isinstance(values[key], list):
                raise UsageError(f'{path}: {key} in [{table}] is a list: write {key} = ["..."]')
    found: dict[str, Any] = document.get(command, {})
    takes_files = "data" in declared(tables[command])
    return {"data": files} | found if files and takes_files else found


def _files(path: str, entries: Any) -> list[str]:
    """Return what tables ``[[data]]`` name, as it is written on the command line: ``10GeV=run10*.root:hits``."""
    names = []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: files are named in tables that begin with [[data]]")
    for entry in entries:
        for key in entry:
            if key not in _FILE_KEYS:
                raise UsageError(f"{path}: unknown key {key!r} in [[data]]: {did_you_mean(key, _FILE_KEYS)}")
        files = entry.get("files", [])
        energy, tree = entry.get("true_energy"), entry.get("tree", "")
        files = [files] if isinstance(files, str) else files
        if not files or not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise UsageError(f'{path}: files in [[data]] is a name or a list of names: write files = "run10*.root"')
        if energy is not None and (isinstance(energy, bool) or not isinstance(energy, (int, float)) or energy <= 0):
            raise UsageError(f"{path}: true_energy in [[data]] is a number above zero, in GeV, and not {energy!r}")
        if not isinstance(tree, str):
            raise UsageError(f"{path}: tree in [[data]] is a name, and not {tree!r}")
        prefix = "" if energy is None else f"{energy}GeV="
        names += [f"{prefix}{name}{':' * bool(tree)}{tree}" for name in files]
    return names


def dump_config(command: str, settings: Any) -> str:
    """Write settings as the TOML table that ``--config`` reads; unset ones are left out."""
    lines = [dumped(key, value) for key, value in asdict(settings).items() if value is not None]
    return "\n".join([f"[{command}]", *lines]) + "\n"


def dumped(key: str, value: Any) -> str:
    """Write a setting as a line of TOML."""
    return f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)  # strings, numbers and booleans are written alike in JSON and TOML
