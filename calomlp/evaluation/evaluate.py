"""Evaluate models and other energies: one pass over the files, in which everything that a report needs is added up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.dataset import DataFile, Dataset
from calomlp.data.flags import SKIP
from calomlp.data.rows import Rows
from calomlp.data.sample import MAX_BEAM_ENERGIES, Chunk, Recipe, true_energies
from calomlp.data.sources import FileRecord, Source
from calomlp.data.writer import DatasetWriter, read_origin
from calomlp.documents import to_document
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.accumulator import MAX_ENERGY, Accumulator, Unusual
from calomlp.evaluation.bins import AUTOMATIC, EDGES, LOGARITHMIC, MAX_BINS, POINTS, QUANTILES, EnergyBins, parse_bins
from calomlp.evaluation.histogram import blocks, edges, fine_bins
from calomlp.evaluation.importance import permuted
from calomlp.evaluation.options import SIMULATION, TRAINING, EvaluateSettings
from calomlp.evaluation.report import Context, Report
from calomlp.evaluation.slices import SliceRequest, SliceStatistics, Slicing
from calomlp.evaluation.statistics import IN_DOMAIN, Statistics, Worst
from calomlp.evaluation.subjects import Measured, Subject, Trained, check_names, one_number
from calomlp.evaluation.summary import alarms, summarise
from calomlp.evaluation.uncertainty import UncertaintyStatistics
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.spread import Spread
from calomlp.prediction.energies import branch_of
from calomlp.provenance import fingerprint, provenance
from calomlp.run import Run
from calomlp.training.suspicions import line_residual

logger = logging.getLogger(__name__)

_LOOK = 10_000
_SUSPICIOUS, _SUSPICIOUS_SHARE = 1e-3, 0.5
"""A feature follows the truth suspiciously if a line through it is better than a per mille, or than half of what the
line through all energies leaves."""

_CHOSEN = ("epochs", "parameters", "batch_size", "learning_rate", "schedule")
"""What a training may choose itself, and records when it has."""

_DERIVED = ("constants", "version")
"""Of the simulation, what follows from the settings, and what is none."""

Keep = Callable[[int, Chunk, Measured], None]
"""Told of the number of a file, its events, and their energies."""


@dataclass
class _EventPass:
    """An evaluation: its subjects, its settings, and what follows from these."""

    subjects: tuple[Subject, ...]  # what is evaluated, the one that matters first
    recipe: Recipe  # how events are made
    settings: EvaluateSettings
    keep: Keep  # called with all events
    bins: EnergyBins = EnergyBins(POINTS)  # noqa: RUF009 - frozen; bins of the true energy
    slicings: dict[str, Slicing] = field(default_factory=dict)  # by the expression that events are sliced by

    def __post_init__(self) -> None:
        self.labels = check_names(self.subjects)  # of all curves, by name
        trained = (item for item in self.subjects if isinstance(item, Trained))
        self.models = {item.name: item.model.weights_mark() for item in trained}  # by the name of their curve
        self.requests = tuple(map(SliceRequest.parse, self.settings.by))

    @property
    def main(self) -> Trained | None:
        """The model that stands beside its baselines."""
        return next((item for item in self.subjects if isinstance(item, Trained) and item.main), None)

    def branches(self, identity: str) -> frozenset[str]:
        """Return what is read beside the recipe's."""
        wanted = [subject.branches(identity) for subject in self.subjects]
        return frozenset().union(*wanted, *(request.expression.branches for request in self.requests))

    def recipe_of(self, identity: str) -> Recipe:
        """Return what is read from a file: no weights, which are for training, and sides only if it was trained on."""
        known = self.main is not None and self.main.knows(identity)
        return replace(self.recipe, weight=None, split_by=self.recipe.split_by if known else None)

    def unseen(self, identity: str, chunk: Chunk) -> Chunk:
        """Return those of the events of a file that no model was trained on, or all if that was asked for."""
        if self.settings.all:
            return chunk
        return chunk[reduce(and_, (subject.unseen(identity, chunk) for subject in self.subjects))]

    def empty(self) -> Statistics:
        """Return what is known before the first event."""
        worst = Worst(self.settings.worst)
        return Statistics(self.bins, self.labels, self.models, Accumulator(tuple(self.labels)), worst=worst)


