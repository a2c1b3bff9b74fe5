"""ROOT files in: find the tree, know its branches, read them in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import uproot
from awkward.forms import Form, ListOffsetForm, NumpyForm, RegularForm

from calomlp.data.sources import Source
from calomlp.errors import CalomlpError, InputError, MissingDependencyError, did_you_mean

DEFAULT_TREE = "events"
_TABLE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_CHUNK_BYTES = 32 << 20
_MAX_CHUNK_EVENTS = 200_000
_SAMPLE_EVENTS = 1000


@dataclass(frozen=True)
class Column:
    """What a numeric branch holds.

    Attributes:
        name: Name of the branch.
        shape: Shape of a fixed-size array inside an event; empty for a plain number.
        jagged: Whether the number of elements varies from event to event.
    """

    name: str
    shape: tuple[int, ...] = ()
    jagged: bool = False


class Table:
    """A TTree or RNTuple that is open for reading.

    Attributes:
        source: Where it lies; its tree is filled in.
        entries: Number of events.
        identity: What identifies the file and tree wherever it is copied: the UUID that ROOT wrote into it.
    """

    def __init__(self, source: Source, tree: Any, uuid: str) -> None:
        self.source = source
        self.entries = int(tree.num_entries)
        known = int(uuid.replace("-", ""), 16) != 0  # some writers leave it out
        self.identity = f"{uuid if known else source.label}:{source.tree}"
        self._tree = tree

    @cached_property
    def names(self) -> list[str]:
        """The names of all branches, numeric or not."""
        return [str(name) for name in self._tree.keys(recursive=False)]

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The numeric branches; those of other types, or that cannot be read, are not here."""
        found = (self._column(name) for name in self.names)
        return {column.name: column for column in found if column is not None}

    def _column(self, name: str) -> Column | None:
        branch = self._tree[name]
        try:
            if hasattr(branch, "interpretation"):
                form = branch.interpretation.awkward_form(self._tree.file)
            else:
                form = self._tree.arrays([name], entry_stop=0)[name].layout.form
        except Exception:  # noqa: BLE001 - uproot has no common error for types that it cannot interpret
            return None
        return _column(name, form)

    def require(self, names: Iterable[str]) -> None:
        """Refuse branches that are not there or not numeric.

        Raises:
            InputError: With a did-you-mean.
        """
        for name in sorted(names):
            if name not in self.columns:
                reason = "is not numeric or cannot be read" if name in self.names else "is not there"
                raise InputError(f"{self.source}: branch {name!r} {reason}: {did_you_mean(name, self.columns)}")

    def chunks(self, names: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read branches in chunks of bounded memory.

        Args:
            names: Branches to read, all of them in :attr:`columns`.

        Yields:
            The number of the first event of the chunk, and the columns by name: numpy arrays of shape [events, ...], or
            awkward arrays where they are jagged.

        Raises:
            InputError: If the file is damaged.
        """
        wanted = sorted(names)
        if not wanted or not self.entries:
            return
        start = 0
        try:
            step = min(_MAX_CHUNK_EVENTS, max(_SAMPLE_EVENTS, _CHUNK_BYTES // self._bytes_per_event(wanted)))
            for arrays in self._tree.iterate(wanted, step_size=step, library="ak"):
                yield start, {name: _to_numpy(arrays[name], self.columns[name]) for name in wanted}
                start += len(arrays)
        except CalomlpError:
            raise
        except Exception as error:
            raise InputError(f"{self.source}: cannot be read after event {start}: {_brief(error)}") from error
        if start != self.entries:
            raise InputError(f"{self.source}: declares {self.entries} events, but only {start} can be read")

    def _bytes_per_event(self, names: list[str]) -> int:
        """Return the size of an event in memory: that of its shapes, or measured where lists make it unknown."""
        if not any(self.columns[name].jagged for name in names):
            return 8 * sum(int(np.prod(self.columns[name].shape)) for name in names)
        first = self._tree.arrays(names, entry_stop=min(_SAMPLE_EVENTS, self.entries), library="ak")
        return max(int(first.nbytes) // max(len(first), 1), 1)


@contextmanager
def open_table(source: Source) -> Iterator[Table]:
    """Open a file and find its tree: the one that was named, else ``events``, else the only one.

    Raises:
        InputError: If the file cannot be opened, is not a ROOT file, or has no such tree.
        MissingDependencyError: If the scheme of a URL needs a package that is not installed.
    """
    try:
        file = uproot.open(source.path)
    except CalomlpError:  # a second signal, which may arrive anywhere
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"{source.label}: reading this needs a package that is not installed: pip install 'calomlp[http]', "
            f"'calomlp[xrootd]' or what is named here: {_brief(error)}"
        ) from error
    except Exception as error:
        raise InputError(f"{source.label}: cannot be opened as a ROOT file: {_brief(error)}") from error
    with file:
        name = _tree_name(source, file)
        try:
            tree = file[name]
            table = Table(Source(source.path, name, source.label), tree, str(file.file.uuid))
        except CalomlpError:
            raise
        except Exception as error:
            raise InputError(f"{source.label}:{name}: cannot be read: {_brief(error)}") from error
        yield table


def _tree_name(source: Source, file: Any) -> str:
    classes = file.classnames(cycle=False, recursive=True)
    trees = [name for name, kind in classes.items() if kind in _TABLE_CLASSES]
    if not trees:
        content = f"only {', '.join(sorted(set(classes.values())))}" if classes else "no objects at all"
        raise InputError(f"{source.label}: holds no TTree or RNTuple, but {content}")
    if source.tree is not None:
        if source.tree not in trees:
            raise InputError(f"{source.label}: no tree {source.tree!r}: {did_you_mean(source.tree, trees)}")
        return source.tree
    if DEFAULT_TREE in trees:
        return DEFAULT_TREE
    if len(trees) > 1:
        raise InputError(f"{source.label}: has several trees, choose one as {source.label}:TREE: {', '.join(trees)}")
    return str(trees[0])


def _column(name: str, form: Form) -> Column | None:
    shape: list[int] = []
    jagged = False
    while not isinstance(form, NumpyForm):
        if isinstance(form, RegularForm):
            shape.append(form.size)
        elif isinstance(form, ListOffsetForm) and form.parameter("__array__") is None:
            jagged = True
        else:
            return None
        form = form.content
    numeric = np.dtype(form.primitive).kind in "biuf"
    return Column(name, (*shape, *form.inner_shape), jagged) if numeric else None


def _to_numpy(values: ak.Array, column: Column) -> Any:
    return values if column.jagged else ak.to_numpy(values)


def _brief(error: Exception) -> str:
    """Return the first line of somebody else's error, which may go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
