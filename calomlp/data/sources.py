"""Files by name: paths, globs, ``file.root:tree``, ``@list.txt``, URLs and ``-``; and the tally of what is left out."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from calomlp.errors import BadValueError, InputError, UsageError
from calomlp.streams import STDIN, Streams
from calomlp.units import listed, parse_quantity

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRET = re.compile(r"token|auth|sig|key|credential|password", re.IGNORECASE)
_ENERGY_PREFIX = re.compile(r"^(?P<energy>[0-9.]+(?:e[+-]?[0-9]+)? ?[kMGT]?eV)=(?P<name>.+)$")
_TREE_SUFFIX = re.compile(r"^(?P<path>.*\.root[^:/]*):(?P<tree>[^:]+)$")
_URL_TREES = (  # before the query, or at the end, where what follows a colon may also be half of a time of day
    re.compile(r"^(?P<path>[^/]+//[^/]*/.*\.root[^:/?]*):(?P<tree>[^:?]+)(?P<query>\?.*|)$"),
    re.compile(r"^(?P<path>[^/]+//[^/]*/.*\.root.*):(?P<tree>[a-z_][\w/.;-]*)(?P<query>)$", re.IGNORECASE),
)


@dataclass(frozen=True)
class Source:
    """One ROOT file to read, and the tree in it if one was named.

    Attributes:
        path: Path or URL.
        tree: Name of the tree, or ``None`` for the only suitable one.
        label: What messages call the file.
        true_energy: True energy of all its events [GeV], where it is known of the file and not of each event.
        friends: Trees with the same entries, whose branches go with those of this one.
    """

    path: str
    tree: str | None
    label: str
    true_energy: float | None = None
    friends: tuple[Source, ...] = ()

    def __str__(self) -> str:
        return f"{self.label}:{self.tree}" if self.tree else self.label


_DECIMAL_MARK = re.compile(r"(?<=\d)[p,_-](?=\d)")


@dataclass(frozen=True)
class FileRecord:
    """A file as a model or report remembers it.

    Attributes:
        path: Where it lay, ``<stdin>`` if it came through a pipe.
        tree: The tree that was read.
        identity: UUID and tree; the same wherever the file is copied.
        events: Number of events in it.
        true_energy: True energy of all its events [GeV], where it was given for the file.
        friends: Trees with the same entries that were read beside it, as ``file.root:tree``.
    """

    path: str
    tree: str
    identity: str
    events: int
    true_energy: float | None = None
    friends: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts that grow while files are read.

    Attributes:
        events: Events that were read.
        cut: Events that did not pass the cut.
        bad: Events with a value that is missing or not finite, by branch or feature; one event may have several.
        left_out: Events that were left out because of that.
        replaced: Events in which such a value was replaced by zero.
        missing: Values that stand for a missing one.
        empty: Events without any energy, among those that were used.
        files: Files that were left out because they cannot be read, and why.
    """

    events: int = 0
    cut: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    replaced: int = 0
    missing: int = 0
    empty: int = 0
    files: dict[str, str] = field(default_factory=dict)

    def count_bad(self, name: str, events: int) -> None:
        """Count events in which a branch or feature has a bad value."""
        if events:
            self.bad[name] = self.bad.get(name, 0) + events

    def skip(self, source: Source, error: InputError, *, allowed: bool) -> None:
        """Leave a file out that cannot be read.

        Args:
            source: The file.
            error: Why it cannot be read.
            allowed: Whether files may be left out.

        Raises:
            InputError: If not, or if the file can be read and only its values cannot be used.
        """
        if not allowed or isinstance(error, BadValueError):
            raise error
        self.files[source.label] = re.sub(rf"^{re.escape(source.label)}(:[^: ]+)?: ", "", str(error))

    def add(self, other: Tally) -> None:
        """Add the counts of some more events."""
        for name in ("events", "cut", "left_out", "replaced", "missing", "empty"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, number in other.bad.items():
            self.count_bad(name, number)
        self.files |= other.files

    def selection(self, cut: str = "") -> Iterator[str]:
        """Say what the user left out.

        Args:
            cut: The condition that events had to pass.
        """
        if self.cut:
            yield f"{self.cut} of {self.events} events do not pass the cut{f' {cut}' if cut else ''} and are left out"

    def losses(self) -> Iterator[str]:
        """Say what else was left out."""
        if self.left_out:
            yield f"{self.left_out} of {self.events} events have a bad value and are left out: {self.culprits()}"
        if self.replaced:
            yield f"{self.replaced} of {self.events} events have a bad value, which counts as zero: {self.culprits()}"
        for path, reason in self.files.items():
            yield f"{path} is left out: {reason}"

    def culprits(self) -> str:
        """Return what is bad, and in how many events."""
        by_number = sorted(self.bad.items(), key=lambda item: -item[1])
        return listed([f"{name} in {number}" for name, number in by_number])


def resolve(names: Iterable[str], streams: Streams, *, tree: str | None = None) -> list[Source]:
    """Turn what a user wrote into the files to read, in order and without repeats.

    Args:
        names: Paths, quoted globs, ``file.root:tree``, ``@list.txt`` (one name per line, ``#`` comments), URLs, ``-``;
            each may begin with the true energy of its events, ``10GeV=run7.root``.
        streams: Where ``-`` is read.
        tree: Tree for all the names that do not say one themselves.

    Raises:
        InputError: If a file does not exist or a glob matches nothing.
        UsageError: If a file is named with two energies.
    """
    sources: dict[tuple[str, str | None], Source] = {}
    for name in names:
        for source in _resolve_with_energy(name, streams, tree):
            known = sources.setdefault((source.path, source.tree), source)
            if known.true_energy != source.true_energy:
                raise UsageError(
                    f"{source.label}: is named with two energies, {known.true_energy} and {source.true_energy} GeV"
                )
    if not sources:
        raise InputError("no input file was named")
    return list(sources.values())


def befriend(sources: Sequence[Source], names: Sequence[str], streams: Streams) -> list[Source]:
    """Give every file its friends: trees with the same entries.

    Args:
        sources: The files.
        names: ``:tree`` is a tree of the same file; anything else stands for as many trees as there are files, in the
            same order.
        streams: Needed to resolve them.

    Raises:
        UsageError: If their number is another.
        InputError: If a file does not exist.
    """
    friends: list[tuple[Source, ...]] = [() for _ in sources]
    for name in names:
        named = [Source(source.path, name[1:], source.label) for source in sources]
        if not name.startswith(":"):
            named = resolve([name], streams)
        if len(named) != len(sources):
            raise UsageError(f"friend {name!r} stands for {len(named)} files, but there are {len(sources)} with data")
        friends = [(*known, friend) for known, friend in zip(friends, named, strict=True)]
    return [replace(source, friends=known) for source, known in zip(sources, friends, strict=True)]


def energies_from_names(sources: Sequence[Source], pattern: str) -> list[Source]:
    """Read the true energy of every file off its name, unless it is known already.

    Args:
        sources: The files.
        pattern: A regular expression, searched for in the name of the file, else in those of its folders. Its one group
            is the energy in GeV, or in the unit that the group is named after. Between two digits of it a ``p``, a
            comma, an underscore or a hyphen may stand for the decimal point.

    Raises:
        UsageError: If this is not such a pattern.
        InputError: If a name does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"pattern {pattern!r} is not a regular expression: {error}") from error
    if compiled.groups != 1:
        raise UsageError(f"pattern {pattern!r} has {compiled.groups} groups: one is wanted, such as '_([0-9.]+)GeV'")
    unit = next(iter(compiled.groupindex), "GeV")
    named = []
    for source in sources:
        if source.true_energy is not None:
            named.append(source)
            continue
        path = PurePath(source.label)
        match = compiled.search(path.name) or compiled.search(str(path.parent))
        if match is None:
            raise InputError(f"{source.label}: its name does not match {pattern!r}, so its true energy is unknown")
        text = f"{_DECIMAL_MARK.sub('.', match[1])} {unit}"
        energy = parse_quantity(text, "GeV", where=f"{source.label}: energy in the name")
        named.append(replace(source, true_energy=energy.value))
    return named


def _resolve_with_energy(name: str, streams: Streams, tree: str | None) -> list[Source]:
    match = _ENERGY_PREFIX.match(name)
    if match is None or Path(name).is_file():
        return _resolve_one(name, streams, tree)
    energy = parse_quantity(match["energy"], "GeV", where=f"energy of {match['name']}").value
    return [replace(source, true_energy=energy) for source in _resolve_one(match["name"], streams, tree)]


def _resolve_one(name: str, streams: Streams, tree: str | None) -> list[Source]:
    if name == "-":
        piped = streams.read_piped()
        if piped.spooled:
            return [Source(piped.paths[0], tree, STDIN)]
        return [source for path in piped.paths for source in _resolve_listed(path, streams, tree)]
    if name.startswith("@"):
        return [source for line in _lines(name[1:]) for source in _resolve_listed(line, streams, tree)]
    if is_url(name):
        match = next(filter(None, (pattern.match(name) for pattern in _URL_TREES)), None)
        path, tree = (match["path"] + match["query"], match["tree"]) if match else (name, tree)
        return [Source(path, tree, _without_secrets(path))]
    match = None if Path(name).is_file() else _TREE_SUFFIX.match(name)
    path, tree = (match["path"], match["tree"]) if match else (name, tree)
    if Path(path).is_file():
        return [Source(path, tree, path)]
    if glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - absolute patterns too
        if not matches:
            raise InputError(f"{path}: no file matches this pattern")
        return [Source(matched, tree, matched) for matched in matches]
    reason = "this is a folder: quote a pattern such as 'folder/*.root'" if Path(path).is_dir() else "no such file"
    raise InputError(f"{path}: {reason}")


def _resolve_listed(name: str, streams: Streams, tree: str | None) -> list[Source]:
    if name == "-" or name.startswith("@"):
        raise InputError(f"{name}: a list of files cannot name another list")
    return _resolve_with_energy(name, streams, tree)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read this list of files ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _without_secrets(url: str) -> str:
    """Return a URL without its query if that holds what nobody else should see, in a message or in a model."""
    address, _, query = url.partition("?")
    return address if _SECRET.search(query) else url


def is_url(path: str) -> bool:
    """Tell whether a path leads to another machine, or in any case through a protocol."""
    return _URL.match(path) is not None


def stamp(source: Source) -> tuple[int, int]:
    """Return size and time of change of a file on this machine."""
    try:
        state = Path(source.path).stat()
    except OSError:
        return -1, 0
    return state.st_size, state.st_mtime_ns
