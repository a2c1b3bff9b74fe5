from __future__ import annotations

import io
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import uproot

from calomlp import cli
from calomlp.data.dataset import Data, load
from calomlp.data.sample import Recipe, Sample
from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import evaluate
from calomlp.evaluation.options import EvaluateSettings
from calomlp.evaluation.report import REGRESSOR, Report
from calomlp.evaluation.subjects import Subject, Trained
from calomlp.model.file import Model
from calomlp.processes import ALONE, Processes
from calomlp.run import Interrupt
from calomlp.run import Run as OneRun
from calomlp.training.checkpoint import Watch
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings

ROOT = Path(__file__).parents[1]
SAMPLE_DATA = ROOT / "sample_data"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a file to the same worker, which makes what they share once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests that run beside others are faster so."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def electrons() -> Path:
    return SAMPLE_DATA / "electrons.root"


@pytest.fixture(scope="session")
def pions() -> Path:
    return SAMPLE_DATA / "pions.root"


@pytest.fixture
def calomlp(tmp_path: Path) -> Run:
    """Run the command line in this process, in a fresh folder."""
    return partial(run_here, cwd=tmp_path)


@pytest.fixture
def calomlp_process(tmp_path: Path) -> Run:
    """Run the command line in a process of its own, in a fresh folder, where it is the process that is tested."""
    return partial(run_process, cwd=tmp_path)


def run_here(
    *arguments: str | Path | float,
    input: bytes = b"",  # noqa: A002 - as in subprocess.run
    env: Mapping[str, str] | None = None,
    cwd: Path,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in this process, with arguments, streams, a folder and an environment of its own."""
    words = ["calomlp", *map(str, arguments)]
    streams = {"stdin": io.BytesIO(input), "stdout": io.BytesIO(), "stderr": io.BytesIO()}
    with pytest.MonkeyPatch.context() as patch:
        for name in _options_in_environment():
            patch.delenv(name)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        for name, stream in streams.items():
            patch.setattr(sys, name, io.TextIOWrapper(stream, encoding="utf-8"))
        patch.setattr(sys, "argv", words)
        patch.chdir(cwd)
        code = cli.run(words[1:])
        for text in (sys.stdout, sys.stderr):
            text.flush()
        written = [streams[name].getvalue() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(words, code, *written)


def run_process(
    *arguments: str | Path | float,
    input: bytes = b"",  # noqa: A002 - as in subprocess.run
    env: Mapping[str, str] | None = None,
    cwd: Path,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a shell would."""
    known = {name: value for name, value in os.environ.items() if name not in _options_in_environment()}
    command = [sys.executable, "-m", "calomlp", *map(str, arguments)]
    environment = {**known, **(env or {})}
    return subprocess.run(command, input=input, env=environment, cwd=cwd, capture_output=True, timeout=120, check=False)


def _options_in_environment() -> list[str]:
    return [name for name in os.environ if name.startswith("CALOMLP_")]


@pytest.fixture
def make_root(tmp_path: Path) -> Callable[..., Source]:
    """Write a ROOT file with a tree and return it as a source."""

    return partial(written, tmp_path)


@pytest.fixture(scope="module")
def make_root_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Source]:
    """Write a ROOT file that all tests of a module share."""
    return partial(written, tmp_path_factory.mktemp("shared"))


@contextmanager
def replicas(number: int) -> Iterator[None]:
    """Take errors from so many bootstrap replicas, where they are not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calomlp.evaluation.estimators._REPLICAS", number)
        yield


@pytest.fixture(scope="module")
def few_replicas() -> Iterator[None]:
    """Take errors of a module from few bootstrap replicas."""
    with replicas(30):
        yield


def written(folder: Path, columns: Mapping[str, Any], tree: str = "events", name: str = "data.root") -> Source:
    """Write a ROOT file with a tree and return it as a source."""
    path = folder / name
    identity = uuid.uuid5(uuid.NAMESPACE_URL, name)  # decides the split, which is the same in every run then
    with uproot.recreate(path, uuid_function=lambda: identity) as file:
        file.mktree(tree, dict(columns))
    return Source(str(path), None, name)


class Room(NamedTuple):
    """Memory for events [byte], and the folder for those that do not fit."""

    memory: int
    folder: Path


def crossed(first: Sequence[Any], second: Sequence[Any], share: int, *, whole: Any = None) -> list[Any]:
    """Return all pairs of two parameters, of which one in so many is in the fast suite, and the others before landing.

    Args:
        share: At most the length of both, so that each value of both is in a fast pair.
        whole: A first parameter all of whose pairs are fast.
    """
    return [
        pytest.param(one, two, marks=() if one is whole or (i + j) % share == 0 else pytest.mark.landing)
        for i, one in enumerate(first)
        for j, two in enumerate(second)
    ]


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


def evaluated(model: Model, sources: list[Source], *subjects: Subject, **settings: Any) -> Report:
    """Evaluate a model beside its baselines, and other subjects, without a word."""
    everything = (Trained(REGRESSOR, model), *subjects)
    return evaluate(everything, model.recipe, sources, EvaluateSettings(**settings), quietly())


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
