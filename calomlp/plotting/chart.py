"""Content of a figure as data, to be drawn on paper or in a terminal, or written as a table.

A :class:`Chart` has panels, a legend and a caption, a :class:`Panel` two axes and items: :class:`Marks`, :class:`Line`,
:class:`Band`, :class:`Steps`, :class:`Bars`, :class:`Cells`, and as a background :class:`Rule` and :class:`Shade`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.errors import ArtefactError


@dataclass(frozen=True)
class Look:
    """Colour, marker and dashes of a curve, the same in every figure."""

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


Array = NDArray[np.float64]

MANY_POINTS = 60
"""More points than this on a curve are drawn small and pale, and fitted curves over them, which they would hide."""

EDGE_NOTE = "open markers: at an edge of the training range"
OUTSIDE_NOTE = "arrows: points beyond the frame"

COLUMNS = ("figure", "panel", "curve", "x", "y", "error", "low", "high", "edge", "value")
"""Columns of the numbers behind a figure: ``low`` and ``high`` end a band or a bin of a histogram, whose middle is x;
``value`` is the number in a cell of a plane."""


class NothingToDraw(ArtefactError):
    """The report, model or data set holds nothing of the kind that is to be drawn."""


@dataclass(frozen=True)
class Axis:
    """One axis."""

    label: str  # with its unit in brackets; mathematics between dollar signs
    low: float  # where it begins
    high: float  # where it ends
    log: bool = False  # whether it is logarithmic
    ticks: tuple[tuple[float, str], ...] = ()  # places and their labels, where these are names; none for numbers
    whole: bool = False  # whether only whole numbers are labelled

    @classmethod
    def spanning(
        cls, label: str, values: Sequence[float] | Array, pad: float = 0.06, log_from: float = math.inf
    ) -> Axis:
        """Return an axis that holds numbers.

        Args:
            label: Of the axis.
            values: The numbers.
            pad: Room at either end, as a share of their range.
            log_from: The axis is logarithmic if the largest is more than this times the smallest.
        """
        low, high = float(np.min(values)), float(np.max(values))
        if low > 0 and high > log_from * low:
            factor = (high / low) ** pad
            return cls(label, low / factor, high * factor, log=True)
        room = pad * (high - low) or 0.1 * abs(high) or 1.0
        return cls(label, low - room, high + room)

    def inside(self, values: Array) -> NDArray[np.bool_]:
        """Return which values are between the ends, shape [values]."""
        return np.asarray((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class Marks:
    """Points with error bars.

    Attributes:
        label: For legends and tables.
        look: Colour and marker.
        x: Shape [points].
        y: Shape [points].
        error: Standard errors of y, shape [points]; ``None`` without.
        edge: Which points are at an edge of the training range, and open, shape [points]; ``None`` if none are.
    """

    label: str
    look: Look
    x: Array
    y: Array
    error: Array | None = None
    edge: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        label: For legends and tables.
        look: Colour and dashes.
        x: Shape [points].
        y: Shape [points].
        marked: Whether the marker of the look is drawn, at places that are equally far apart for curves of many points.
        thin: Whether it is drawn thinner than others.
    """

    label: str
    look: Look
    x: Array
    y: Array
    marked: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Band:
    """Area between two curves."""

    label: str  # for legends and tables
    look: Look  # colour
    x: Array  # shape [points]
    low: Array  # shape [points]
    high: Array  # shape [points]


@dataclass(frozen=True)
class Steps:
    """A histogram."""

    label: str  # for legends and tables
    look: Look  # colour
    edges: Array  # shape [bins + 1]
    y: Array  # contents, shape [bins]
    filled: bool = False  # whether the area below is shaded


@dataclass(frozen=True)
class Bars:
    """Lengths with errors, one below the other, from zero to the right."""

    label: str  # for legends and tables
    look: Look  # colour
    x: Array  # lengths, shape [bars]
    y: Array  # places on the vertical axis, shape [bars]
    error: Array | None = None  # standard errors, shape [bars]; None without


@dataclass(frozen=True)
class Cells:
    """Numbers above zero in a plane, as colours on a logarithmic scale; cells with another value are empty."""

    label: str  # what the numbers are, with their unit
    x_edges: Array  # shape [columns + 1]
    y_edges: Array  # shape [rows + 1]
    values: Array  # shape [rows, columns]


@dataclass(frozen=True)
class Rule:
    """A line across the panel, to compare with."""

    at: float  # where it crosses the axis
    vertical: bool = False  # whether it goes up, at a value of x
    dotted: bool = False  # whether it is dotted


@dataclass(frozen=True)
class Shade:
    """A grey stripe across the panel between two values of y, or of x if it is vertical."""

    low: float
    high: float
    grey: float = 0.9
    vertical: bool = False


Item = Marks | Line | Band | Steps | Bars | Cells | Rule | Shade


@dataclass(frozen=True)
class Panel:
    """A pair of axes with what is drawn in them."""

    x: Axis  # the horizontal axis
    y: Axis  # the vertical one
    items: tuple[Item, ...]  # what is drawn; the first ones over the others
    left: str = ""  # written above, on the left
    right: str = ""  # written above, on the right
    text: str = ""  # written in the upper left corner, which has to be empty
    empty: str = ""  # written in the middle, why there is nothing
    share: float = 1.0  # of the height, relative to the other panels

    @property
    def marks(self) -> Iterator[Marks]:
        """All points."""
        return (item for item in self.items if isinstance(item, Marks))


@dataclass(frozen=True)
class Entry:
    """One entry of a legend."""

    label: str  # what is drawn
    look: Look  # how it is drawn
    detail: str = ""  # written behind the label if there is room, such as the terms of a fit


