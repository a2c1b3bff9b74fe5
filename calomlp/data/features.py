"""Features: expressions that become columns of one matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, starmap
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data.expressions import Expression
from calomlp.documents import from_document
from calomlp.errors import InputError


@dataclass(frozen=True)
class Feature:
    """One expression of the feature matrix."""

    expression: str  # in the feature language
    shape: tuple[int, ...] = ()  # shape of its value in one event; () is one column, (30,) is thirty
    energy: bool = False  # whether it is an energy, which the anchor combines linearly

    @cached_property
    def parsed(self) -> Expression:
        """The expression, ready to be evaluated."""
        return Expression.parse(self.expression)

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


class FeatureSet(tuple[Feature, ...]):  # noqa: SLOT001 - it keeps what follows from the features
    """The features of a model, in the order of the columns of its matrix."""

    @classmethod
    def of_document(cls, features: Any) -> FeatureSet:
        """Read them from the document of a model."""
        return cls(from_document(tuple[Feature, ...], features))

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [name for feature in self for name in feature.columns]

    @cached_property
    def slices(self) -> list[slice]:
        """Where the columns of each feature are."""
        ends = np.cumsum([0, *(feature.width for feature in self)]).tolist()
        return list(starmap(slice, pairwise(ends)))

    @cached_property
    def branches(self) -> frozenset[str]:
        """The branches that the features read."""
        return frozenset().union(*(feature.parsed.branches for feature in self))

    @cached_property
    def energy_columns(self) -> NDArray[np.int64]:
        """Positions of the columns that the anchor combines."""
        flags = [feature.energy for feature in self for _ in range(feature.width)]
        return np.flatnonzero(flags).astype(np.int64)

    @property
    def has_shapes(self) -> bool:
        """Whether the depth of showers is among the features, which says much of what the layers say."""
        return any("depth(" in feature.expression for feature in self)

    @property
    def spectrum_columns(self) -> tuple[int, ...]:
        """The columns, first and one past the last, of the one spectrum of hit energies; none if there is not one."""
        columns = [
            (place.start, place.stop)
            for place, feature in zip(self.slices, self, strict=True)
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
        memo = dict[str, Any]()
        for feature, columns in zip(self, self.slices, strict=True):
            values = per_event(feature.parsed, branches, events, memo)
            if values.shape[1:] != feature.shape:
                raise InputError(
                    f"feature {feature.expression!r} has shape {values.shape[1:]} in each event, "
                    f"but the model was made for {feature.shape}"
                )
            result[:, columns] = values.reshape(events, feature.width)
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
