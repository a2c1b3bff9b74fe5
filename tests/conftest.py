from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import uproot

from calomlp.data.dataset import Data, load
from calomlp.data.sample import Recipe, Sample
from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import Wishes, evaluate
from calomlp.evaluation.report import Report
from calomlp.evaluation.subjects import Subject, Trained
from calomlp.evaluation.summary import REGRESSOR
from calomlp.model.file import Model
from calomlp.processes import ALONE, Processes
from calomlp.run import Interrupt
from calomlp.run import Run as OneRun
from calomlp.training.checkpoint import Watch
from calomlp.training.settings import TrainingSettings
from calomlp.training.train import train

ROOT = Path(__file__).parents[1]
SAMPLE_DATA = ROOT / "sample_data"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def electrons() -> Path:
    return SAMPLE_DATA / "electrons.root"


@pytest.fixture(scope="session")
def pions() -> Path:
    return SAMPLE_DATA / "pions.root"


@pytest.fixture
def calomlp(tmp_path: Path) -> Run:
    """Run the command line in a fresh folder, as a shell would."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CALOMLP_")}
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            options.pop("stdin")
        return subprocess.run(
            [sys.executable, "-m", "calomlp", *map(str, arguments)],
            capture_output=True,
            cwd=options.pop("cwd", tmp_path),
            env=environment | options.pop("env", {}),
            timeout=120,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def make_root(tmp_path: Path) -> Callable[..., Source]:
    """Write a ROOT file with a tree and return it as a source."""

    def make(columns: Mapping[str, Any], tree: str = "events", name: str = "data.root") -> Source:
        path = tmp_path / name
        identity = uuid.uuid5(uuid.NAMESPACE_URL, name)  # decides the split, which is the same in every run then
        with uproot.recreate(path, uuid_function=lambda: identity) as file:
            file.mktree(tree, dict(columns))
        return Source(str(path), None, name)

    return make


class Room(NamedTuple):
    """Memory for events [byte], and the folder for those that do not fit."""

    memory: int
    folder: Path


ROOM = Room(1 << 30, Path("/nonexistent"))
"""Enough memory for any test, and no disk."""


def quietly(room: Room = ROOM, interrupt: Interrupt | None = None, processes: Processes = ALONE) -> OneRun:
    """A run without a word."""
    memory, folder = room
    return OneRun(interrupt=interrupt or Interrupt(), processes=processes, memory=memory, folder=folder)


def fitted(
    sources: Source | list[Source], settings: TrainingSettings, watch: Watch | None = None, room: Room = ROOM
) -> Model:
    """Train without a word."""
    sources = [sources] if isinstance(sources, Source) else sources
    watch = watch or Watch(Interrupt())
    return train(sources, settings, quietly(room, watch.interrupt), watch=watch)


def read(sources: list[Source], recipe: Recipe, *, room: Room = ROOM, skip_bad_files: bool = False) -> Data:
    """Read files without a word."""
    return load(sources, recipe, quietly(room), skip_bad_files=skip_bad_files)


def evaluated(model: Model, sources: list[Source], *subjects: Subject, **wishes: Any) -> Report:
    """Evaluate a model beside its baselines, and other subjects, without a word."""
    everything = (Trained(REGRESSOR, model), *subjects)
    return evaluate(everything, model.recipe, sources, Wishes(**wishes), quietly())


def together(data: Data) -> Sample:
    """Return all events that were read, in one piece."""
    parts = [part for _, part in data.events.parts()]
    names = ("features", "true_energy", "weight", "key")
    return Sample(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def damage(source: Source) -> None:
    """Overwrite a few bytes in the middle of a file."""
    path = Path(source.path)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(64)
    path.write_bytes(damaged)


def linear_showers(n_events: int, n_layers: int = 6, seed: int = 1) -> dict[str, np.ndarray]:
    """Showers whose layers share the energy evenly, each with a stochastic fluctuation of 10 %/sqrt(E)."""
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(0, np.log(100), n_events))
    share = energy[:, None] / n_layers
    layers = share + 0.1 * np.sqrt(share) * rng.standard_normal((n_events, n_layers))
    return {"true_energy": energy.astype(np.float32), "layer_energy": layers.astype(np.float32)}