def evaluate(
    subjects: Sequence[Subject],
    recipe: Recipe,
    sources: Sequence[Source],
    settings: EvaluateSettings,
    run: Run,
    *,
    keep: Keep = lambda *_: None,
) -> Report:
    """Evaluate models and other energies on files.

    A file that a model was trained on is recognised by its identity wherever it lies, and contributes its test side
    only.

    Args:
        subjects: What is evaluated; the others are compared with the first.
        recipe: How events are made; that of the model that stands beside its baselines, if there is one.
        sources: The files.
        settings: The settings; ``model``, ``data`` and outputs do not matter here.
        run: Told of every chunk.
        keep: Called with the number of the file, events, and their energies.

    Raises:
        InputError: If a file cannot be used, or no event is left.
        ArtefactError: If a file lacks a branch of a model.
        UsageError: If two curves have the same name.
    """
    options, wanted = settings.options, parse_bins(settings.bins)
    whole = _EventPass(tuple(subjects), recipe, settings, keep)
    check, skip = partial(_check_branches, whole), settings.on_bad_file == SKIP
    dataset = Dataset(sources, recipe, run, skip_bad_files=skip, check=check)
    whole.bins = choose_bins(wanted, dataset, whole.main.model.envelope if whole.main else None)
    whole.slicings = _slicings(whole, dataset)
    statistics, used = whole.empty(), list[int]()
    run.progress.start("evaluating", dataset.events, "events")
    for number in range(len(dataset)):
        with dataset.reading(number) as file:
            statistics = statistics + _of_file(whole, file, number)
            used.append(number)
    run.progress.finish()
    statistics = replace(statistics, tally=dataset.tally)
    made = settings_of(whole.main.model if whole.main else None, dataset.sources[min(used, default=0)])
    context = _context(whole, [dataset.files[number] for number in used], made)
    report = summarise(statistics, context, options)
    for alarm in alarms(report):
        logger.warning("%s", alarm)
    return report


def _of_file(whole: _EventPass, file: DataFile, number: int) -> Statistics:
    """Return what one file adds."""
    statistics = whole.empty()
    identity = file.rows.identity
    for chunk in file.chunks(whole.recipe_of(identity), whole.branches(identity)):
        known = whole.unseen(identity, chunk)
        keys = whole.bins.keys(known.sample.true_energy)
        held = whole.bins.holds(keys)
        kept, keys = known[held], keys if held.all() else keys[held]
        lost = {"left_out": len(chunk) - len(known), "out_of_bins": len(known) - len(kept)}
        statistics = replace(statistics, **{name: getattr(statistics, name) + value for name, value in lost.items()})
        if len(kept):
            source, first = file.rows.source, not (statistics.events or number)
            statistics = statistics + _of_events(whole, source, number, kept, keys, first=first)
    return statistics


