"""Charts as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calomlp.plotting import paper, save
from calomlp.plotting.chart import Chart


@dataclass(frozen=True)
class Style:
    """How figures look.

    Attributes:
        name: Of the style.
        size: Of the canvas.
        experiment: Name and status, written first.
        dpi: Dots per inch of pictures in pixels.
    """

    name: str = "calomlp"
    size: str = "column"
    experiment: str = "calomlp"
    dpi: int = 300


def write(charts: Sequence[Chart], path: Path, file_format: str, style: Style, metadata: Mapping[str, str]) -> None:
    """Write charts to one file, several as the pages of a PDF.

    Args:
        charts: What the figures show.
        path: The file.
        file_format: One of :data:`calomlp.plotting.save.FORMATS`.
        style: How they look.
        metadata: Of the file: ``Subject`` and ``Software``.
    """
    figures = [paper.draw(chart, look=style.name, size=style.size, experiment=style.experiment) for chart in charts]
    titled = {"Title": ", ".join(chart.name for chart in charts), **metadata}
    save.write_figures(figures, path, file_format, titled, look=style.name, dpi=style.dpi)
