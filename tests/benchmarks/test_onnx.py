"""How far exported models deviate from the model: a million events, every preset, every activation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from calomlp.model.network import ACTIVATIONS
from calomlp.simulation import PRESETS
from calomlp.training.training_settings import REGRESS, TrainingSettings
from tests.benchmarks.showers import Beam
from tests.conftest import fitted

pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
pytestmark = pytest.mark.benchmark

EVENTS, TRAINED = 1_000_000, 100_000
PIONS = ("ahcal", "combined")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def deviations(folder: Path, beam: Beam, **settings: Any) -> dict[str, float]:
    """Train on a sample, and return the largest deviations on an independent one."""
    from calomlp.model.export import build, deviations, read_features

    model = fitted(beam.simulated(folder, TRAINED, 1), TrainingSettings(**settings))
    events = read_features(model, [beam.simulated(folder, EVENTS, 2)], EVENTS)
    assert len(events) == EVENTS
    return deviations(model.regressor, build(model.regressor).SerializeToString(), events)


def check(what: str, found: dict[str, float]) -> None:
    print(f"\n{what:28s}", " ".join(f"{name} {value:.1e}" for name, value in found.items()), end="", flush=True)
    assert max(found["calo_energy"], found["calo_anchor"]) < 1e-5
    assert max(found.values()) < 1e-4


@pytest.mark.parametrize("preset", PRESETS)
def test_the_default_model_of_every_preset(folder: Path, preset: str) -> None:
    beam = Beam(preset, "pi-", 4) if preset in PIONS else Beam(preset)
    check(preset, deviations(folder, beam))


CHANGES = [
    *(SimpleNamespace(activation=name, epochs=3) for name in ACTIVATIONS),
    *(SimpleNamespace(regress=name, epochs=3) for name in REGRESS if name != "ratio"),
    *(SimpleNamespace(loss=name, ensemble=4, epochs=3) for name in ("gaussian-nll", "quantiles")),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(map(str, vars(change).values())))
def test_every_activation_target_and_head(folder: Path, change: SimpleNamespace) -> None:
    check(" ".join(map(str, vars(change).values())), deviations(folder, Beam("siw-ecal"), **vars(change)))