def _of_events(
    whole: _EventPass, source: Source, number: int, chunk: Chunk, keys: NDArray[np.int64], *, first: bool
) -> Statistics:
    """Return what some events add.

    Args:
        whole: What stays the same.
        source: The file that they are from.
        number: Its number.
        chunk: The events.
        keys: Their bins of energy, shape [events].
        first: Whether they are the first of all.
    """
    measured = [subject.measure(chunk) for subject in whole.subjects]
    energies = {name: energy for item in measured for name, energy in item.curves.items()}
    curves = {name: _bounded(energy) for name, energy in energies.items()}
    true_energy = chunk.sample.true_energy
    statistics = whole.empty()
    statistics.responses.fill(keys, true_energy, curves, compare=True)
    main = whole.main
    trained = measured[whole.subjects.index(main)] if main else None
    whole.keep(number, chunk, replace(measured[0], curves=energies, in_domain=trained.in_domain if trained else None))
    worst = Worst.of(whole.settings.worst, source.label, chunk.entries, true_energy, curves[next(iter(curves))])
    own = measured[0]
    uncertainty = None
    if own.below is not None and own.above is not None:
        energy = next(iter(curves.values()))
        uncertainty = UncertaintyStatistics.of(keys, true_energy, energy, own.below, own.above)
    importance, outside = None, {}
    if main and trained and trained.matrix is not None:
        columns = main.model.envelope.features
        counts = main.model.envelope.outside(trained.matrix).tolist()
        outside = {column.name: count for column, count in zip(columns, counts, strict=True) if count}
        if whole.settings.importance:
            rng = np.random.default_rng([whole.settings.seed, int(chunk.entries[0])])
            importance = permuted(main.model.regressor, main.model.recipe.features, trained.matrix, true_energy, rng)
    return replace(
        statistics,
        unusual={name: Unusual.among(energy) for name, energy in curves.items()},
        slices=dict(_slices(whole, chunk, curves, trained)),
        uncertainty=uncertainty,
        importance=importance,
        worst=worst,
        outside=outside,
        suspicions=tuple(_suspicions(main, trained, chunk)) if main and trained and first else (),
    )


