"""How curves look, on paper and on screens: colours, markers, dashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Look:
    """How one curve is drawn in every figure."""

    colour: str  # from the palette of Okabe and Ito, which colour-blind readers can tell apart
    marker: str = ""  # told apart in black and white, too
    line: Any = "-"  # dash pattern of fits


BLACK, GREY = Look("#202020"), Look("#8A8A8A", "", (0, (1, 1)))
"""Of what is not a measured curve."""

_KNOWN = {
    "regressor": Look("#0072B2", "o", "-"),
    "anchor": Look("#D55E00", "s", (0, (5, 1.5))),
    "sum": Look("#009E73", "^", (0, (3, 1.2, 1, 1.2))),
}
_OTHERS = (
    Look("#CC79A7", "D", (0, (1, 1))),
    Look("#E69F00", "v", (0, (6, 1, 1, 1, 1, 1))),
    Look("#56B4E9", "P", (0, (2, 1))),
    Look("#000000", "X", (0, (8, 2))),
    Look("#8A8A8A", "p", (0, (1, 2))),
)
_CYCLE = (*_KNOWN.values(), *_OTHERS)
_PUBLISHED = (
    Look("#202020", "", (0, (4, 1.5))),
    Look("#7A7A7A", "", (0, (2, 1))),
    Look("#202020", "", (0, (6, 1.2, 1.2, 1.2))),
)
_SEQUENCE = ("o", "s", "^", "D", "v", "P")
_VIRIDIS = np.frombuffer(
    bytes.fromhex("440154 482878 3e4989 31678e 26828e 1e9c89 32b67a 69cd5b b0dd2f"), dtype=np.uint8
).reshape(-1, 3)


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return the look of every curve by name: always the same for the known ones, a cycle for the others."""
    others = (name for name in names if name not in _KNOWN)
    cycle = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
    return {name: _KNOWN.get(name) or cycle[name] for name in names}


def cycle(number: int) -> list[Look]:
    """Return the looks of curves that are equals."""
    return [_CYCLE[i % len(_CYCLE)] for i in range(number)]


def published_looks(number: int) -> list[Look]:
    """Return the looks of published curves: dashed, in black and grey, which no measured curve is."""
    return [_PUBLISHED[i % len(_PUBLISHED)] for i in range(number)]


def sequence(number: int) -> list[Look]:
    """Return the looks of curves that follow each other, dark to light: viridis without its pale end."""
    places = np.linspace(0, len(_VIRIDIS) - 1, number)
    channels = [np.interp(places, np.arange(len(_VIRIDIS)), _VIRIDIS[:, i]).round().astype(int) for i in range(3)]
    return [
        Look(f"#{red:02x}{green:02x}{blue:02x}", _SEQUENCE[i % len(_SEQUENCE)])
        for i, (red, green, blue) in enumerate(zip(*channels, strict=True))
    ]
