"""Rehearsal of a training: everything is read and prepared, and a few steps tell how long all of them will take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from calomlp.compute import threads
from calomlp.data.sources import Source
from calomlp.data.split import Side
from calomlp.model.file import Model
from calomlp.run import Run
from calomlp.training.loop import State, validate
from calomlp.training.loop import run as run_loop
from calomlp.training.plan import Plan
from calomlp.training.prepare import SIDES, Prepared, at_edges, prepare
from calomlp.training.train import arrange
from calomlp.training.training_settings import TrainingSettings

_WARM_UP, _TIMED = 3, 20
_LONGEST = 5.0
"""Seconds after which no further step is taken; of the whole set, one may take as long."""


@dataclass(frozen=True)
class Rehearsal:
    """A training that is not run: its plan, its data, and how long it would take.

    Attributes:
        plan: The numbers of the training.
        files: Number of files.
        read: Events that were read and passed the cut.
        events: Those on each side.
        left_out: Events that are not used, a sentence for each reason.
        features: Their expressions.
        columns: Number of their columns.
        inputs: Names of the inputs of the network.
        members: Number of networks.
        steps_per_epoch: Steps in which all training events are seen once.
        bytes: Size of events and inputs.
        on_disk: Whether they are kept in files.
        reading_seconds: Time of reading and preparing.
        training_seconds: Expected time of the epochs.
    """

    plan: Plan
    files: int
    read: int
    events: dict[str, int]
    left_out: tuple[str, ...]
    features: tuple[str, ...]
    columns: int
    inputs: tuple[str, ...]
    members: int
    steps_per_epoch: int
    bytes: int
    on_disk: bool
    reading_seconds: float
    training_seconds: float

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.plan.epochs * self.steps_per_epoch

    def record(self) -> dict[str, Any]:
        """Return all numbers by name, for JSON."""
        numbers = asdict(self)
        return {**numbers.pop("plan"), **numbers, "steps": self.steps}


def rehearse(sources: Sequence[Source], settings: TrainingSettings, run: Run, init: Model | None = None) -> Rehearsal:
    """Find out what a training would do; nothing is left of it.

    Args:
        sources: The files.
        settings: The settings.
        run: Told of steps too.
        init: Model that the training would start from.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
        TrainingError: If the loss becomes non-finite in the first steps.
        Interrupted: If a signal arrives.
    """
    began = time.monotonic()
    task = arrange(sources, settings, run, init)
    data, plan = task.data, task.plan
    with threads(plan.threads):
        prepared = prepare(task)
        reading_seconds = time.monotonic() - began
        step, validation = _seconds(prepared, run)
    steps_per_epoch = math.ceil(len(prepared.train) / plan.batch_size)
    edges = (at_edges(data, prepared.train, Side.TRAIN), at_edges(data, prepared.validation, Side.VALIDATION))
    return Rehearsal(
        plan=replace(plan, batch_size=min(plan.batch_size, len(prepared.train))),
        files=len(data.files),
        read=len(data.events),
        events={name: int(np.count_nonzero(data.side == side)) for side, name in SIDES.items()},
        left_out=(*data.tally.selection(), *data.tally.losses(), *filter(None, edges)),
        features=tuple(feature.expression for feature in data.recipe.features),
        columns=len(data.recipe.features.columns),
        inputs=prepared.state.inputs,
        members=prepared.state.regressor.architecture.members,
        steps_per_epoch=steps_per_epoch,
        bytes=_bytes(prepared),
        on_disk=data.events.on_disk,
        reading_seconds=reading_seconds,
        training_seconds=min(plan.epochs * (steps_per_epoch * step + validation), settings.stop_after or math.inf),
    )


def _bytes(prepared: Prepared) -> int:
    """Return the size of what is kept of every event, and of what the loop needs besides."""
    data = prepared.task.data
    columns = len(data.recipe.features.columns)
    others = 4  # numbers beside the columns, and beside the inputs
    tables = sum(len(table) * (table.n_inputs + others) for table in (prepared.train, prepared.validation))
    return 4 * (len(data.events) * (columns + others) + tables)


class _Enough(Exception):
    """Enough steps were timed."""


def _seconds(prepared: Prepared, run: Run) -> tuple[float, float]:
    """Return what a step takes, and a look at the validation side."""
    task, state, train, validation, *_ = prepared
    settings = task.settings
    began = time.monotonic()
    validate(state.regressor, validation, settings.loss)
    start = last = time.monotonic()
    steps: list[float] = []

    def after_step(_: State) -> None:
        nonlocal last
        now = time.monotonic()
        steps.append(now - last)
        last = now
        run.progress.advance(1)
        run.interrupt.check()
        if len(steps) == _WARM_UP + _TIMED or now - start > _LONGEST:
            raise _Enough

    def after_epoch(_: State) -> None:
        nonlocal last
        last = time.monotonic()

    run.progress.start("timing some steps", _WARM_UP + _TIMED, "steps")
    forever = replace(settings, stop_after=None, epsilon=0.0)
    with suppress(_Enough):
        run_loop(state, train, validation, forever, task.plan, after_step=after_step, after_epoch=after_epoch)
    run.progress.finish()
    return statistics.median(steps[_WARM_UP:] or steps), start - began
