"""The rate of `calomlp predict`, beside reading with uproot, the network and writing with uproot; and its memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.compute import threads
from calomlp.data.sources import Source
from calomlp.model.file import Model, write_model
from calomlp.prediction.energies import PredictionTask, predict
from calomlp.run import Run
from calomlp.streams import Streams
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks.commands import run
from tests.benchmarks.showers import ELECTRONS, Beam
from tests.conftest import fitted, linear_showers

pytestmark = pytest.mark.benchmark

EVENTS, ROUNDS, RATIO = 2_000_000, 5, 0.8
MANY, MEMORY = 50_000_000, 1.0  # GB, with the 0.4 that the imports take
COLUMN = "layer_energy"


def model_of(beam: Beam, folder: Path) -> Model:
    return fitted(beam.simulated(folder, 50_000, 1), TrainingSettings(features=(COLUMN,), epochs=3))


def bare(model: Model, data: Path, output: Path) -> None:
    """Read the layers, ask the model in pieces that caches like, write what it says; without a look at anything."""
    types = {"calo_energy": "f4", "calo_anchor": "f4", "calo_in_domain": "?"}
    with uproot.recreate(output, compression=uproot.ZSTD(1)) as file, threads(1):
        tree = file.mktree("events", types)
        for chunk in uproot.iterate({data: "events"}, [COLUMN], library="np"):
            found = model.regressor.estimates(chunk[COLUMN])
            said = (found.regressor, found.anchor, found.in_domain)
            tree.extend({name: values.numpy() for name, values in zip(types, said, strict=True)})


def ours(model: Model, data: Path, output: Path) -> None:
    request = PredictionTask({"": model}, model.recipe)
    source = ELECTRONS.simulated(data.parent, EVENTS, 2)
    found = predict(request, {str(output): [source]}, Streams().artefact, Run())
    assert found.entries == EVENTS


def test_rate_beside_the_bare_chain(events_folder: Path, tmp_path: Path) -> None:
    model = model_of(ELECTRONS, events_folder)
    data = Path(ELECTRONS.simulated(events_folder, EVENTS, 2).path)
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(ROUNDS):
        for name, work in (("bare", bare), ("ours", ours)):
            start = time.perf_counter()
            work(model, data, tmp_path / f"{name}.root")
            seconds[name].append(time.perf_counter() - start)
    ratios = [one / other for one, other in zip(seconds["bare"], seconds["ours"], strict=True)]
    rates = {name: EVENTS / min(values) / 1e6 for name, values in seconds.items()}
    print(f"\nMevents/s: {rates['bare']:.2f} bare, {rates['ours']:.2f} calomlp; ratios {np.round(ratios, 2)}", end="")
    with uproot.open(tmp_path / "bare.root") as one, uproot.open(tmp_path / "ours.root") as other:
        expected, found = (file["events"]["calo_energy"].array(library="np") for file in (one, other))
    assert found == pytest.approx(expected, rel=1e-5)
    assert rates["ours"] > RATIO * rates["bare"]  # of the best times, as others may use the machine


def showers(path: Path, events: int) -> Source:
    """Write showers of six layers, the same million again and again."""
    million = linear_showers(1_000_000)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("events", {name: np.dtype((each.dtype, each.shape[1:])) for name, each in million.items()})
        for start in range(0, events, len(million["true_energy"])):
            tree.extend({name: each[: events - start] for name, each in million.items()})
    return Source(str(path), None, path.name)


def test_fifty_million_events_in_bounded_memory(tmp_path: Path) -> None:
    model = fitted(showers(tmp_path / "few.root", 5000), TrainingSettings(epochs=2, ensemble=1))
    write_model(tmp_path / "m.safetensors", model)
    showers(tmp_path / "many.root", MANY)
    used = run(tmp_path, "predict", "m.safetensors", "many.root", "-o", "e.root", "-q")
    peak = used.memory / 1e9
    print(f"\n{MANY / 1e6:.0f} million events in {used.seconds:.0f} s of the processor, {peak:.2f} GB at most", end="")
    with uproot.open(tmp_path / "e.root") as file:
        assert file["events"].num_entries == MANY
    assert peak < MEMORY
