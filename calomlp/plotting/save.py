"""Write figures: the same figure with the same metadata has the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from matplotlib.backends.backend_pdf import PdfPages

from calomlp.plotting.style import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
"""Formats that figures can be written in."""

# matplotlib calls the same thing by different names in different formats, and stamps the date unless told not to
_NAMES = {
    "pdf": {"Title": "Title", "Subject": "Subject", "Software": "Creator"},
    "svg": {"Title": "Title", "Subject": "Description", "Software": "Creator"},
    "png": {"Title": "Title", "Subject": "Description", "Software": "Software"},
}
_DATES: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


def write_figures(
    figures: Sequence[Figure],
    target: Path | BinaryIO,
    file_format: str,
    metadata: Mapping[str, str],
    *,
    look: str = "calomlp",
    dpi: int = 300,
) -> None:
    """Write a figure, or several as the pages of a PDF.

    Args:
        figures: The figures.
        target: Path or binary stream.
        file_format: One of :data:`FORMATS`.
        metadata: ``Title``, ``Subject`` and ``Software``, each optional.
        look: Name of the style that they were made in.
        dpi: Dots per inch of pictures in pixels.
    """
    described = _metadata(file_format, metadata)
    with style(look):
        if len(figures) == 1:
            figures[0].savefig(target, format=file_format, metadata=described, dpi=dpi)
            return
        with PdfPages(target, metadata=described) as pages:
            for figure in figures:
                pages.savefig(figure)


def _metadata(file_format: str, metadata: Mapping[str, str]) -> dict[str, str | None]:
    names = _NAMES[file_format]
    return {**_DATES[file_format], **{names[key]: value for key, value in metadata.items()}}
