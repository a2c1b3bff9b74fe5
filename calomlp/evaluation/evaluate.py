"""Evaluate a model: one pass over the files, then every estimator, fit and flag."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.layouts import open_rows
from calomlp.data.record import FileRecord
from calomlp.data.rows import Rows
from calomlp.data.sample import (
    MAX_BEAM_ENERGIES,
    Recipe,
    Sample,
    describe,
    read_chunks,
    read_target,
    remember,
    selected,
)
from calomlp.data.sources import Source, is_url
from calomlp.data.split import Side
from calomlp.data.tally import Tally
from calomlp.errors import InputError
from calomlp.evaluation.bins import POINTS, EnergyBins
from calomlp.evaluation.estimators import estimate_all
from calomlp.evaluation.report import Bin, Curve, Linearity, Report
from calomlp.evaluation.resolution import fit_resolution
from calomlp.evaluation.response import Accumulator, BinContent
from calomlp.interrupt import Interrupt
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.regressor import Estimates
from calomlp.model.spread import Spread
from calomlp.progress import Progress
from calomlp.provenance import provenance
from calomlp.streams import STDIN

logger = logging.getLogger(__name__)

LABELS = {"regressor": "MLP regressor", "anchor": "linear anchor", "sum": "calibrated sum"}
"""Names of the curves, and what figures and tables call them."""

_MIN_EVENTS_PER_POINT = 20
_PLAUSIBLE = (0.5, 2.0)
_NAMED = 3
_USUAL_STRANGE = 0.005
"""A share of events outside the domain that needs no word; of those like the training one in a thousand is."""


def training_sources(model: Model, folder: Path) -> list[Source]:
    """Return the files that a model was trained on, as it recorded them.

    Args:
        model: The model.
        folder: Where it lies: files that are not found from the current folder are looked for from there.

    Raises:
        InputError: If they are not there, or came through a pipe and are gone.
    """
    sources = []
    for record in model.files:
        if record.path == STDIN:
            raise InputError("the model was trained on data from a pipe, which are gone: name the data to evaluate on")
        found = [
            Source(place, record.tree, record.path, record.true_energy, _friends(record, folder))
            for place in _places(record.path, folder)
        ]
        same = [source for source in found if _identity(source, model) == record.identity]
        if not same:
            reason = "has been replaced by another" if found else "is not there"
            raise InputError(f"{record.path}: the model was trained on this file, which {reason}: name the data")
        sources.append(same[0])
    return sources


def _places(path: str, folder: Path) -> list[str]:
    """Return where a file lies that was recorded by its path: as seen from here, or from the folder of the model."""
    return [path] if is_url(path) else [place for place in (path, str(folder / path)) if Path(place).is_file()]


def _friends(record: FileRecord, folder: Path) -> tuple[Source, ...]:
    named = [friend.rpartition(":") for friend in record.friends]
    return tuple(Source((_places(path, folder) or [path])[0], tree, path) for path, _, tree in named)


def _identity(source: Source, model: Model) -> str:
    with open_rows(source, model.recipe.layout) as rows:
        return rows.identity


def evaluate(
    model: Model,
    sources: Sequence[Source],
    *,
    use_all: bool,
    skip_bad_files: bool,
    seed: int,
    progress: Progress,
    interrupt: Interrupt,
) -> Report:
    """Evaluate a model and its baselines on files.

    A file that the model was trained on is recognised by its identity wherever it lies, and contributes its test side
    only.

    Args:
        model: The model.
        sources: The files.
        use_all: Evaluate the training and validation sides of the training files too.
        skip_bad_files: Whether to go on without a file that cannot be read.
        seed: Seed of the bootstrap errors.
        progress: Told of every chunk.
        interrupt: Looked at after every chunk.

    Raises:
        InputError: If a file cannot be used, or no event is left.
        ArtefactError: If a file lacks a branch of the model.
    """
    tally = Tally()
    good, records = _check(model, sources, tally, skip_bad_files=skip_bad_files)
    found = _Found(Accumulator(_bins(model, good), tuple(LABELS)), model, tally)
    progress.start("evaluating", sum(record.events for record in records), "events")
    used = []
    for source, record in zip(good, records, strict=True):
        of_file = _Found(Accumulator(found.responses.bins, found.responses.curves), model)
        try:
            _fill(of_file, model, source, progress, interrupt, use_all=use_all)
        except InputError as error:
            tally.skip(source, error, allowed=skip_bad_files)
            continue
        found.add(of_file)
        used.append(record)
    progress.finish()
    if not found.responses.content:
        raise InputError(
            "no event is left to evaluate: all belong to the training side of the model's files (use them with --all)"
            if found.left_out
            else "no event is left to evaluate"
        )
    report = summarise(found.responses, model, used, left_out=found.left_out, use_all=use_all, seed=seed)
    selection = tally.selection(model.recipe.cut.text if model.recipe.cut else "")
    alarms = [*tally.losses(), *found.alarms()]
    for alarm in alarms:
        logger.warning("%s", alarm)
    verdicts = (model.summary[name] for name in ("overtraining", "more_data") if name in model.summary)
    return replace(report, notes=(*selection, *alarms, *report.notes, *found.sentences(), *verdicts))


@dataclass
class _Found:
    """What is found in files, one after the other.

    Attributes:
        responses: Responses in bins of the true energy.
        model: The model that is evaluated.
        tally: What was read, and what was left out.
        left_out: Events that belong to the training.
        spreads: Events with a predicted spread.
        covered: Those of them whose true energy is within it.
        strange: Events outside the domain of the training.
        deviation: Sum of their response - 1.
        outside: Events outside the range that a feature had in training, shape [columns].
    """

    responses: Accumulator
    model: Model
    tally: Tally = field(default_factory=Tally)
    left_out: int = 0
    spreads: int = 0
    covered: int = 0
    strange: int = 0
    deviation: float = 0.0
    outside: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.outside = np.zeros(len(self.model.envelope.features), dtype=np.int64)

    def add(self, other: _Found) -> None:
        """Add what was found in another file."""
        self.responses.merge(other.responses)
        self.tally.add(other.tally)
        for name in ("left_out", "spreads", "covered", "strange", "deviation", "outside"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def fill(self, events: Sample, estimates: Estimates) -> None:
        """Add events, and what is estimated of them."""
        true_energy = events.true_energy
        arrays = {name: value.cpu().numpy() for name, value in estimates._asdict().items() if value is not None}
        self.responses.fill(true_energy, arrays)
        strange = ~arrays["in_domain"] & np.isfinite(arrays["regressor"])
        self.outside += self.model.envelope.outside(events.features)
        self.strange += int(np.count_nonzero(strange))
        self.deviation += float(np.sum(arrays["regressor"][strange] / true_energy[strange] - 1, dtype=np.float64))
        if "below" in arrays:
            distance = true_energy - arrays["regressor"]
            self.spreads += len(distance)
            self.covered += int(np.count_nonzero((distance > -arrays["below"]) & (distance < arrays["above"])))

    def alarms(self) -> Iterator[str]:
        """Say if the response is far from one, or many events are outside the domain."""
        for name in self.responses.curves[:1]:
            histograms = [content.histograms[name] for content in self.responses.content.values()]
            events = sum(histogram.events for histogram in histograms)
            response = 1 + sum(histogram.deviation for histogram in histograms) / max(events, 1)
            if not _PLAUSIBLE[0] < response < _PLAUSIBLE[1]:
                yield f"the mean response is {response:.3g}: are features and true energy in the units of the training?"

        events = sum(content.events for content in self.responses.content.values())
        if self.strange > _USUAL_STRANGE * events:
            yield (
                f"{self.strange / events:.1%} of the events are unlike those of the training, their response is "
                f"{1 + self.deviation / self.strange:.3f} on average{self._worst(events)}"
            )

    def _worst(self, events: int) -> str:
        """Name the features that are most often outside the range that they had in training."""
        worst = np.argsort(-self.outside, kind="stable")[:_NAMED]
        shares = [(self.model.envelope.features[column].name, self.outside[column] / events) for column in worst]
        named = [f"{name} in {share:.1%}" for name, share in shares if share > _USUAL_STRANGE]
        return f"; most often outside their range in training: {', '.join(named)} of the events" if named else ""

    def sentences(self) -> Iterator[str]:
        """Say whether predicted spreads are what they should be."""
        if self.spreads:
            share = self.covered / self.spreads
            yield f"{share:.1%} of the true energies are within the predicted spread, where 68.3 % should be"


def _fill(
    found: _Found, model: Model, source: Source, progress: Progress, interrupt: Interrupt, *, use_all: bool
) -> None:
    """Evaluate one file."""
    with open_rows(source, model.recipe.layout, model.recipe.branches) as rows:
        known = _is_known(model, rows)
        recipe = _recipe(model, rows)
        for events, chunk in read_chunks(rows, recipe, found.tally):
            used = chunk[recipe.sides(rows.identity, chunk) == Side.TEST] if known and not use_all else chunk
            found.left_out += len(chunk) - len(used)
            with threads(1):
                estimates = model.regressor.estimates(used.features)
            found.fill(used, estimates)
            progress.advance(events)
            interrupt.check()


def summarise(
    accumulator: Accumulator,
    model: Model,
    records: Sequence[FileRecord],
    *,
    left_out: int,
    use_all: bool,
    seed: int,
) -> Report:
    """Turn accumulated responses into a report."""
    spread = Spread(**model.summary["anchor_spread"])
    curves = tuple(_curve(accumulator, name, model.envelope, spread, seed) for name in accumulator.curves)
    return Report(
        bins=accumulator.bins,
        curves=curves,
        events=sum(content.events for content in accumulator.content.values()),
        left_out=left_out,
        files=tuple(records),
        envelope=model.envelope,
        training={"history": list(model.history), "summary": model.summary},
        provenance=provenance(bootstrap_seed=seed, model=model.provenance),
        notes=tuple(_notes(curves, left_out=left_out, use_all=use_all)),
    )


def _check(
    model: Model, sources: Sequence[Source], tally: Tally, *, skip_bad_files: bool
) -> tuple[list[Source], list[FileRecord]]:
    """Open every file before long work begins; return those that are used."""
    good: list[Source] = []
    records: list[FileRecord] = []
    for source in sources:
        try:
            with open_rows(source, model.recipe.layout, model.recipe.branches) as rows:
                _recipe(model, rows).check(rows)
                record = describe(rows)
        except InputError as error:
            tally.skip(source, error, allowed=skip_bad_files)
            continue
        remember(records, record)
        good.append(source)
    if not good:
        raise InputError(f"none of {len(sources)} files can be read: {next(iter(tally.files.values()))}")
    return good, records


def _is_known(model: Model, rows: Rows) -> bool:
    """Whether the model was trained on this file."""
    return rows.identity in {record.identity for record in model.files}


def _recipe(model: Model, rows: Rows) -> Recipe:
    """Return what is read from a file: no weights, which are for training, and sides only if it was trained on."""
    return replace(model.recipe, weight=None, split_by=model.recipe.split_by if _is_known(model, rows) else None)


def _bins(model: Model, sources: Sequence[Source]) -> EnergyBins:
    """One bin per beam energy if there are few distinct ones, otherwise a grid that only the model decides."""
    distinct, events = _distinct_energies(model.recipe, sources)
    if len(distinct) <= min(MAX_BEAM_ENERGIES, events / _MIN_EVENTS_PER_POINT):
        return EnergyBins(POINTS)
    envelope = model.envelope
    return EnergyBins.over(envelope.energy_min, envelope.energy_max, envelope.n_test)


def _distinct_energies(recipe: Recipe, sources: Sequence[Source]) -> tuple[NDArray[np.floating], int]:
    """Return the distinct true energies and the number of events read; stops early when they are many."""
    distinct: NDArray[np.floating] = np.empty(0)
    events = 0
    for source in sources:
        with suppress(InputError), open_rows(source, recipe.layout, recipe.branches) as rows:
            for _, entries, branches in selected(rows, recipe, recipe.true_branches, Tally()):
                events += len(entries)
                energy = read_target(rows, recipe.target, branches, len(entries))
                distinct = np.unique(np.concatenate([distinct, energy]))
                if len(distinct) > MAX_BEAM_ENERGIES:
                    return distinct, events
    return distinct, events


def _curve(accumulator: Accumulator, name: str, envelope: Envelope, spread: Spread, seed: int) -> Curve:
    bins = tuple(
        _bin(accumulator.bins.edges(key), content, name, envelope, spread, seed)
        for key, content in sorted(accumulator.content.items())
    )
    usable = [bin_ for bin_ in bins if bin_.estimates and not bin_.edge]
    fit = fit_resolution([bin_.energy for bin_ in usable], [bin_.estimates["resolution"] for bin_ in usable])
    return Curve(name, LABELS[name], bins, fit, _linearity(usable), accumulator.non_finite.get(name, 0))


def _bin(
    edges: tuple[float, float], content: BinContent, name: str, envelope: Envelope, spread: Spread, seed: int
) -> Bin:
    histogram = content.histograms[name]
    low, high = edges
    energy = low if low == high else content.energy
    return Bin(
        low,
        high,
        energy,
        content.events,
        _at_edge(low, high, envelope, spread),
        estimate_all(histogram, seed),
        histogram,
    )


def _at_edge(low: float, high: float, envelope: Envelope, spread: Spread) -> bool:
    """Whether a bin reaches within two sigma of an edge of the training range, or beyond it."""
    lowest, highest = spread.inner_range(envelope.energy_min, envelope.energy_max)
    return low < lowest or high > highest


def _linearity(bins: Sequence[Bin]) -> Linearity | None:
    if len(bins) < 2:
        return None
    response = np.array([bin_.estimates["core_mean"].value for bin_ in bins])
    deviation = response / response.mean() - 1
    return Linearity(float(response.mean()), float(np.abs(deviation).max()), float(np.sqrt(np.mean(deviation**2))))


def _notes(curves: Sequence[Curve], *, left_out: int, use_all: bool) -> list[str]:
    notes = []
    if use_all:
        notes.append("events that the model was trained on are among these (--all): the resolution is optimistic")
    if left_out:
        notes.append(f"{left_out} events of the training and validation sides were left out")
    bins = curves[0].bins
    edges = [bin_ for bin_ in bins if bin_.edge]
    if edges:
        notes.append(
            f"{len(edges)} of {len(bins)} bins are within two sigma of an edge of the training range or beyond it; "
            "they are marked and left out of the fits"
        )
    few = [bin_ for bin_ in bins if not bin_.estimates]
    if few:
        notes.append(f"{len(few)} of {len(bins)} bins have too few events for estimates")
    notes += [f"{curve.label}: {curve.non_finite} estimates are not finite" for curve in curves if curve.non_finite]
    notes += [f"{curve.label}: {curve.fit.note}" for curve in curves if curve.fit and curve.fit.note]
    return notes
