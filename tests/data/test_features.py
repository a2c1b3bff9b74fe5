from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.choice import Wanted, choose, is_energy
from calomlp.data.expressions import _FUNCTIONS, Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sources import Source
from calomlp.errors import InputError, UsageError

Make = Callable[..., Source]
TARGET = Expression.parse("beam")
COLUMNS = {
    "event_id": np.arange(3),
    "beam": np.array([1.0, 2.0, 3.0]),
    "true_vertex": np.arange(3.0),
    "mcEnergy": np.arange(3.0),
    "layer_energy": np.arange(6.0).reshape(3, 2),
    "depth": np.arange(3.0),
    "hit_e": ak.Array([[1.0], [], [2.0, 3.0]]),
}


def chosen(make_root: Make, columns: dict[str, Any] = COLUMNS, **options: Any) -> FeatureSet:
    with open_rows(make_root(columns), Layout()) as table:
        return choose(table, TARGET, Wanted(**options))[0]


def test_without_a_wish_the_readout_is_taken_and_all_else_is_named(
    make_root: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        features = chosen(make_root, COLUMNS | {"voltage": np.arange(3.0)})
    expressions = ["layer_energy", "sum(hit_e)", "count(hit_e)", "depth"]
    assert [feature.expression for feature in features] == expressions
    for sentence in (
        "left out, the target: beam",
        "left out, looks like truth: true_vertex, mcEnergy",
        "left out, counts or labels events, or what is in them: event_id",
        "left out, not recognised as a readout: voltage",
    ):
        assert sentence in caplog.text


def test_what_is_added_and_taken_away(make_root: Make) -> None:
    features = chosen(make_root, also=("log1p(depth)", "true_vertex"), exclude=("hit_*", "dep?h"))
    assert [feature.expression for feature in features] == ["layer_energy", "log1p(depth)", "true_vertex"]
    features = chosen(make_root, features=("layer_energy",), also=("sum(hit_e)",))
    assert [(feature.expression, feature.energy) for feature in features] == [
        ("layer_energy", True),
        ("sum(hit_e)", True),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ("hits",)}, "--exclude 'hits' is no branch: did you mean 'hit_e'"),
        ({"exclude": ("hit_e",), "features": ("depth",)}, "--exclude and --mip go with the automatic choice"),
        ({"mip": 1.0, "features": ("depth",)}, "leave --features out"),
    ],
)
def test_what_says_nothing_is_refused(make_root: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(make_root, **options)


def test_what_looks_like_an_energy_feeds_the_anchor(make_root: Make) -> None:
    features = chosen(make_root)
    energies = [features.columns[index] for index in features.energy_columns]
    assert energies == ["layer_energy[0]", "layer_energy[1]", "sum(hit_e)"]


@pytest.mark.parametrize(
    ("text", "energy"),
    [
        ("layer_energy", True),
        ("e_sum", True),
        ("sum(hit_e)", True),
        ("e1 + 0.5 * e2", True),
        ("hit_energy[0]", True),
        ("adc / 100", True),
        ("edep[2:5]", True),
        ("layers(hit_e, hit_layer, 30)", True),
        ("sum(layers(hit_e, hit_z, 30, 0, 90)[:5])", True),
        ("layers(hit_time, hit_layer, 30)", False),
        ("depth(layer_energy)", False),
        ("share(layer_energy[:5], layer_energy)", False),
        ("spectrum(hit_e, 1, 2)", False),
        ("count(hit_e)", False),
        ("max(hit_e)", False),
        ("e1 / e2", False),
        ("log(energy)", False),
        ("depth", False),
        ("theta", False),
        ("n_hits", False),
        ("hit_energy - pedestal", True),
        ("sum(hit_energy[hit_energy > 3 * noise])", True),
    ],
)
def test_energies_are_recognised_by_name_and_dimension(text: str, energy: bool) -> None:
    assert is_energy(text) is energy


def test_the_matrix_holds_the_columns_in_order() -> None:
    features = FeatureSet([Feature("layer_energy", (2,), energy=True), Feature("count(hit_e)")])
    assert features.columns == ["layer_energy[0]", "layer_energy[1]", "count(hit_e)"]
    matrix = features.matrix(COLUMNS)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0, 1, 1], [2, 3, 0], [4, 5, 2]]


def test_features_share_what_they_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["layers(hit_e, 0 * hit_e, 2)", "depth(layers(hit_e, 0 * hit_e, 2))", "sum(layers(hit_e, 0 * hit_e, 2))"]
    calls = []
    arity, layers = _FUNCTIONS["layers"]

    def counted(*values: Any) -> Any:
        calls.append(values)
        return layers(*values)

    monkeypatch.setitem(_FUNCTIONS, "layers", (arity, counted))
    features = FeatureSet(Feature(text, (2,) if number == 0 else ()) for number, text in enumerate(texts))
    assert features.matrix(COLUMNS).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [5, 0, 0, 5]]
    assert len(calls) == 1
    features.matrix(COLUMNS)
    assert len(calls) == 2  # nothing is kept for other events


def test_energies_can_be_named(make_root: Make) -> None:
    features = chosen(make_root, features=("depth", "layer_energy"), energies=("depth",))
    assert [feature.energy for feature in features] == [True, False]


def test_with_no_energy_in_sight_the_anchor_combines_everything(
    make_root: Make, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"beam": np.arange(3.0), "x": np.arange(3.0), "y": np.arange(3.0)}
    features = chosen(make_root, columns, features=("x", "y"))
    assert list(features.energy_columns) == [0, 1]
    assert "--energies" in caplog.text


def test_a_jagged_feature_is_refused_with_a_way_out(make_root: Make) -> None:
    with pytest.raises(InputError, match=r"max\(hit_e\)"):
        chosen(make_root, features=("hit_e",))


def test_the_target_is_no_feature(make_root: Make) -> None:
    with pytest.raises(UsageError, match="reads the target"):
        chosen(make_root, features=("beam * 2",))


def test_nothing_left_to_be_a_feature(make_root: Make) -> None:
    with pytest.raises(InputError, match="--features"):
        chosen(make_root, {"beam": np.arange(3.0), "event_id": np.arange(3)})


def test_another_shape_than_in_training_is_refused() -> None:
    features = FeatureSet([Feature("layer_energy", (30,), energy=True)])
    with pytest.raises(InputError, match=r"shape \(2,\).*made for \(30,\)"):
        features.matrix(COLUMNS)