@dataclass(frozen=True)
class Chart:
    """Content of a figure."""

    name: str  # of its kind
    title: str  # what it shows
    sample: str  # what it is made of
    panels: tuple[Panel, ...]  # row by row
    height: float  # of the axes without the legend, in a column of a journal [inch]
    legend: Sequence[Entry] = ()
    remarks: Sequence[str] = ()  # sentences of the caption: numbers, and how to read the figure
    columns: int = 1  # panels beside each other; those of a single column have the horizontal axis in common
    wide: bool = False  # whether it takes both columns of a journal
    separate: bool = False  # whether panels below each other have horizontal axes of their own

    @property
    def notes(self) -> list[str]:
        """Sentences of the caption, with those that follow from the points."""
        marks = [(panel, item) for panel in self.panels for item in panel.marks]
        edge = any(item.edge is not None and item.edge.any() for _, item in marks)
        outside = any((~panel.y.inside(item.y)).any() for panel, item in marks)
        return [*self.remarks, *[EDGE_NOTE] * edge, *[OUTSIDE_NOTE] * outside]

    @property
    def caption(self) -> str:
        """Caption as one paragraph of plain text."""
        names = tuple(plain(entry.label) for entry in self.legend)
        title = f"{self.title}, {self.sample}: {self._axes}" if self.sample else f"{self.title}: {self._axes}"
        sentences = [text if text.startswith(names) else _sentence(text) for text in map(plain, [title, *self.notes])]
        return " ".join(f"{text}." for text in sentences)

    @property
    def _axes(self) -> str:
        axes = [(plain(panel.y.label), plain(panel.x.label)) for panel in self.panels]
        return "; ".join(dict.fromkeys(f"{y} against {x}" if y else x for y, x in axes))

    def describe(self) -> str:
        """Say what is shown, for those who cannot see it."""
        labels = [item.label for panel in self.panels for item in panel.items if not isinstance(item, (Rule, Shade))]
        curves = "; ".join(dict.fromkeys(labels))
        return f"{self.title}, {self.sample}: {self._axes}. Shown: {plain(curves)}."

    def rows(self) -> list[tuple[str, ...]]:
        """Return the numbers that are shown, a row for each, in :data:`COLUMNS`; what there is not is empty."""
        rows = []
        for panel in self.panels:
            points = {item.label for item in panel.marks}
            name = plain(panel.left or panel.y.label or panel.x.label)
            bars = dict(panel.y.ticks)
            for item in panel.items:
                if not (isinstance(item, (Rule, Shade)) or (isinstance(item, Line) and item.label in points)):
                    for numbers in _numbers(item):
                        label = bars.get(numbers["y"], item.label) if isinstance(item, Bars) else plain(item.label)
                        cells = (f"{numbers[key]:.10g}" if key in numbers else "" for key in COLUMNS[3:])
                        rows.append((self.name, name, label, *cells))
        return rows


def _sentence(text: str) -> str:
    """Return a text that begins with a capital, unless it begins with a symbol."""
    return text[0].upper() + text[1:] if text[0].isascii() else text


def literal(text: str) -> str:
    """Return a text that was not meant as mathematics so that its dollar signs are dollar signs."""
    return text.replace("$", r"\$")


def plain(label: str) -> str:
    r"""Return a label without the marks of mathematics: ``$E_\mathrm{true}$ [GeV]`` as ``E_true [GeV]``."""
    text = re.sub(r"\\(?:mathrm|mathit)\{([^{}]*)\}", r"\1", label)
    text = text.replace(r"\lambda", "λ").replace(r"\sigma", "σ").replace(r"\sqrt", "√").replace(r"\ ", " ")
    return re.sub(r"[${}\\]", "", text).replace("\n", " ")


def table(charts: Sequence[Chart]) -> str:
    """Write the numbers behind charts as tab-separated values, with what the axes are as comments before them."""
    lines = [
        f"# {chart.name}: {chart.title}, {chart.sample}; "
        + "; ".join(dict.fromkeys(f"x = {plain(panel.x.label)}, y = {plain(panel.y.label)}" for panel in chart.panels))
        for chart in charts
    ]
    lines.append("\t".join(COLUMNS))
    lines += ["\t".join(row) for chart in charts for row in chart.rows()]
    return "\n".join(lines) + "\n"


def captions(charts: Sequence[Chart]) -> str:
    """Write the captions of charts, a paragraph each."""
    return "\n\n".join(chart.caption for chart in charts) + "\n"


def _numbers(item: Marks | Line | Band | Steps | Bars | Cells) -> Iterator[dict[str, float]]:
    """Yield the numbers of an item, by their columns."""
    if isinstance(item, Band):
        for x, low, high in zip(item.x, item.low, item.high, strict=True):
            yield {"x": x, "low": low, "high": high}
    elif isinstance(item, Steps):
        for low, high, y in zip(item.edges[:-1], item.edges[1:], item.y, strict=True):
            yield {"x": (low + high) / 2, "y": y, "low": low, "high": high}
    elif isinstance(item, Cells):
        x, y = ((edges[:-1] + edges[1:]) / 2 for edges in (item.x_edges, item.y_edges))
        for i, j in np.argwhere(item.values > 0):
            yield {"x": x[j], "y": y[i], "value": item.values[i, j]}
    else:
        optional = {name: getattr(item, name, None) for name in ("error", "edge")}
        columns = {
            "x": item.x,
            "y": item.y,
            **{name: values for name, values in optional.items() if values is not None},
        }
        for numbers in zip(*columns.values(), strict=True):
            yield dict(zip(columns, map(float, numbers), strict=True))
