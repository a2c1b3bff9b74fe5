"""Numbers of many reports against a setting that they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from calomlp.evaluation.measurement import PERCENT
from calomlp.evaluation.numbers import Number
from calomlp.plotting.chart import Array, Axis, Chart, Item, Line, Look, Marks, Panel, literal
from calomlp.plotting.view import short
from calomlp.units import listed

_LOOK = Look("#0072B2", "o", (0, (1, 1)))
_LOG_RATIO = 20.0
"""Settings that differ by more than this factor are on a logarithmic axis."""

_LONGEST = 44
_TERMS = ("stochastic", "noise", "constant")
_IN_GEV = ("noise", "offset")
_PLAIN = (
    *("events", "chi2_per_ndf", "slope", "ratio", "pull_mean", "pull_width"),
    *("missing", "infinite", "not_positive"),
)
"""Numbers without a unit; all but these and those in GeV are shares, in percent."""


def scan(setting: str, places: Sequence[float | str], numbers: Mapping[str, Sequence[Number]]) -> Chart:
    """Show numbers of reports against a setting.

    Args:
        setting: What was varied.
        places: Its value in each report: numbers, or words.
        numbers: The numbers of the reports, by what they are called in the language of gates.
    """
    axis, x = _across(setting, places)
    order = np.argsort(x, kind="stable")
    panels, notes = [], [] if axis.ticks else ["dotted: to guide the eye"]
    for name, of_reports in numbers.items():
        scale, unit = _unit(name)
        value, error = (
            scale * np.array([getattr(of_reports[i].measured, part) for i in order]) for part in ("value", "error")
        )
        items: list[Item] = [Marks(name, _LOOK, x[order], value, error)]
        if not axis.ticks:  # there is nothing between words
            items.append(Line("to guide the eye", _LOOK, x[order], value))
        if bins := dict.fromkeys(item.name for item in of_reports if item.name != name):
            notes.append(
                f"{_named(name)} is {listed([*map(_named, bins)], 4)}: the bins that it is in, by their mean energies"
            )
        words = literal(short(_named(name), 34))
        label = f"{words} [{unit}]" if unit else words
        vertical = Axis.spanning(label, [*(value - error), *(value + error)], pad=0.1)
        if value.min() >= 0:  # what is not negative has a frame that ends at zero
            vertical = replace(vertical, low=max(vertical.low, 0.0))
        panels.append(Panel(axis, vertical, tuple(items)))
    return Chart("scan", "scan", f"{len(places)} reports", tuple(panels), 1.0 + 1.4 * len(panels), (), notes)


def _named(number: str) -> str:
    """Write the name of a number in words: ``ratio.sum[20]`` as ``ratio to sum at 20 GeV``."""
    quantity, _, energy = number.removesuffix("]").partition("[")
    words = _words(quantity.replace("ratio.", "ratio to "))
    words += " term" if words.endswith(_TERMS) else ""
    return f"{words} at {energy} GeV" if energy else words


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")


def _across(setting: str, places: Sequence[float | str]) -> tuple[Axis, Array]:
    """Return the axis of the setting, and where each report is on it."""
    label = literal(short(_words(setting), _LONGEST))
    numbers = [place for place in places if not isinstance(place, str)]
    if len(numbers) < len(places):
        words = list(dict.fromkeys(map(str, places)))
        ticks = tuple((float(i), short(word, 16)) for i, word in enumerate(words))
        return Axis(label, -0.5, len(words) - 0.5, ticks=ticks), np.array(
            [words.index(str(place)) for place in places], dtype=np.float64
        )
    x = np.array(numbers, dtype=np.float64)
    return Axis.spanning(label, x, log_from=_LOG_RATIO), x


def _unit(name: str) -> tuple[float, str]:
    """Return the factor and the unit of a number."""
    words = name.partition("[")[0].split(".")
    quantity = words[0] if words[0] == "ratio" else words[-1]
    if quantity in _IN_GEV:
        return 1.0, "GeV"
    if quantity in _PLAIN:
        return 1.0, ""
    return PERCENT, "% √GeV" if quantity == "stochastic" else "%"
