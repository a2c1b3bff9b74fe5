"""Energies of data that have no truth: one entry for every entry of the input, whatever becomes of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.dataset import DataFile, Dataset
from calomlp.data.rows import Piece, Rows
from calomlp.data.sample import Floats, Mask, Recipe, Selected, clean, leave_out
from calomlp.data.sources import Source, Tally
from calomlp.data.writer import DatasetWriter
from calomlp.errors import InputError, UsageError
from calomlp.model.file import Model
from calomlp.model.losses import QUANTILES
from calomlp.provenance import fingerprint, provenance
from calomlp.run import Run

ENERGIES_SCHEMA = "calomlp.energies/1"

_OURS = "calo"
_FILE, _ENTRY = f"{_OURS}_file", f"{_OURS}_entry"

_MANY_OUTSIDE = 0.1
"""Of the events of the training, one in a thousand is outside of the domain."""

Artefact = Callable[[str], AbstractContextManager[Path]]
"""Gives a temporary path for a name, and puts the file in place if the block ends well."""


@dataclass(frozen=True)
class PredictionTask:
    """Models, and what they are to predict.

    Attributes:
        models: By what their branches end in: nothing for the first.
        recipe: That of the first model, with what was said of these files: what an event is, the cut, which values are
            missing, and what becomes of bad ones.
        keep: Branches that are copied, one number in each entry.
        container: ``ttree`` or ``rntuple``.
        skip_bad_files: Whether to go on without a file that cannot be read.
    """

    models: Mapping[str, Model]
    recipe: Recipe
    keep: tuple[str, ...] = ()
    container: str = "ttree"
    skip_bad_files: bool = False

    @property
    def copied(self) -> tuple[str, ...]:
        """What is copied: of groups of entries also what they are grouped by."""
        key = self.recipe.layout.group_by
        return tuple(dict.fromkeys([key, *self.keep] if key else self.keep))

    @property
    def branches(self) -> frozenset[str]:
        """Every branch that is read."""
        cut = self.recipe.cut.branches if self.recipe.cut else frozenset()
        return frozenset().union(cut, self.keep, *(model.recipe.features.branches for model in self.models.values()))


@dataclass
class Predicted:
    """What a prediction came to.

    Attributes:
        outputs: What was written.
        entries: Entries that were written.
        tally: Events that were read, those that do not pass the cut, and files that were left out.
        of_models: By the name of the model, bad values and the events that have no energy because of them.
        outside: By the name of the model, events that are measured, but unlike those of its training.
    """

    outputs: list[str] = field(default_factory=list)
    entries: int = 0
    tally: Tally = field(default_factory=Tally)
    of_models: dict[str, Tally] = field(default_factory=dict)
    outside: Counter[str] = field(default_factory=Counter)

    @classmethod
    def by(cls, models: Iterable[str]) -> Self:
        """Return what is known before the first event, of models by their names."""
        return cls(of_models={name: Tally() for name in models})

    def add(self, other: Predicted) -> None:
        """Add what another output came to."""
        self.outputs += other.outputs
        self.entries += other.entries
        for name, tally in other.of_models.items():
            self.of_models[name].add(tally)
        self.outside.update(other.outside)

    def counts(self, name: str) -> dict[str, int]:
        """Return how many events that pass the cut have no energy from a model, or one that cannot be trusted."""
        return {"not_measured": self.of_models[name].left_out, "outside_domain": self.outside[name]}

    def losses(self) -> Iterator[str]:
        """Say what was left out though the user did not ask for it, a sentence each."""
        for name, tally in self.of_models.items():
            of = f" of {name}" if name else ""
            if tally.left_out:
                yield f"{tally.left_out} events have a bad value, and NaN as energy{of}: {tally.culprits()}"
            if tally.replaced:
                yield f"{tally.replaced} events have a bad value, which counts as zero{of}: {tally.culprits()}"
        yield from self.tally.losses()

    def doubts(self) -> Iterator[str]:
        """Say which energies should not be trusted, a sentence for each model that has many of them."""
        for name, tally in self.of_models.items():
            measured, outside = self.tally.events - self.tally.cut - tally.left_out, self.outside[name]
            of = f" of {name}" if name else ""
            if outside > _MANY_OUTSIDE * measured:
                yield (
                    f"{outside} of {measured} measured events are unlike those of the training{of}, "
                    "calo_in_domain is false: are features in the units of the training?"
                )


def predict(task: PredictionTask, outputs: Mapping[str, Sequence[Source]], artefact: Artefact, run: Run) -> Predicted:
    """Write the energies of files: a tree ``events`` with an entry for each of theirs, in the same order.

    Its branches are ``calo_energy`` and ``calo_anchor`` in GeV, ``calo_in_domain``, and ``calo_sigma`` if a spread is
    predicted; if that is one of quantiles, also ``calo_sigma_below`` and ``calo_sigma_above``, of which ``calo_sigma``
    is the mean. They are lists where the objects of a collection are the events. Energies that are not known are NaN.
    A tree of several files has ``calo_file`` and ``calo_entry``, too; the names are in the provenance beside it.

    Args:
        task: What is to be predicted.
        outputs: By the name of the output, the files whose entries follow each other in it.
        artefact: Where outputs are written.
        run: Told of every chunk.

    Raises:
        InputError: If a file cannot be used.
        ArtefactError: If a file lacks a branch of a model.
        UsageError: If a branch that is to be kept is not one number in each entry.
    """
    dataset = Dataset(
        [source for sources in outputs.values() for source in sources],
        task.recipe,
        run,
        skip_bad_files=task.skip_bad_files,
        wanted=task.branches,
        check=lambda rows: _check_branches(task, rows),
        twice=True,
    )
    places = {source: number for number, source in enumerate(dataset.sources)}
    outcome = Predicted.by(task.models)
    run.progress.start("predicting", dataset.events, "events")
    for output, sources in outputs.items():
        if not all(source in places for source in sources):
            continue
        own = Predicted.by(task.models)
        with dataset.leaving_out(sources[0]):
            numbers = [places[source] for source in sources]
            identities = [dataset.files[number].identity for number in numbers]
            with artefact(output) as path, _writer(task, path, sources, identities) as writer:
                for origin, number in enumerate(numbers):
                    with dataset.open(number) as file:
                        for some in _selections(task, file):
                            writer.extend(_block(task, file.rows, some, origin if len(numbers) > 1 else None, own))
            own.outputs.append(output)
            outcome.add(own)
    run.progress.finish()
    return replace(outcome, tally=dataset.tally)


def _check_branches(task: PredictionTask, rows: Rows) -> None:
    for model in task.models.values():
        model.recipe.check(rows, model.recipe.features.branches)
    if (cut := task.recipe.cut) is not None:
        try:
            rows.require(cut.branches)
        except InputError as error:
            raise InputError(f"{error}; the cut {cut.text!r} needs it, --cut '' takes all events") from error
    rows.require(task.copied)
    for name in task.copied:
        if not rows.whole.columns[name].is_number:
            raise UsageError(f"{rows.source}: --keep {name}: it is not one number in each entry, and cannot be kept")
    taken = Counter(branch_of(name) for name in task.copied)
    if wrong := [name for name in task.copied if taken[branch_of(name)] > 1 or name.startswith(f"{_OURS}_")]:
        raise UsageError(f"--keep {wrong[0]}: its name is taken in the output by another branch")


def _writer(task: PredictionTask, path: Path, sources: Sequence[Source], identities: Sequence[str]) -> DatasetWriter:
    """Open an output, whose identity follows from the files and from what is done with them."""
    marks = {name: model.weights_mark() for name, model in task.models.items()}
    cut = task.recipe.cut.text if task.recipe.cut else ""
    asked = [cut, task.recipe.missing, task.recipe.on_bad, task.keep]
    return DatasetWriter(
        path,
        container=task.container,
        identity=fingerprint([identities, marks, asked]),
        provenance={
            "schema": ENERGIES_SCHEMA,
            "files": [str(source) for source in sources],
            "cut": cut,
            "models": {name: {"weights": mark, **task.models[name].provenance} for name, mark in marks.items()},
            **provenance(),
        },
    )


def _selections(task: PredictionTask, file: DataFile) -> Iterator[Selected]:
    """Read a file; one without entries is a piece without any, so that its output has the same branches."""
    rows = file.rows
    if rows.whole.entries:
        yield from file.selected(task.branches | {*task.copied})
        return
    none = np.empty(0, dtype=np.int64)
    columns = {name: np.empty(0, rows.whole.columns[name].kind) for name in task.copied}
    yield Selected(Piece(none, columns, none if rows.whole is not rows else None, {}), none, {})


def _block(task: PredictionTask, rows: Rows, some: Selected, origin: int | None, outcome: Predicted) -> dict[str, Any]:
    """Return what is written of a piece.

    Args:
        task: What is to be predicted.
        rows: Where the piece is from.
        some: Its entries, and the events that pass the cut.
        origin: Number of the file; ``None`` if the output has no other.
        outcome: Counts what becomes of the events.
    """
    piece, size = some.piece, len(some.piece)
    energies: dict[str, NDArray[Any]] = {}
    for name, model in task.models.items():
        tally = outcome.of_models[name]
        matrix, good = _features(replace(model.recipe, on_bad=task.recipe.on_bad), some, tally, str(rows.source))
        estimates, finite = _estimates(model, matrix, tally)
        outcome.outside[name] += int(np.count_nonzero(~estimates["in_domain"]))
        measured = some.places[good][finite]
        energies |= {
            f"{kind}_{name}" if name else kind: _spread(each, measured, size) for kind, each in estimates.items()
        }
    outcome.entries += len(piece.entries)
    block: dict[str, Any] = {branch_of(name): piece.columns[name] for name in task.copied}
    if origin is not None:
        block |= {_FILE: np.full(len(piece.entries), origin, dtype=np.int32), _ENTRY: piece.entries}
    if piece.counts is None:
        return block | {f"{_OURS}_{name}": values for name, values in energies.items()}
    return block | {_OURS: {**energies, "counts": piece.counts}}


def _features(recipe: Recipe, some: Selected, tally: Tally, source: str) -> tuple[Floats, Mask | slice]:
    """Return the features of the events that can be measured, shape [events, columns], and which they are.

    Raises:
        BadValueError: If there are bad values, and they are refused.
    """
    features = recipe.features
    if not len(some.places):
        return np.empty((0, len(features.columns)), dtype=np.float32), slice(None)
    own = {name: some.branches[name] for name in features.branches}
    branches, matrix, bad = clean(features, own, recipe.on_bad, tally)
    if not bad:
        return matrix, slice(None)
    entries = some.piece.numbers[some.places]
    good = leave_out(bad, recipe, branches, tally, source, entries, "--on-bad skip makes their energy NaN")
    return matrix[good], good


def _estimates(model: Model, matrix: Floats, tally: Tally) -> tuple[dict[str, NDArray[Any]], Mask | slice]:
    """Return the estimates of a model for events, by what branches are called after, and for which it has any.

    Energies that are no finite number are counted.
    """
    some = matrix if len(matrix) else np.zeros((1, matrix.shape[1]), dtype=np.float32)  # of none, spreads are undefined
    with threads(1):
        estimates = model.regressor.estimates(some)
    wanted = {"energy": estimates.regressor, "anchor": estimates.anchor, "in_domain": estimates.in_domain}
    if estimates.below is not None and estimates.above is not None:
        wanted["sigma"] = (estimates.below + estimates.above) / 2
        if model.regressor.architecture.head == QUANTILES:
            wanted |= {"sigma_below": estimates.below, "sigma_above": estimates.above}
    arrays = {name: values.cpu().numpy()[: len(matrix)] for name, values in wanted.items()}
    finite = np.isfinite(arrays["energy"])
    if finite.all():
        return arrays, slice(None)
    tally.count_bad("the energy itself", lost := int(np.count_nonzero(~finite)))
    tally.left_out += lost
    return {name: values[finite] for name, values in arrays.items()}, finite


def _spread(values: NDArray[Any], places: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Return values in their places among so many events: NaN, or false, in all other places."""
    if len(places) == size:
        return values
    placed = np.full(size, np.nan if values.dtype.kind == "f" else False, dtype=values.dtype)
    placed[places] = values
    return placed


def branch_of(name: str) -> str:
    """Return the name of a curve, or of a column, as ROOT takes it for a branch."""
    return re.sub(r"\W", "_", name)
