"""Trials before a training: the learning-rate finder, and a rehearsal that tells how long all steps will take.

L. N. Smith (arXiv:1506.01186) looks for the range of useful rates in one short run: too low a rate changes nothing, a
good one makes the loss fall, too high a one makes it explode.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.sample import Side
from calomlp.data.sources import Source
from calomlp.errors import TrainingError
from calomlp.model.file import Model
from calomlp.run import Run
from calomlp.training.events import Table
from calomlp.training.loop import State, summed_loss, validate
from calomlp.training.loop import run as run_loop
from calomlp.training.prepare import SIDES, Prepared, at_edges, prepare
from calomlp.training.train import arrange
from calomlp.training.training_settings import Plan, TrainingSettings

_FIRST, _LAST, _STEPS = 1e-6, 10.0, 200
_SMOOTHING = 0.9
_SUSTAINED = 10
_DIVERGED, _HIGH = 4.0, 2.0
_LEAST = 0.1
"""A best loss near zero or below, as ``gaussian-nll`` may have, counts as this share of the first at least."""


@dataclass(frozen=True)
class RateCurve:
    """Loss against learning rate.

    Attributes:
        rates: Learning rate of every step, each the one before times the same factor.
        losses: The loss before each of these steps, smoothed.
        suggestion: The rate that follows from them.
        automatic: The rate that training takes if none is asked for.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    automatic: float


def find_rate(sources: Sequence[Source], settings: TrainingSettings, run: Run, init: Model | None = None) -> RateCurve:
    """Look for a learning rate; nothing is left of the network that was trained for it.

    Args:
        sources: The files.
        settings: The settings; learning rate, schedule and epochs do not matter.
        run: Told of steps too.
        init: Model that the training would start from.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
        TrainingError: If the loss is not finite from the beginning.
        Interrupted: If a signal arrives.
    """
    task = arrange(sources, replace(settings, learning_rate=None), run, init)
    with threads(task.plan.threads):
        _, state, train, *_ = prepare(task)
        run.progress.start("looking for a learning rate", _STEPS, "steps")

        def after_step() -> None:
            run.progress.advance(1)
            run.interrupt.check()

        rates, losses = curve(state, train, settings, task.plan, after_step)
        run.progress.finish()
    return RateCurve(tuple(rates), tuple(losses), suggest(rates, losses), task.plan.learning_rate)


def curve(
    state: State, train: Table, settings: TrainingSettings, plan: Plan, after_step: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Return rate and smoothed loss of every step, up to the one where the loss is four times its best.

    The loss of a batch is noisy; its mean over some ten steps, which forgets a tenth in each, is less so.

    Args:
        state: Where to begin; trained, and of no use afterwards.
        train: Training events.
        settings: The settings.
        plan: The numbers.
        after_step: Called after every step.

    Raises:
        TrainingError: If the loss is not finite in the first steps.
    """
    state.regressor.network.train()
    rates: list[float] = []
    losses: list[float] = []
    total = 0.0
    batches = chain.from_iterable(train.batches(plan.batch_size, settings.seed, epoch) for epoch in count())
    for step, batch in zip(range(_STEPS), batches, strict=False):
        rate = _FIRST * (_LAST / _FIRST) ** (step / (_STEPS - 1))
        loss = summed_loss(state, batch, len(batch), settings.loss)
        total = _SMOOTHING * total + (1 - _SMOOTHING) * float(loss.detach()) / state.regressor.architecture.members
        if not math.isfinite(total):
            break
        rates.append(rate)
        losses.append(total / (1 - _SMOOTHING ** (step + 1)))  # the total began at zero
        if risen(losses, _DIVERGED)[-1]:
            break
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step(rate)
        after_step()
    if len(rates) <= _SUSTAINED:
        raise TrainingError("the loss is not finite at the lowest learning rates: look for outliers among the features")
    return rates, losses


def risen(losses: Sequence[float], factor: float) -> NDArray[np.bool_]:
    """Tell for every loss whether it is that many times the best so far; the first ten, too noisy, are not looked at.

    Args:
        losses: Smoothed, shape [steps].
        factor: Above one.
    """
    known = np.array(losses)
    known[:_SUSTAINED] = np.max(known[:_SUSTAINED])
    best = np.minimum.accumulate(known)
    size = np.maximum(np.abs(best), _LEAST * np.abs(known[0]))
    high: NDArray[np.bool_] = known > best + (factor - 1) * size
    return high


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return a tenth of the rate from which on the loss is twice its best or more for ten steps, or to the end.

    Ten steps, because the losses of small batches jump; a tenth, because the rates at which whole trainings end lowest
    are there, within a factor of two or three.

    Args:
        rates: Of the steps.
        losses: Smoothed.
    """
    high = risen(losses, _HIGH)
    runs = (i for i in range(len(rates)) if high[i : i + _SUSTAINED].all())
    return rates[next(runs, len(rates) - 1)] / 10


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
