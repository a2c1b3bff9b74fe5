"""A number with its error, and numbers as physicists write them."""

from __future__ import annotations

import math
from dataclasses import dataclass

PERCENT = 100.0

_MOST_DECIMALS = 8


@dataclass(frozen=True)
class Measurement:
    """A number with its standard error."""

    value: float
    error: float

    def __mul__(self, factor: float) -> Measurement:
        return Measurement(factor * self.value, factor * self.error)


def decimals_of(error: float) -> int:
    """Return how many decimals show two significant digits of an error above zero; at least none, at most eight."""
    return min(max(_decimals(error), 0), _MOST_DECIMALS)


def _decimals(error: float) -> int:
    digits = 1 - math.floor(math.log10(error))
    if round(error, digits) >= 10 ** (2 - digits):  # 0.0996 becomes 0.10
        digits -= 1
    return digits


def with_error(measured: Measurement, scale: float = 1.0) -> str:
    """Write ``value ± error`` with two significant digits of the error; without error where there is none.

    A term of the resolution that was given has no error.

    Args:
        measured: The number.
        scale: Factor of the unit, 100 for percent.
    """
    value, error = scale * measured.value, scale * measured.error
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    if _decimals(error) > _MOST_DECIMALS:
        return f"{value:.4g} ± {error:.2g}"
    decimals = decimals_of(error)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def four_decimals(value: float) -> str:
    """Write a number near one with four decimals, and a small or large one with five digits."""
    return f"{value:.4f}" if 0.1 <= abs(value) < 1e4 else f"{value:.5g}"


def count(number: int) -> str:
    """Write a number of events with thin groups of three digits: ``39 100``."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def energy_range(low: float, high: float) -> str:
    """Write a bin of energy without its unit: ``10`` for a beam energy, ``10.0-12.2`` for a range."""
    if low == high:
        return f"{low:.6g}"
    return f"{_three_digits(low)}\N{EN DASH}{_three_digits(high)}"


def _three_digits(energy: float) -> str:
    """Write an energy with at least three significant digits and no exponent, so that columns line up."""
    if energy <= 0:
        return "0"
    magnitude = math.floor(math.log10(float(f"{energy:.3g}")))
    return f"{energy:.{min(max(2 - magnitude, 0), 6)}f}"
