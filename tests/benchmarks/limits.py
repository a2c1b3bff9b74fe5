"""What LIMITS.md beside the command line says: `python -m tests.benchmarks.limits > FILE`, in ten minutes.

Rates are slopes between two sizes of the same work, in time of the processor, so that neither imports nor other
programs count much.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from calomlp.model.file import read_model
from tests.benchmarks.commands import Used, run
from tests.benchmarks.measure import table
from tests.benchmarks.showers import ELECTRONS, PION_HITS, PIONS, Beam
from tests.data.test_remote import Server

SHOWERS, ROWS, FILES = 1e9, 1e10, 1e5
HEADER = 1e8
"""Bytes that a reader of safetensors takes as a header."""

SMALL, LARGE, EPOCHS = 6_000_000, 20_000_000, 3
FEW, MANY, TINY = 500, 2000, 50  # files, and the events of each
QUIET = ("-q", "--force")
DISK = ("--batch-size", 1024, "--features", "layer_energy", "--cache", "cache", "--memory", "256MB")
HOUR, GIGA, TERA = 3600, 1e9, 1e12


@dataclass(frozen=True)
class Slope:
    """What each more unit of some work takes.

    Attributes:
        seconds: Of the processor.
        memory: Bytes.
        peak: Bytes of memory at the larger size.
    """

    seconds: float
    memory: float
    peak: float

    @classmethod
    def between(cls, few: Used, many: Used, small: float, large: float) -> Slope:
        """Return the slope between two sizes of the work."""
        more = large - small
        return cls((many.seconds - few.seconds) / more, max(0.0, many.memory - few.memory) / more, many.memory)


@dataclass(frozen=True)
class Found:
    """Everything that is measured.

    Attributes:
        simulate: For each more event, by the beam; and bytes of an event on disk.
        train: For each more row, with one epoch.
        epoch: Seconds for each row of one more epoch.
        evaluate: For each more row.
        predict: For each more row.
        energies: Bytes of the energies of a row on disk.
        kept: Bytes of a row in the temporary file of events.
        asked: Bytes of a row that a training wants to have free on the disk: for that file, and for its table.
        sent: Bytes of a row over a network.
        file: For each more file in an evaluation.
        header: Bytes of a file in the header of a model.
        requests: For a file over a network.
        overhead: Bytes of a file over a network beside its rows.
    """

    simulate: dict[str, tuple[Slope, float]]
    train: Slope
    epoch: float
    evaluate: Slope
    predict: Slope
    energies: float
    kept: float
    asked: float
    sent: float
    file: Slope
    header: float
    requests: float
    overhead: float


def measured(folder: Path) -> Found:
    """Measure."""
    small, large = (ELECTRONS.simulated(folder, events, 1).path for events in (SMALL, LARGE))

    def of_rows(*words: object) -> Slope:
        few, many = (run(folder, *words, path, *QUIET) for path in (small, large))
        return Slope.between(few, many, SMALL, LARGE)

    training = ("train", "-o", "m.safetensors", *DISK, "--epochs")
    train = of_rows(*training, 1)
    one, more = (run(folder, *training, epochs, large, *QUIET) for epochs in (1, EPOCHS))
    columns = read_model(str(folder / "m.safetensors"), "model").regressor.architecture.n_columns
    evaluate = of_rows("evaluate", "m.safetensors", "--all", "-o", "r.json")
    predict = of_rows("predict", "m.safetensors", "-o", "e.root")
    per_row, overhead, requests = over_a_network(folder)
    file, header = of_files(folder)
    return Found(
        {str(beam): simulating(folder, beam) for beam in (ELECTRONS, PIONS, PION_HITS)},
        train,
        (more.seconds - one.seconds) / (EPOCHS - 1) / LARGE,
        evaluate,
        predict,
        (folder / "e.root").stat().st_size / LARGE,
        4 * (columns + 4),
        4 * (2 * columns + 12),
        per_row,
        file,
        header,
        requests,
        overhead,
    )


def simulating(folder: Path, beam: Beam) -> tuple[Slope, float]:
    """Return what each more event takes, and its bytes on disk."""
    small, large = (20_000, 80_000) if beam.hits else (200_000, 800_000)
    words = ("simulate", beam.detector, "-p", beam.particle, "-E", f"{beam.low:g}:{beam.high:g}", "-o", "s.root")
    hits = ("--hits",) if beam.hits else ()
    few, many = (run(folder, *words, *hits, "-n", events, *QUIET) for events in (small, large))
    return Slope.between(few, many, small, large), (folder / "s.root").stat().st_size / large


def of_files(folder: Path) -> tuple[Slope, float]:
    """Return what each more file takes, and its bytes in the header of the model."""
    names = [ELECTRONS.simulated(folder, TINY, 1000 + number).path for number in range(MANY)]
    used, headers = [], []
    for number in (FEW, MANY):
        (folder / "files.txt").write_text("\n".join(names[:number]))
        run(folder, "train", "@files.txt", "--epochs", 1, "--ensemble", 1, "-o", "f.safetensors", *QUIET)
        headers.append(int.from_bytes((folder / "f.safetensors").read_bytes()[:8], "little"))
        used.append(run(folder, "evaluate", "f.safetensors", "@files.txt", "--all", "-o", "f.json", *QUIET))
    return Slope.between(used[0], used[1], FEW, MANY), (headers[1] - headers[0]) / (MANY - FEW)


def over_a_network(folder: Path) -> tuple[float, float, float]:
    """Return the bytes that an evaluation is sent for each row, those for each file beside, and the requests."""
    sent, requests = [], []
    sizes = (TINY, 200_000)
    for events in sizes:
        server = Server(Path(ELECTRONS.simulated(folder, events, 1).path).read_bytes())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run(folder, "evaluate", "m.safetensors", server.url(), "--all", "-o", "r.json", *QUIET)
        server.shutdown()
        sent.append(server.sent)
        requests.append(len(server.paths))
    per_row = (sent[1] - sent[0]) / (sizes[1] - sizes[0])
    return per_row, sent[0] - per_row * sizes[0], requests[0]


def sections(found: Found) -> Iterator[str]:
    """Yield the parts of LIMITS.md."""
    yield HEAD.format(machine=f"{os.cpu_count()} cores of {processor()}")
    work = {
        **{f"`simulate` {beam}": (slope, f"{disk:.0f}") for beam, (slope, disk) in found.simulate.items()},
        "`train`, one epoch and all around it": (found.train, f"{found.asked:.0f}"),
        "each more epoch": (Slope(found.epoch, 0, found.train.peak), ""),
        "`evaluate`": (found.evaluate, ""),
        "`predict`": (found.predict, f"{found.energies:.1f}"),
    }
    yield table(
        ("an event more", "processor [us]", "peak of the memory [GB]", "disk [B]"),
        [(name, f"{1e6 * one.seconds:.2f}", f"{one.peak / GIGA:.2f}", disk) for name, (one, disk) in work.items()],
    )
    yield EVENT.format(kept=found.kept, sent=found.sent)
    yield "## 10⁹ simulated showers"
    yield table(
        ("", "core hours", "memory of a process [GB]", "disk [TB]"),
        [
            (beam, hours(one.seconds * SHOWERS), f"{one.peak / GIGA:.2f}", f"{disk * SHOWERS / TERA:.2f}")
            for beam, (one, disk) in found.simulate.items()
        ],
    )
    yield SIMULATED
    yield "## 10¹⁰ rows"
    network = f"{found.sent * ROWS / TERA:.1f}"
    yield table(
        ("", "core hours", "memory [GB]", "disk [TB]", "network [TB]"),
        [
            (
                "`train`, one epoch",
                hours(found.train.seconds * ROWS),
                f"{(found.train.peak + found.train.memory * ROWS) / GIGA:.0f}",
                f"{found.asked * ROWS / TERA:.1f}",
                network,
            ),
            ("each more epoch", hours(found.epoch * ROWS), "", "", ""),
            ("`evaluate`", hours(found.evaluate.seconds * ROWS), f"{found.evaluate.peak / GIGA:.1f}", "", network),
            (
                "`predict`",
                hours(found.predict.seconds * ROWS),
                f"{found.predict.peak / GIGA:.1f}",
                f"{found.energies * ROWS / TERA:.2f}",
                network,
            ),
        ],
    )
    reading = found.train.seconds - found.epoch
    yield LEARNED.format(reading=hours(reading * ROWS), asked=found.asked * ROWS / TERA, kept=found.train.memory)
    yield "## 10⁵ files"
    yield table(
        ("", "core hours", "memory [GB]", "network [GB]", "requests"),
        [
            (
                "`evaluate`, opening them",
                hours(found.file.seconds * FILES),
                f"{(found.file.peak + found.file.memory * FILES) / GIGA:.1f}",
                f"{found.overhead * FILES / GIGA:.1f}",
                f"{found.requests * FILES / 1e6:.1f} million",
            )
        ],
    )
    yield OPENED.format(
        opening=1e3 * found.file.seconds,
        requests=found.requests,
        latency=hours(0.03 * found.requests * FILES),
        header=found.header * FILES / 1e6,
        most=HEADER / found.header / 1e6,
    )


def hours(seconds: float) -> str:
    return f"{seconds / HOUR:.2g}" if seconds < 10 * HOUR else f"{seconds / HOUR:.0f}"


def processor() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor")


HEAD = """# Limits, on paper

