"""What LIMITS.md beside the command line says: `python -m tests.benchmarks.limits > FILE`, in ten minutes.

Rates are slopes between two sizes of the same work, in time of the processor, so that neither imports nor other
programs count much.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

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
        least: Bytes of memory without any unit.
    """

    seconds: float
    memory: float
    least: float

    @classmethod
    def between(cls, few: Used, many: Used, small: float, large: float) -> Slope:
        """Return the slope between two sizes of the work."""
        memory = max(0.0, (many.memory - few.memory) / (large - small))
        return cls((many.seconds - few.seconds) / (large - small), memory, few.memory - memory * small)


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
        cache: Bytes of a row in the cache.
        asked: Bytes of a row that a training wants to have free on the disk: the cache, and its own table.
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
    cache: float
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
    cache = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()) / (SMALL + LARGE)
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
        cache,
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
    yield HEAD.format(machine=f"{os.cpu_count()} cores, torch {torch.__version__}")
    yield MEASURED
    rows: list[Sequence[str]] = []
    for beam, (slope, disk) in found.simulate.items():
        rows.append((f"simulate {beam}", f"{1e6 * slope.seconds:.1f}", f"{slope.memory:.1f}", f"{disk:.0f}"))
    work = {
        "train, one epoch, and all that is before it": (found.train, f"{found.cache:.0f} in the cache"),
        "each more epoch": (Slope(found.epoch, 0, 0), ""),
        "evaluate": (found.evaluate, ""),
        "predict": (found.predict, f"{found.energies:.1f}"),
    }
    for name, (slope, disk_of_row) in work.items():
        rows.append((name, f"{1e6 * slope.seconds:.2f}", f"{slope.memory:.1f}", disk_of_row))
    yield table(("each more event", "processor [us]", "memory [B]", "disk [B]"), rows)
    yield FILE.format(
        seconds=1e3 * found.file.seconds,
        memory=found.file.memory / 1e3,
        header=found.header,
        requests=found.requests,
        overhead=found.overhead / 1e3,
        sent=found.sent,
    )
    yield f"## {SHOWERS:.0e} simulated events".replace("e+0", "e")
    yield table(
        ("what", "core hours", "memory of a job [GB]", "disk [TB]"),
        [
            (beam, hours(slope.seconds * SHOWERS), f"{slope.least / GIGA:.2f}", f"{disk * SHOWERS / TERA:.2f}")
            for beam, (slope, disk) in found.simulate.items()
        ],
    )
    yield SIMULATED
    yield f"## {ROWS:.0e} rows".replace("e+", "e")
    yield table(
        ("what", "core hours", "memory [GB]", "disk [TB]", "network [TB]"),
        [
            (
                "train, one epoch",
                hours(found.train.seconds * ROWS),
                gigabytes(found.train, ROWS),
                f"{found.asked * ROWS / TERA:.2f}",
                f"{found.sent * ROWS / TERA:.2f}",
            ),
            ("each more epoch", hours(found.epoch * ROWS), "", "", ""),
            (
                "evaluate",
                hours(found.evaluate.seconds * ROWS),
                gigabytes(found.evaluate, ROWS),
                "",
                f"{found.sent * ROWS / TERA:.2f}",
            ),
            (
                "predict",
                hours(found.predict.seconds * ROWS),
                gigabytes(found.predict, ROWS),
                f"{found.energies * ROWS / TERA:.2f}",
                f"{found.sent * ROWS / TERA:.2f}",
            ),
        ],
    )
    yield LEARNED
    yield f"## {FILES:.0e} files".replace("e+0", "e")
    yield table(
        ("what", "core hours", "memory [GB]", "network [GB]", "requests"),
        [
            (
                "to open and check them",
                hours(found.file.seconds * FILES),
                gigabytes(found.file, FILES),
                f"{found.overhead * FILES / GIGA:.1f}",
                f"{found.requests * FILES:.1e}",
            )
        ],
    )
    yield OPENED.format(header=found.header * FILES / 1e6, most=HEADER / found.header)


def hours(seconds: float) -> str:
    return f"{seconds / HOUR:.2g}" if seconds < 10 * HOUR else f"{seconds / HOUR:.0f}"


def gigabytes(slope: Slope, units: float) -> str:
    return f"{(slope.least + slope.memory * units) / GIGA:.1f}"


HEAD = ""
MEASURED = ""
FILE = "{seconds} {memory} {header} {requests} {overhead} {sent}"
SIMULATED = LEARNED = ""
OPENED = "{header} {most}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.writelines(f"{part}\n\n" for part in sections(measured(Path(name))))
