"""From files to what the loop needs: recipe, sample, calibrated regressor, events."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from calomlp.data.expressions import Expression
from calomlp.data.features import choose
from calomlp.data.reader import open_table
from calomlp.data.record import FileRecord
from calomlp.data.sample import MAX_BEAM_ENERGIES, Recipe, Sample, load, parse_cut
from calomlp.data.sources import Source
from calomlp.data.split import Side, Split
from calomlp.errors import InputError, UsageError
from calomlp.interrupt import Interrupt
from calomlp.model.anchor import Anchor, fit_anchor, spectrum_weights
from calomlp.model.regressor import Architecture, Regressor
from calomlp.progress import Progress
from calomlp.training.loop import Events, State
from calomlp.training.optimiser import Optimiser
from calomlp.training.plan import Plan
from calomlp.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

_MIN_EVENTS = 20
_MIN_KEPT = 0.5
_SUSPICIOUS_ENERGY = 10_000.0


def plan_recipe(sources: Sequence[Source], settings: TrainingSettings) -> Recipe:
    """Decide what is read from the files: the first one tells the features and their shapes.

    Raises:
        UsageError: If an expression or the split is not legal.
        InputError: If the first file cannot be used.
    """
    target = Expression.parse(settings.target)
    if not target.branches:
        raise UsageError(f"target {target.text!r} reads no branch: it must depend on the event")
    split = Split.parse(settings.split, settings.seed)
    cut = parse_cut(settings.cut)
    reserved = {settings.split_by} if settings.split_by else set()
    for source in sources:
        with open_table(source) as table:
            table.require(target.branches | reserved | (cut.branches if cut else set()))
            if table.entries or source is sources[-1]:  # the first file with events tells the shapes
                features = choose(table, target, settings.features, settings.energies, reserved)
                break
    return Recipe(features, target, split, settings.split_by, cut)


def load_sample(
    sources: Sequence[Source], recipe: Recipe, progress: Progress, interrupt: Interrupt
) -> tuple[Sample, tuple[FileRecord, ...]]:
    """Read the files into memory.

    Raises:
        InputError: If a file cannot be used, or there are too few events.
    """
    sample, files = load(sources, recipe, progress=progress, interrupt=interrupt)
    for side in (Side.TRAIN, Side.VALIDATION):
        if (count := np.count_nonzero(sample.side == side)) < _MIN_EVENTS:
            raise InputError(
                f"{count} of {len(sample)} events are on the {side.name.lower()} side, where {_MIN_EVENTS} are needed"
            )
    if (highest := sample.true_energy.max()) > _SUSPICIOUS_ENERGY:
        logger.warning(
            "true energies go up to %g GeV: if these are MeV, say --target '%s / 1000'", highest, recipe.target.text
        )
    return sample, files


def prepare(
    sample: Sample, recipe: Recipe, settings: TrainingSettings, plan: Plan, device: torch.device
) -> tuple[State, tuple[Events, Events], Anchor]:
    """Fit the anchor, build the regressor, and compute once what the loop needs of every event."""
    train = sample.select(sample.side == Side.TRAIN)
    validation = sample.select(sample.side == Side.VALIDATION)
    columns = recipe.features.energy_columns
    energy = np.concatenate([train.true_energy, validation.true_energy])
    weights = spectrum_weights(energy) if settings.weighting == "auto" else np.ones(len(energy))
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
    left_out = len(train) - len(events[0])
    if left_out:
        logger.info("%d of %d training events are near the edges of the range and left out", left_out, len(train))
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
    if (distinct := len(np.unique(true_energy))) <= MAX_BEAM_ENERGIES:
        logger.warning(
            "only %d distinct true energies: a network can learn them by heart; evaluate on others, not in training",
            distinct,
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
