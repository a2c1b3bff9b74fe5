"""Before and after the training loop: events, calibrated regressor, tables of inputs, closure, resolutions."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calomlp.data.choice import Wanted, choose
from calomlp.data.dataset import PART, Data, load
from calomlp.data.expressions import Expression
from calomlp.data.features import FeatureSet
from calomlp.data.flags import SKIP
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sample import BY_ENERGY, Recipe, Sample, Side, Split, parse_cut, parse_target
from calomlp.data.sources import Source
from calomlp.errors import InputError, MissingDependencyError, UsageError
from calomlp.model.anchor import Anchor, SpectrumWeights, fit_anchor
from calomlp.model.corrections import MIN_BIN_EVENTS, median_responses
from calomlp.model.file import Model
from calomlp.model.losses import LOSSES
from calomlp.model.network import MLP, Architecture
from calomlp.model.outcome import ClosureBin, DataWarning
from calomlp.model.region import beam_energies, places_of
from calomlp.model.regressor import Regressor, picker
from calomlp.processes import Processes
from calomlp.quantiles import median_and_sigma_68
from calomlp.run import Run
from calomlp.training.events import FOLDS, OTHERS, Events, EventsInFile, EventsInMemory, SharedEvents, Table
from calomlp.training.loop import Forward, State
from calomlp.training.optimiser import Optimiser
from calomlp.training.training_settings import Plan, TrainingSettings, make_plan, parse_hidden
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
    for feature, place in zip(data.recipe.features, data.recipe.features.slices, strict=True):
        same = constant[place]
        kept += [not same.all()] * feature.width
        if same.all():
            dropped.append(f"{feature.expression} (always {sample.features[0, place.start]:g})")
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


EVENTS_PER_SHARE = 100
"""From so many training events for each of them on, the network sees the shares of the layers beside the shapes that
were chosen for it. With fewer it resolves worse for seeing them, as measured with 19, 30 and 38 layers."""

FEW_EVENTS, FEW_MEMBERS = 1 << 16, 4
"""A network from fewer training events owes more to chance, and several are averaged."""

FEWEST_EVENTS = 1 << 14
"""With fewer training events, those of validation alone do not tell what a correction gains."""

SIDES = {Side.TRAIN: "training", Side.VALIDATION: "validation", Side.TEST: "test"}
"""What the sides are called."""

FINE_TUNING = 0.3
"""The learning rate of a training that starts from a model is so much of the usual one."""

_MIN_KEPT = 0.5
_BEND = 0.25
_POOR = 0.5  # no calorimeter resolves worse than this


@dataclass(frozen=True)
class Task:
    """A training: its events, its network, its numbers."""

    data: Data  # the events
    sample: Sample  # training events that anchor and scaler are determined with
    settings: TrainingSettings
    architecture: Architecture  # of the network
    plan: Plan  # the numbers
    device: torch.device
    folder: Path  # where tables go if the events do not fit into memory
    init: Model | None = None  # to start from
    warnings: tuple[DataWarning, ...] = ()  # what looks wrong with the data


def design(
    data: Data,
    sample: Sample,
    settings: TrainingSettings,
    device: torch.device,
    folder: Path,
    init: Model | None = None,
    warnings: Sequence[DataWarning] = (),
) -> Task:
    """Decide what the network looks like, and with which numbers it is trained; see :class:`Task`."""
    architecture = _architecture(data, sample, settings, init)
    events = int(np.count_nonzero(data.side == Side.TRAIN))
    plan = make_plan(
        settings, events, architecture.n_inputs, architecture.n_outputs, architecture.members, data.processes
    )
    if settings.learning_rate is None:
        if init is not None:
            rule = f"{plan.rule}, times {FINE_TUNING:g} to go on from a model"
            plan = replace(plan, learning_rate=FINE_TUNING * plan.learning_rate, rule=rule)
        logger.info("learning rate %.3g, chosen automatically: %s", plan.learning_rate, plan.rule)
    return Task(data, sample, settings, architecture, plan, device, folder, init, tuple(warnings))


def _architecture(data: Data, sample: Sample, settings: TrainingSettings, init: Model | None) -> Architecture:
    """Decide what the network looks like: like that of the model to start from, or as the settings say.

    If the features were chosen for it and the events are few, it does not see the layers beside the shapes. At a few
    beam energies there are several members in any case, which leave out one each.
    """
    if init is not None:
        return replace(init.regressor.architecture, dropout=settings.dropout, closure=settings.closure == "auto")
    features = data.recipe.features
    columns = features.energy_columns
    events = np.count_nonzero(data.side == Side.TRAIN)
    few = events < FEW_EVENTS or len(beam_energies(sample.true_energy)) > 0
    return Architecture(
        len(features.columns),
        tuple(columns.tolist()),
        parse_hidden(settings.hidden),
        settings.activation,
        settings.dropout,
        settings.regress,
        shares=bool(settings.features or not features.has_shapes or events >= EVENTS_PER_SHARE * len(columns)),
        head=LOSSES[settings.loss].head,
        members=settings.ensemble or (FEW_MEMBERS if few else 1),
        closure=settings.closure == "auto",
        spectrum=features.spectrum_columns,
    )


class Prepared(NamedTuple):
    """Start of a training."""

    task: Task  # the training
    state: State  # its state
    train: Table  # training events
    validation: Table  # validation events
    anchor: Anchor  # the anchor
    table: Callable[[Side], Table]  # makes the table of another side


def prepare(task: Task) -> Prepared:
    """Fit the anchor, build the regressor, and compute once what the loop needs of every event."""
    data, sample, settings, architecture, init = task.data, task.sample, task.settings, task.architecture, task.init
    columns = picker(list(architecture.energy_columns))
    spectrum = SpectrumWeights(sample.true_energy, sample.weight) if settings.weighting == "auto" else _unweighted
    weight = sample.weight * spectrum(sample.true_energy)
    known = None if init is None else init.regressor.anchor_weights.double().cpu().numpy()
    anchor = fit_anchor(sample.features[:, columns], sample.true_energy, weight, known)
    regressor = Regressor(architecture, torch.Generator().manual_seed(settings.seed))
    features, true_energy = torch.from_numpy(sample.features), torch.from_numpy(sample.true_energy)
    regressor.calibrate(anchor, features, true_energy)
    regressor.compensate(features, true_energy, torch.from_numpy(weight.astype(np.float32)))
    if init is not None:
        regressor.start_from(init.regressor)
    regressor.enclose(anchor, features, true_energy)
    regressor.to(task.device)
    region = learning_region(sample.true_energy, anchor)

    processes = data.processes
    beams = beam_energies(sample.true_energy)
    chance = np.random.default_rng(settings.seed).integers(FOLDS, size=len(data.side), dtype=np.uint8)

    def table(side: Side) -> Table:
        own = int(np.count_nonzero(data.side[processes.rank :: processes.size] == side))
        collector = EventsInFile(task.folder) if data.events.on_disk else EventsInMemory(own, task.device)
        kept = np.zeros(len(data.side), np.uint8)
        for rows, part in data.parts():
            on_side = np.flatnonzero(data.side[rows] == side)
            chosen = part[on_side]
            weights = chosen.weight * spectrum(chosen.true_energy)
            folds = folds_of(chosen.true_energy, beams) if len(beams) else chance[rows][on_side]
            events, learned = _events(regressor, chosen, weights, folds, region)
            collector.add(events)
            kept[rows][on_side[learned]] = 1
        own_events = collector.collected()
        collected = SharedEvents(own_events, processes.sum(kept), processes) if processes.size > 1 else own_events
        count = int(np.count_nonzero(data.side == side))
        if side != Side.TEST and len(collected) < MIN_EVENTS:
            raise InputError(
                f"a line through the energies brings {len(collected)} of {count} {SIDES[side]} events into the range "
                "of the true ones: look for wild values among the energies, and leave them out with --cut"
            )
        if side != Side.TEST and (sentence := at_edges(data, collected, side)):
            logger.info("%s and left out", sentence)
        return collected

    pulls = {name: getattr(settings, name) for name in ("weight_decay", "l1", "average")}
    optimiser = Optimiser(settings.optimiser, regressor.network, **pulls, processes=processes)
    masks = torch.Generator(task.device).manual_seed(settings.seed)
    inputs = regressor.input_names(data.recipe.features.columns)
    corrects = architecture.target == "ratio" and init is None
    forward = _compiled(regressor.network, task.device) if settings.compile else regressor.network
    train = table(Side.TRAIN)
    state = State(regressor, optimiser, masks, inputs, forward, corrects=corrects)
    fewest = np.count_nonzero(data.side == Side.TRAIN) < FEWEST_EVENTS
    if corrects and architecture.members > 1 and (fewest or len(beams)):
        state.seen = _seen(train, architecture.members).to(task.device)
    if corrects and len(beams) and (state.seen is not None or len(beams) == 1):
        state.left_out = _left_out(regressor, anchor, sample, beams, processes)
    return Prepared(task, state, train, table(Side.VALIDATION), anchor, table)


def _compiled(network: MLP, device: torch.device) -> Forward:
    """Return a network for which PyTorch makes code, which on a GPU records the step as a CUDA graph."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled: Forward = torch.compile(network, dynamic=False, mode=mode)

    def call(*arguments: Any) -> Tensor:
        try:
            return compiled(*arguments)
        except (torch._dynamo.exc.TorchDynamoException, ImportError) as error:  # noqa: SLF001 - nowhere else
            reason = str(error).strip().splitlines()[0][:200]
            raise MissingDependencyError(f"--compile does not work here; a C++ compiler is needed: {reason}") from error

    return call


