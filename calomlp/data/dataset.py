"""The one data set: files that are opened, checked and described before the first of them is read, chunk by chunk.

Events of a training are kept: in memory, or in a temporary file that vanishes with the program. If the training is
interrupted, a copy of it stays beside the checkpoint, so that going on does not read again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from calomlp.data.rows import Rows, open_rows
from calomlp.data.sample import (
    BY_ENERGY,
    MAX_BEAM_ENERGIES,
    Chunk,
    Recipe,
    Sample,
    Selected,
    Split,
    make_chunk,
    selected,
)
from calomlp.data.sources import FileRecord, Source, Tally, stamp
from calomlp.documents import to_document
from calomlp.errors import InputError, OutputError
from calomlp.processes import ALONE, Processes
from calomlp.provenance import canonical_json, fingerprint
from calomlp.run import Run
from calomlp.streams import atomic_path
from calomlp.units import format_size

logger = logging.getLogger(__name__)

PART = 65_536
"""Events of a training that are looked at in one go."""

_SCHEMA = "calomlp.events/2"
_COPY_SIZE = 1 << 24
_LENGTH = 8  # bytes that say how long the description at the end of a file of events is


class DataFile:
    """A file of a data set that is open for reading.

    Attributes:
        rows: Its events.
        tally: Counts what is read and what is left out.
    """

    def __init__(self, rows: Rows, recipe: Recipe, tally: Tally, run: Run) -> None:
        self.rows = rows
        self.tally = tally
        self._recipe = recipe
        self._run = run

    def selected(self, names: frozenset[str]) -> Iterator[Selected]:
        """Yield branches of the events that pass the cut, piece by piece."""
        for some in selected(self.rows, self._recipe, names, self.tally):
            yield some
            self._run.progress.advance(len(some.piece))
            self._run.interrupt.check()

    def chunks(self, recipe: Recipe | None = None, more: frozenset[str] = frozenset()) -> Iterator[Chunk]:
        """Yield the events that pass the cut and have no bad value, as arrays.

        Args:
            recipe: What is made of this file, if that is not what is made of all.
            more: Branches that are wanted beside those of the recipe.

        Raises:
            InputError: If the file cannot be read, or an event has a bad value and the recipe says to refuse it.
        """
        recipe = recipe or self._recipe
        for some in self.selected(recipe.branches | more):
            yield make_chunk(some, recipe, self.tally, str(self.rows.source))


class Dataset:
    """Files that are read together; all of them are checked first.

    Attributes:
        sources: Those that can be read.
        files: What is remembered of each of them.
        tally: Counts what was read and what was left out, files among it.

    Args:
        sources: The files.
        recipe: What is made of them.
        run: Told of every chunk.
        skip_bad_files: Whether to go on without a file that cannot be read.
        wanted: Branches that are asked for; those of the recipe, if they are not given.
        check: Refuses a file; by default one that lacks one of these branches.
        twice: Whether a file may be named twice.

    Raises:
        InputError: If a file cannot be used.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        recipe: Recipe,
        run: Run,
        *,
        skip_bad_files: bool = False,
        wanted: frozenset[str] | None = None,
        check: Callable[[Rows], None] | None = None,
        twice: bool = False,
    ) -> None:
        self.recipe = recipe
        self.tally = Tally()
        self._run = run
        self._skip_bad_files = skip_bad_files
        self._wanted = recipe.branches if wanted is None else wanted
        self.sources: list[Source] = []
        self.files: list[FileRecord] = []
        known: dict[str, FileRecord] = {}
        for source in sources:
            try:
                with open_rows(source, recipe.layout, self._wanted) as rows:
                    if check is None:
                        rows.require(self._wanted)
                    else:
                        check(rows)
                    record = rows.record
            except InputError as error:
                self.tally.skip(source, error, allowed=skip_bad_files)
                continue
            if (other := known.get(record.identity)) and not twice:
                raise InputError(f"{record.path}: this is the same file as {other.path}: name it once")
            known[record.identity] = record
            self.sources.append(source)
            self.files.append(record)
            run.interrupt.check()
        if not self.sources:
            raise InputError(f"none of {len(sources)} files can be read: {next(iter(self.tally.files.values()))}")

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def events(self) -> int:
        """Number of events in the files."""
        return sum(record.events for record in self.files)

    @contextmanager
    def leaving_out(self, source: Source) -> Iterator[None]:
        """Leave a file out that cannot be read inside the block, and what remains of the block, if that is allowed."""
        try:
            yield
        except InputError as error:
            self.tally.skip(source, error, allowed=self._skip_bad_files)

    @contextmanager
    def open(self, number: int) -> Iterator[DataFile]:
        """Open a file to read it; what it adds to the tally counts when the block ends well.

        Raises:
            InputError: If it cannot be read, or has changed since it was checked.
        """
        tally = Tally()
        with open_rows(self.sources[number], self.recipe.layout, self._wanted) as rows:
            if rows.record != self.files[number]:
                raise InputError(f"{rows.source}: has changed since it was checked")
            yield DataFile(rows, self.recipe, tally, self._run)
        self.tally.add(tally)

    @contextmanager
    def reading(self, number: int) -> Iterator[DataFile]:
        """Open a file to read it; if it cannot be read and may be left out, the block ends there."""
        with self.leaving_out(self.sources[number]), self.open(number) as file:
            yield file

    @contextmanager
    def look(self, number: int) -> Iterator[DataFile]:
        """Open a file for a look that counts nowhere.

        Raises:
            InputError: If it cannot be read.
        """
        with open_rows(self.sources[number], self.recipe.layout, self._wanted) as rows:
            yield DataFile(rows, self.recipe, Tally(), Run(interrupt=self._run.interrupt))


