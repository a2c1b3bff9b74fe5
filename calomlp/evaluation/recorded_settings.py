"""Settings of trainings and simulations as reports record them, and numbers of reports, for scans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calomlp.errors import UsageError, did_you_mean
from calomlp.evaluation.numbers import Number, check_number, find_numbers
from calomlp.evaluation.options import SIMULATION
from calomlp.evaluation.report import Report
from calomlp.units import UNITS, listed, parse_quantity

_NUMBER = re.compile(r"([A-Za-z_][\w.]*)(?:\[([^\]]+)\])?")
_NAMED = 3


@dataclass(frozen=True)
class RecordedSetting:
    """A setting of a training or a simulation."""

    name: str  # where it stands, such as simulation.detector.layers.front.absorber.thickness
    short: str  # the same without what tells the items of a list apart, simulation.detector.layers.absorber.thickness
    value: float | str  # A number, in unit, or a text
    unit: str  # one of UNITS; empty for a plain number and for a text

    def is_called(self, name: str) -> bool:
        """Whether a name is one of its own, or the last parts of one."""
        return any(own == name or own.endswith(f".{name}") for own in (self.name, self.short))


def find_setting(report: Report, name: str, label: str) -> RecordedSetting:
    """Return a setting of a report.

    Args:
        report: The report.
        name: The whole name, or its last parts: ``layers.front.absorber.thickness``, ``absorber.thickness``,
            ``thickness``; groups of layers may be left out, as in ``--set``. Several settings that are called so must
            be equal, of which this is the first.
        label: What messages call the report.

    Raises:
        UsageError: If there is no such setting, or several that differ.
    """
    settings = list(_settings(report.context.settings))
    matching = [setting for setting in settings if setting.name == name]
    matching = matching or [setting for setting in settings if setting.is_called(name)]
    where = f"--x {name!r}: {label}"
    if not matching:
        parts = name.count(".") + 1
        tails = [".".join(setting.name.split(".")[-parts:]) for setting in settings]
        lack = "" if SIMULATION in report.context.settings else ", and nothing of a simulation"
        raise UsageError(f"{where}: records no setting of this name{lack}: {did_you_mean(name, tails)}")
    if len({(setting.value, setting.unit) for setting in matching}) > 1:
        written = [f"{setting.name} = {_told(setting)}" for setting in matching]
        raise UsageError(f"{where}: several settings are called so and differ: {listed(written, _NAMED)}")
    return matching[0]


def number_of(report: Report, text: str, label: str) -> Number:
    """Return a number of a report with its error, and what it is called: ``resolution[15.3]`` for its bin.

    Args:
        report: The report.
        text: In the language of ``--require``: ``stochastic``, ``resolution[10]``, ``sum.bias[10]``, ``ratio.sum[10]``.
        label: What messages call the report.

    Raises:
        UsageError: If this is no number, the report does not have it, or it has one for each of several bins.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--y {text!r} names no number: legal are such as stochastic, resolution[10] or ratio.sum[10]")
    name, energy = match[1], match[2] or ""
    check_number(name, energy, f"--y {text!r}")
    where = f"--y {text!r}: {label}"
    numbers = find_numbers(report, name, energy, where)
    if len(numbers) > 1:
        raise UsageError(f"{where}: has one for each of {len(numbers)} bins: name an energy, such as {numbers[0].name}")
    if numbers[0].measured is None:
        raise UsageError(f"{where}: {numbers[0].name} has no value: {numbers[0].why}")
    return numbers[0]


def _settings(value: Any, name: tuple[str, ...] = (), short: tuple[str, ...] = ()) -> Iterator[RecordedSetting]:
    """Yield the settings in a part of a document, in its order.

    Groups of layers go by their names, items of other lists by their numbers; a list of equal values is one value.
    Quantities are numbers, lengths in cm and energies in GeV; what is switched off has no value and is left out.

    Args:
        value: The part.
        name: Keys that lead to it.
        short: Those of them that are not of items of a list.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _settings(item, (*name, key), (*short, key))
    elif isinstance(value, (list, tuple)):
        plain = not any(isinstance(item, (Mapping, list, tuple)) for item in value)
        if plain and value and all(item == value[0] for item in value):
            yield from _settings(value[0], name, short)
            return
        for key, item in _items(value):
            yield from _settings(item, (*name, key), short)
    elif value not in (None, ""):
        yield RecordedSetting(".".join(name), ".".join(short), *_measured(value))


def _items(values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list by their names, where each has its own, or else by their numbers."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in values]
    if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
        for item in values:
            yield item["name"], {key: value for key, value in item.items() if key != "name"}
    else:
        yield from ((str(i), item) for i, item in enumerate(values))


def _measured(value: Any) -> tuple[float | str, str]:
    """Return a value as a number with its unit, if it is one, or as a text."""
    if isinstance(value, bool):
        return str(value).lower(), ""
    try:
        number = float(value)
    except (ValueError, OverflowError):  # a text, or a whole number of hundreds of digits
        number = math.nan
    if math.isfinite(number):
        return number, ""
    try:
        quantity = parse_quantity(value, *UNITS)
    except UsageError:
        return str(value), ""
    return quantity.value, quantity.unit


def _told(setting: RecordedSetting) -> str:
    value = setting.value if isinstance(setting.value, str) else f"{setting.value:g}"
    return f"{value} {setting.unit}".rstrip()