def _seen(train: Table, members: int) -> Tensor:
    """Return the share of the training events, as they weigh, that each member learns from, shape [members]."""
    weights = torch.zeros(FOLDS + 1)
    for part in train.parts():
        weights.index_add_(0, part.fold.long().cpu(), part.weight.cpu())
    total = train.processes.sum(weights)
    return (1 - total / total.sum())[torch.arange(members) % FOLDS]


@torch.no_grad()
def _left_out(
    regressor: Regressor, anchor: Anchor, sample: Sample, beams: NDArray[np.float64], processes: Processes
) -> Events:
    """Return events of beam energies that members leave out, as they look if the region leaves them out too.

    Without an energy, the gap around it is twice as wide, and straight lines miss a curve by four times as much as in
    the gaps that there are: inputs deviate by a quarter of that. Of a single energy there is nothing to leave out.

    Args:
        regressor: The regressor.
        anchor: Its anchor.
        sample: Training events.
        beams: The beam energies [GeV], in rising order.
        processes: Each has its share of the events.
    """
    own = sample[processes.rank :: processes.size]
    device = regressor.anchor_weights.device
    folds, own_folds = (folds_of(each.true_energy, beams) for each in (sample, own))
    ours, other = (copy.deepcopy(regressor).cpu() for _ in range(2))
    tables = [torch.empty(0, regressor.architecture.n_inputs + OTHERS)]
    for fold in range(FOLDS):
        rows, seen = own_folds == fold, sample[folds != fold]
        if len(seen) == len(sample):
            continue
        other.fit_region(anchor, torch.from_numpy(seen.features), torch.from_numpy(seen.true_energy))
        full, bent = (
            _events(each, own[rows], own.weight[rows].astype(np.float64), own_folds[rows], (-math.inf, math.inf))[0]
            for each in (ours, other)
        )
        full.inputs.lerp_(bent.inputs, _BEND)
        tables.append(full.table)
    return Events(torch.cat(tables).to(device))


