"""Charts as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.cbook import is_math_text
from matplotlib.mathtext import MathTextParser

from calomlp.errors import UsageError, did_you_mean
from calomlp.plotting import paper, save

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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


def parse_labels(labels: Sequence[str], names: Sequence[str], what: str) -> dict[str, str]:
    """Return what users call things, by their name.

    Args:
        labels: As users write them, ``regressor=Deep network``.
        names: What there is.
        what: What these are.

    Raises:
        UsageError: If a label has another form, or there is no such name.
    """
    wanted: dict[str, str] = {}
    for text in labels:
        name, _, label = (part.strip() for part in text.partition("="))
        if not label:
            raise UsageError(f"--label {text!r} is not of the form NAME=LABEL, such as 'regressor=Deep network'")
        if name not in names:
            raise UsageError(f"--label {text!r}: no {what} {name!r}: {did_you_mean(name, names)}")
        if label in wanted.values():
            raise UsageError(f"--label {text!r}: {label!r} is the label of another one already")
        wanted[name] = label
    return wanted


def check_mathematics(text: str, flag: str) -> None:
    """Refuse a text with mathematics that cannot be set.

    Raises:
        UsageError: Naming it.
    """
    if not is_math_text(text):
        return
    try:
        MathTextParser("path").parse(text)
    except ValueError as error:
        said = str(error).splitlines()[-1]
        raise UsageError(f"--{flag} '{text}': mathematics between dollar signs that cannot be set: {said}") from error


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
