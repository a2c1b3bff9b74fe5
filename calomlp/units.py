"""Counts, sizes, durations and quantities as people write them: ``200k``, ``2GB``, ``1h30m``, ``1.4 mm``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from calomlp.errors import UsageError, did_you_mean

_MULTIPLIER = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_BYTES = {"": 1} | {
    prefix + binary: (1024 if binary else 1000) ** power
    for power, prefix in enumerate("kMGT", start=1)
    for binary in ("", "i")
}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
ENERGY_UNITS = {"MeV": "0.001", "GeV": "1", "keV": "0.000001", "TeV": "1000", "eV": "0.000000001"}
"""Units of energy, as factors of a GeV in decimals; everything that reads a unit of energy asks here."""

_UNITS = {  # as written: the unit it is converted to, and the factor
    "mm": ("cm", "0.1"),
    "cm": ("cm", "1"),
    "um": ("cm", "0.0001"),
    "m": ("cm", "100"),
    **{unit: ("GeV", factor) for unit, factor in ENERGY_UNITS.items()},
    "MIP": ("MIP", "1"),
    "X0": ("X0", "1"),
    "/MIP": ("/MIP", "1"),
    "/GeV": ("/GeV", "1"),
    "pixels": ("pixels", "1"),
}
UNITS = tuple(dict.fromkeys(target for target, _ in _UNITS.values()))
"""Units of a :class:`Quantity`."""


def energy_unit(text: str) -> str:
    """Return a unit of energy that is written in any case: ``MEV``, ``mev`` and ``MeV`` are the same."""
    return next(unit for unit in ENERGY_UNITS if unit.lower() == text.lower())


# An exponent of two digits is enough for any calorimeter and cannot overflow.
_QUANTITY = re.compile(r"(-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)\s*(.*)")


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, which is one of cm, GeV, MIP, X0, /MIP, /GeV, pixels."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value!r}".removesuffix(".0") + f" {self.unit}"


def parse_quantity(written: object, *units: str, where: str = "quantity") -> Quantity:
    """Read a quantity: ``1.4 mm``, ``3mm``, ``0.13 MIP``, ``4500 / GeV``; zero needs no unit.

    Args:
        written: What stands in a file or on the command line.
        units: Legal units of the result; whatever converts to one of them may be written.
        where: Place of the quantity, for error messages.

    Raises:
        UsageError: If it is not a finite number of at least 0 with a legal unit.
    """
    legal = [name for unit in units for name, (target, _) in _UNITS.items() if target == unit]
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        raise UsageError(f'{where} = {written!r} is not a number with a unit such as "3 {legal[0]}"')
    match = _QUANTITY.fullmatch(str(written).strip())
    if not match:
        raise UsageError(f'{where} = {written!r} is not a finite number with a unit such as "3 {legal[0]}"')
    # Decimal, so that 1.4 mm is the number nearest to 0.14 cm.
    number, unit = Decimal(match[1]), re.sub(r"\s", "", match[2])
    if number < 0:
        raise UsageError(f"{where} = {written!r} is negative")
    if not unit and number == 0:
        return Quantity(0.0, units[0])
    if not unit:
        raise UsageError(f'{where} = {written!r} has no unit: write "{match[1]} {legal[0]}"; {did_you_mean("", legal)}')
    if unit not in legal:
        raise UsageError(f"{where} = {written!r} has a unit that is not legal; {did_you_mean(unit, legal)}")
    target, factor = _UNITS[unit]
    return Quantity(float(number * Decimal(factor)), target)


def parse_count(text: str | int) -> int:
    """Read a number of events: ``5000``, ``200k``, ``1.5M``, ``1e6``.

    Raises:
        UsageError: If the text is not a whole number above zero.
    """
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([kMG]?)", str(text).strip().replace("_", ""))
    try:
        value = float(match[1]) * _MULTIPLIER[match[2]] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1 and value == int(value)):
        raise UsageError(f"{text!r} is not a count: legal are whole numbers above zero such as 5000, 200k, 1.5M")
    return int(value)


def parse_size(text: str | int) -> int:
    """Read a size in bytes: ``512MB``, ``2GB``, ``1.5GiB``, ``800000000``.

    Raises:
        UsageError: If the text is not a size of at least one megabyte.
    """
    match = re.fullmatch(r"([0-9]+\.?[0-9]*) *(?:([kMGT]i?)?B?)", str(text).strip())
    size = round(float(match[1]) * _BYTES[match[2] or ""]) if match else 0
    if size < _BYTES["M"]:
        raise UsageError(f"{text!r} is not a size of memory: legal are sizes from 1MB on, such as 512MB, 2GB, 1.5GiB")
    return size


def format_size(size: float) -> str:
    """Write a size briefly: ``512 MB``, ``2.1 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def parse_duration(text: str | float) -> float:
    """Read a duration in seconds: ``90``, ``90s``, ``30m``, ``1h30m``, ``2d``.

    Raises:
        UsageError: If the text is not a duration above zero.
    """
    written = str(text).strip()
    parts = re.findall(r"([0-9.]+)([smhd])", written)
    try:
        if re.fullmatch(r"[0-9.]+", written):
            seconds = float(written)
        elif "".join(number + unit for number, unit in parts) == written:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            seconds = 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{text!r} is not a duration: legal are 90, 90s, 30m, 1h30m, 2d")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration briefly: ``0.8 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Write names one after the other, the first few of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
