"""Detectors from TOML files, as README.md beside this file describes them; those in ``presets/`` are known by name.

No tensor library is needed here, so that a command line can name, check and describe detectors without loading one.
"""

from __future__ import annotations

import math
import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

from calomlp.errors import UsageError, did_you_mean
from calomlp.simulation.detector import SAMPLING_FORMULAS, Detector, LayerGroup, Plate, Readout, Response, material
from calomlp.units import Quantity, parse_quantity

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
            if nested := [item for item in items if isinstance(item, dict)]:
                behind.setdefault(key, []).extend(nested)
    return behind


def _parse_value(text: str) -> Any:
    """Read a TOML value; what is none, such as ``3mm`` or ``Pb``, is text."""
    try:
        document = tomllib.loads(f"value = {text}")
    except ValueError:
        document = {}
    return document["value"] if set(document) == {"value"} else text.strip()


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


Readers = Mapping[str, Callable[[TomlTable, str], Any]]
Fields = TypeVar("Fields", Response, Readout)

_PRESET_FILES = resources.files("calomlp.simulation") / "presets"
PRESETS: tuple[str, ...] = tuple(
    sorted(file.name.removesuffix(".toml") for file in _PRESET_FILES.iterdir() if file.name.endswith(".toml"))
)
"""Names of the detectors that come with the package."""

MAX_COUNT = 1000
"""Most layers of a group, and most cells along a side."""

_THICKNESS = (1e-7, 1e5)  # 1 nm and 1 km, in cm
_MAX_PASSIVE_DEPTH = 10.0  # X0
_MAX_DEPTH = 3000.0  # X0