class Kept:
    """Events of all files, one after the other: so many at most in memory, or any number in a file.

    Attributes:
        on_disk: Whether they are in a file.
        description: What describes the events of a temporary file, and is written behind them where it is copied.

    Args:
        columns: Number of columns of the features.
        most: Number of events that there is memory for.
        file: The file, which is closed in the end.
        events: Number of events in it.
    """

    def __init__(self, columns: int, most: int = 0, file: IO[bytes] | None = None, events: int = 0) -> None:
        self.on_disk = file is not None
        self.description: Mapping[str, Any] = {}
        self._file = file
        self._events = events
        self._rows: NDArray[Any] = np.empty(
            most, [("features", "<f4", (columns,)), ("true_energy", "<f4"), ("weight", "<f4"), ("key", "<i8")]
        )
        self._columns: NDArray[np.bool_] | slice = slice(None)
        if file is not None:
            weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self._events

    @property
    def size(self) -> int:
        """Size of the events [byte]."""
        return self._events * self._rows.itemsize

    def add(self, chunk: Sample) -> None:
        """Take some more events."""
        stop = self._events + len(chunk)
        rows = self._rows[self._events : stop] if self._file is None else np.empty(len(chunk), self._rows.dtype)
        for name in rows.dtype.names or ():
            rows[name] = getattr(chunk, name)
        if self._file is not None:
            self._file.write(rows.tobytes())
        self._events = stop

    def shorten(self, events: int) -> None:
        """Forget all but the first events."""
        self._events = events
        if self._file is not None:
            self._file.truncate(self.size)
            self._file.seek(0, os.SEEK_END)

    def parts(self) -> Iterator[tuple[slice, Sample]]:
        """Yield all events, some at a time: they may be more than fit into memory."""
        for start in range(0, len(self), PART):
            rows = slice(start, min(start + PART, len(self)))
            if self._file is None:
                part = self._rows[rows]
            else:
                self._file.seek(start * self._rows.itemsize)
                part = np.fromfile(self._file, self._rows.dtype, rows.stop - start)
            features, *others = (part[name] for name in part.dtype.names or ())
            yield rows, Sample(np.ascontiguousarray(features[:, self._columns]), *map(np.ascontiguousarray, others))

    def narrow(self, columns: NDArray[np.bool_]) -> None:
        """Leave columns of the features out from now on, but for these; shape [columns]."""
        self._columns = columns

    def save(self, path: Path) -> None:
        """Copy a temporary file for a training that goes on later; if there is no room, that will read again."""
        if self._file is None or not self.description:
            return
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as copy:
                self._file.seek(0)
                shutil.copyfileobj(self._file, copy, _COPY_SIZE)
                checksum = _checksum(self._file, self.size)
                ending = canonical_json({**self.description, "events": len(self), "checksum": checksum}).encode()
                copy.write(ending + len(ending).to_bytes(_LENGTH, "little"))
        except OSError as error:
            logger.warning("%s: the events are not kept, and will be read again: %s", path, error.strerror or error)


def _saved(path: Path, identity: str) -> tuple[Kept, Mapping[str, Any]] | None:
    """Return events that were saved, and their description; nothing if they are others, or damaged."""
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            end = file.seek(-_LENGTH, os.SEEK_END)
            end -= int.from_bytes(file.read(), "little")
            file.seek(end)
            description = json.loads(file.read()[:-_LENGTH])
            kept = Kept(description["columns"], file=file, events=description["events"])
            if description["identity"] != identity or kept.size != end:
                return None
            if _checksum(file, end) != description["checksum"]:
                logger.warning("%s is damaged, and the events are read again", path)
                return None
            stack.pop_all()
            return kept, description
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(file: IO[bytes], size: int) -> str:
    """Return the checksum of the first bytes of a file."""
    digest = xxhash.xxh3_128()
    file.seek(0)
    for start in range(0, size, _COPY_SIZE):
        digest.update(file.read(min(_COPY_SIZE, size - start)))
    return digest.hexdigest()


@dataclass(frozen=True)
class Data:
    """Events of a training."""

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


