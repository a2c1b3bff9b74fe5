from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.sample import Recipe, Split
from calomlp.data.sources import FileRecord
from calomlp.errors import ArtefactError, InputError
from calomlp.model.envelope import Envelope, FeatureRange
from calomlp.model.file import Model, read_model, write_model
from calomlp.model.network import Architecture
from calomlp.model.regressor import Regressor

FEATURES = FeatureSet([Feature("layer_energy", (2,), energy=True), Feature("depth")])


@pytest.fixture
def model() -> Model:
    architecture = Architecture(3, (0, 1), (4,), "tanh", 0.0, "ratio")
    return Model(
        Regressor(architecture, torch.Generator().manual_seed(1)),
        Recipe(FEATURES, Expression.parse("true_energy"), Split(0.6, 0.2, 0.2, 5), "run"),
        (FileRecord("a.root", "events", "uuid:events", 10),),
        Envelope(1.0, 100.0, 6, 1, 2, (FeatureRange("depth", 0.1, 0.5, 2.0),)),
        ({"epoch": 1, "train_loss": 0.5},),
        {"best_epoch": 1},
        {"loss": "huber"},
        {"calomlp": "0"},
    )


def test_a_model_is_read_back_whole(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(path, model)
    found = read_model(str(path), "m")
    for name in ("files", "envelope", "history", "summary", "settings", "provenance"):
        assert getattr(found, name) == getattr(model, name), name
    assert list(found.recipe.features) == list(model.recipe.features)
    assert (found.recipe.target.text, found.recipe.split, found.recipe.split_by) == (
        "true_energy",
        Split(0.6, 0.2, 0.2, 5),
        "run",
    )
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(found.regressor(x), model.regressor.eval()(x))


def test_equal_models_make_equal_files(model: Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / name, model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_model(tmp_path / "c", replace(model, summary={"best_epoch": 2}))
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_everything_but_the_weights_is_one_json_document(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(path, model)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["calomlp"]
    assert json.loads(metadata["calomlp"])["schema"] == "calomlp.model/1"


@pytest.mark.parametrize("content", [b"", b"hello", b"root" + bytes(100)])
def test_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="not a model"):
        read_model(str(path), "m")


def test_models_of_others_and_of_another_schema(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(safetensors.torch.save({"x": torch.ones(1)}))
    with pytest.raises(ArtefactError, match="not a model"):
        read_model(str(path), "m")
    path.write_bytes(safetensors.torch.save({"x": torch.ones(1)}, {"calomlp": '{"schema": "calomlp.model/9"}'}))
    with pytest.raises(ArtefactError, match=r"schema 'calomlp.model/9'.*reads 'calomlp.model/1'"):
        read_model(str(path), "m")
    path.write_bytes(safetensors.torch.save({"x": torch.ones(1)}, {"calomlp": '{"schema": "calomlp.model/1"}'}))
    with pytest.raises(ArtefactError, match="damaged"):
        read_model(str(path), "m")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot open"):
        read_model(str(tmp_path / "nosuch"), "nosuch")
