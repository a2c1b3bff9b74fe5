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
from calomlp.data.store import Cache, InMemory, Kept, OnDisk, writing
from calomlp.data.tally import Tally
from calomlp.errors import InputError, OutputError
from calomlp.processes import ALONE, Processes
from calomlp.provenance import fingerprint
from calomlp.run import Run
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


def load(sources: Sequence[Source], recipe: Recipe, run: Run, *, skip_bad_files: bool = False) -> Data:
    """Read files.

    Args:
        sources: The files.
        recipe: What to read from them.
        run: Its processes all read everything, and each keeps its share.
        skip_bad_files: Whether to go on without a file that cannot be read.

    Raises:
        InputError: If a file cannot be used, or no event is left.
        OutputError: If events do not fit into memory, and there is no place for them on the disk.
    """
    tally = Tally()
    files = _check(sources, recipe, run, tally, skip_bad_files=skip_bad_files)
    total = sum(record.events for _, record in files)
    if not total:
        raise InputError(f"{', '.join(record.path for _, record in files)}: no events")
    columns = len(recipe.features.columns)
    most = len(run.processes.own(total))
    size = most * 4 * (2 * columns + 12)  # features and what the network sees of them, both with a few numbers beside
    if size <= run.memory:
        keeper = InMemory(most, columns)
        counts = _read(files, recipe, run, tally, keeper, skip_bad_files=skip_bad_files)
        kept = keeper.kept()
    else:
        kept, counts, tally = _through_cache(files, recipe, run, tally, size, skip_bad_files=skip_bad_files)
    for sentence in tally.selection(recipe.cut.text if recipe.cut else ""):
        logger.info("%s", sentence)
    for sentence in tally.losses():
        logger.warning("%s", sentence)
    used = [(record, count) for (_, record), count in zip(files, counts, strict=True) if count is not None]
    if len(set(run.processes.gather(fingerprint([used, asdict(tally)])))) > 1:
        raise InputError("the processes have not read the same events: do all see the same files?")
    if (left := sum(count for _, count in used)) < run.processes.size:
        few = f"{left} events are too few for {run.processes.size} processes" if left else "no event is left"
        raise InputError(f"{', '.join(record.path for _, record in files)}: {few}")
    recipe, side = _sides(recipe, kept, used, run.processes)
    return Data(kept, side, recipe, tuple(record for record, _ in used), tally, run.processes)


def _check(sources: Sequence[Source], recipe: Recipe, run: Run, tally: Tally, *, skip_bad_files: bool) -> _Files:
    """Open and check every file before the first is read."""
    good: list[Source] = []
    known: dict[str, FileRecord] = {}
    for source in sources:
        try:
            with open_rows(source, recipe.layout, recipe.branches) as rows:
                rows.require(recipe.branches)
                record = describe(rows)
        except InputError as error:
            tally.skip(source, error, allowed=skip_bad_files)
            continue
        remember(known, record)
        good.append(source)
        run.interrupt.check()
    if not good:
        raise InputError(f"none of {len(sources)} files can be read: {next(iter(tally.files.values()))}")
    return list(zip(good, known.values(), strict=True))


def _read(
    files: _Files, recipe: Recipe, run: Run, tally: Tally, keeper: InMemory | OnDisk, *, skip_bad_files: bool
) -> list[int | None]:
    """Read files one after the other; return how many events were kept of each, ``None`` if it could not be read."""
    processes = run.processes
    run.progress.start("reading", sum(record.events for _, record in files), "events")
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
                    run.progress.advance(chunk.read)
                    run.interrupt.check()
        except InputError as error:
            tally.skip(source, error, allowed=skip_bad_files)
            seen = before
            keeper.shorten(len(processes.own(seen)))
            counts.append(None)
            continue
        tally.add(of_file)
        counts.append(seen - before)
    run.progress.finish()
    return counts


def _check_unchanged(rows: Rows, record: FileRecord) -> None:
    if describe(rows) != record:
        raise InputError(f"{rows.source}: has changed since it was checked")


def _through_cache(
    files: _Files, recipe: Recipe, run: Run, tally: Tally, size: int, *, skip_bad_files: bool
) -> tuple[Kept, list[int | None], Tally]:
    """Take events from the cache, or put them there."""
    share = (run.processes.rank, run.processes.size)
    cache = Cache(run.folder, [_identity(files, recipe, tally), share])
    if (found := cache.read()) is None:
        logger.info(
            "%s do not fit into %s of memory: they are kept in %s",
            format_size(size),
            format_size(run.memory),
            cache.entry,
        )
        with writing(cache.folder):
            keeper = OnDisk(cache, len(recipe.features.columns))
            try:
                cache.check_space(size)
                keeper.keep(
                    {
                        "counts": _read(files, recipe, run, tally, keeper, skip_bad_files=skip_bad_files),
                        "tally": asdict(tally),
                    }
                )
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
