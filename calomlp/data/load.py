"""Read files for a training: all of them are checked first, then read into memory or into the cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.layouts import open_rows
from calomlp.data.rows import Rows
from calomlp.data.sample import BY_ENERGY, MAX_BEAM_ENERGIES, Recipe, Sample, describe, read_events, remember
from calomlp.data.sources import FileRecord, Source, stamp
from calomlp.data.store import Cache, InMemory, Kept, OnDisk, Room, writing
from calomlp.data.tally import Tally
from calomlp.errors import InputError, OutputError
from calomlp.interrupt import Interrupt
from calomlp.processes import ALONE, Processes
from calomlp.progress import Progress
from calomlp.provenance import fingerprint
from calomlp.units import format_size

logger = logging.getLogger(__name__)

_CACHE_SCHEMA = "calomlp.events/1"


_Files = Sequence[tuple[Source, FileRecord]]


@dataclass(frozen=True)
class Data:
    """Everything that was read."""

    events: Kept  # the events, of several processes the share of this one
    side: NDArray[np.uint8]  # side of each event of all processes, shape [events]
    recipe: Recipe  # what they were made with; if they are split by energy, it knows how now
    files: tuple[FileRecord, ...]  # where they come from
    tally: Tally  # what was left out
    processes: Processes = ALONE  # those that share the events

    def parts(self) -> Iterator[tuple[slice, Sample]]:
        """Yield the events of this process, some at a time, and their places among those of all."""
        for rows, part in self.events.parts():
            yield self.processes.places(rows), part


@dataclass(frozen=True)
class Reading:
    """How files are read, whatever is in them."""

    room: Room  # what may be used to keep events
    skip_bad_files: bool  # whether to go on without a file that cannot be read
    progress: Progress  # told of every chunk, and of what is done with the events
    interrupt: Interrupt  # looked at after every chunk
    processes: Processes = ALONE  # all of them read everything, and each keeps its share


def load(sources: Sequence[Source], recipe: Recipe, reading: Reading) -> Data:
    """Read files.

    Args:
        sources: The files.
        recipe: What to read from them.
        reading: How.

    Raises:
        InputError: If a file cannot be used, or no event is left.
        OutputError: If events do not fit into memory, and there is no place for them on the disk.
    """
    tally = Tally()
    files = _check(sources, recipe, reading, tally)
    total = sum(record.events for _, record in files)
    if not total:
        raise InputError(f"{', '.join(record.path for _, record in files)}: no events")
    columns = len(recipe.features.columns)
    most = len(reading.processes.own(total))
    size = most * 4 * (2 * columns + 12)  # features and what the network sees of them, both with a few numbers beside
    if size <= reading.room.memory:
        keeper = InMemory(most, columns)
        counts = _read(files, recipe, reading, tally, keeper)
        kept = keeper.kept()
    else:
        kept, counts, tally = _through_cache(files, recipe, reading, tally, size)
    for sentence in tally.selection(recipe.cut.text if recipe.cut else ""):
        logger.info("%s", sentence)
    for sentence in tally.losses():
        logger.warning("%s", sentence)
    used = [(record, count) for (_, record), count in zip(files, counts, strict=True) if count is not None]
    if len(set(reading.processes.gather(fingerprint([used, asdict(tally)])))) > 1:
        raise InputError("the processes have not read the same events: do all see the same files?")
    if (left := sum(count for _, count in used)) < reading.processes.size:
        few = f"{left} events are too few for {reading.processes.size} processes" if left else "no event is left"
        raise InputError(f"{', '.join(record.path for _, record in files)}: {few}")
    recipe, side = _sides(recipe, kept, used, reading.processes)
    return Data(kept, side, recipe, tuple(record for record, _ in used), tally, reading.processes)


def _check(sources: Sequence[Source], recipe: Recipe, reading: Reading, tally: Tally) -> _Files:
    """Open and check every file before the first is read."""
    good: list[Source] = []
    known: dict[str, FileRecord] = {}
    for source in sources:
        try:
            with open_rows(source, recipe.layout, recipe.branches) as rows:
                rows.require(recipe.branches)
                record = describe(rows)
        except InputError as error:
            tally.skip(source, error, allowed=reading.skip_bad_files)
            continue
        remember(known, record)
        good.append(source)
        reading.interrupt.check()
    if not good:
        raise InputError(f"none of {len(sources)} files can be read: {next(iter(tally.files.values()))}")
    return list(zip(good, known.values(), strict=True))


def _read(files: _Files, recipe: Recipe, reading: Reading, tally: Tally, keeper: InMemory | OnDisk) -> list[int | None]:
    """Read files one after the other; return how many events were kept of each, ``None`` if it could not be read."""
    processes = reading.processes
    reading.progress.start("reading", sum(record.events for _, record in files), "events")
    counts: list[int | None] = []
    seen = 0  # events of all processes
    for source, record in files:
        before, of_file = seen, Tally()
        try:
            with open_rows(source, recipe.layout, recipe.branches) as rows:
                _check_unchanged(rows, record)
                for chunk in read_events(rows, recipe, of_file):
                    keeper.add(chunk.sample[(processes.rank - seen) % processes.size :: processes.size])
                    seen += len(chunk)
                    reading.progress.advance(chunk.read)
                    reading.interrupt.check()
        except InputError as error:
            tally.skip(source, error, allowed=reading.skip_bad_files)
            seen = before
            keeper.shorten(len(processes.own(seen)))
            counts.append(None)
            continue
        tally.add(of_file)
        counts.append(seen - before)
    reading.progress.finish()
    return counts


def _check_unchanged(rows: Rows, record: FileRecord) -> None:
    if describe(rows) != record:
        raise InputError(f"{rows.source}: has changed since it was checked")


def _through_cache(
    files: _Files, recipe: Recipe, reading: Reading, tally: Tally, size: int
) -> tuple[Kept, list[int | None], Tally]:
    """Take events from the cache, or put them there."""
    share = (reading.processes.rank, reading.processes.size)
    cache = Cache(reading.room.folder, [_identity(files, recipe, tally), share])
    if (found := cache.read()) is None:
        logger.info(
            "%s do not fit into %s of memory: they are kept in %s",
            format_size(size),
            format_size(reading.room.memory),
            cache.entry,
        )
        with writing(cache.folder):
            keeper = OnDisk(cache, len(recipe.features.columns))
            try:
                cache.check_space(size)
                keeper.keep({"counts": _read(files, recipe, reading, tally, keeper), "tally": asdict(tally)})
            finally:
                keeper.discard()
        found = cache.read()
    else:
        logger.info("%d events are taken from %s", len(found[0]), cache.entry)
    if found is None:
        raise OutputError(f"{cache.entry}: what was written there cannot be read back")
    kept, details = found
    return kept, details["counts"], Tally(**details["tally"])


def _identity(files: _Files, recipe: Recipe, tally: Tally) -> Any:
    """Return all that decides which events are read."""
    return [
        _CACHE_SCHEMA,
        [(asdict(record) | {"path": ""}, stamp(source)) for source, record in files],
        [(feature.expression, feature.shape) for feature in recipe.features],
        [part.text if part else None for part in (recipe.target, recipe.cut, recipe.weight)],
        [recipe.split_by, asdict(recipe.layout), recipe.missing, recipe.on_bad],
        tally.files,
    ]


def _sides(
    recipe: Recipe, kept: Kept, files: Sequence[tuple[FileRecord, int]], processes: Processes
) -> tuple[Recipe, NDArray[np.uint8]]:
    """Return the recipe, which knows how events are split by energy now, and the side of each event.

    Args:
        recipe: What they were made with.
        kept: The events.
        files: Where they come from, and how many come from each.
        processes: Those that share the events.
    """
    if recipe.split_by == BY_ENERGY:
        recipe = replace(recipe, split=recipe.split.by_energy(_few_energies(kept, processes)))
        validation, test = (
            ", ".join(f"{energy:g}" for energy in energies)
            for energies in (recipe.split.validation_energies, recipe.split.test_energies)
        )
        logger.info("split by energy: validating at %s GeV, testing at %s GeV", validation, test)
    identities = [record.identity for record, _ in files]
    stops = np.cumsum([count for _, count in files])
    side = np.zeros(stops[-1], np.uint8)
    own = np.array([len(processes.own(stop)) for stop in stops.tolist()])
    for rows, part in kept.parts():
        found = side[processes.places(rows)]
        edges = np.unique(np.clip([rows.start, *own, rows.stop], rows.start, rows.stop))
        for start, stop in pairwise(edges.tolist()):
            file = int(np.searchsorted(own, start, side="right"))
            chosen = slice(start - rows.start, stop - rows.start)
            found[chosen] = recipe.sides(identities[file], part[chosen])
    processes.sum(side)
    return recipe, side


def _few_energies(kept: Kept, processes: Processes) -> NDArray[np.float32]:
    """Return the distinct true energies [GeV] in ascending order.

    Raises:
        InputError: If they are many.
    """
    distinct = np.empty(0, np.float32)
    for _, part in kept.parts():
        distinct = np.unique(np.concatenate([distinct, part.true_energy]))
        if len(distinct) > MAX_BEAM_ENERGIES:
            break
    distinct = np.unique(np.concatenate(processes.gather(distinct)))
    if len(distinct) > MAX_BEAM_ENERGIES:
        raise InputError(
            f"events with more than {MAX_BEAM_ENERGIES} true energies cannot be split by energy: that is for the few "
            "energies of a test beam"
        )
    return distinct
