"""Charts as files, and as pictures inside a page: the same figure with the same metadata has the same bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from matplotlib.figure import Figure

from calomlp.plotting import paper
from calomlp.plotting.chart import Chart
from calomlp.plotting.style import Style, settings_of

MAX_SVG = 400_000
"""A figure that takes more bytes as SVG, because it has thousands of points, is shown as pixels."""

_TABLES = {"GlyphOrder", "cmap", "cvt ", "fpgm", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "name", "prep"}
"""Those of a TrueType font that a PDF needs (ISO 32000-1, 9.9), and what matplotlib finds it and its glyphs by."""

# matplotlib calls the same thing by different names in different formats, and stamps the date unless told not to
_NAMES = {
    "pdf": {"Title": "Title", "Subject": "Subject", "Software": "Creator"},
    "svg": {"Title": "Title", "Subject": "Description", "Software": "Creator"},
    "png": {"Title": "Title", "Subject": "Description", "Software": "Software"},
}
_DATES: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


@dataclass(frozen=True)
class Picture:
    """A figure that is ready to be shown in a page."""

    chart: Chart  # what it shows
    image: bytes  # as matplotlib writes it: SVG or PNG

    @property
    def source(self) -> str:
        """The image as a URL that holds it."""
        kind = "png" if self.image.startswith(b"\x89PNG") else "svg+xml"
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode('ascii')}"


def picture(chart: Chart, style: Style | None = None) -> Picture:
    """Draw a chart as SVG, or as PNG if that would be too long."""
    style = style or Style()
    figure = paper.draw(chart, style)
    for file_format in ("svg", "png"):
        stream = BytesIO()
        write_figures([figure], stream, file_format, {}, style)
        if len(stream.getvalue()) <= MAX_SVG:
            break
    return Picture(chart, stream.getvalue())


def write(charts: Sequence[Chart], path: Path, file_format: str, style: Style, metadata: Mapping[str, str]) -> None:
    """Write charts to one file, several as the pages of a PDF.

    Args:
        charts: What the figures show.
        path: The file.
        file_format: One of :data:`calomlp.plotting.kinds.FORMATS`.
        style: How they look.
        metadata: Of the file: ``Subject`` and ``Software``.
    """
    figures = [paper.draw(chart, style) for chart in charts]
    titled = {"Title": ", ".join(chart.name for chart in charts), **metadata}
    write_figures(figures, path, file_format, titled, style)


def write_figures(
    figures: Sequence[Figure],
    target: Path | BinaryIO,
    file_format: str,
    metadata: Mapping[str, str],
    style: Style | None = None,
) -> None:
    """Write a figure, or several as the pages of a PDF.

    Args:
        figures: The figures.
        target: Path or binary stream.
        file_format: One of :data:`calomlp.plotting.kinds.FORMATS`.
        metadata: ``Title``, ``Subject`` and ``Software``, each optional.
        style: The one that they were made in.
    """
    style = style or Style()
    described = _metadata(file_format, metadata)
    with settings_of(style.look), paper.naming_mathematics(), _plain_fonts() if file_format == "pdf" else nullcontext():
        if len(figures) == 1:
            figures[0].savefig(target, format=file_format, metadata=described, dpi=style.dpi)
            return
        from matplotlib.backends.backend_pdf import PdfPages  # noqa: PLC0415 - a page for a browser does without

        with PdfPages(target, metadata=described) as pages:
            for figure in figures:
                pages.savefig(figure)


@contextmanager
def _plain_fonts() -> Iterator[None]:
    """Load fonts inside the block with no more tables than a PDF needs of them.

    fontTools took most of the time of a figure to cut tables of layout, and matplotlib writes every glyph at its place.
    """
    from fontTools import subset  # noqa: PLC0415 - pictures do without

    load = subset.load_font

    def load_needed(*arguments: Any, **options: Any) -> Any:
        font = load(*arguments, **options)
        for tag in [tag for tag in font.keys() if tag not in _TABLES]:  # noqa: SIM118 - a font cannot be iterated over
            del font[tag]
        return font

    subset.load_font = load_needed
    try:
        yield
    finally:
        subset.load_font = load


def _metadata(file_format: str, metadata: Mapping[str, str]) -> dict[str, str | None]:
    names = _NAMES[file_format]
    return {**_DATES[file_format], **{names[key]: value for key, value in metadata.items()}}
