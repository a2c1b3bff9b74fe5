"""Figures look as they looked when somebody looked at them: perceptual hashes, which small changes leave alone.

After a change that is meant, look at the figures, then write their hashes: python -m tests.plotting.test_images
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from calomlp.evaluation.report import Report
from calomlp.plotting import paper
from calomlp.plotting.chart import Chart
from calomlp.plotting.figures import REPORT_CHARTS, SHOWER_CHARTS
from calomlp.plotting.style import settings_of
from tests.plotting.conftest import chart, everything
from tests.plotting.toy_showers import toy_profiles

KNOWN = Path(__file__).with_name("images.json")
CELLS = 24
TOLERANCE = 0.06  # of the bits
KINDS = (*REPORT_CHARTS, "longitudinal", "radial")


@cache
def _report() -> Report:
    return everything()


def builders() -> dict[str, Callable[[], Chart]]:
    """Return what makes a chart of every kind."""
    shown: dict[str, Callable[[], Chart]] = {kind: partial(chart, kind, _report()) for kind in REPORT_CHARTS}
    return shown | {kind: partial(builder, toy_profiles(5)) for kind, builder in SHOWER_CHARTS.items() if kind in KINDS}


def perceptual_hash(drawn: Chart) -> list[str]:
    """Return a bit for each pair of cells beside each other in a coarse picture: which of them is darker, or none."""
    figure = paper.draw(drawn)
    with settings_of():
        figure.canvas.draw()
        assert isinstance(figure.canvas, FigureCanvasAgg)
        grey = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=2)
    rows, columns = (np.linspace(0, size, CELLS + 1).astype(int) for size in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    cells = sums / np.outer(np.diff(rows), np.diff(columns))
    bits = np.diff(cells, axis=1) > 2
    return ["".join("#" if bit else "." for bit in row) for row in bits]


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_looks_as_it_did(kind: str) -> None:
    known = json.loads(KNOWN.read_text())[kind]
    found = perceptual_hash(builders()[kind]())
    different = sum(a != b for one, other in zip(known, found, strict=True) for a, b in zip(one, other, strict=True))
    assert different <= TOLERANCE * CELLS * (CELLS - 1), "\n".join(found)


def test_another_figure_has_another_hash() -> None:
    known = json.loads(KNOWN.read_text())
    distances = [
        sum(a != b for a, b in zip("".join(known[one]), "".join(known[other]), strict=True))
        for one in KINDS
        for other in KINDS
        if one < other
    ]
    assert min(distances) > TOLERANCE * CELLS * (CELLS - 1)


if __name__ == "__main__":
    hashes = {kind: perceptual_hash(builder()) for kind, builder in builders().items()}
    KNOWN.write_text(json.dumps(hashes, indent=1) + "\n")
