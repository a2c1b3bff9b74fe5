"""Table of the events that the loop learns from, in memory, or in a file if that is too small.

Batches are the same either way. Their order is random over the whole sample if it is small; in a large one, blocks of
neighbouring events are drawn at random until they fill a window, and the events of a window are mixed. So a file is
read in pieces that a disk likes, and a batch still comes from thousands of places.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calomlp.data.dataset import scratch, writing
from calomlp.processes import ALONE, Processes

_WINDOW_BYTES = 1 << 27
_BLOCK_BYTES = 1 << 15
_MAX_WINDOW = 1 << 20
FOLDS = 4
"""Events are in so many folds, one of which each member of an ensemble can be made to leave out: by chance, or by their
energy, and then some are in one more, which none leaves out."""

OTHERS = 5
"""Numbers of an event beside the inputs."""

_PART = 8_192  # events that caches like


class Events:
    """Events as the loop needs them: everything that no weight changes is computed once.

    Attributes:
        table: All columns, shape [events, inputs + 5].
        inputs: Standardised inputs of the network, shape [events, inputs].
        n_inputs: Their number.
        anchor: Linear anchor [GeV], shape [events].
        sigma: Spread expected at the anchor [GeV], shape [events].
        true_energy: In GeV, shape [events].
        weight: Spectrum weight, shape [events].
        fold: Which of the :data:`FOLDS` it is in, shape [events].

    Args:
        table: The columns.
    """

    processes = ALONE

    def __init__(self, table: Tensor) -> None:
        self.table = table  # one gather makes a batch
        self.inputs = table[:, :-OTHERS]
        self.n_inputs = self.inputs.shape[1]
        self.anchor, self.sigma, self.true_energy, self.weight, self.fold = table[:, -OTHERS:].unbind(dim=1)

    @classmethod
    def of(
        cls, inputs: Tensor, anchor: Tensor, sigma: Tensor, true_energy: Tensor, weight: Tensor, fold: Tensor
    ) -> Events:
        """Put the columns together."""
        return cls(torch.cat([inputs, torch.stack([anchor, sigma, true_energy, weight, fold], dim=1)], dim=1))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Tensor) -> Events:
        """Return some of the events, in memory."""
        return Events(self.table.index_select(0, rows.to(self.table.device)))  # four times faster than table[rows]

    def parts(self) -> Iterator[Events]:
        """Yield all events in their order, some at a time."""
        yield from map(Events, self.table.split(_PART))  # type: ignore[no-untyped-call]

    def batches(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Events]:
        """Yield the batches of an epoch.

        Args:
            batch_size: Events in a batch; the last one may be shorter.
            seed: Seed of the order.
            epoch: Number of the epoch; its order depends on nothing that happened before.
            skip: Batches to leave out at the beginning.
        """
        for batches in _windows(len(self), self.n_inputs, batch_size, seed, epoch, skip):
            yield from self.pick(batches)

    def pick(self, batches: Iterable[Tensor]) -> Iterator[Events]:
        """Yield the events with some numbers, batch by batch."""
        yield from map(self.take, batches)


class EventsInFile:
    """Events like :class:`Events`, in a file that they are added to, and that is read with every use.

    A mapping of the file would be simpler, but what is read of it counts as memory of the program, and systems map far
    more around each place that is touched.

    Args:
        folder: Where the file is made; it vanishes with the program.
    """

    processes = ALONE

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = self.n_inputs = 0
        with writing(folder):
            self._file: IO[bytes] = scratch(folder)
        weakref.finalize(self, self._file.close)

    def add(self, events: Events) -> None:
        """Take some more events."""
        self.n_inputs = events.n_inputs
        with writing(self._folder):
            self._file.write(events.table.cpu().numpy().data)
        self._events += len(events)

    def collected(self) -> EventsInFile:
        """Return all of them."""
        with writing(self._folder):
            self._file.flush()
        return self

    def __len__(self) -> int:
        return self._events

    def parts(self) -> Iterator[Events]:
        """Yield all events in their order, some at a time."""
        for start in range(0, max(len(self), 1), _PART):
            yield self._read(np.array([[start, min(start + _PART, len(self))]]))

    def batches(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Events]:
        """Yield the batches of an epoch, the same as those of :meth:`Events.batches`."""
        for batches in _windows(len(self), self.n_inputs, batch_size, seed, epoch, skip):
            yield from self.pick(batches)

    def pick(self, batches: Iterable[Tensor]) -> Iterator[Events]:
        """Yield the events with some numbers, batch by batch; all of them are read first."""
        batches = list(batches)
        rows, place = torch.cat(batches).sort()
        edges = np.flatnonzero(np.diff(rows.numpy(), prepend=-2, append=len(self) + 1) != 1)
        runs = np.stack([rows.numpy()[edges[:-1]], rows.numpy()[edges[1:] - 1] + 1], axis=1)
        sorted_window = self._read(runs).table
        window = torch.empty_like(sorted_window)
        window[place] = sorted_window
        del sorted_window
        yield from map(Events, window.split([len(batch) for batch in batches]))  # type: ignore[no-untyped-call]

    def _read(self, runs: NDArray[np.int64]) -> Events:
        """Return the events between some pairs of numbers."""
        width = self.n_inputs + OTHERS
        table = np.empty((int(np.sum(runs[:, 1] - runs[:, 0])), width), dtype=np.float32)
        filled = 0
        for start, stop in runs.tolist():
            piece = table[filled : filled + stop - start]
            os.preadv(self._file.fileno(), [piece.data], 4 * width * start)
            filled += len(piece)
        return Events(torch.from_numpy(table))


class SharedEvents:
    """Events of several processes, each of which has some, in the order and the batches of one process.

    Args:
        own: Those of this process.
        kept: One for each event that one of them has, and zero for each other, shape [all that were read].
        processes: Those that share them.
    """

    def __init__(self, own: Events | EventsInFile, kept: NDArray[np.uint8], processes: Processes) -> None:
        self.processes, self.n_inputs = processes, own.n_inputs
        self._own = own
        mine = np.flatnonzero(kept) % processes.size == processes.rank
        self._rows = torch.full((len(mine),), -1, dtype=torch.int32)
        self._rows[torch.from_numpy(mine)] = torch.arange(len(own), dtype=torch.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def parts(self) -> Iterator[Events]:
        """Yield the events of this process in their order, some at a time."""
        yield from self._own.parts()

    def batches(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Events]:
        """Yield what this process has of the batches that :meth:`Events.batches` would yield of all events."""
        for batches in _windows(len(self), self.n_inputs, batch_size, seed, epoch, skip):
            rows = (self._rows[batch] for batch in batches)
            yield from self._own.pick(some[some >= 0] for some in rows)


Table = Events | EventsInFile | SharedEvents


class EventsInMemory:
    """Collects events in memory, on the device that trains.

    Args:
        events: How many there will be at most.
        device: Where they are wanted.
    """

    def __init__(self, events: int, device: torch.device) -> None:
        self._most, self._device = events, device
        self._table = torch.empty(0)
        self._filled = 0

    def add(self, events: Events) -> None:
        """Take some more events."""
        if not self._filled:
            self._table = torch.empty((self._most, events.table.shape[1]), device=self._device)
        self._table[self._filled : self._filled + len(events)] = events.table
        self._filled += len(events)

    def collected(self) -> Events:
        """Return all of them."""
        return Events(self._table[: self._filled])


def _windows(
    events: int, n_inputs: int, batch_size: int, seed: int, epoch: int, skip: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the numbers of the events in random order: batches, in windows that are whole batches but for the last.

    Args:
        events: How many there are.
        n_inputs: Inputs of the network that each has.
        batch_size: Events in a batch.
        seed: Seed of the order.
        epoch: Number of the epoch.
        skip: Batches to leave out at the beginning.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    width = n_inputs + OTHERS
    most = min(_MAX_WINDOW, _WINDOW_BYTES // (4 * width))
    window = batch_size * max(1, most // batch_size)
    for rows in _shuffled(events, window, width, generator):
        batches = rows.split(batch_size)  # type: ignore[no-untyped-call]
        if skip < len(batches):
            yield batches[skip:]
        skip = max(0, skip - len(batches))


def _shuffled(events: int, window: int, width: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers of the events in random order, a window of them at a time."""
    if events <= window:
        yield torch.randperm(events, generator=generator)
        return
    block = max(1, min(window // 256, _BLOCK_BYTES // (4 * width)))
    whole = torch.randperm(events // block, generator=generator)
    rest = torch.arange(len(whole) * block, events)
    for start in range(0, events, window):
        stop = min(start + window, events)
        blocks = whole[start // block : -(-stop // block)]
        rows = (blocks[:, None] * block + torch.arange(block)).flatten()
        if stop > len(whole) * block:
            rows = torch.cat([rows, rest])
        rows = rows[start % block :][: stop - start]
        yield rows[torch.randperm(len(rows), generator=generator)]
