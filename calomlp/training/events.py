"""What the loop needs of every event, in one table: in memory, or in a file if that is too small.

Batches are the same either way. Their order is random over the whole sample if it is small; in a large one, blocks of
neighbouring events are drawn at random until they fill a window, and the events of a window are mixed. So a file is
read in pieces that a disk likes, and a batch still comes from thousands of places.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from calomlp.data.store import PART, MappedFile, scratch

_WINDOW_BYTES = 1 << 27
_BLOCK_BYTES = 1 << 15
_MAX_WINDOW = 1 << 20


class Events:
    """Events as the loop needs them: everything that no weight changes is computed once.

    Attributes:
        table: All columns, shape [events, inputs + 4].
        inputs: Standardised inputs of the network, shape [events, inputs].
        anchor: Linear anchor [GeV], shape [events].
        sigma: Spread expected at the anchor [GeV], shape [events].
        true_energy: In GeV, shape [events].
        weight: Spectrum weight, shape [events].

    Args:
        table: The columns.
        file: What the table lies in, if it is not in memory.
    """

    def __init__(self, table: Tensor, file: MappedFile | None = None) -> None:
        self.table = table  # one gather makes a batch
        self._file = file
        self.inputs = table[:, :-4]
        self.anchor, self.sigma, self.true_energy, self.weight = table[:, -4:].unbind(dim=1)

    @classmethod
    def of(cls, inputs: Tensor, anchor: Tensor, sigma: Tensor, true_energy: Tensor, weight: Tensor) -> Events:
        """Put the columns together."""
        return cls(torch.cat([inputs, torch.stack([anchor, sigma, true_energy, weight], dim=1)], dim=1))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Tensor) -> Events:
        """Return some of the events, in memory."""
        return Events(self.table[rows.to(self.table.device)])

    def parts(self) -> Iterator[Events]:
        """Yield all events in their order, some at a time."""
        for part in self.table.split(PART):  # type: ignore[no-untyped-call]
            yield Events(part)
            self._release()

    def batches(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Events]:
        """Yield the batches of an epoch.

        Args:
            batch_size: Events in a batch; the last one may be shorter.
            seed: Seed of the order.
            epoch: Number of the epoch; its order depends on nothing that happened before.
            skip: Batches to leave out at the beginning.
        """
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        for rows in _windows(len(self), self.table.shape[1], batch_size, generator):
            batches = rows.split(batch_size)  # type: ignore[no-untyped-call]
            left, skip = batches[skip:], max(0, skip - len(batches))
            if not left:
                continue
            if self._file is None:
                yield from map(self.take, left)
                continue
            window = self.take(torch.cat(left))
            self._release()
            yield from map(Events, window.table.split(batch_size))  # type: ignore[no-untyped-call]

    def _release(self) -> None:
        if self._file is not None:
            self._file.release()


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


class EventsOnDisk:
    """Collects events in a file.

    Args:
        folder: Where it is made; it vanishes with the program.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = scratch(folder)
        self._filled = self._width = 0

    def add(self, events: Events) -> None:
        """Take some more events."""
        self._width = events.table.shape[1]
        self._file.write(events.table.cpu().numpy().data)
        self._filled += len(events)

    def collected(self) -> Events:
        """Return all of them."""
        self._file.flush()
        mapped = MappedFile(self._file, np.float32, (self._filled, self._width))
        self._file.close()  # the mapping holds it
        return Events(torch.from_numpy(mapped.array), mapped)


def _windows(events: int, width: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers of the events in random order, in windows that are whole batches but for the last.

    Args:
        events: How many there are.
        width: Numbers that each has.
        batch_size: Events in a batch.
        generator: Source of the order.
    """
    most = min(_MAX_WINDOW, _WINDOW_BYTES // (4 * width))
    window = batch_size * max(1, most // batch_size)
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
