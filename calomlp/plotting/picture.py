"""Pictures inside a page: vector graphics that several of them can share, or pixels where those would be too long."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from html import escape
from io import BytesIO
from xml.etree import ElementTree as ET

from matplotlib.figure import Figure

from calomlp.plotting import paper
from calomlp.plotting.chart import Chart
from calomlp.plotting.save import Style, write_figures

MAX_SVG = 400_000
"""A figure that takes more bytes as SVG, because it has thousands of points, is shown as pixels."""

_PNG = b"\x89PNG"
_LINKS = ("href", "{http://www.w3.org/1999/xlink}href")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LEFT_OUT = (
    "metadata",
    "style",
)  # rules for all elements, which would reach beyond the picture; _STROKES stands for them
_STROKES = "stroke-linejoin:round;stroke-linecap:butt"


@dataclass(frozen=True)
class Picture:
    """A figure that is ready to be shown in a page."""

    name: str  # of its kind
    title: str  # its caption
    image: bytes  # as matplotlib writes it: SVG or PNG
    alt: str  # what it shows, for those who cannot see it
    wide: bool = False  # whether it is as wide as two others


def picture(chart: Chart, style: Style | None = None) -> Picture:
    """Draw a chart as SVG, or as PNG if that would be too long."""
    style = style or Style()
    figure = paper.draw(chart, look=style.name, size=style.size, experiment=style.experiment)
    image = _written(figure, "svg", style)
    if len(image) > MAX_SVG:
        image = _written(figure, "png", style)
    return Picture(chart.name, chart.caption, image, chart.describe(), chart.wide)


def embedded(shown: Picture, prefix: str) -> str:
    """Return the element that shows a picture inside a page and needs nothing from outside of it.

    Args:
        shown: The picture.
        prefix: What its ids begin with, other than those of all other pictures of the page: figures of the same look
            use the same names for different things.
    """
    if shown.image.startswith(_PNG):
        pixels = base64.b64encode(shown.image).decode("ascii")
        return f'<img src="data:image/png;base64,{pixels}" alt="{escape(shown.alt)}">'
    return _inline(shown, prefix)


def _inline(shown: Picture, prefix: str) -> str:
    root = ET.fromstring(shown.image)  # noqa: S314 - from matplotlib, not from elsewhere
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in _LEFT_OUT]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.text, element.tail = _stripped(element.text), _stripped(element.tail)
        for link in _LINKS:
            if target := element.attrib.pop(link, None):
                element.set("href", f"#{prefix}{target.removeprefix('#')}")
        for key, value in element.attrib.items():
            element.set(key, _REFERENCE.sub(rf"url(#{prefix}\1)", value))
    _rename(root, prefix)
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": shown.alt, "style": _STROKES})
    return ET.tostring(root, encoding="unicode")


def _rename(root: ET.Element, prefix: str) -> None:
    """Put the prefix before the ids that something refers to, and leave out the others."""
    used = set()
    for element in root.iter():
        used.add(element.get("href", "").removeprefix("#"))
        used.update(name for value in element.attrib.values() for name in _REFERENCE.findall(value))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name is not None and f"{prefix}{name}" in used:
            element.set("id", f"{prefix}{name}")


def _written(figure: Figure, file_format: str, style: Style) -> bytes:
    stream = BytesIO()
    write_figures([figure], stream, file_format, {}, look=style.name)
    return stream.getvalue()


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _stripped(text: str | None) -> str | None:
    return text.strip() if text else text
