"""Train a regressor: from files to a model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calomlp import __version__
from calomlp.compute import find_device, threads
from calomlp.data.flags import SKIP
from calomlp.data.sample import Side
from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, CheckpointWritten, Interrupted, TrainingError, UsageError
from calomlp.model.envelope import Envelope, feature_ranges
from calomlp.model.file import Model, write_model
from calomlp.model.outcome import Overtraining, Performance, TrainingOutcome
from calomlp.processes import Processes
from calomlp.provenance import provenance
from calomlp.run import Progress, Run
from calomlp.streams import atomic_path
from calomlp.training.checkpoint import Watch, load_checkpoint
from calomlp.training.diagnosis import CURVE, more_data, overtraining, worse
from calomlp.training.loop import State, explain, validate
from calomlp.training.loop import run as run_loop
from calomlp.training.prepare import (
    MIN_EVENTS,
    Prepared,
    Task,
    calibration_sample,
    check_init,
    close,
    design,
    load_data,
    plan_recipe,
    prepare,
    resolutions,
    without_constants,
)
from calomlp.training.reporter import Tell
from calomlp.training.suspicions import look_at
from calomlp.training.training_settings import WHOLE_SET, TrainingSettings, check_settings

logger = logging.getLogger(__name__)

_NOTHING = 0.005
"""A correction of which a smaller share is kept counts as none."""

_PLANNED = ("parameters", "batch_size", "learning_rate", "schedule", "threads", "processes")
"""Numbers of the plan that a model remembers."""


def train(
    sources: Sequence[Source],
    settings: TrainingSettings,
    run: Run,
    *,
    watch: Watch,
    init: Model | None = None,
    tell: Tell = lambda _: None,
) -> Model:
    """Train a regressor on files.

    A training whose loss becomes non-finite would do so again from its checkpoint, and one with other settings could
    not go on from there, so that the checkpoint is removed.

    Args:
        sources: The files.
        settings: The settings.
        run: The result does not depend on its memory; its processes train together, and all return the same.
        watch: When to save and when to stop; a checkpoint that is there is gone on from.
        init: Model to start from.
        tell: Called with all epochs so far after each of them.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
        ArtefactError: If there is a checkpoint of another run.
        TrainingError: If the loss becomes non-finite.
        CheckpointWritten: If the run was stopped and can go on.
    """
    processes = run.processes
    try:
        task = arrange(sources, settings, run, init, watch.events(processes.rank))
    except Interrupted as error:
        if watch.checkpoint is None or not watch.checkpoint.exists():
            raise
        raise CheckpointWritten(
            f"interrupted while reading; {watch.checkpoint} holds the state as it was: run the same command again"
        ) from error
    with threads(task.plan.threads):
        prepared = prepare(task)
        state = prepared.state
        mark = {
            "calomlp": __version__,
            "torch": torch.__version__,
            **asdict(settings),
            "threads": task.plan.threads,  # with these, all other numbers of the plan are the same too
            "processes": task.plan.processes,
            "files": [file.identity for file in task.data.files],
            "init": init.weights_mark() if init else None,
        }
        if watch.checkpoint is not None and watch.checkpoint.exists():
            load_checkpoint(watch.checkpoint, state, mark)
            logger.info("going on from %s, epoch %d", watch.checkpoint, state.epoch + 1)
        if not processes.agree([state.epoch, state.step]):
            raise ArtefactError(f"{watch.checkpoint}: not all processes see this checkpoint: name one that all share")

        def model(reason: str, *, learning_curve: bool) -> Model:
            findings = _compare(prepared) | {"warnings": task.warnings}
            if learning_curve:
                findings |= _learning_curve(task, findings["sides"])
            findings["closure"] = close(prepared)
            side = Side.TEST if "test" in findings["sides"] else Side.VALIDATION
            measured, events = resolutions(prepared, side)
            if "network" in measured and (sentence := worse(measured, events, settings.regress)):
                logger.warning("%s", sentence)
                findings["worse"] = sentence
            return _model(prepared, reason, findings)

        try:
            with watch.keeping(task.data):
                reason = _run(prepared, watch, mark, run.progress, tell)
                return model(reason, learning_curve=settings.learning_curve)
        except TrainingError as error:
            kept = _keep_best(state, watch.last_good, partial(model, str(error), learning_curve=False), processes)
            raise TrainingError(f"{error}; {kept}") from error


def _keep_best(state: State, path: Path | None, model: Callable[[], Model], processes: Processes) -> str:
    """Write the best model so far of a training that failed, and say where it is, or why it is not."""
    if not state.best_epoch:
        return "no epoch was better than the start, and nothing was worth keeping"
    if path is None:
        return f"the model of epoch {state.best_epoch} was good and is lost, because it has no file of its own"
    state.regressor.network.load_state_dict(state.best_weights)
    best = model()
    try:
        if not processes.rank:
            with atomic_path(path) as temporary:
                write_model(temporary, best)
    except OSError as error:
        return f"the model of epoch {state.best_epoch} cannot be written to {path}: {error.strerror or error}"
    return f"{path} holds the model of epoch {state.best_epoch}, the best one"


def _compare(prepared: Prepared) -> dict[str, Any]:
    """Tell how the network does on the events that it was trained on, and on the others."""
    state, loss = prepared.state, prepared.task.settings.loss
    state.regressor.train(mode=False)
    tables = {"training": prepared.train, "validation": prepared.validation}
    if np.count_nonzero(prepared.task.data.side == Side.TEST) >= MIN_EVENTS:
        tables["test"] = prepared.table(Side.TEST)
    sides = {}
    for name, table in tables.items():
        performance = validate(state.regressor, table, loss)
        if name == "test" and not math.isfinite(performance.loss):  # the network is what it is, whatever is among these
            reason = explain(state.regressor, state.inputs, table.parts(), loss, 0.0, table.processes)
            logger.warning("the loss of the test events is not finite, they are not compared: %s", reason)
            continue
        sides[name] = replace(performance, events=len(table))
    status, verdict = overtraining(sides)
    logger.log(logging.WARNING if status == Overtraining.OVERTRAINED else logging.INFO, "%s", verdict)
    return {"sides": sides, "overtraining": verdict, "overtrained": status}


def _learning_curve(task: Task, sides: Mapping[str, Performance]) -> dict[str, Any]:
    """Train on parts of the events, and compare the results on the same validation events."""
    curve = []
    train = np.flatnonzero(task.data.side == Side.TRAIN)
    for part in CURVE:
        side = task.data.side.copy()
        side[np.delete(train, np.s_[::part])] = len(Side)  # on no side
        data = replace(task.data, side=side)
        reduced = design(data, calibration_sample(data), task.settings, task.device, task.folder, task.init)
        prepared = prepare(reduced)
        run_loop(prepared.state, prepared.train, prepared.validation, task.settings, reduced.plan)
        performance = validate(prepared.state.regressor, prepared.validation, task.settings.loss)
        curve.append(replace(performance, events=len(prepared.train)))
        logger.info(
            "learning curve: %d events, resolution (sigma_68) %.2f %%",
            len(prepared.train),
            100 * performance.resolution,
        )
    whole = replace(sides["validation"], events=sides["training"].events)
    verdict = more_data([*curve, whole])
    logger.info("%s", verdict)
    return {"learning_curve": (*curve, whole), "more_data": verdict}


def arrange(
    sources: Sequence[Source],
    settings: TrainingSettings,
    run: Run,
    init: Model | None = None,
    saved: Path | None = None,
) -> Task:
    """Read the files, or what an interrupted training has saved of them, and decide what is trained on them, and how.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
    """
    device = find_device(settings.device, run.processes.local_rank)
    check_settings(settings)
    check_init(settings, init)
    data = load_data(
        sources, plan_recipe(sources, settings, init), run, skip_bad_files=settings.on_bad_file == SKIP, saved=saved
    )
    sample = calibration_sample(data)
    if init is None:
        data, sample = without_constants(data, sample)
    warnings = look_at(data, sample, sources)
    task = design(data, sample, settings, device, run.folder, init, warnings)
    if settings.optimiser == WHOLE_SET and data.events.on_disk:
        raise UsageError(
            f"--optimiser {settings.optimiser} takes all events in one step, and they do not fit: raise --memory"
        )
    return task


def _run(prepared: Prepared, watch: Watch, mark: Mapping[str, Any], progress: Progress, tell: Tell) -> str:
    task, state, train, validation, *_ = prepared
    settings, plan = task.settings, task.plan
    members = state.regressor.architecture.members
    logger.info(
        "training on %d events, validating on %d: %d inputs, hidden %s, %d parameters%s, batch %d, at most %d epochs, "
        "learning rate %.3g, %d thread%s",
        len(train),
        len(validation),
        train.n_inputs,
        settings.hidden,
        plan.parameters,
        f" in {members} networks" if members > 1 else "",
        plan.batch_size,
        plan.epochs,
        plan.learning_rate,
        plan.threads,
        "" if plan.threads == 1 else "s",
    )
    if plan.processes > 1:
        logger.info("%d processes, each with about %d events", plan.processes, len(train) // plan.processes)
    progress.start("training", plan.epochs * len(train), "events")
    progress.advance(state.epoch * len(train) + state.step * plan.batch_size)

    def after_step(state: State) -> None:
        progress.advance(min(plan.batch_size, len(train) - (state.step - 1) * plan.batch_size))
        watch.after_step(state, mark, train.processes)

    def after_epoch(state: State) -> None:
        progress.report(_epoch_line(state.history[-1], plan.epochs))
        tell(state.history)

    reason = run_loop(
        state, train, validation, settings, plan, after_step=after_step, after_epoch=after_epoch, asked=watch.asked
    )
    progress.finish()
    return reason


def _epoch_line(entry: dict[str, float], epochs: int) -> str:
    return (
        f"epoch {entry['epoch']:.0f}/{epochs}: loss {entry['train_loss']:.4g} training, "
        f"{entry['validation_loss']:.4g} validation; resolution {100 * entry['validation_resolution']:.2f} %"
    )


def _model(prepared: Prepared, reason: str, findings: Mapping[str, Any]) -> Model:
    task, state, anchor = prepared.task, prepared.state, prepared.anchor
    data, settings = task.data, task.settings
    n_train, n_validation, n_test = np.bincount(data.side, minlength=len(Side)).tolist()
    own = np.array([(part.true_energy.min(), part.true_energy.max()) for _, part in data.parts()])
    lowest, highest = np.concatenate(data.processes.gather(own)).T
    ranges = feature_ranges(data.recipe.features.columns, task.sample.features)
    envelope = Envelope(float(lowest.min()), float(highest.max()), n_train, n_validation, n_test, ranges)
    outcome = TrainingOutcome(
        loss=settings.loss,
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        kept=state.kept,
        validation_loss=state.best_loss,
        ended=reason,
        **{name: getattr(task.plan, name) for name in _PLANNED},
        sum_scale=anchor.sum_scale,
        anchor_spread=anchor.spread,
        data=data.tally,
        **findings,
    )
    if state.corrects and state.kept >= _NOTHING:
        logger.info("%.0f %% of the correction is kept", 100 * state.kept)
    if state.best_epoch == 0 or state.kept < _NOTHING:
        start = "linear anchor" if settings.regress == "ratio" else "untrained network"
        logger.warning("nothing was gained over the start: the model is the %s itself", start)
    return Model(
        state.regressor,
        data.recipe,
        data.files,
        envelope,
        tuple(state.history),
        outcome.document(),
        asdict(settings),
        provenance(),
    )