def load_detector(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Detector:
    """Return the preset of that name, or the detector that a TOML file describes.

    Args:
        name_or_path: A name in :data:`PRESETS`, or a file.
        overrides: Values to replace before the detector is built, ``PATH=VALUE`` (see
            :func:`calomlp.simulation.overrides.override`).

    Raises:
        UsageError: No such preset or file, the file does not describe a detector, or an override does not fit.
    """
    name = str(name_or_path)
    file = _PRESET_FILES / f"{name}.toml" if name in PRESETS else Path(name)
    if not file.is_file():
        raise UsageError(f"detector {name!r} is neither a preset nor a file; {did_you_mean(name, PRESETS)}")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not UTF-8, not TOML, or an integer too long to read
        raise UsageError(f"{name}: not a readable TOML file: {error}") from error
    for assignment in overrides:
        override(content, assignment)
    return parse_detector(content, where=" --set ".join([name, *overrides]))


def parse_detector(content: Mapping[str, Any], *, where: str = "detector") -> Detector:
    """Build a detector from the content of its TOML file; the inverse of :meth:`Detector.as_dict`.

    Args:
        content: The parsed TOML document.
        where: Name of the file, for error messages.

    Raises:
        UsageError: A key is unknown or missing, or a value is not legal.
    """
    with TomlTable(content, where) as table:
        response = _parse_fields(table.table("response"), _RESPONSE, Response())
        readout = _parse_fields(table.table("readout"), _READOUT, Readout())
        sections = tuple(_parse_section(group, response, readout) for group in table.tables("layers"))
        names = [section.name for section in sections]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{where}: layers: two groups are called {name!r}; each needs a name of its own")
        depth = sum(section.repeat * section.medium.depth_in_radiation_lengths for section in sections)
        if depth > _MAX_DEPTH:
            raise UsageError(f"{where}: layers: {depth:.3g} X0 in all are not legal: at most {_MAX_DEPTH:g} X0")
        return Detector(
            name=table.text("name"),
            description=table.text("description", ""),
            sections=sections,
            calibration_seed=table.count("calibration_seed", 1, at_most=2**31),
            dead_layers=table.indices("dead_layers", sum(section.n_readouts for section in sections)),
        )


def _parse_section(content: TomlTable, response: Response, readout: Readout) -> LayerGroup:
    """Build a group of layers from its table and from what the detector says for all groups."""
    with content as table:
        name = table.word("name")
        table.path = f"layers.{name}"
        if table.has("cells") != table.has("cell_size"):
            raise UsageError(f"{table.where}: cells and cell_size go together: give both, or none of them")
        section = LayerGroup(
            name=name,
            repeat=table.count("repeat", 1, at_most=MAX_COUNT),
            layers_per_readout=table.count("layers_per_readout", 1, at_most=MAX_COUNT),
            cells=table.count("cells", at_most=MAX_COUNT) if table.has("cells") else None,
            cell_size=_length(table, "cell_size") if table.has("cell_size") else math.inf,
            response=_parse_fields(table.table("response"), _RESPONSE, response),
            readout=_parse_fields(table.table("readout"), _READOUT, readout),
            slices=tuple(_parse_slice(key, piece) for key, piece in table.other_tables().items()),
        )
    _check_section(section, table.where)
    return section


def _parse_slice(name: str, content: TomlTable) -> Plate:
    with content as table:
        if not re.fullmatch(r"[a-z0-9_-]+", name):
            raise UsageError(f"{table.where}: name {name!r} is not legal: lower-case letters, digits, - and _")
        if not table.has("material"):
            raise UsageError(f"{table.where}: material is missing; tables here are slices, response and readout")
        return Plate(
            name=name,
            material=material(table.text("material"), where=table.place("material")),
            thickness=_length(table, "thickness"),
            active=table.flag("active", default=False),
        )


def _check_section(section: LayerGroup, where: str) -> None:
    """Refuse what no single key is to blame for."""
    response, readout = section.response, section.readout
    if not section.slices:
        raise UsageError(f'{where}: no slices; add one such as sensor = {{ material = "Si", thickness = "0.5 mm" }}')
    if not any(piece.active for piece in section.slices):
        raise UsageError(f"{where}: no slice is active; mark at least one with active = true")
    if section.repeat % section.layers_per_readout:
        raise UsageError(
            f"{where}: layers_per_readout = {section.layers_per_readout} does not divide repeat = {section.repeat}"
        )
    for piece in section.slices:
        if not piece.active and not section.homogeneous and piece.depth > _MAX_PASSIVE_DEPTH:
            raise UsageError(
                f"{where}.{piece.name}: {piece.thickness:g} cm of {piece.material.name} are {piece.depth:.3g} X0, and "
                f"a shower ends inside it: at most {_MAX_PASSIVE_DEPTH:g} X0 between active slices"
            )
    if response.kappa and not section.homogeneous:
        raise UsageError(f"{where}: response: kappa is for homogeneous groups, where every slice is active")
    if (response.c_had is None) != (response.e_over_h is None):
        raise UsageError(f"{where}: response: c_had and e_over_h go together: give both, or none of them")
    if readout.saturation and readout.saturation.unit == "pixels" and not readout.photo_electrons:
        raise UsageError(f'{where}: readout: saturation in pixels needs photo_electrons, such as "15 /MIP"')
    if readout.saturation and readout.saturation.unit == "pixels" and readout.saturation.value < 1:
        raise UsageError(f"{where}: readout: saturation = '{readout.saturation}' is not legal: at least 1 pixel")


def _parse_fields(content: TomlTable, readers: Readers, base: Fields) -> Fields:
    """Replace those fields of ``base`` that the table has."""
    with content as table:
        return replace(base, **{key: read(table, key) for key, read in readers.items() if table.has(key)})


def _length(table: TomlTable, key: str) -> float:
    length = table.quantity(key, "cm")
    if not _THICKNESS[0] <= length.value <= _THICKNESS[1]:
        raise UsageError(f"{table.place(key)} = {str(length)!r} is not between 1e-6 mm and 1000 m")
    return length.value


def _c_em(table: TomlTable, key: str) -> float | str:
    if not isinstance(table.take(key), str):
        return table.number(key, at_least=0, at_most=2)  # a fraction; more are per cent
    name = table.text(key)
    if name not in SAMPLING_FORMULAS:
        raise UsageError(f"{table.place(key)}: unknown formula {name!r}; {did_you_mean(name, SAMPLING_FORMULAS)}")
    return name


def _share(table: TomlTable, key: str) -> float:
    return table.number(key, at_least=0, below=1)


def _quantity(*units: str) -> Callable[[TomlTable, str], Quantity | None]:
    """Return the reader of a quantity that 0 switches off."""

    def read(table: TomlTable, key: str) -> Quantity | None:
        quantity = table.quantity(key, *units)
        return quantity if quantity.value else None

    return read


_RESPONSE: Readers = {
    "c_em": _c_em,
    "c_em_absorber": lambda table, key: table.quantity(key, "X0").value or None,
    "c_had": lambda table, key: table.number(key, above=0, at_most=5),
    "e_over_h": lambda table, key: table.number(key, above=0),
    "mip_peak": lambda table, key: table.number(key, above=0, at_most=1),
    "kappa": lambda table, key: table.quantity(key, "GeV").value,
}
_READOUT: Readers = {
    "calibration_smear": _share,
    "non_uniformity": _share,
    "photo_electrons": _quantity("/MIP", "/GeV"),
    "excess_noise": lambda table, key: table.number(key, at_least=1),
    "saturation": _quantity("pixels", "MIP", "GeV"),
    "saturation_error": _share,
    "noise": _quantity("MIP", "GeV"),
    "coherent_noise": _quantity("MIP", "GeV"),
    "threshold": _quantity("MIP", "GeV"),
    "dead_cells": _share,
    "summed_cells": lambda table, key: table.count(key, at_most=MAX_COUNT**2),
}
