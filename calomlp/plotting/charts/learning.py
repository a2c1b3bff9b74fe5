"""The training: its curves, the learning curve, and the search for a learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
    Entry,
    Line,
    Look,
    Marks,
    NothingToDraw,
    Panel,
    Rule,
    cycle,
)
from calomlp.training.diagnosis import SIGMA_68_ERROR

_FEW_EPOCHS = 30
"""Up to this many epochs each is marked."""

_LOG_RATIO = 10.0
"""What changes by more than this factor is shown on a logarithmic axis."""

_TRAINING = Look("#0072B2", "o", "-")
_VALIDATION = Look("#D55E00", "s", (0, (5, 1.5)))
_TEST = Look("#009E73", "^", "none")

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

    @classmethod
    def of_epochs(cls, history: Sequence[Mapping[str, Any]]) -> Training:
        """Return a training of which nothing but the epochs is known."""
        return cls(history, TrainingOutcome.read({}))

    @property
    def best(self) -> int | None:
        """The chosen epoch, if it is known."""
        return self.outcome.best_epoch

    @property
    def size(self) -> str:
        """Number of training events, for headings."""
        return f"{count(self.events)} training events" if self.events else ""

    def lines(self, names: Sequence[str], scale: float, among: tuple[str, Look] | None) -> Iterator[Line]:
        """Yield the curves of quantities of the history.

        Args:
            names: The quantities.
            scale: Factor of the unit.
            among: Label and look of this training, if there are several: the training side is dashed then.
        """
        for name in names:
            epoch, value = _known(self.history, name)
            label, look = _SIDES[name]
            if among:
                label = f"{among[0]}, {label}"
                look = Look(among[1].colour, "", (0, (3, 1.5)) if name.startswith("train") else "-")
            if len(epoch):
                yield Line(label, look, epoch, scale * value, marked=len(epoch) <= _FEW_EPOCHS)

    def at_best(self) -> list[Marks]:
        """Return the resolution of the training and the test side at the chosen epoch."""
        best = np.array([self.best], dtype=np.float64)
        return [
            Marks(
                f"{name} side",
                look,
                best,
                np.array([PERCENT * self.outcome.sides[name].resolution]),
                np.array([PERCENT * self.outcome.sides[name].resolution * self.relative_error(name)]),
            )
            for name, look in (("training", _TRAINING), ("test", _TEST))  # that of the validation side is the curve
            if name in self.outcome.sides
        ]

    def relative_error(self, side: str) -> float:
        """Return the standard error of sigma_68 over its value, as for a Gaussian; 0 if the events are not known."""
        events = self.outcome.sides[side].events if side in self.outcome.sides else 0
        return SIGMA_68_ERROR / math.sqrt(2 * events) if events else 0.0


def training(records: Mapping[str, Training]) -> Chart:
    """Show loss, resolution of the validation side and learning rate against epoch, and the chosen epoch.

    Args:
        records: One training, or several to be compared, by what the legend calls them.
    """
    looks = dict(zip(records, cycle(len(records)), strict=True))
    several = len(records) > 1
    first = next(iter(records.values()))
    chosen = [] if several or first.best is None else [Rule(first.best, vertical=True, dotted=True)]
    panels = []
    for label, share, scale, names in _PANELS:
        lines = [
            line
            for name, record in records.items()
            for line in record.lines(names, scale, (name, looks[name]) if several else None)
        ]
        if lines:
            epochs = np.concatenate([line.x for line in lines])
            across = Axis("epoch", float(epochs.min()) - 0.5, float(epochs.max()) + 0.5, whole=True)
            sides = first.at_best() if label == _SIGMA_68 and chosen else []
            panels.append(Panel(across, _span(label, [*lines, *sides]), (*sides, *lines, *chosen), share=share))
    if not panels:
        raise NothingToDraw("there is no history of a training, so there is no training to draw")
    entries = [Entry(name, replace(look, marker="", line="-")) for name, look in looks.items()]
    if not several:
        entries = [Entry(*_SIDES[name]) for name in ("train_loss", "validation_loss")]
        entries += [Entry(f"chosen epoch: {first.best}", GREY)] if chosen else []
        entries += [Entry("test side", _TEST)] if chosen and "test" in first.outcome.sides else []
    remarks = ["dashed: training side; solid: validation side"] if several else []
    for name, record in records.items():
        verdicts = [_sentence(text) for text in (record.outcome.worse, record.outcome.overtraining) if text]
        best = f"{name}: {f'chosen epoch {record.best}' if record.best is not None else 'no chosen epoch'}"
        remarks += ["; ".join([best, *verdicts])] if several else verdicts
    sample = f"{len(records)} trainings" if several else first.size
    height = 0.3 + 0.85 * sum(panel.share for panel in panels)
    return Chart("training", "training", sample, tuple(panels), height, entries, remarks)


def learning_curve(record: Training) -> Chart:
    """Show resolution and loss against the number of training events."""
    curve = record.outcome.learning_curve
    if not curve:
        raise NothingToDraw("this model was trained without --learning-curve, so there is none to draw")
    events = np.array([entry.events for entry in curve], dtype=np.float64)
    across = Axis.spanning("training events", events, log_from=1)
    panels = []
    for label, scale, name in ((_SIGMA_68, PERCENT, "resolution"), ("loss", 1.0, "loss")):
        value = scale * np.array([getattr(entry, name) for entry in curve], dtype=np.float64)
        line = Line("validation side", _VALIDATION, events, value)
        error = value * record.relative_error("validation") if name == "resolution" else None
        points = Marks("validation side", _VALIDATION, events, value, error)
        panels.append(Panel(across, _span(label, [points]), (points, line)))
    entries, more = [Entry("validation side", _VALIDATION)], record.outcome.more_data
    remarks = [_sentence(more)] if more else []
    return Chart("learning-curve", "learning curve", record.size, tuple(panels), 2.6, entries, remarks)


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
    entries = [Entry(item.label, item.look) for item in (line, *marked)]
    return Chart("rates", "search for a learning rate", "", (panel,), 2.2, entries)


def _sentence(verdict: str) -> str:
    return verdict.replace("+-", "±")


def _span(label: str, drawn: Sequence[Line | Marks]) -> Axis:
    """Return a vertical axis that holds all of some lines and points."""
    errors = [item.error if isinstance(item, Marks) and item.error is not None else 0 * item.y for item in drawn]
    values = np.concatenate(
        [item.y + sign * error for item, error in zip(drawn, errors, strict=True) for sign in (-1, 1)]
    )
    return Axis.spanning(label, values, log_from=_LOG_RATIO)


def _known(history: Sequence[Mapping[str, Any]], name: str) -> tuple[Array, Array]:
    """Return epochs and values of a quantity where the history has a finite one."""
    known = [
        (entry.get("epoch", i + 1), entry[name])
        for i, entry in enumerate(history)
        if entry.get(name) is not None and math.isfinite(entry[name])
    ]
    return np.array([epoch for epoch, _ in known], dtype=np.float64), np.array([value for _, value in known])
