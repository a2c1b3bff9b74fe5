"""Events for a training: recipe, calibration sample, features that are not constant."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calomlp.data.dataset import PART, Data, load
from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet, Wanted, choose
from calomlp.data.flags import SKIP
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sample import BY_ENERGY, Recipe, Sample, parse_cut, parse_target
from calomlp.data.sources import Source
from calomlp.data.split import Side, Split
from calomlp.errors import InputError, UsageError
from calomlp.model.file import Model
from calomlp.model.losses import LOSSES
from calomlp.run import Run
from calomlp.training.training_settings import TrainingSettings
from calomlp.units import listed

logger = logging.getLogger(__name__)

CALIBRATION_EVENTS = 1 << 20
"""Anchor, spread, spectrum and scaler are determined with so many training events at most, evenly taken from all. What
a million events leave uncertain of a line is far below what the network corrects."""

MIN_EVENTS = 20
"""A side with fewer events counts as empty."""


def check_init(settings: TrainingSettings, init: Model | None) -> None:
    """Refuse settings that contradict the model to start from.

    Raises:
        UsageError: Naming the setting.
    """
    if init is None:
        return
    form, plain = init.regressor.architecture, TrainingSettings()
    wanted = {
        "features": [feature.expression for feature in init.recipe.features],
        "also": (),
        "exclude": (),
        "mip": None,
        "hidden": ",".join(map(str, form.hidden)) or "none",
        "activation": form.activation,
        "regress": form.target,
        "ensemble": form.members,
    }
    for name, value in wanted.items():
        asked = getattr(settings, name)
        if asked not in (getattr(plain, name), value) and not (name == "features" and list(asked) == value):
            raise UsageError(f"--{name} {asked} is not that of the model to start from, {value}: leave it out")
    if LOSSES[settings.loss].head != form.head:
        raise UsageError(f"loss {settings.loss!r} does not go with the model to start from, which predicts {form.head}")


def plan_recipe(sources: Sequence[Source], settings: TrainingSettings, init: Model | None = None) -> Recipe:
    """Decide what is read from the files: the first one tells the features and their shapes, or a model does.

    Raises:
        UsageError: If an expression or the split is not legal.
        InputError: If no file can be used.
    """
    target = parse_target(settings.target, settings.unit)
    if settings.unit not in (None, "GeV") and any(source.true_energy for source in sources):
        raise UsageError("--unit is that of the branch in --target; energies of whole files say their own unit")
    split = Split.parse(settings.split, settings.seed)
    cut = parse_cut(settings.cut)
    weight = Expression.parse(settings.weight) if settings.weight else None
    layout = Layout(settings.explode, settings.group_by, settings.tree or "")
    grouped = {settings.split_by} if settings.split_by and settings.split_by != BY_ENERGY else set()
    reserved = grouped | (weight.branches if weight else set())
    needed = target.branches | reserved | (cut.branches if cut else set())
    wanted = Wanted(settings.features, settings.also, settings.exclude, settings.energies, settings.mip)
    for source in sources:
        last = source is sources[-1]
        try:
            with open_rows(source, layout, needed) as rows:
                rows.require(needed)
                if not (rows.entries or last):  # the first file with events tells the shapes
                    continue
                if init is not None:
                    left_out = init.recipe.left_out
                    features = init.recipe.features
                    init.recipe.check(rows, features.branches)
                else:
                    features, left_out = choose(rows, target, wanted, reserved | {settings.group_by})
                break
        except InputError:
            if last or settings.on_bad_file != SKIP:
                raise
    return Recipe(
        features,
        target,
        split,
        settings.split_by,
        cut,
        weight,
        layout,
        settings.missing,
        settings.on_bad,
        left_out,
    )


def load_data(
    sources: Sequence[Source], recipe: Recipe, run: Run, *, skip_bad_files: bool = False, saved: Path | None = None
) -> Data:
    """Read the files.

    Raises:
        InputError: If a file cannot be used, or there are too few events.
    """
    data = load(sources, recipe, run, skip_bad_files=skip_bad_files, saved=saved)
    for side in (Side.TRAIN, Side.VALIDATION):
        if (count := np.count_nonzero(data.side == side)) < MIN_EVENTS:
            raise InputError(
                f"{count} of {len(data.side)} events are on the {side.name.lower()} side, where {MIN_EVENTS} are needed"
            )
    return data


def calibration_sample(data: Data) -> Sample:
    """Return training events, evenly taken from those of all processes, that fit into memory."""
    taken = evenly(data.side == Side.TRAIN)
    own = _in_one_piece([part[taken[rows]] for rows, part in data.parts()])
    if data.processes.size == 1:
        return own
    owner = np.flatnonzero(taken) % data.processes.size
    columns = [data.processes.gather(column) for column in vars(own).values()]
    everyone = _in_one_piece([Sample(*arrays) for arrays in zip(*columns, strict=True)])
    return everyone[np.argsort(np.argsort(owner, kind="stable"))]


def evenly(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose so many of the chosen events that their features fit into memory, evenly, shape [events]."""
    stride = max(1, math.ceil(np.count_nonzero(chosen) / CALIBRATION_EVENTS))
    taken = np.zeros_like(chosen)
    seen = 0
    for start in range(0, len(chosen), PART):
        rows = start + np.flatnonzero(chosen[start : start + PART])
        taken[rows[-seen % stride :: stride]] = True
        seen += len(rows)
    return taken


def _in_one_piece(parts: Sequence[Sample]) -> Sample:
    arrays = ([getattr(part, item.name) for part in parts] for item in fields(Sample))
    return Sample(*map(np.concatenate, arrays))


def without_constants(data: Data, sample: Sample) -> tuple[Data, Sample]:
    """Drop features that are the same in all events, and name them."""
    constant = (sample.features == sample.features[0]).all(axis=0)
    features, kept, dropped, idle = [], [], [], []
    stop = 0
    for feature in data.recipe.features:
        start, stop = stop, stop + feature.width
        same = constant[start:stop]
        kept += [not same.all()] * feature.width
        if same.all():
            dropped.append(f"{feature.expression} (always {sample.features[0, start]:g})")
        else:
            features.append(feature)
            idle += [name for name, alike in zip(feature.columns, same, strict=True) if alike]
    if idle:
        logger.info("always the same, and nothing for the network: %s", listed(idle))
    if not dropped:
        return data, sample
    if not any(feature.energy for feature in features):
        raise InputError(f"no energy is left: features that are the same in all events are {listed(dropped)}")
    logger.warning("features that are the same in all events are dropped: %s", listed(dropped))
    columns = np.array(kept)
    data.events.narrow(columns)
    recipe = replace(data.recipe, features=FeatureSet(features))
    return replace(data, recipe=recipe), replace(sample, features=sample.features[:, columns])
