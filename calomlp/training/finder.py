"""The learning-rate finder: a few steps at rates that grow, and what the loss says to them.

L. N. Smith (arXiv:1506.01186) looks for the range of useful rates in one short run: too low a rate changes nothing, a
good one makes the loss fall, too high a one makes it explode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.sources import Source
from calomlp.errors import TrainingError
from calomlp.model.file import Model
from calomlp.run import Run
from calomlp.training.events import Table
from calomlp.training.loop import State, summed_loss
from calomlp.training.plan import Plan
from calomlp.training.prepare import prepare
from calomlp.training.train import arrange
from calomlp.training.training_settings import TrainingSettings

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
