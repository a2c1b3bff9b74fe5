"""Energies of data that have no truth: one entry for every entry of the input, whatever becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.cleaning import Floats, Mask, bad_columns, culprits, mark_missing, refusal, zero_bad, zero_features
from calomlp.data.layouts import open_rows
from calomlp.data.rows import Piece, Rows
from calomlp.data.sample import Recipe, passes
from calomlp.data.settings import REFUSE, ZERO
from calomlp.data.sources import Source
from calomlp.data.tally import Tally
from calomlp.data.writer import DatasetWriter
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.predicted import Predicted
from calomlp.evaluation.predictions import branch_of
from calomlp.model.file import Model
from calomlp.model.losses import QUANTILES
from calomlp.provenance import fingerprint, provenance
from calomlp.run import Run

ENERGIES_SCHEMA = "calomlp.energies/1"

_OURS = "calo"
_FILE, _ENTRY = f"{_OURS}_file", f"{_OURS}_entry"

_Selected = tuple[NDArray[np.int64], Mapping[str, Any]]
"""Places of events among those of a piece, and their branches by name."""

Artefact = Callable[[str], AbstractContextManager[Path]]
"""Gives a temporary path for a name, and puts the file in place if the block ends well."""


@dataclass(frozen=True)
class Request:
    """What is to be predicted.

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


def predict(
    request: Request,
    outputs: Mapping[str, Sequence[Source]],
    artefact: Artefact,
    run: Run,
) -> Predicted:
    """Write the energies of files: a tree ``events`` with an entry for each of theirs, in the same order.

    Its branches are ``calo_energy`` and ``calo_anchor`` in GeV, ``calo_in_domain``, and ``calo_sigma`` if a spread is
    predicted; if that is one of quantiles, also ``calo_sigma_below`` and ``calo_sigma_above``, of which ``calo_sigma``
    is the mean. They are lists where the objects of a collection are the events. Energies that are not known are NaN.
    A tree of several files has ``calo_file`` and ``calo_entry``, too; the names are in the provenance beside it.

    Args:
        request: What is to be predicted.
        outputs: By the name of the output, the files whose entries follow each other in it.
        artefact: Where outputs are written.
        run: Told of every chunk.

    Raises:
        InputError: If a file cannot be used.
        ArtefactError: If a file lacks a branch of a model.
        UsageError: If a branch that is to be kept is not one number in each entry.
    """
    work = _Work(request, outputs, artefact, run)
    found = _check(work)
    good = {output: sources for output, sources in outputs.items() if all(source in work.known for source in sources)}
    run.progress.start("predicting", work.entries(source for sources in good.values() for source in sources), "entries")
    for output, sources in good.items():
        one = Predicted.by(request.models)
        try:
            _write(work, output, sources, one)
        except InputError as error:
            found.tally.skip(sources[0], error, allowed=request.skip_bad_files)
        else:
            found.add(one)
    run.progress.finish()
    return found


@dataclass(frozen=True)
class _Work:
    """What every step of a prediction needs: the arguments of :func:`predict`, and what is known of the files."""

    request: Request
    outputs: Mapping[str, Sequence[Source]]
    artefact: Artefact
    run: Run
    known: dict[Source, tuple[str, int]] = field(default_factory=dict)  # identity and entries of those that can be read

    def entries(self, sources: Iterable[Source]) -> int:
        """Return how many entries some files have together."""
        return sum(self.known[source][1] for source in sources)


def _check(work: _Work) -> Predicted:
    """Open every file before long work begins; return which cannot be read."""
    found = Predicted.by(work.request.models)
    for source in (source for sources in work.outputs.values() for source in sources):
        try:
            with open_rows(source, work.request.recipe.layout, work.request.branches) as rows:
                _check_branches(work.request, rows)
                work.known[source] = rows.identity, rows.whole.entries
        except InputError as error:
            found.tally.skip(source, error, allowed=work.request.skip_bad_files)
    if not work.known:
        files = found.tally.files
        raise InputError(f"none of {len(files)} files can be read: {next(iter(files.values()))}")
    return found


