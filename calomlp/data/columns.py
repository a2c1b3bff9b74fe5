"""Columns: the numbers that a branch holds, by the names that people and the feature language use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np
from awkward.forms import Form, ListOffsetForm, NumpyForm, RecordForm, RegularForm

_PAIR = ("first", "second")  # what C++ calls the halves of a pair, and so the keys and values of a map
_LISTS = (None, "set", "sorted_map")  # what awkward calls the containers that are read as lists; text is none
_INHERITED = re.compile(r"@.*|(.*\.)?(fUniqueID|fBits)")


@dataclass(frozen=True)
class Column:
    """A numeric branch, or one member of a branch of records."""

    name: str  # name of the branch; collection.member where it holds records
    shape: tuple[int, ...] = ()  # shape of a fixed-size array inside an event; empty for a plain number
    jagged: bool = False  # whether the number of elements varies from event to event
    nested: bool = False  # whether the elements of the list are lists themselves
    kind: str = "float64"  # type of the numbers, as numpy calls it
    branch: str = ""  # path of the branch in its tree
    keys: tuple[str, ...] = ()  # where in the records of the branch the numbers lie

    @property
    def is_number(self) -> bool:
        """Whether it is one number in each event."""
        return not self.jagged and not self.shape

    def of(self, records: ak.Array) -> ak.Array:
        """Return the numbers in what was read of the branch."""
        for key in self.keys:
            records = records[key]
        return records

    def finish(self, values: ak.Array) -> Any:
        """Return numbers as the feature language takes them: a numpy array, or an awkward array where they are lists.

        Raises:
            ValueError: If lists are damaged.
        """
        if not self.jagged:
            return ak.to_numpy(values, allow_missing=False)
        if ak.validity_error(values):  # offsets that point outside would be followed, wherever they lead
            raise ValueError("its lists are damaged")
        return ak.without_parameters(values)  # a set is a list, too


@dataclass(frozen=True)
class Branch:
    """A branch or field, as its tree describes it."""

    name: str  # what its column is called
    path: str  # how its tree finds it
    typename: str  # its type in C++
    form: Form | None  # layout of its data; None if it cannot be read
    problem: str = ""  # why it cannot be read

    def columns(self) -> Iterator[Column]:
        """Yield its numeric columns: none if it holds text, several if it holds records."""
        if self.form is not None:
            yield from _columns(self.form, Column(self.name, branch=self.path))


def _columns(form: Form, above: Column) -> Iterator[Column]:
    """Yield the columns in a form, and what was met above it."""
    container = form.parameter("__array__")
    if isinstance(form, NumpyForm) and container is None:
        kind = np.dtype(form.primitive)
        if kind.kind in "biuf":
            yield replace(above, shape=(*above.shape, *form.inner_shape), kind=kind.name)
    elif isinstance(form, RegularForm) and container is None:
        yield from _columns(form.content, replace(above, shape=(*above.shape, form.size)))
    elif isinstance(form, ListOffsetForm) and container in _LISTS:
        yield from _columns(form.content, replace(above, jagged=True, nested=above.jagged))
    elif isinstance(form, RecordForm):
        names = _PAIR if form.is_tuple and len(form.contents) == len(_PAIR) else form.fields
        for name, key, content in zip(names, form.fields, form.contents, strict=True):
            if not is_inherited(name):
                yield from _columns(content, replace(above, name=f"{above.name}.{name}", keys=(*above.keys, key)))


def is_inherited(member: str) -> bool:
    """Tell whether every ROOT object has a member of this name, which says nothing about an event."""
    return _INHERITED.fullmatch(member) is not None
