"""Train a regressor: from files to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from calomlp import __version__
from calomlp.compute import find_device, threads
from calomlp.data.load import Data, Reading
from calomlp.data.sample import Sample
from calomlp.data.sources import Source
from calomlp.data.split import Side
from calomlp.data.store import Room
from calomlp.errors import CheckpointWritten, Interrupted, UsageError
from calomlp.model.anchor import Anchor
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.regressor import Architecture
from calomlp.progress import Progress
from calomlp.provenance import fingerprint, provenance
from calomlp.training.checkpoint import load_checkpoint
from calomlp.training.events import Table
from calomlp.training.loop import State, run
from calomlp.training.plan import WHOLE_SET, Plan, check_settings, make_plan
from calomlp.training.prepare import (
    calibration_sample,
    check_init,
    close,
    design,
    load_data,
    plan_recipe,
    prepare,
    without_constants,
)
from calomlp.training.settings import TrainingSettings
from calomlp.training.suspicions import look_at
from calomlp.training.watch import Watch

logger = logging.getLogger(__name__)

FINE_TUNING = 0.3
"""The learning rate of a training that starts from a model is so much of the usual one."""


def train(
    sources: Sequence[Source],
    settings: TrainingSettings,
    *,
    room: Room,
    watch: Watch,
    progress: Progress,
    init: Model | None = None,
) -> Model:
    """Train a regressor on files.

    Args:
        sources: The files.
        settings: The settings.
        room: What may be used to keep events; the result does not depend on it.
        watch: When to save and when to stop; a checkpoint that is there is gone on from.
        progress: Told of chunks and epochs.
        init: Model to start from.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
        ArtefactError: If there is a checkpoint of another run.
        TrainingError: If the loss becomes non-finite.
        CheckpointWritten: If the run was stopped and can go on.
    """
    check_settings(settings)
    device = find_device(settings.device)
    check_init(settings, init)
    reading = Reading(room, settings.on_bad_file == "skip", progress, watch.interrupt)
    try:
        data, sample, architecture, plan = arrange(sources, settings, reading, init)
    except Interrupted as error:
        if watch.checkpoint is None or not watch.checkpoint.exists():
            raise
        raise CheckpointWritten(
            f"interrupted while reading; {watch.checkpoint} holds the state as it was: run the same command again"
        ) from error
    with threads(plan.threads):
        state, events, anchor = prepare(data, sample, settings, architecture, room, device, init)
        mark = fingerprint(
            [
                __version__,
                torch.__version__,
                asdict(settings),
                asdict(plan),
                [f.identity for f in data.files],
                init.weights_mark() if init else None,
            ]
        )
        if watch.checkpoint is not None and watch.checkpoint.exists():
            load_checkpoint(watch.checkpoint, state, mark)
            logger.info("going on from %s, epoch %d", watch.checkpoint, state.epoch + 1)
        reason = _run(state, events, settings, plan, watch, mark, progress)
        state.regressor.train(mode=False)
        closure = close(state.regressor, anchor, data, sample)
    return _model(state, data, settings, plan, anchor, reason, closure)


def arrange(
    sources: Sequence[Source], settings: TrainingSettings, reading: Reading, init: Model | None = None
) -> tuple[Data, Sample, Architecture, Plan]:
    """Read the files, and decide what is trained on them, and how.

    Args:
        sources: The files.
        settings: The settings.
        reading: How to read.
        init: Model to start from.

    Returns:
        The events, those of them that anchor and scaler are determined with, the network, and the numbers.
    """
    data = load_data(sources, plan_recipe(sources, settings, init), reading)
    sample = calibration_sample(data)
    if init is None:
        data, sample = without_constants(data, sample)
    look_at(data, sample, sources)
    architecture = design(data, settings, init)
    plan = make_plan(
        settings, int(np.count_nonzero(data.side == Side.TRAIN)), architecture.n_inputs, architecture.n_outputs
    )
    if init is not None and settings.learning_rate is None:
        plan = replace(plan, learning_rate=FINE_TUNING * plan.learning_rate)
    if settings.optimiser in WHOLE_SET and data.events.on_disk:
        raise UsageError(
            f"--optimiser {settings.optimiser} takes all events in one step, and they do not fit: raise --memory"
        )
    return data, sample, architecture, plan


def _run(
    state: State,
    events: tuple[Table, Table],
    settings: TrainingSettings,
    plan: Plan,
    watch: Watch,
    mark: str,
    progress: Progress,
) -> str:
    train, validation = events
    logger.info(
        "training on %d events, validating on %d: %d inputs, hidden %s, %d parameters, batch %d, at most %d epochs, "
        "learning rate %g, %d thread%s",
        len(train),
        len(validation),
        train.n_inputs,
        settings.hidden,
        plan.parameters,
        plan.batch_size,
        plan.epochs,
        plan.learning_rate,
        plan.threads,
        "" if plan.threads == 1 else "s",
    )
    progress.start("training", plan.epochs * len(train), "events")
    progress.advance(state.epoch * len(train) + state.step * plan.batch_size)

    def after_step(state: State) -> None:
        progress.advance(min(plan.batch_size, len(train) - (state.step - 1) * plan.batch_size))
        watch.after_step(state, mark)

    def after_epoch(state: State) -> None:
        progress.report(_epoch_line(state.history[-1], plan.epochs))

    reason = run(state, train, validation, settings, plan, after_step=after_step, after_epoch=after_epoch)
    progress.finish()
    return reason


def _epoch_line(entry: dict[str, float], epochs: int) -> str:
    return (
        f"epoch {entry['epoch']:.0f}/{epochs}: loss {entry['train_loss']:.4g} training, "
        f"{entry['validation_loss']:.4g} validation; sigma_68 of the response {entry['validation_resolution']:.2%}"
    )


def _model(
    state: State,
    data: Data,
    settings: TrainingSettings,
    plan: Plan,
    anchor: Anchor,
    reason: str,
    closure: list[dict[str, float]],
) -> Model:
    counts = np.bincount(data.side, minlength=len(Side)).tolist()
    extremes = [(part.true_energy.min(), part.true_energy.max()) for _, part in data.events.parts()]
    lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
    envelope = Envelope(float(lowest), float(highest), *counts)
    summary = {
        "loss": settings.loss,
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_loss": state.best_loss,
        "ended": reason,
        "parameters": plan.parameters,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate,
        "threads": plan.threads,
        "sum_scale": anchor.sum_scale,
        "anchor_spread": asdict(anchor.spread),
        "data": data.tally.as_dict(),
        "closure": closure,
    }
    if state.best_epoch == 0:
        start = "linear anchor" if settings.regress == "ratio" else "untrained network"
        logger.warning("no epoch was better than the start: the model is the %s itself", start)
    return Model(
        state.regressor,
        data.recipe,
        data.files,
        envelope,
        tuple(state.history),
        summary,
        asdict(settings),
        provenance(),
    )