def _write(work: _Work, output: str, sources: Sequence[Source], found: Predicted) -> None:
    """Write an output."""
    with work.artefact(output) as path, _writer(work, path, sources) as writer:
        for block in _blocks(work, sources, found):
            writer.extend(block)
    found.outputs.append(output)


def _check_branches(request: Request, rows: Rows) -> None:
    for model in request.models.values():
        model.recipe.check(rows, model.recipe.features.branches)
    if (cut := request.recipe.cut) is not None:
        try:
            rows.require(cut.branches)
        except InputError as error:
            raise InputError(f"{error}; the cut {cut.text!r} needs it, --cut '' takes all events") from error
    rows.require(request.copied)
    for name in request.copied:
        column = rows.whole.columns[name]
        if column.jagged or column.shape:
            raise UsageError(f"{rows.source}: --keep {name}: it is not one number in each entry, and cannot be kept")
    taken = Counter(branch_of(name) for name in request.copied)
    if wrong := [name for name in request.copied if taken[branch_of(name)] > 1 or name.startswith(f"{_OURS}_")]:
        raise UsageError(f"--keep {wrong[0]}: its name is taken in the output by another branch")


def _writer(work: _Work, path: Path, sources: Sequence[Source]) -> DatasetWriter:
    """Open an output, whose identity follows from the files and from what is done with them."""
    request, identities = work.request, [work.known[source][0] for source in sources]
    marks = {name: model.weights_mark() for name, model in request.models.items()}
    cut = request.recipe.cut.text if request.recipe.cut else ""
    asked = [cut, request.recipe.missing, request.recipe.on_bad, request.keep]
    return DatasetWriter(
        path,
        container=request.container,
        identity=fingerprint([identities, marks, asked]),
        provenance={
            "schema": ENERGIES_SCHEMA,
            "files": [str(source) for source in sources],
            "cut": cut,
            "models": {name: {"weights": mark, **request.models[name].provenance} for name, mark in marks.items()},
            **provenance(),
        },
    )


def _blocks(work: _Work, sources: Sequence[Source], found: Predicted) -> Iterator[dict[str, Any]]:
    """Yield what is written of some of the files of an output.

    Args:
        work: What is to be done.
        sources: All files of the output.
        found: Counts what becomes of the events.
    """
    for number, source in enumerate(sources):
        origin = number if len(sources) > 1 else None
        with open_rows(source, work.request.recipe.layout, work.request.branches) as rows:
            for piece in _pieces(work.request, rows):
                yield _block(work.request, rows, piece, origin, found)
                work.run.progress.advance(len(piece.entries))
                work.run.interrupt.check()


def _pieces(request: Request, rows: Rows) -> Iterator[Piece]:
    """Read a file; one without entries is a piece without any, so that its output has the same branches."""
    none = np.empty(0, dtype=np.int64)
    if rows.whole.entries:
        yield from rows.pieces(request.branches | {*request.copied})
        return
    columns = {name: np.empty(0, rows.whole.columns[name].kind) for name in request.copied}
    yield Piece(none, columns, none if rows.whole is not rows else None, {})


def _block(request: Request, rows: Rows, piece: Piece, origin: int | None, found: Predicted) -> dict[str, Any]:
    """Return what is written of a piece.

    Args:
        request: What is to be predicted.
        rows: Where the piece is from.
        piece: The entries.
        origin: Number of the file; ``None`` if the output has no other.
        found: Counts what becomes of the events.
    """
    size = len(piece.entries) if piece.counts is None else int(piece.counts.sum())
    places, branches = _selected(request, rows, piece, size, found.tally)
    energies: dict[str, NDArray[Any]] = {}
    for name, model in request.models.items():
        tally = found.of_models[name]
        matrix, good = _features(request, rows, model, (places, branches), tally)
        said, finite = _said(model, matrix, tally)
        found.outside[name] += int(np.count_nonzero(~said["in_domain"]))
        measured = places[good][finite]
        energies |= {f"{kind}_{name}" if name else kind: _spread(each, measured, size) for kind, each in said.items()}
    found.entries += len(piece.entries)
    block: dict[str, Any] = {branch_of(name): piece.columns[name] for name in request.copied}
    if origin is not None:
        block |= {_FILE: np.full(len(piece.entries), origin, dtype=np.int32), _ENTRY: piece.entries}
    if piece.counts is None:
        return block | {f"{_OURS}_{name}": values for name, values in energies.items()}
    return block | {_OURS: {**energies, "counts": piece.counts}}


