"""Features: expressions that become columns of one matrix, and the rules that choose them when nobody did."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.automatic import automatic
from calomlp.data.expressions import Expression, branch_name
from calomlp.data.names import looks_like_energy
from calomlp.data.rows import Rows
from calomlp.documents import from_document
from calomlp.errors import InputError, UsageError

logger = logging.getLogger(__name__)

_LOOK = 1000
"""Events that the shapes of features are read off."""


@dataclass(frozen=True)
class Feature:
    """One expression of the feature matrix."""

    expression: str  # in the feature language
    shape: tuple[int, ...] = ()  # shape of its value in one event; () is one column, (30,) is thirty
    energy: bool = False  # whether it is an energy, which the anchor combines linearly

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(np.prod(self.shape))

    @property
    def columns(self) -> list[str]:
        """Names of the columns, such as ``layer_energy[3]``."""
        if not self.shape:
            return [self.expression]
        return [f"{self.expression}[{','.join(map(str, index))}]" for index in np.ndindex(self.shape)]


class FeatureSet(Sequence[Feature]):
    """The features of a model, in the order of the columns of its matrix."""

    def __init__(self, features: Iterable[Feature]) -> None:
        self._features = tuple(features)
        self._expressions = [Expression.parse(feature.expression) for feature in self._features]

    @classmethod
    def of_document(cls, features: Any) -> FeatureSet:
        """Read them from the document of a model."""
        return cls(from_document(tuple[Feature, ...], features))

    def as_document(self) -> tuple[Feature, ...]:
        """Return the features."""
        return self._features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: Any) -> Any:
        return self._features[index]

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [name for feature in self._features for name in feature.columns]

    @cached_property
    def branches(self) -> frozenset[str]:
        """The branches that the features read."""
        return frozenset().union(*self.branches_of_each)

    @cached_property
    def branches_of_each(self) -> list[frozenset[str]]:
        """The branches that each feature reads."""
        return [expression.branches for expression in self._expressions]

    @cached_property
    def energy_columns(self) -> NDArray[np.int64]:
        """Positions of the columns that the anchor combines."""
        flags = [feature.energy for feature in self._features for _ in range(feature.width)]
        return np.flatnonzero(flags).astype(np.int64)

    @property
    def has_shapes(self) -> bool:
        """Whether the depth of showers is among the features, which says much of what the layers say."""
        return any("depth(" in feature.expression for feature in self._features)

    @property
    def spectrum_columns(self) -> tuple[int, ...]:
        """The columns, first and one past the last, of the one spectrum of hit energies; none if there is not one."""
        ends = np.cumsum([0, *(feature.width for feature in self._features)]).tolist()
        columns = [
            (start, start + feature.width)
            for start, feature in zip(ends, self._features, strict=False)
            if re.fullmatch(r"spectrum\((branch\('[^']*'\)|[^()])*\)", feature.expression)
        ]
        return columns[0] if len(columns) == 1 else ()

    def matrix(self, branches: Mapping[str, Any]) -> NDArray[np.float32]:
        """Evaluate the features.

        Args:
            branches: Branches by name, as a reader yields them.

        Returns:
            Shape [events, columns].

        Raises:
            InputError: If a feature is jagged, or has another shape than it had in training.
        """
        events = len(next(iter(branches.values())))
        result = np.empty((events, len(self.columns)), dtype=np.float32)
        start, memo = 0, dict[str, Any]()
        for feature, expression in zip(self._features, self._expressions, strict=True):
            values = per_event(expression, branches, events, memo)
            if values.shape[1:] != feature.shape:
                raise InputError(
                    f"feature {feature.expression!r} has shape {values.shape[1:]} in each event, "
                    f"but the model was made for {feature.shape}"
                )
            result[:, start : start + feature.width] = values.reshape(events, feature.width)
            start += feature.width
        return result


def per_event(
    expression: Expression, branches: Mapping[str, Any], events: int, memo: dict[str, Any] | None = None
) -> NDArray[Any]:
    """Evaluate an expression to an array with one value, or one fixed-size array, for each event.

    Args:
        expression: What to evaluate.
        branches: Branches by name, as a reader yields them.
        events: Their number.
        memo: What expressions over the same branches share, as :class:`Expression` says.

    Raises:
        InputError: If the number of values differs from event to event.
    """
    values = expression(branches, memo)
    if isinstance(values, ak.Array):
        try:
            values = ak.to_numpy(values, allow_missing=False)
        except ValueError as error:
            text = expression.text
            raise InputError(
                f"{text!r} has another number of values in each event: take one of them, {text}[0], or reduce it, for "
                f"example max({text})"
            ) from error
    values = np.asarray(values)
    return np.broadcast_to(values, (events,)) if values.ndim == 0 else values


@dataclass(frozen=True)
class Wanted:
    """Wishes of the user about the features.

    Attributes:
        features: Expressions; empty for the automatic choice.
        also: Expressions that are added to either.
        exclude: Patterns of names of branches that are not chosen automatically.
        energies: Expressions that are energies, which the anchor combines; empty for those that look like it.
        mip: Energy of a minimum ionising particle, in the unit of the hits; ``None`` to look for it.
    """

    features: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    energies: tuple[str, ...] = ()
    mip: float | None = None


def choose(
    table: Rows, target: Expression, wanted: Wanted, reserved: frozenset[str] | set[str] = frozenset()
) -> tuple[FeatureSet, dict[str, str]]:
    """Decide on the features: those that were asked for, or else those of :mod:`calomlp.data.automatic`.

    Args:
        table: An open file; the features' shapes are read off its first events.
        target: The target, which must not be a feature.
        wanted: What was asked for.
        reserved: Branches that have another use, and are no features unless they are asked for.

    Returns:
        The features, and the branches that an automatic choice left out, with the reason.

    Raises:
        InputError: If a branch is not there, or nothing is left to use.
        UsageError: If an expression is not in the feature language.
    """
    if wanted.features and (wanted.exclude or wanted.mip is not None):
        raise UsageError("--exclude and --mip go with the automatic choice of features: leave --features out")
    chosen = None if wanted.features else automatic(table, target, reserved, wanted.exclude, wanted.mip)
    texts = [*(chosen.features if chosen else wanted.features), *wanted.also, *wanted.energies]
    expressions = [Expression.parse(text) for text in dict.fromkeys(texts)]
    for expression in expressions:
        if not expression.branches:
            raise UsageError(f"feature {expression.text!r} reads no branch")
        table.require(expression.branches)
        if expression.branches & target.branches:
            raise UsageError(f"feature {expression.text!r} reads the target {target.text!r}: leave it out")
    named = wanted.energies or (chosen.energies if chosen else ())
    asked = () if wanted.energies else wanted.also if chosen else texts
    flags = [item.text in named or (item.text in asked and is_energy(item.text)) for item in expressions]
    if not any(flags):
        logger.warning("no feature looks like an energy, so the anchor combines them all; name them with --energies")
        flags = [True] * len(expressions)
    shapes = _shapes(table, expressions)
    features = FeatureSet(
        Feature(expression.text, shape, energy)
        for expression, shape, energy in zip(expressions, shapes, flags, strict=True)
    )
    read = features.branches
    left_out = chosen.left_out if chosen else {}
    return features, {name: reason for name, reason in left_out.items() if name not in read}


def is_energy(text: str) -> bool:
    """Tell whether an expression looks like an energy: an energy-like branch, or sums and multiples of such."""
    return _is_energy(ast.parse(text.strip(), mode="eval").body)


def _is_energy(node: ast.expr) -> bool:
    name = branch_name(node)
    if name is not None:
        return looks_like_energy(name)
    match node:
        case ast.Subscript():
            return _is_energy(node.value)
        case ast.Call(func=ast.Name(id="sum" | "layers"), args=[argument, *_]):
            return _is_energy(argument)
        case ast.BinOp(op=ast.Add()):
            return _is_energy(node.left) and _is_energy(node.right)
        case ast.BinOp(op=ast.Sub()):  # of a pedestal, say
            return _is_energy(node.left)
        case ast.BinOp(op=ast.Mult() | ast.Div(), right=ast.Constant()):
            return _is_energy(node.left)
        case ast.BinOp(op=ast.Mult(), left=ast.Constant()):
            return _is_energy(node.right)
    return False


def _shapes(table: Rows, expressions: Sequence[Expression]) -> list[tuple[int, ...]]:
    names = frozenset().union(*(expression.branches for expression in expressions))
    for _, chunk in table.chunks(names):
        branches = {name: values[:_LOOK] for name, values in chunk.items()}
        events = len(next(iter(branches.values())))
        memo = dict[str, Any]()
        return [per_event(expression, branches, events, memo).shape[1:] for expression in expressions]
    raise InputError(f"{table.source}: has no events")
