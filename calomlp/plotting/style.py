"""The look of all figures: one place for fonts, sizes, and canvases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep_data
from matplotlib import font_manager

SMALL = 6.5
"""Font size of legends and notes [pt]."""

_POINTS_PER_INCH = 72

_PUBLISHED = {"cms": "CMS", "atlas": "ATLAS", "lhcb2": "LHCb2", "alice": "ALICE"}

# the fonts of the experiments' styles are OpenType with PostScript outlines: matplotlib embeds them properly as Type 3
# only, which many journals refuse; Fira Sans comes with mplhep too and is TrueType, and DejaVu Sans has the
# mathematical signs that they all lack
_FONTS = {
    "font.size": 8,
    "mathtext.default": "it",
    "mathtext.fallback": "stixsans",
    "pdf.fonttype": 3,
    "svg.fonttype": "path",  # looks the same where the fonts are not installed
    "svg.hashsalt": "calomlp",  # the same figure has the same bytes
}
_OWN_FONTS = {
    "font.family": ["Fira Sans", "DejaVu Sans"],
    "mathtext.fontset": "custom",
    "mathtext.rm": "Fira Sans",
    "mathtext.it": "Fira Sans:italic",
    "mathtext.bf": "Fira Sans:bold",
    "mathtext.sf": "Fira Sans",
    "mathtext.cal": "Fira Sans:italic",
    "mathtext.tt": "Fira Sans",
    "pdf.fonttype": 42,
}
_SIZES = {
    "axes.formatter.use_mathtext": False,
    "axes.labelpad": 2,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "axes.titlesize": SMALL,
    "errorbar.capsize": 0,
    "figure.dpi": 100,
    "legend.borderaxespad": 0.4,
    "legend.borderpad": 0.2,
    "legend.columnspacing": 1.2,
    "legend.fontsize": SMALL,
    "legend.handlelength": 2.6,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.25,
    "lines.linewidth": 0.9,
    "lines.markersize": 3.2,
    "lines.markeredgewidth": 0.7,
    "patch.linewidth": 0.7,
    "savefig.bbox": None,
    "savefig.dpi": 300,
}
_TICKS = {
    "labelsize": 7,
    "major.pad": 3,
    "major.size": 4,
    "major.width": 0.6,
    "minor.size": 2,
    "minor.width": 0.4,
}
_SIZES |= {f"{axis}tick.{name}": value for axis in "xy" for name, value in _TICKS.items()}
_OWN_LOOK = {"xtick.top": True, "ytick.right": True, "xaxis.labellocation": "right", "yaxis.labellocation": "top"}
_OWN_LOOK |= {
    f"{axis}tick.{name}": value for axis in "xy" for name, value in (("direction", "in"), ("minor.visible", True))
}


@dataclass(frozen=True)
class Canvas:
    """Size of a figure."""

    narrow: float  # width [inch] of a figure
    wide: float  # width [inch] of a figure that needs more room
    stretch: float = 1.0  # factor of the height of the axes
    ratio: float | None = None  # width over height of the whole, if that is fixed


COLUMN, PAGE = 3.54, 7.09
"""Widths of figures that fill one column of a journal, or both [inch] (90 mm and 180 mm)."""

CANVASES = {
    "column": Canvas(COLUMN, PAGE),
    "page": Canvas(PAGE, PAGE, 1.3),
    # enlarged to the width of a slide, the letters are those of its text
    "slide": Canvas(5.6, 7.0, ratio=16 / 9),
}
"""By the names of :data:`calomlp.plotting.kinds.SIZES`."""


@dataclass(frozen=True)
class Style:
    """Style of figures."""

    look: str = "calomlp"  # one of :data:`calomlp.plotting.kinds.STYLES`
    size: str = "column"  # name of the canvas
    experiment: str = "calomlp"  # name and status, written first
    dpi: int = 300  # dots per inch of pictures in pixels


def settings_of(look: str = "calomlp") -> AbstractContextManager[None]:
    """Return a context in which figures are made and written; nothing changes outside of it."""
    if look == "calomlp":
        _register_fonts()
        own: Any = _OWN_LOOK | _FONTS | _OWN_FONTS | _SIZES
        return mpl.rc_context(own)
    import mplhep  # noqa: PLC0415 - imports pyplot and registers fifty fonts

    published = getattr(mplhep.style, _PUBLISHED[look])
    family = published["font.family"]
    # the signs that the fonts of the experiments lack
    settings = {**published, **_FONTS, "font.family": [*published[f"font.{family}"][:1], "DejaVu Sans"], **_SIZES}
    return mpl.rc_context(settings)


@cache
def _register_fonts() -> None:
    """Make Fira Sans known to matplotlib."""
    folder = Path(mplhep_data.__file__).parent / "fonts" / "firasans"
    for weight in ("Regular", "Italic", "Bold"):
        font_manager.fontManager.addfont(folder / f"FiraSans-{weight}.ttf")


def inches(points: float) -> float:
    """Return a length in inches that is given in points."""
    return points / _POINTS_PER_INCH
