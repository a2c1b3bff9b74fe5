"""Train a regressor: from files to a model."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from calomlp import __version__
from calomlp.data.expressions import Expression
from calomlp.data.features import choose
from calomlp.data.reader import open_table
from calomlp.data.record import FileRecord
from calomlp.data.sample import MAX_BEAM_ENERGIES, Recipe, Sample, load
from calomlp.data.sources import Source
from calomlp.data.split import Side, Split
from calomlp.errors import CheckpointWritten, InputError, UsageError
from calomlp.interrupt import Interrupt
from calomlp.model.anchor import Anchor, fit_anchor, spectrum_weights
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.regressor import Architecture, Regressor
from calomlp.progress import Progress
from calomlp.provenance import fingerprint, provenance
from calomlp.threads import threads
from calomlp.training.checkpoint import load_checkpoint, save_checkpoint
from calomlp.training.loop import Events, State, run
from calomlp.training.optimiser import Optimiser
from calomlp.training.plan import Plan, check_settings, make_plan
from calomlp.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

_MIN_EVENTS = 20
_MIN_KEPT = 0.5
_MAX_UNIQUE = 5000


@dataclass
class Watch:
    """When a run must stop, and when it saves itself.

    Attributes:
        interrupt: Set by signals.
        checkpoint: Where the state is saved; ``None`` if nowhere.
        every: Seconds between checkpoints.
        max_time: Seconds after which the run stops with a checkpoint; ``None`` for no limit.
    """

    interrupt: Interrupt
    checkpoint: Path | None = None
    every: float = 600.0
    max_time: float | None = None

    def __post_init__(self) -> None:
        self._start = self._saved = time.monotonic()

    def after_step(self, state: State, fingerprint_: str) -> None:
        """Save or stop if it is time to.

        Raises:
            CheckpointWritten: If the run stops and can go on later.
            Interrupted: If it stops and cannot.
        """
        now = time.monotonic()
        over = self.max_time is not None and now - self._start >= self.max_time
        stop = over or self.interrupt.requested
        if self.checkpoint is None:
            self.interrupt.check()
            return
        if stop or now - self._saved >= self.every:
            save_checkpoint(self.checkpoint, state, fingerprint_)
            self._saved = now
        if stop:
            reason = "the time is over" if over else "interrupted"
            raise CheckpointWritten(
                f"{reason} in epoch {state.epoch + 1}; {self.checkpoint} holds the state: run the same command again"
            )


def train(sources: Sequence[Source], settings: TrainingSettings, *, watch: Watch, progress: Progress) -> Model:
    """Train a regressor on files.

    Args:
        sources: The files.
        settings: The settings.
        watch: When to save and when to stop; a checkpoint that is there is gone on from.
        progress: Told of chunks and epochs.

    Raises:
        UsageError: If the settings are not legal.
        InputError: If the files cannot be used.
        ArtefactError: If there is a checkpoint of another run.
        TrainingError: If the loss becomes non-finite.
        CheckpointWritten: If the run was stopped and can go on.
    """
    check_settings(settings)
    device = _device(settings.device)
    recipe = _recipe(sources, settings)
    sample, files = _load(sources, recipe, progress, watch.interrupt)
    plan = make_plan(settings, int(np.count_nonzero(sample.side == Side.TRAIN)), _n_inputs(recipe, settings))
    with threads(plan.threads):
        state, events, anchor = _prepare(sample, recipe, settings, plan, device)
        mark = fingerprint(
            [__version__, torch.__version__, asdict(settings), asdict(plan), [f.identity for f in files]]
        )
        if watch.checkpoint is not None and watch.checkpoint.exists():
            load_checkpoint(watch.checkpoint, state, mark)
            logger.info("going on from %s, epoch %d", watch.checkpoint, state.epoch + 1)
        reason = _run(state, events, settings, plan, watch, mark, progress)
    state.regressor.eval()
    return _model(state, sample, recipe, files, settings, plan, anchor, reason)


def _recipe(sources: Sequence[Source], settings: TrainingSettings) -> Recipe:
    target = Expression.parse(settings.target)
    split = Split.parse(settings.split, settings.seed)
    with open_table(sources[0]) as table:
        table.require(target.branches)
        features = choose(table, target, settings.features, settings.energies)
    return Recipe(features, target, split, settings.split_by)


def _load(
    sources: Sequence[Source], recipe: Recipe, progress: Progress, interrupt: Interrupt
) -> tuple[Sample, tuple[FileRecord, ...]]:
    sample, files = load(sources, recipe, progress=progress, interrupt=interrupt)
    for side in (Side.TRAIN, Side.VALIDATION):
        if np.count_nonzero(sample.side == side) < _MIN_EVENTS:
            raise InputError(f"{len(sample)} events are too few: {side.name.lower()} needs at least {_MIN_EVENTS}")
    return sample, files


def _n_inputs(recipe: Recipe, settings: TrainingSettings) -> int:
    return len(recipe.features.columns) + (settings.regress == "ratio")


def _prepare(
    sample: Sample, recipe: Recipe, settings: TrainingSettings, plan: Plan, device: torch.device
) -> tuple[State, tuple[Events, Events], Anchor]:
    """Fit the anchor, build the regressor, and compute once what the loop needs of every event."""
    train = sample.select(sample.side == Side.TRAIN)
    validation = sample.select(sample.side == Side.VALIDATION)
    columns = recipe.features.energy_columns
    weights = spectrum_weights(np.concatenate([train.true_energy, validation.true_energy]))
    anchor = fit_anchor(train.features[:, columns], train.true_energy, weights[: len(train)])
    generator = torch.Generator().manual_seed(settings.seed)
    architecture = Architecture(
        len(recipe.features.columns),
        tuple(columns.tolist()),
        plan.hidden,
        settings.activation,
        settings.dropout,
        settings.regress,
    )
    regressor = Regressor(architecture, generator)
    regressor.calibrate(anchor, torch.from_numpy(train.features), torch.from_numpy(train.true_energy))
    regressor.to(device)
    region = learning_region(train.true_energy, anchor)
    events = (
        _events(regressor, anchor, train, weights[: len(train)], region),
        _events(regressor, anchor, validation, weights[len(train) :], region),
    )
    optimiser = Optimiser(settings.optimiser, regressor.network, weight_decay=settings.weight_decay)
    masks = torch.Generator(device).manual_seed(settings.seed)
    return State(regressor, optimiser, masks), events, anchor


def learning_region(true_energy: NDArray[np.float32], anchor: Anchor) -> tuple[float, float]:
    """Return the anchor energies [GeV] between which the network learns.

    Near an edge of the training range the mean of the true energies that go with an event is drawn inwards: the range
    ends, the detector does not. What is chosen by the anchor, a function of the inputs, leaves that mean untouched
    everywhere else, so events near the edges are left out, and the correction goes on smoothly to them. With few beam
    energies, or a range that is hardly wider than the resolution, there would be too little left, and all are used.
    """
    everything = (-math.inf, math.inf)
    if len(np.unique(true_energy[:_MAX_UNIQUE])) <= MAX_BEAM_ENERGIES:
        logger.warning(
            "only %d distinct true energies: a network can learn them by heart; evaluate on others, not in training",
            len(np.unique(true_energy)),
        )
        return everything
    low, high = anchor.spread.inner_range(float(true_energy.min()), float(true_energy.max()))
    kept = np.count_nonzero((true_energy > low) & (true_energy < high)) / len(true_energy)
    if kept < _MIN_KEPT:
        logger.warning(
            "true energies of %.3g to %.3g GeV span little more than the resolution: expect a bias to the middle",
            true_energy.min(),
            true_energy.max(),
        )
        return everything
    return low, high


@torch.no_grad()
def _events(
    regressor: Regressor,
    anchor: Anchor,
    sample: Sample,
    weights: NDArray[np.float64],
    region: tuple[float, float],
) -> Events:
    device = regressor.anchor_weights.device
    features = torch.from_numpy(sample.features).to(device)
    estimate = regressor.anchor(features)
    learned = (estimate > region[0]) & (estimate < region[1])
    return Events.of(
        inputs=regressor.inputs(features, estimate),
        anchor=estimate,
        sigma=anchor.spread.variance(estimate).sqrt(),
        true_energy=torch.from_numpy(sample.true_energy).to(device),
        weight=torch.from_numpy(weights.astype(np.float32)).to(device),
    ).take(learned.nonzero().squeeze(1))


def _run(
    state: State,
    events: tuple[Events, Events],
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
        train.inputs.shape[1],
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
        progress.advance(plan.batch_size)
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
    sample: Sample,
    recipe: Recipe,
    files: tuple[FileRecord, ...],
    settings: TrainingSettings,
    plan: Plan,
    anchor: Anchor,
    reason: str,
) -> Model:
    n_train, _, n_test = np.bincount(sample.side, minlength=len(Side)).tolist()
    envelope = Envelope(float(sample.true_energy.min()), float(sample.true_energy.max()), n_train, n_test)
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
    }
    if state.best_epoch == 0:
        start = "linear anchor" if settings.regress == "ratio" else "untrained network"
        logger.warning("no epoch was better than the start: the model is the %s itself", start)
    return Model(
        state.regressor,
        recipe,
        files,
        envelope,
        tuple(state.history),
        summary,
        asdict(settings),
        provenance(),
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here: {str(error).splitlines()[0]}") from error
    return device
