"""Where events are kept while a model is trained: in memory if they fit, else in files that are mapped into it.

What was read from ROOT files is kept in a cache and used again by any training that reads the same from the same files.
Each entry is a folder with one raw file for each array and a manifest with their checksums. It is written under a
temporary name and renamed when it is complete, so that a crash leaves nothing that could be taken for an entry, and of
two jobs that write the same, the first wins.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from calomlp.data.sample import Sample
from calomlp.errors import OutputError
from calomlp.provenance import canonical_json, fingerprint
from calomlp.units import format_size

logger = logging.getLogger(__name__)

PART = 65_536
"""Events that are looked at in one go."""

_TYPES = {"features": np.float32, "true_energy": np.float32, "weight": np.float32, "key": np.int64}
_MANIFEST = "manifest.json"
_COPY_SIZE = 1 << 24
_UNUSED_AFTER = 30 * 86400.0  # seconds


class Kept:
    """Events of all files, in the order in which they were read.

    Attributes:
        on_disk: Whether they are in mapped files.
    """

    def __init__(self, sample: Sample, files: tuple[mmap.mmap, ...] = ()) -> None:
        self.on_disk = bool(files)
        self._sample = sample
        self._files = files
        self._columns: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self._sample)

    def parts(self) -> Iterator[tuple[slice, Sample]]:
        """Yield all events, some at a time: they may be more than fit into memory."""
        for start in range(0, len(self), PART):
            rows = slice(start, min(start + PART, len(self)))
            part = self._sample[rows]
            yield rows, part if self._columns is None else replace(part, features=part.features[:, self._columns])
            for file in self._files:
                file.madvise(mmap.MADV_DONTNEED)  # gives back the memory that reading has filled

    def narrow(self, columns: NDArray[np.bool_]) -> None:
        """Leave columns of the features out from now on.

        Args:
            columns: Which to keep, shape [columns].
        """
        self._columns = columns


class InMemory:
    """Keeps events in memory.

    Args:
        events: How many there will be at most.
        columns: Columns of the feature matrix.
    """

    def __init__(self, events: int, columns: int) -> None:
        self.events = 0
        self._sample = Sample(
            *(np.empty((events, columns) if name == "features" else events, kind) for name, kind in _TYPES.items())
        )

    def add(self, chunk: Sample) -> None:
        """Keep some more events."""
        rows = slice(self.events, self.events + len(chunk))
        for name in _TYPES:
            getattr(self._sample, name)[rows] = getattr(chunk, name)
        self.events = rows.stop

    def shorten(self, events: int) -> None:
        """Forget all but the first events."""
        self.events = events

    def kept(self) -> Kept:
        """Return what was kept."""
        return Kept(self._sample[: self.events])


class OnDisk:
    """Writes events to a new entry of the cache."""

    def __init__(self, cache: Cache, columns: int) -> None:
        self.events = 0
        self._columns = columns
        self._cache = cache
        cache.make_room()
        self._folder = Path(tempfile.mkdtemp(prefix=".new-", dir=cache.folder))
        self._files = {name: (self._folder / name).open("wb") for name in _TYPES}

    def add(self, chunk: Sample) -> None:
        """Keep some more events."""
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(getattr(chunk, name), _TYPES[name]).data)
        self.events += len(chunk)

    def shorten(self, events: int) -> None:
        """Forget all but the first events."""
        self.events = events
        for name, file in self._files.items():
            file.truncate(events * np.dtype(_TYPES[name]).itemsize * (self._columns if name == "features" else 1))
            file.seek(0, os.SEEK_END)

    def keep(self, details: Mapping[str, Any]) -> None:
        """Make what was written an entry of the cache.

        Args:
            details: What else is to be remembered, as JSON can say it.
        """
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        manifest = {
            "events": self.events,
            "columns": self._columns,
            "checksums": {name: _checksum(self._folder / name) for name in _TYPES},
            "details": dict(details),
        }
        (self._folder / _MANIFEST).write_text(canonical_json(manifest), encoding="utf-8")
        try:
            self._folder.rename(self._cache.entry)
        except OSError:  # another job has made the same entry, or a damaged one lies there
            if self._cache.read() is None:
                shutil.rmtree(self._cache.entry, ignore_errors=True)
                self._folder.rename(self._cache.entry)
        self.discard()

    def discard(self) -> None:
        """Remove what was written and not kept."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Cache:
    """One entry of the cache of events.

    Attributes:
        folder: Where all entries lie.
        entry: Where this one lies, or will.

    Args:
        folder: Where all entries lie.
        identity: Everything that decides what is in this one.
    """

    def __init__(self, folder: Path, identity: Any) -> None:
        self.folder = folder
        self.entry = folder / fingerprint(identity)[:32]

    def read(self) -> tuple[Kept, dict[str, Any]] | None:
        """Return what is in the entry, and what else was remembered; nothing if it is not there or damaged."""
        try:
            manifest = json.loads((self.entry / _MANIFEST).read_text(encoding="utf-8"))
            if {name: _checksum(self.entry / name) for name in _TYPES} != manifest["checksums"]:
                logger.warning("%s is damaged and made anew", self.entry)
                return None
            files = {name: _map(self.entry / name) for name in _TYPES}
            arrays = {name: np.frombuffer(files[name], kind) for name, kind in _TYPES.items()}
            arrays["features"] = arrays["features"].reshape(manifest["events"], manifest["columns"])
            os.utime(self.entry / _MANIFEST)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Kept(Sample(**arrays), tuple(files.values())), manifest["details"]

    def make_room(self) -> None:
        """Make the folder, and remove entries that nobody has used for a month."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for entry in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another job has removed it first
                seen = entry / _MANIFEST if (entry / _MANIFEST).exists() else entry
                if time.time() - seen.stat().st_mtime > _UNUSED_AFTER:
                    shutil.rmtree(entry, ignore_errors=True)

    def check_space(self, size: int) -> None:
        """Refuse to begin what cannot be finished.

        Raises:
            OutputError: If the disk has not so many bytes left.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise OutputError(
                f"{self.folder}: {format_size(size)} are needed for what does not fit into memory, and "
                f"{format_size(free)} are free: name another folder with --cache, or allow more memory with --memory"
            )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what went wrong with a folder for events inside the block.

    Raises:
        OutputError: If something did.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: events cannot be kept there: {error.strerror or error}") from error


def scratch(folder: Path) -> IO[bytes]:
    """Return a new file that vanishes when it is closed, or when the program ends in whatever way."""
    return tempfile.TemporaryFile(dir=folder)


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_COPY_SIZE):
            digest.update(block)
    return digest.hexdigest()
