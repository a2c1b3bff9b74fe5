"""The figure of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator, NullLocator

from calomlp.errors import ArtefactError
from calomlp.plotting.frame import Heading, Row, framed, settle
from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import count
from calomlp.plotting.style import COLUMN, Look, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from calomlp.evaluation.report import Report

_FEW_EPOCHS = 30
"""Up to this many epochs each is marked."""

_LOG_RATIO = 10.0
"""What changes by more than this factor is shown on a logarithmic axis."""

_TRAINING = Look("#0072B2", "o", "-")
_VALIDATION = Look("#D55E00", "s", (0, (5, 1.5)))
_LEARNING_RATE = Look("#202020", "", "-")
_CHOSEN = Look("#8A8A8A", "", (0, (1, 1)))


@dataclass(frozen=True)
class _Panel:
    """One panel: its label, its share of the height, the factor of its unit, and what is drawn in it."""

    label: str
    share: float
    scale: float
    curves: Mapping[str, Look]


_PANELS = (
    _Panel("loss", 1.6, 1.0, {"train_loss": _TRAINING, "validation_loss": _VALIDATION}),
    _Panel(r"$\sigma_\mathrm{68}$ [%]", 1.2, PERCENT, {"validation_resolution": _VALIDATION}),
    _Panel("learning rate", 0.9, 1.0, {"learning_rate": _LEARNING_RATE}),
)


def training(report: Report) -> Figure:
    """Draw loss, resolution of the validation side and learning rate against epoch, and mark the chosen epoch.

    Raises:
        ArtefactError: If the report has no history of the training.
    """
    history, envelope = report.history, report.context.envelope
    panels = [panel for panel in _PANELS if any(len(_known(history, name)[0]) for name in panel.curves)]
    if not panels:
        raise ArtefactError("the report has no history of the training, so there is no training to draw")
    best = report.context.training.get("summary", {}).get("best_epoch")
    rows = [Row(("training side",), _TRAINING), Row(("validation side",), _VALIDATION)]
    if best is not None:
        rows.append(Row((f"chosen epoch: {best}",), _CHOSEN))
    shares = [panel.share for panel in panels]
    with style():
        heading = Heading("training", f"{count(envelope.n_train)} training events" if envelope else "", rows)
        figure = framed(heading, width=COLUMN, height=0.4 + 0.9 * sum(shares))
        stack = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=shares)[:, 0]
        for axes, panel in zip(stack, panels, strict=True):
            _draw_panel(axes, history, panel)
            if best is not None:
                axes.axvline(best, color=_CHOSEN.colour, linestyle=_CHOSEN.line, zorder=0.5)
        stack[-1].set_xlabel("epoch")
        stack[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        stack[-1].xaxis.set_minor_locator(NullLocator())
        return settle(figure)


def _draw_panel(axes: Axes, history: Sequence[Mapping[str, Any]], panel: _Panel) -> None:
    drawn = [np.empty(0)]
    for name, look in panel.curves.items():
        epoch, value = _known(history, name)
        marker = look.marker if len(epoch) <= _FEW_EPOCHS else ""
        axes.plot(epoch, panel.scale * value, color=look.colour, linestyle=look.line, marker=marker, markersize=2.5)
        drawn.append(panel.scale * value)
    values = np.concatenate(drawn)
    if values.min() > 0 and values.max() > _LOG_RATIO * values.min():
        axes.set_yscale("log")
    axes.set_ylabel(panel.label)


def _known(history: Sequence[Mapping[str, Any]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return epochs and values of a quantity where the history has a finite one."""
    known = [
        (entry.get("epoch", i + 1), entry[name])
        for i, entry in enumerate(history)
        if entry.get(name) is not None and math.isfinite(entry[name])
    ]
    return np.array([epoch for epoch, _ in known], dtype=np.float64), np.array([value for _, value in known])