def folds_of(true_energy: NDArray[np.float32], beams: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the folds of events of a test beam: those of one energy are in the same, shape [events].

    The lowest and the highest energy are in none that is left out, so that no member has to go beyond what it has seen;
    of two energies, each is in one.

    Args:
        true_energy: In GeV, shape [events].
        beams: In GeV, in rising order.
    """
    fold = np.arange(len(beams)) % FOLDS
    if len(beams) != 2:
        fold = np.roll(fold, 1)
        fold[[0, -1]] = FOLDS
    return fold.astype(np.uint8)[places_of(true_energy, beams)]


def _unweighted(true_energy: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.ones(len(true_energy))


def at_edges(data: Data, table: Table, side: Side) -> str:
    """Say how many events of a side the network does not learn with; nothing if there are none."""
    count = int(np.count_nonzero(data.side == side))
    left_out = count - len(table)
    return f"{left_out} of {count} {SIDES[side]} events are near the edges of the range" if left_out else ""


def learning_region(true_energy: NDArray[np.float32], anchor: Anchor) -> tuple[float, float]:
    """Return the anchor energies [GeV] between which the network learns.

    Near an edge of the training range the mean of the true energies that go with an event is drawn inwards: the range
    ends, the detector does not. What is chosen by the anchor, a function of the inputs, leaves that mean untouched
    everywhere else, so events near the edges are left out, and the correction goes on smoothly to them. With few beam
    energies, or a range that is hardly wider than the resolution, there would be too little left, and all are used.
    """
    everything = (-math.inf, math.inf)
    if len(beam_energies(true_energy)):
        return everything
    low, high = anchor.spread.inner_range(float(true_energy.min()), float(true_energy.max()))
    kept = np.count_nonzero((true_energy > low) & (true_energy < high)) / len(true_energy)
    if kept < _MIN_KEPT:
        middle = math.sqrt(float(true_energy.min()) * float(true_energy.max()))
        resolution = math.sqrt(anchor.spread.variance(middle)) / middle
        logger.warning(
            "the energies that are measured follow the true ones to %.0f %% only: see to units, tree, groups, friends"
            if resolution > _POOR
            else "true energies span little more than the resolution of %.0f %%: expect a bias to the middle",
            100 * resolution,
        )
        return everything
    return low, high


@torch.no_grad()
def _events(
    regressor: Regressor,
    sample: Sample,
    weights: NDArray[np.float64],
    folds: NDArray[np.uint8],
    region: tuple[float, float],
) -> tuple[Events, NDArray[np.int64]]:
    """Return what the loop needs of events in the learning region, and which these are."""
    device = regressor.anchor_weights.device
    features = torch.from_numpy(sample.features).to(device)
    estimate = regressor.anchor(features)
    learned = ((estimate > region[0]) & (estimate < region[1])).nonzero().squeeze(1)
    events = Events.of(
        inputs=regressor.inputs(features, estimate),
        anchor=estimate,
        sigma=regressor.sigma(estimate),
        true_energy=torch.from_numpy(sample.true_energy).to(device),
        weight=torch.from_numpy(weights.astype(np.float32)).to(device),
        fold=torch.from_numpy(folds.astype(np.float32)).to(device),
    )
    return events.take(learned), learned.cpu().numpy()


def close(prepared: Prepared) -> tuple[ClosureBin, ...]:
    """Set the closure correction of a trained regressor, and tell what it does to the validation events.

    It is determined with training events.
    """
    regressor, data, sample = prepared.state.regressor, prepared.task.data, prepared.task.sample
    if regressor.closure is None:
        return ()

    def responses(parts: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the responses of what all processes have, and the true energies, shape [2, events]."""
        energies = [regressor.energies(part.features) for part in parts]
        truth = np.concatenate([part.true_energy for part in parts])
        own = np.stack([np.concatenate(energies) / truth, truth])
        return np.concatenate(data.processes.gather(own), axis=1).astype(np.float64)

    used = _inner(prepared, sample)
    if len(used) < MIN_BIN_EVENTS:
        return ()
    before, truth = responses(list(_inner_events(prepared, Side.VALIDATION)))
    regressor.closure.fit(*responses([used[data.processes.rank :: data.processes.size]]))
    energies, medians = median_responses(before, truth)
    known = torch.from_numpy(before * truth).float().to(regressor.anchor_weights.device)
    _, corrected = median_responses(before * regressor.closure(known).cpu().numpy(), truth)
    if not len(energies):
        return ()
    error = 1.25 * median_and_sigma_68(before)[1] * math.sqrt(len(energies) / len(before))
    logger.info(
        "closure: the median response of validation events deviates by %.2f %% before and %.2f %% after, on average; "
        "their number leaves %.2f %% uncertain",
        *(100 * np.abs(deviations - 1).mean() for deviations in (medians, corrected)),
        100 * error,
    )
    columns = zip(energies.tolist(), medians.tolist(), corrected.tolist(), strict=True)
    return tuple(ClosureBin(*bin_) for bin_ in columns)


def _inner_events(prepared: Prepared, side: Side) -> Iterator[Sample]:
    """Yield events of a side, evenly taken, that are not near an edge of the training range."""
    data = prepared.task.data
    taken = evenly(data.side == side)
    for rows, part in data.parts():
        yield _inner(prepared, part[taken[rows]])


def _inner(prepared: Prepared, events: Sample) -> Sample:
    """Return the events for whose true energies the edges of the training range do not matter; beams have no edges."""
    true_energy = prepared.task.sample.true_energy
    if len(beam_energies(true_energy)):
        return events
    low, high = prepared.anchor.spread.inner_range(float(true_energy.min()), float(true_energy.max()))
    return events[(events.true_energy > low) & (events.true_energy < high)]


def resolutions(prepared: Prepared, side: Side) -> tuple[dict[str, float], int]:
    """Return what is resolved with the network and without, on events of a side that are not near an edge.

    Returns:
        sigma_68 of the response over its median, by name, where that is above zero; and the number of events.
    """
    ratios = [np.empty((3, 0))]
    for some in _inner_events(prepared, side):
        if len(some):
            estimates = prepared.state.regressor.estimates(some.features)
            energies = torch.stack([estimates.regressor, estimates.anchor, estimates.sum]).cpu().numpy()
            ratios.append(energies / some.true_energy)
    responses = np.concatenate(prepared.task.data.processes.gather(np.concatenate(ratios, axis=1)), axis=1)
    if responses.shape[1] < MIN_EVENTS:
        return {}, 0
    medians, widths = median_and_sigma_68(responses)
    names = ("network", "linear anchor", "calibrated sum")
    columns = zip(names, widths, medians, strict=True)
    return {name: float(width / centre) for name, width, centre in columns if centre > 0}, responses.shape[1]
