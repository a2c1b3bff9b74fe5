"""The look of all figures: one place for fonts, sizes, colours and markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.colors import to_hex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

COLUMN = 3.54
"""Width of a figure that fills one column of a journal [inch] (90 mm)."""

PAGE = 7.09
"""Width of a figure that fills both columns [inch] (180 mm)."""

SMALL = 6.5
"""Font size of legends and notes [pt]."""

_POINTS_PER_INCH = 72

# the fonts of the experiments' styles are OpenType with PostScript outlines, which matplotlib cannot embed properly in
# a PDF; Fira Sans comes with mplhep too and is TrueType, and DejaVu Sans has the mathematical signs that it lacks
_FONTS = {
    "font.family": ["Fira Sans", "DejaVu Sans"],
    "font.size": 8,
    "mathtext.fontset": "custom",
    "mathtext.default": "it",
    "mathtext.rm": "Fira Sans",
    "mathtext.it": "Fira Sans:italic",
    "mathtext.bf": "Fira Sans:bold",
    "mathtext.sf": "Fira Sans",
    "mathtext.cal": "Fira Sans:italic",
    "mathtext.tt": "Fira Sans",
    "mathtext.fallback": "stixsans",
    "pdf.fonttype": 42,  # journals refuse Type 3
    "svg.fonttype": "path",  # looks the same where the fonts are not installed
    "svg.hashsalt": "calomlp",  # the same figure has the same bytes
}
_SIZES = {
    "axes.labelpad": 2,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "errorbar.capsize": 0,
    "figure.dpi": 100,
    "legend.fontsize": SMALL,
    "lines.linewidth": 0.9,
    "lines.markersize": 3.2,
    "lines.markeredgewidth": 0.7,
    "savefig.dpi": 300,
    "xtick.labelsize": 7,
    "xtick.major.pad": 3,
    "xtick.major.size": 4,
    "xtick.major.width": 0.6,
    "xtick.minor.size": 2,
    "xtick.minor.width": 0.4,
    "ytick.labelsize": 7,
    "ytick.major.pad": 3,
    "ytick.major.size": 4,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 2,
    "ytick.minor.width": 0.4,
}


@dataclass(frozen=True)
class Look:
    """How one curve is drawn in every figure.

    Attributes:
        colour: From the palette of Okabe and Ito, which colour-blind readers can tell apart.
        marker: Told apart in black and white, too.
        line: Dash pattern of fits.
    """

    colour: str
    marker: str
    line: Any


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

_PUBLISHED = (
    Look("#202020", "", (0, (4, 1.5))),
    Look("#7A7A7A", "", (0, (2, 1))),
    Look("#202020", "", (0, (6, 1.2, 1.2, 1.2))),
)
_SEQUENCE = ("o", "s", "^", "D", "v", "P")


def style() -> AbstractContextManager[None]:
    """Return a context in which figures are made and written; nothing changes outside of it."""
    settings: Any = {**mplhep.style.CMS, **_FONTS, **_SIZES}
    return mpl.rc_context(settings)


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return the look of every curve by name: always the same for the known ones, a cycle for the others."""
    others = (name for name in names if name not in _KNOWN)
    cycle = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}
    return {name: _KNOWN.get(name) or cycle[name] for name in names}


def published_looks(number: int) -> list[Look]:
    """Return the looks of published curves: dashed, in black and grey, which no measured curve is."""
    return [_PUBLISHED[i % len(_PUBLISHED)] for i in range(number)]


def sequence(number: int) -> list[Look]:
    """Return the looks of curves that follow each other, dark to light: steps of viridis, without its pale end."""
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, number))
    return [Look(to_hex(colour), _SEQUENCE[i % len(_SEQUENCE)], "-") for i, colour in enumerate(colours)]


def inches(points: float) -> float:
    """Return a length in inches that is given in points."""
    return points / _POINTS_PER_INCH
