"""Subjects of an evaluation: models, and expressions for energies that somebody else has measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.expressions import Expression
from calomlp.data.features import per_event
from calomlp.data.rows import open_rows
from calomlp.data.sample import Chunk, Side
from calomlp.data.sources import FileRecord, Source, is_url
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.report import ANCHOR, COMPENSATED, LABELS, REGRESSOR, SUM
from calomlp.model.file import Model
from calomlp.streams import STDIN

Energies = NDArray[np.floating]

_MODEL = ".safetensors"
_NAMED = re.compile(r"^(?P<name>[A-Za-z_][\w.-]*)=(?!=)(?P<rest>.+)$", re.DOTALL)
_ESTIMATE = "estimate"


@dataclass(frozen=True)
class Measured:
    """Energies of some events.

    Attributes:
        curves: By the name of the curve [GeV], shape [events] each.
        below: Predicted distance to the true energy downwards [GeV]; ``None`` if none is predicted.
        above: The same upwards.
        in_domain: Whether the events are like those of the training; ``None`` without a model.
        matrix: Features of the model, shape [events, columns]; ``None`` without one.
    """

    curves: Mapping[str, Energies]
    below: Energies | None = None
    above: Energies | None = None
    in_domain: NDArray[np.bool_] | None = None
    matrix: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Trained:
    """A model."""

    name: str  # what its curve is called; regressor for the one that stands beside its baselines
    model: Model  # the model

    @property
    def main(self) -> bool:
        """Whether its baselines are shown too."""
        return self.name == REGRESSOR

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its curves in figures and tables, by their names."""
        if not self.main:
            return {self.name: self.name}
        hits = self.model.regressor.compensation is not None
        return {name: LABELS[name] for name in (REGRESSOR, ANCHOR, SUM, COMPENSATED) if hits or name != COMPENSATED}

    def branches(self, identity: str) -> frozenset[str]:
        """Return what it reads of a file, and what tells which side of the split events are on if it knows the file."""
        recipe = self.model.recipe
        return recipe.features.branches | (recipe.split_branches if self.knows(identity) else frozenset())

    def measure(self, chunk: Chunk) -> Measured:
        """Return its energies."""
        features = self.model.recipe.features
        matrix = chunk.sample.features if self.main else features.matrix(chunk.branches)
        with threads(1):
            estimates = self.model.regressor.estimates(matrix)
        arrays = {name: value.cpu().numpy() for name, value in estimates._asdict().items() if value is not None}
        curves = {name: arrays[name] for name in self.labels} if self.main else {self.name: arrays[REGRESSOR]}
        return Measured(curves, arrays.get("below"), arrays.get("above"), arrays["in_domain"], matrix)

    def unseen(self, identity: str, chunk: Chunk) -> NDArray[np.bool_]:
        """Return which events of a file it was not trained on: all, or those of the test side, shape [events]."""
        if not self.knows(identity):
            return np.ones(len(chunk), dtype=np.bool_)
        recipe = self.model.recipe
        own = replace(chunk.sample, key=recipe.keys(chunk.entries, chunk.branches))
        return np.asarray(recipe.sides(identity, own) == Side.TEST)

    def knows(self, identity: str) -> bool:
        """Whether it was trained on a file."""
        return identity in {record.identity for record in self.model.files}


@dataclass(frozen=True)
class Expressed:
    """Energies that an expression over branches gives."""

    name: str  # what its curve is called
    energy: Expression  # in GeV
    sigma: Expression | None = None  # predicted uncertainty [GeV], if there is one

    @property
    def labels(self) -> dict[str, str]:
        """Label of its curve in figures and tables, by its name."""
        return {self.name: self.energy.text if self.name == _ESTIMATE else self.name}

    def branches(self, _: str) -> frozenset[str]:
        """Return what it reads of a file."""
        return self.energy.branches | (self.sigma.branches if self.sigma else frozenset())

    def unseen(self, _: str, chunk: Chunk) -> NDArray[np.bool_]:
        """Return which events of a file it was not trained on: all, shape [events]."""
        return np.ones(len(chunk), dtype=np.bool_)

    def measure(self, chunk: Chunk) -> Measured:
        """Return its energies."""
        sigma = one_number(self.sigma, chunk, "sigma") if self.sigma else None
        return Measured({self.name: one_number(self.energy, chunk, "estimate")}, sigma, sigma)


Subject = Trained | Expressed


def one_number(expression: Expression, chunk: Chunk, what: str) -> Energies:
    """Return the value of an expression for every event, shape [events], in the precision that it has.

    Raises:
        UsageError: If it is not one number in each event.
    """
    values = per_event(expression, chunk.branches, len(chunk))
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise UsageError(f"{what} {expression.text!r} is not one number in each event: choose an element, or add up")
    numbers: Energies = values if values.dtype.kind == "f" else values.astype(np.float64)
    return numbers


def parse_estimate(text: str, sigma: str | None = None) -> Expressed:
    """Read ``cluster_energy`` or ``cluster=1.02 * cluster_energy``.

    Raises:
        UsageError: If this is not in the feature language, or reads no branch.
    """
    name, rest = _named(text)
    energy = Expression.parse(rest)
    if not energy.branches:
        raise UsageError(f"estimate {rest!r} reads no branch: it must depend on the event")
    return Expressed(name or _ESTIMATE, energy, Expression.parse(sigma) if sigma else None)


def parse_comparison(text: str) -> tuple[str, str | Expressed]:
    """Read ``tracker=trk_e`` or ``wide=wide.safetensors``, the name being optional.

    Returns:
        The name, and the path of a model, or an expression.

    Raises:
        UsageError: If it is neither.
    """
    name, rest = _named(text)
    if rest.endswith(_MODEL):
        return name or Path(rest).stem, rest
    estimate = parse_estimate(text)
    return (name, estimate) if name else (rest, Expressed(rest, estimate.energy))


def _named(text: str) -> tuple[str, str]:
    match = _NAMED.match(text)
    return (match["name"], match["rest"]) if match else ("", text)


def check_names(subjects: tuple[Subject, ...]) -> dict[str, str]:
    """Return the labels of all curves by name.

    Raises:
        UsageError: If two have the same.
    """
    labels: dict[str, str] = {}
    for subject in subjects:
        for name, label in subject.labels.items():
            if name in labels:
                raise UsageError(f"two curves are called {name!r}: name one of them otherwise, as in other={name}")
            labels[name] = label
    return labels


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
        candidates = [
            Source(place, record.tree, record.path, record.true_energy, tuple(_friends(record, folder)))
            for place in _places(record.path, folder)
        ]
        same = [source for source in candidates if _identity(source, model) == record.identity]
        if not same:
            reason = "has been replaced by another" if candidates else "is not there"
            raise InputError(f"{record.path}: the model was trained on this file, which {reason}: name the data")
        sources.append(same[0])
    return sources


def _places(path: str, folder: Path) -> list[str]:
    """Return where a file lies that was recorded by its path: as seen from here, or from the folder of the model."""
    return [path] if is_url(path) else [place for place in (path, str(folder / path)) if Path(place).is_file()]


def _friends(record: FileRecord, folder: Path) -> Iterator[Source]:
    for friend in record.friends:
        path, _, tree = friend.rpartition(":")
        yield Source((_places(path, folder) or [path])[0], tree, path)


def _identity(source: Source, model: Model) -> Any:
    with open_rows(source, model.recipe.layout) as rows:
        return rows.identity
