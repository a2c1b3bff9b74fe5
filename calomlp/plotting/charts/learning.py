"""The training: its curves, the learning curve, and the search for a learning rate."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calomlp.evaluation.measurement import PERCENT, count
from calomlp.evaluation.report import Report
from calomlp.model.outcome import TrainingOutcome
from calomlp.plotting.chart import (
    BLACK,
    GREY,
    Array,
    Axis,
    Chart,
    Heading,
    Line,
    Look,
    Marks,
    NothingToDraw,
    Panel,
    Row,
    Rule,
)
from calomlp.training.diagnosis import SIGMA_68_ERROR

_FEW_EPOCHS = 30
"""Up to this many epochs each is marked."""

_LOG_RATIO = 10.0
"""What changes by more than this factor is shown on a logarithmic axis."""

_TRAINING = Look("#0072B2", "o", "-")
_VALIDATION = Look("#D55E00", "s", (0, (5, 1.5)))
_TEST = Look("#009E73", "^", "none")
_NOTE_WIDTH = 90

_SIGMA_68 = r"$\sigma_\mathrm{68}$ [%]"
_SIDES = {"train_loss": ("training side", _TRAINING), "validation_loss": ("validation side", _VALIDATION)}
_SIDES |= {"train_resolution": _SIDES["train_loss"], "validation_resolution": _SIDES["validation_loss"]}
_SIDES["learning_rate"] = ("learning rate", BLACK)
_PANELS = (
    ("loss", 1.6, 1.0, ("train_loss", "validation_loss")),
    (_SIGMA_68, 1.2, PERCENT, ("train_resolution", "validation_resolution")),
    ("learning rate", 0.9, 1.0, ("learning_rate",)),
)
"""Label, share of the height, factor of the unit, and what is drawn."""


@dataclass(frozen=True)
class Training:
    """Record of a training in a report or a model."""

    history: Sequence[Mapping[str, Any]]  # the epochs
    outcome: TrainingOutcome
    events: int = 0  # number of training events; 0 if that is not known

    @classmethod
    def of_report(cls, report: Report) -> Training:
        """Return the training of the model of a report."""
        region = report.context.envelope
        return cls(report.history, report.outcome, region.n_train if region else 0)

    @classmethod
    def of_model(cls, document: Mapping[str, Any]) -> Training:
        """Return the training of a model, from the document in its header."""
        outcome = TrainingOutcome.read(document["summary"])
        return cls(document["history"], outcome, document["envelope"]["n_train"])


def training(record: Training) -> Chart:
    """Show loss, resolution of the validation side and learning rate against epoch, and the chosen epoch."""
    history, outcome = record.history, record.outcome
    best = outcome.best_epoch
    chosen = [Rule(best, vertical=True, dotted=True)] if best is not None else []
    panels = []
    for label, share, scale, names in _PANELS:
        known = {name: _known(history, name) for name in names}
        lines = [
            Line(_SIDES[name][0], _SIDES[name][1], epoch, scale * value, marked=len(epoch) <= _FEW_EPOCHS)
            for name, (epoch, value) in known.items()
            if len(epoch)
        ]
        if lines:
            epochs = np.concatenate([line.x for line in lines])
            across = Axis("epoch", float(epochs.min()) - 0.5, float(epochs.max()) + 0.5, whole=True)
            sides = _sides(record) if label == _SIGMA_68 and best is not None else []
            panels.append(Panel(across, _span(label, [*lines, *sides]), (*sides, *lines, *chosen), share=share))
    if not panels:
        raise NothingToDraw("there is no history of a training, so there is no training to draw")
    rows = [Row((name,), look) for name, look in (_SIDES["train_loss"], _SIDES["validation_loss"])]
    if best is not None:
        rows.append(Row((f"chosen epoch: {best}",), GREY))
        if "test" in outcome.sides:
            rows.append(Row(("test side",), _TEST))
    notes = _sentences(outcome.worse, outcome.overtraining)
    heading = Heading("training", _events(record), rows, notes)
    return Chart("training", heading, tuple(panels), 0.4 + 0.9 * sum(panel.share for panel in panels))


def learning_curve(record: Training) -> Chart:
    """Show resolution and loss against the number of training events."""
    curve = record.outcome.learning_curve
    if not curve:
        raise NothingToDraw("this model was trained without --learning-curve, so there is none to draw")
    events = np.array([entry.events for entry in curve], dtype=np.float64)
    across = Axis("training events", float(events.min()) / 1.15, float(events.max()) * 1.15, log=True)
    panels = []
    for label, scale, name in ((_SIGMA_68, PERCENT, "resolution"), ("loss", 1.0, "loss")):
        value = scale * np.array([getattr(entry, name) for entry in curve], dtype=np.float64)
        line = Line("validation side", _VALIDATION, events, value)
        error = value * _relative_error(record, "validation") if name == "resolution" else None
        points = Marks("validation side", _VALIDATION, events, value, error)
        panels.append(Panel(across, _span(label, [points]), (points, line)))
    notes = _sentences(record.outcome.more_data)
    heading = Heading("learning curve", _events(record), [Row(("validation side",), _VALIDATION)], notes)
    return Chart("learning-curve", heading, tuple(panels), 2.8)


def rates(record: Mapping[str, Any]) -> Chart:
    """Show the loss against a growing learning rate, with the suggested rate and the automatic one.

    Args:
        record: As ``calomlp train --find-lr --json`` writes it: ``rates`` and ``losses``, ``suggestion`` and
            ``automatic``.
    """
    rate, loss = (np.array(record[name], dtype=np.float64) for name in ("rates", "losses"))
    low = float(loss.min())
    high = min(float(loss.max()), max(float(loss[0]), low + abs(low)))  # how it explodes says little
    edge = 0.05 * (high - low or 1.0)
    suggested, automatic = record["suggestion"], record["automatic"]
    ends = np.array([low - edge, high + edge])
    line = Line("loss, smoothed", replace(_TRAINING, marker=""), rate, loss)
    marked = [
        Line(f"suggested: {suggested:.2g}", replace(_VALIDATION, marker=""), np.full(2, suggested), ends),
        Line(f"automatic: {automatic:.2g}", GREY, np.full(2, automatic), ends),
    ]
    panel = Panel(
        Axis("learning rate", float(rate[0]), float(rate[-1]), log=True),
        Axis("loss", float(ends[0]), float(ends[1])),
        (line, *marked),
    )
    heading = Heading("search for a learning rate", "", [Row((item.label,), item.look) for item in (line, *marked)])
    return Chart("rates", heading, (panel,), 2.4)


def _sides(record: Training) -> list[Marks]:
    """Return the resolution of the training and the test side at the chosen epoch."""
    looks = {"training": _TRAINING, "test": _TEST}  # that of the validation side is the curve
    sides = record.outcome.sides
    return [
        Marks(
            f"{name} side",
            look,
            np.array([record.outcome.best_epoch], dtype=np.float64),
            np.array([PERCENT * sides[name].resolution]),
            np.array([PERCENT * sides[name].resolution * _relative_error(record, name)]),
        )
        for name, look in looks.items()
        if name in sides
    ]


def _relative_error(record: Training, side: str) -> float:
    """Return the standard error of sigma_68 over its value, as for a Gaussian; 0 if the events are not known."""
    events = record.outcome.sides[side].events if side in record.outcome.sides else 0
    return SIGMA_68_ERROR / math.sqrt(2 * events) if events else 0.0


def _events(record: Training) -> str:
    return f"{count(record.events)} training events" if record.events else ""


def _sentences(*verdicts: str) -> list[str]:
    """Return verdicts of the training, broken into lines that fit above the axes."""
    return [line for verdict in verdicts for line in textwrap.wrap(verdict.replace("+-", "±"), _NOTE_WIDTH)]


def _span(label: str, drawn: Sequence[Line | Marks]) -> Axis:
    """Return a vertical axis that holds all of some lines and points."""
    errors = [item.error if isinstance(item, Marks) and item.error is not None else 0 * item.y for item in drawn]
    values = np.concatenate(
        [item.y + sign * error for item, error in zip(drawn, errors, strict=True) for sign in (-1, 1)]
    )
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _LOG_RATIO * low:
        pad = (high / low) ** 0.06
        return Axis(label, low / pad, high * pad, log=True)
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(label, low - pad, high + pad)


def _known(history: Sequence[Mapping[str, Any]], name: str) -> tuple[Array, Array]:
    """Return epochs and values of a quantity where the history has a finite one."""
    known = [
        (entry.get("epoch", i + 1), entry[name])
        for i, entry in enumerate(history)
        if entry.get(name) is not None and math.isfinite(entry[name])
    ]
    return np.array([epoch for epoch, _ in known], dtype=np.float64), np.array([value for _, value in known])