def _bounded(energy: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return energies [GeV], shape [events]; those that stand for none, such as the largest number, are infinite."""
    if len(energy) and not -MAX_ENERGY < energy.min() <= energy.max() < MAX_ENERGY:  # as for NaN
        return np.where(np.abs(energy) > MAX_ENERGY, np.copysign(np.inf, energy), energy)
    return energy


def _slices(
    whole: _EventPass, chunk: Chunk, curves: Mapping[str, NDArray[np.floating]], trained: Measured | None
) -> Iterator[tuple[str, SliceStatistics]]:
    """Yield the responses in slices; those at the edges of the training range are biased, and in none but of domain."""
    true_energy = chunk.sample.true_energy
    if trained is not None and trained.in_domain is not None:
        inside = trained.in_domain.astype(np.float64)
        yield IN_DOMAIN, SliceStatistics.of(Slicing(IN_DOMAIN), inside, true_energy, curves)
    for request in whole.requests:
        text = request.expression.text
        values = one_number(request.expression, chunk, "--by").astype(np.float64)
        inner = np.ones(len(chunk), dtype=np.bool_)
        if whole.main is not None:
            envelope = whole.main.model.envelope
            low, high = _spread(whole.main).inner_range(envelope.energy_min, envelope.energy_max)
            inner = (true_energy > low) & (true_energy < high)
        energies = {name: energy[inner] for name, energy in curves.items()}
        yield text, SliceStatistics.of(whole.slicings[text], values[inner], true_energy[inner], energies)


def _slicings(whole: _EventPass, dataset: Dataset) -> dict[str, Slicing]:
    """Decide how events are sliced, by a look at the first ones; by what they are sliced by."""
    slicings = {}
    first = _first_events(whole, dataset) if whole.requests else None
    for request in whole.requests:
        values = np.zeros(1) if first is None else one_number(request.expression, first, "--by").astype(np.float64)
        slicings[request.expression.text] = request.slicing(values)
    return slicings


def _first_events(whole: _EventPass, dataset: Dataset) -> Chunk | None:
    for number in range(len(dataset)):
        with suppress(InputError), dataset.look(number) as file:
            identity = file.rows.identity
            for chunk in file.chunks(whole.recipe_of(identity), whole.branches(identity)):
                if len(known := whole.unseen(identity, chunk)):
                    return known
    return None


def _suspicions(main: Trained, trained: Measured, chunk: Chunk) -> Iterator[str]:
    """Say which features follow the truth more closely than a measurement could."""
    if trained.matrix is None or len(np.unique(chunk.sample.true_energy[:_LOOK])) < 3:
        return
    truth, matrix = chunk.sample.true_energy[:_LOOK], trained.matrix[:_LOOK]
    line = line_residual(main.model.regressor.estimates(matrix).anchor.numpy(), truth)
    for name, values in zip(main.model.recipe.features.columns, matrix.T, strict=True):
        residual = line_residual(values, truth)
        if residual < max(_SUSPICIOUS, _SUSPICIOUS_SHARE * line):
            yield (
                f"feature {name} alone follows the true energy to {100 * residual:.2g} %, where the line through all "
                f"energies leaves {100 * line:.2g} %: is it a measurement?"
            )


def _spread(main: Trained) -> Spread:
    return main.model.outcome.anchor_spread


def _context(whole: _EventPass, records: Iterable[FileRecord], settings: Mapping[str, Any]) -> Context:
    main, cut = whole.main, whole.recipe.cut
    origin = {"model": main.model.provenance} if main else {}
    return Context(
        tuple(records),
        cut.text if cut else "",
        whole.settings.all and any(isinstance(item, Trained) for item in whole.subjects),
        main.model.envelope if main else None,
        _spread(main) if main else None,
        {"history": list(main.model.history), "summary": main.model.summary} if main else {},
        settings,
        provenance(**origin),
    )


def _check_branches(whole: _EventPass, rows: Rows) -> None:
    for subject in whole.subjects:
        if isinstance(subject, Trained):
            whole.recipe.check(rows, subject.branches(rows.identity))
    if whole.main is not None:
        whole.recipe.check(rows, whole.recipe_of(rows.identity).branches)
    rows.require(whole.recipe_of(rows.identity).branches | whole.branches(rows.identity))


def settings_of(model: Model | None, source: Source) -> dict[str, Any]:
    """Return what the training and the simulation were asked for.

    Args:
        model: That was evaluated; without one there is no ``training``.
        source: The first file that was evaluated; if it does not say how it was simulated there is no ``simulation``.
    """
    settings: dict[str, Any] = {}
    if model is not None:
        architecture = model.regressor.architecture
        settings[TRAINING] = to_document(
            {
                **model.settings,
                **{name: model.summary[name] for name in _CHOSEN if name in model.summary},
                "ensemble": architecture.members,
                "inputs": architecture.n_inputs,
                "events": model.envelope.n_train,
            }
        )
    simulated = read_origin(source).get(SIMULATION)
    if isinstance(simulated, dict):
        settings[SIMULATION] = {name: value for name, value in simulated.items() if name not in _DERIVED}
    return settings


@contextmanager
def predictions(path: Path, sources: Sequence[Source], marks: Sequence[str]) -> Iterator[Keep]:
    """Write the tree ``events``: of every event the number of its file, its entry, true energy and measured ones.

    The names of the files are in the provenance beside the tree. Branches are ``file``, ``entry``, ``true_energy``,
    one for each curve such as ``regressor``, in GeV, and where they are known ``sigma_below``, ``sigma_above`` and
    ``in_domain``.

    Args:
        path: Where to write.
        sources: The files.
        marks: What stands for the models and expressions; with the files, it decides the identity of this one.
    """
    files = [str(source) for source in sources]
    origin: Mapping[str, Any] = {"schema": "calomlp.predictions/1", "files": files, **provenance()}
    with DatasetWriter(path, container="ttree", identity=fingerprint([files, *marks]), provenance=origin) as writer:

        def keep(number: int, chunk: Chunk, measured: Measured) -> None:
            columns = {
                "file": np.full(len(chunk), number, dtype=np.int32),
                "entry": chunk.entries,
                "true_energy": chunk.sample.true_energy,
                **{branch_of(name): energy.astype(np.float32) for name, energy in measured.curves.items()},
            }
            widths = {"sigma_below": measured.below, "sigma_above": measured.above}
            columns |= {name: width.astype(np.float32) for name, width in widths.items() if width is not None}
            if measured.in_domain is not None:
                columns["in_domain"] = measured.in_domain
            writer.extend(columns)

        yield keep


_MIN_EVENTS_PER_POINT = 20
_MARGIN = 1e-3


def choose_bins(wanted: tuple[str, tuple[float, ...]], dataset: Dataset, envelope: Envelope | None) -> EnergyBins:
    """Return the bins that are asked for; unless they are, one for each of few beam energies, else a grid.

    The grid follows from the model, or from nothing at all, so that evaluations of parts of the data can be merged.

    Args:
        wanted: Kind of the bins, and the number of quantiles or the edges [GeV].
        dataset: The files.
        envelope: The region that the model was trained in, if there is one.

    Raises:
        UsageError: If bins for beam energies are asked for, and there is a spectrum.
    """
    kind, numbers = wanted
    if kind == EDGES:
        return EnergyBins.between(numbers)
    if kind == QUANTILES:
        return _quantiles(dataset, int(numbers[0]))
    if kind == AUTOMATIC:
        distinct, events = _distinct_energies(dataset, MAX_BEAM_ENERGIES)
        kind = POINTS if distinct <= min(MAX_BEAM_ENERGIES, events / _MIN_EVENTS_PER_POINT) else LOGARITHMIC
    elif kind == POINTS:
        distinct, events = _distinct_energies(dataset, MAX_BINS)
        if distinct > max(MAX_BEAM_ENERGIES, min(MAX_BINS, events / _MIN_EVENTS_PER_POINT)):
            raise UsageError(
                f"--bins points: {distinct} distinct true energies among the first {events} events are a spectrum, and "
                "no beam energies: leave it out, or say --bins log"
            )
    if kind == POINTS or envelope is None:
        return EnergyBins(kind)
    return EnergyBins.over(envelope.energy_min, envelope.energy_max)


def _true_energies(dataset: Dataset) -> Iterator[NDArray[np.float32]]:
    for number in range(len(dataset)):
        with suppress(InputError), dataset.look(number) as file:
            for some in file.selected(dataset.recipe.true_branches):
                yield true_energies(some, dataset.recipe, str(file.rows.source))


def _distinct_energies(dataset: Dataset, enough: int) -> tuple[int, int]:
    """Return the numbers of distinct true energies and of events read; stops early when there are more than enough."""
    distinct: NDArray[np.floating] = np.empty(0)
    events = 0
    for energies in _true_energies(dataset):
        for block in blocks(len(energies)):
            events += len(energies[block])
            distinct = np.unique(np.concatenate([distinct, energies[block]]))
            if len(distinct) > enough:
                return len(distinct), events
    return len(distinct), events


def _quantiles(dataset: Dataset, number: int) -> EnergyBins:
    """Return bins with about as many events each, from one more pass over the true energies."""
    counts: dict[int, int] = {}
    for energies in _true_energies(dataset):
        good = energies[np.isfinite(energies) & (energies > 0)].astype(np.float64)
        cells, bounds = np.unique(fine_bins(good), return_counts=True)
        for cell, count in zip(cells.tolist(), bounds.tolist(), strict=True):
            counts[cell] = counts.get(cell, 0) + count
    if not counts:
        raise InputError("no event has a true energy to make bins of")
    cells = np.array(sorted(counts))
    cumulated = np.cumsum([counts[cell] for cell in cells.tolist()])
    places = np.searchsorted(cumulated, np.linspace(0, cumulated[-1], number + 1)[1:-1])
    (low, high), inner = edges(cells[[0, -1]] + np.array([0, 1])), edges(cells[places] + 1)
    bounds = np.unique([low * (1 - _MARGIN), *inner, high * (1 + _MARGIN)])
    return EnergyBins.between(tuple(float(f"{edge:.4g}") for edge in bounds))