def _selected(request: Request, rows: Rows, piece: Piece, size: int, tally: Tally) -> _Selected:
    """Return the events that pass the cut: their places among the ``size`` events of a piece, and their branches."""
    tally.events += size
    missing, cut = request.recipe.missing, request.recipe.cut
    branches = mark_missing(piece.events, missing, tally) if missing else piece.events
    places = np.arange(size)
    if cut is None or not size:
        return places, branches
    good = passes(rows, cut, branches, size)
    tally.cut += size - int(np.count_nonzero(good))
    return (places, branches) if good.all() else (places[good], {name: each[good] for name, each in branches.items()})


def _features(
    request: Request, rows: Rows, model: Model, selected: _Selected, tally: Tally
) -> tuple[Floats, Mask | slice]:
    """Return the features of the events that can be measured, shape [events, columns], and which they are.

    Args:
        request: Says what becomes of bad values.
        rows: Where the events are from.
        model: The model.
        selected: The events.
        tally: Counts bad values.

    Raises:
        BadValueError: If there are any, and they are refused.
    """
    places, branches = selected
    features = model.recipe.features
    if not len(places):
        return np.empty((0, len(features.columns)), dtype=np.float32), slice(None)
    own = {name: branches[name] for name in features.branches}
    cleaned, touched = zero_bad(own, tally) if request.recipe.on_bad == ZERO else (own, False)
    matrix = features.matrix(cleaned)
    bad = ~np.isfinite(matrix)
    if not bad.any() and not np.any(touched):
        return matrix, slice(None)
    if request.recipe.on_bad == ZERO:
        zero_features(features.columns, matrix, bad, touched, tally)
        return matrix, slice(None)
    found = bad_columns(features.columns, matrix, bad)
    if request.recipe.on_bad == REFUSE:
        raise refusal(str(rows.source), found[0], places, "--on-bad skip makes their energy NaN")
    for name, number in culprits(features.branches, own, [(name, wrong) for _, name, wrong, _ in found]):
        tally.count_bad(name, number)
    good = np.asarray(~bad.any(axis=1))
    tally.left_out += int(np.count_nonzero(~good))
    return matrix[good], good


def _said(model: Model, matrix: Floats, tally: Tally) -> tuple[dict[str, NDArray[Any]], Mask | slice]:
    """Return what a model says of events, by what branches are called after, and of which it says anything.

    Args:
        model: The model.
        matrix: Features of the events, shape [events, columns].
        tally: Counts energies that are no finite number.
    """
    some = matrix if len(matrix) else np.zeros((1, matrix.shape[1]), dtype=np.float32)  # of none, spreads are undefined
    with threads(1):
        found = model.regressor.estimates(some)
    said = {"energy": found.regressor, "anchor": found.anchor, "in_domain": found.in_domain}
    if found.below is not None and found.above is not None:
        said["sigma"] = (found.below + found.above) / 2
        if model.regressor.architecture.head == QUANTILES:
            said |= {"sigma_below": found.below, "sigma_above": found.above}
    arrays = {name: values.cpu().numpy()[: len(matrix)] for name, values in said.items()}
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
    found = np.full(size, np.nan if values.dtype.kind == "f" else False, dtype=values.dtype)
    found[places] = values
    return found