What very large work would take, from rates that were measured at a size that fits a small machine, {machine}.
They are differences of two sizes of the same work, in time of the processor, so that imports do not count; other
machines differ by a factor. Made by `python -m tests.benchmarks.limits`.

## Measured

Electrons in `siw-ecal` (30 layers), where nothing else is said; training with the default network, one thread, and
memory for a part of the events only."""

EVENT = """A row on disk is, in a training, that of the events, {kept:.0f} bytes, and that of the table, both in
temporary files; in `predict`, the energies. Over a network, {sent:.0f} bytes of a row are sent: the
branches that are read, as they are compressed."""

SIMULATED = """Nothing breaks: a shard is a job of its own, which holds a few blocks of events. What has to be bought is
the disk; hits are those above a threshold only."""

LEARNED = """A large training has five epochs; all but the first look at its own table only. What breaks first:

1. **The disk**, {asked:.1f} TB for events and table, and a fast one. `train` asks for it before it begins. Processes on
   several machines have a share each.
2. **Reading**, {reading} hours: each process of a training reads all files and keeps its share, so that this does not
   become faster with more of them, as the epochs do. A training that was stopped does not read again.
3. **Memory**: each process keeps {kept:.1f} bytes of every event, such as its side of the split.

`evaluate` and `predict` keep nothing of an event (`pytest -m benchmark tests/benchmarks/test_evaluation.py
tests/benchmarks/test_predict.py` give them a hundred million and fifty million); arrays share their files.

Whether so many rows are worth it, `--learning-curve` says on a part of the files."""

OPENED = """A good part of the {opening:.0f} ms is what uproot takes to read the description of a tree, twice, because
every file is looked at before long work begins. What breaks first:

1. **Latency**: {requests:.0f} requests for each file, which take {latency} hours if each is answered after 30 ms. Merge
   small files, or let an array share them.
2. **The header of the model**, which names every training file: {header:.0f} of the 100 MB that readers of safetensors
   accept, which are full at {most:.1g} million files.
3. The command line of a shell, long before: name files by a quoted pattern, or in `@list.txt`."""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write("\n\n".join(sections(measured(Path(name)))) + "\n")
