"""The ONNX graph says what the regressor says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calomlp.errors import ArtefactError
from calomlp.model.anchor import Anchor
from calomlp.model.envelope import Envelope, feature_ranges
from calomlp.model.losses import HEADS
from calomlp.model.network import ACTIVATIONS, Architecture
from calomlp.model.regressor import Regressor
from calomlp.model.spread import Spread
from calomlp.training.training_settings import REGRESS
from tests.conftest import ROOT

onnx: Any = pytest.importorskip("onnx", reason="pip install '.[onnx]'")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")

EVENTS = 4000
CHANGES: list[dict[str, Any]] = [
    *({"activation": name} for name in ACTIVATIONS),
    *({"target": target, "head": head, "members": m} for target in REGRESS for head in HEADS for m in (1, 3)),
    {"shares": False},
    {"energy_columns": (1, 0)},
    {"energy_columns": (0, 1, 2, 3)},
    {"hidden": ()},
    {"closure": False},
    {"dropout": 0.3},
    *({"beams": True, "head": head, "members": m} for head in HEADS for m in (1, 3)),
]


def showers() -> tuple[torch.Tensor, torch.Tensor]:
    """Return features, two of them energies and one that never changes, and true energies."""
    generator = torch.Generator().manual_seed(1)
    energy = torch.exp(4.6 * torch.rand(EVENTS, generator=generator))
    noise = torch.randn(EVENTS, 3, generator=generator)
    layers = [0.3 * energy * (1 + 0.1 * noise[:, 0]), 0.2 * energy * (1 + 0.2 * noise[:, 1])]
    return torch.stack([*layers, noise[:, 2], torch.full_like(energy, 3.0)], dim=1), energy


def made(*, beams: bool = False, **changes: Any) -> Regressor:
    """Return a regressor whose network corrects by tens of percent, and by factors beyond the training."""
    architecture = replace(Architecture(4, (0, 1), (16, 8), "silu", 0.0, "ratio", closure=True), **changes)
    generator = torch.Generator().manual_seed(2)
    regressor = Regressor(architecture, generator)
    features, energy = showers()
    if beams:
        nearest = torch.tensor([3.0, 10.0, 30.0])[torch.arange(EVENTS) % 3]
        features[:, :2] *= (nearest / energy)[:, None]
        energy = nearest
    weights = np.array([1.0, 1.5, 0.1, 0.2])[: len(architecture.energy_columns)]
    regressor.calibrate(Anchor(1.3, weights, Spread(0.1, 0.05, 0.01)), features, energy)
    linear = architecture.activation == "identity" or not architecture.hidden  # grows beyond all bounds
    with torch.no_grad():
        for parameter in regressor.network.parameters():
            parameter.normal_(0, 0.03 if linear else 0.15, generator=generator)
    if regressor.closure is not None:
        response = 1 + 0.1 * np.log(energy.double().numpy())
        regressor.closure.fit(response, energy.double().numpy())
    regressor.train(mode=False)
    return regressor


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: " ".join(map(str, changes.values())))
def test_a_graph_says_what_the_regressor_says_inside_and_beyond_the_training(changes: dict[str, Any]) -> None:
    from calomlp.model.export import build, deviations, outputs, synthetic_features

    regressor = made(**changes)
    features = showers()[0].numpy()
    envelope = Envelope(1, 100, EVENTS, 0, 0, feature_ranges("abcd", features))
    beyond = synthetic_features(envelope, EVENTS)
    graph = build(regressor)
    found = deviations(regressor, graph.SerializeToString(), np.concatenate([features, beyond]))
    assert list(found) == list(outputs(regressor))
    assert max(found["calo_energy"], found["calo_anchor"]) < 1e-5
    assert max(found.values()) < 1e-4
    documented = set(re.findall(r"`(\w+)`", (ROOT / "calomlp/model/README.md").read_text().rpartition("```")[2]))
    assert {node.op_type for node in graph.graph.node} <= documented
    assert {item.domain for item in graph.opset_import} == {""}


def test_the_anchor_of_the_graph_is_the_weighted_sum() -> None:
    from calomlp.model.export import build

    session = onnxruntime.InferenceSession(build(made()).SerializeToString())
    anchor = session.run(["calo_anchor"], {"features": np.array([[2, 4, 0, 3], [-1, 0, 0, 3]], np.float32)})[0]
    assert anchor.tolist() == [8, -1]


def test_a_graph_of_another_regressor_is_found_out() -> None:
    from calomlp.model.export import build, deviations

    regressor = made()
    content = build(regressor).SerializeToString()
    regressor.anchor_weights[0] *= 1.001
    assert 3e-4 < deviations(regressor, content, showers()[0].numpy())["calo_anchor"] < 1e-3
    with torch.no_grad():
        regressor.network.biases[-1].fill_(torch.nan)
    assert deviations(regressor, content, showers()[0].numpy())["calo_energy"] == np.inf


def test_an_activation_without_a_form_in_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    from calomlp.model.export import build

    monkeypatch.setitem(ACTIVATIONS, "sine", torch.sin)
    with pytest.raises(ArtefactError, match="'sine' has no form in ONNX yet"):
        build(made(activation="sine"))


def test_drawn_events_are_inside_and_beyond_the_range_and_the_same_again() -> None:
    from calomlp.model.export import synthetic_features

    envelope = Envelope(1, 100, EVENTS, 0, 0, feature_ranges("abcd", showers()[0].numpy()))
    drawn = synthetic_features(envelope, 1000)
    assert (drawn == synthetic_features(envelope, 1000)).all()
    outside = envelope.outside(drawn[:500]), envelope.outside(drawn[500:])
    assert outside[0].sum() == 0
    assert (outside[1][:3] > 200).all()


def test_the_python_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from tests.cli.test_export import exported

    exported(tmp_path)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "calomlp/model/README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})
    names, energies = capsys.readouterr().out.splitlines()
    assert "layer_energy[29]" in names
    energy, anchor = (float(text.strip("[] ")) for text in re.findall(r"\[[^]]+\]", energies))
    assert energy == pytest.approx(anchor, rel=0.2)