def load(
    sources: Sequence[Source],
    recipe: Recipe,
    run: Run,
    *,
    skip_bad_files: bool = False,
    saved: Path | None = None,
) -> Data:
    """Read all events of files, and keep them.

    Args:
        sources: The files.
        recipe: What to read from them.
        run: Its processes all read everything, and each keeps its share.
        skip_bad_files: Whether to go on without a file that cannot be read.
        saved: Where the same events may lie that do not fit into memory.

    Raises:
        InputError: If a file cannot be used, or no event is left.
        OutputError: If events do not fit into memory, and there is no place for them on the disk.
    """
    processes = run.processes
    dataset = Dataset(sources, recipe, run, skip_bad_files=skip_bad_files)
    names = ", ".join(record.path for record in dataset.files)
    if not dataset.events:
        raise InputError(f"{names}: no events")
    columns = len(recipe.features.columns)
    most = len(processes.own(dataset.events))
    size = most * 4 * (2 * columns + 12)  # features and what the network sees of them, both with a few numbers beside
    tally = dataset.tally
    if size <= run.memory:
        kept = Kept(columns, most)
        counts = _read(dataset, run, kept)
    else:
        identity = fingerprint([_identity(dataset), processes.rank, processes.size])
        if saved is not None and (same := _saved(saved, identity)):
            kept, described = same
            counts, tally = described["counts"], Tally(**described["tally"])
            logger.info("%d events are taken from %s", len(kept), saved)
        else:
            kept, counts = _spill(dataset, run, size, identity)
    for sentence in tally.selection(recipe.cut.text if recipe.cut else ""):
        logger.info("%s", sentence)
    for sentence in tally.losses():
        logger.warning("%s", sentence)
    used = [(record, count) for record, count in zip(dataset.files, counts, strict=True) if count is not None]
    if len(set(processes.gather(fingerprint([used, asdict(tally)])))) > 1:
        raise InputError("the processes have not read the same events: do all see the same files?")
    if (left := sum(count for _, count in used)) < processes.size:
        few = f"{left} events are too few for {processes.size} processes" if left else "no event is left"
        raise InputError(f"{names}: {few}")
    recipe, side = _sides(recipe, kept, used, processes)
    return Data(kept, side, recipe, tuple(record for record, _ in used), tally, processes)


def _read(dataset: Dataset, run: Run, kept: Kept) -> list[int | None]:
    """Read files one after the other; return how many events were kept of each, ``None`` if it could not be read."""
    processes = run.processes
    run.progress.start("reading", dataset.events, "events")
    counts: list[int | None] = [None] * len(dataset)
    seen = 0  # events of all processes
    for number in range(len(dataset)):
        before = seen
        with dataset.reading(number) as file:
            for chunk in file.chunks():
                kept.add(chunk.sample[(processes.rank - seen) % processes.size :: processes.size])
                seen += len(chunk)
            counts[number] = seen - before
        if counts[number] is None:
            seen = before
            kept.shorten(len(processes.own(seen)))
    run.progress.finish()
    return counts


def _spill(dataset: Dataset, run: Run, size: int, identity: str) -> tuple[Kept, list[int | None]]:
    """Read files into a temporary one."""
    columns = len(dataset.recipe.features.columns)
    logger.info(
        "%s do not fit into %s of memory: they are kept in %s", format_size(size), format_size(run.memory), run.folder
    )
    with writing(run.folder), ExitStack() as stack:
        file = stack.enter_context(scratch(run.folder))
        if (free := shutil.disk_usage(run.folder).free) < size:
            raise OutputError(
                f"{run.folder}: {format_size(size)} are needed for what does not fit into memory, and "
                f"{format_size(free)} are free: name another folder with --cache, or allow more memory with --memory"
            )
        kept = Kept(columns, file=file)
        counts = _read(dataset, run, kept)
        file.flush()
        stack.pop_all()
        kept.description = {"identity": identity, "columns": columns, "counts": counts, "tally": asdict(dataset.tally)}
        return kept, counts


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what went wrong with a folder for events inside the block.

    Raises:
        OutputError: Instead of an error of the system.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: events cannot be kept there: {error.strerror or error}") from error


def scratch(folder: Path) -> IO[bytes]:
    """Return a new file that vanishes when it is closed, or when the program ends in whatever way."""
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


def _identity(dataset: Dataset) -> Any:
    """Return all that decides which events are read."""
    recipe, files = dataset.recipe, zip(dataset.sources, dataset.files, strict=True)
    return [
        _SCHEMA,
        [(asdict(record) | {"path": ""}, stamp(source)) for source, record in files],
        to_document(replace(recipe, split=Split(), left_out={})),
        dataset.tally.files,
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
        sides = side[processes.places(rows)]
        edges = np.unique(np.clip([rows.start, *own, rows.stop], rows.start, rows.stop))
        for start, stop in pairwise(edges.tolist()):
            file = int(np.searchsorted(own, start, side="right"))
            chosen = slice(start - rows.start, stop - rows.start)
            sides[chosen] = recipe.sides(identities[file], part[chosen])
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
