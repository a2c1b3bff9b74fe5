"""The region of the training data, feature by feature."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from calomlp.documents import from_document
from calomlp.model.envelope import Envelope, feature_ranges

NAMES = ["uniform", "constant", "count"]


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.column_stack([rng.random(250_000), np.full(250_000, 3.0), rng.poisson(4.0, 250_000)]).astype(np.float32)


def test_quantiles_of_each_column(features: np.ndarray) -> None:
    uniform, constant, count = feature_ranges(NAMES, features)
    assert (uniform.low, uniform.median, uniform.high) == pytest.approx((0.001, 0.5, 0.999), abs=0.005)
    assert (constant.name, constant.low, constant.median, constant.high) == ("constant", 3.0, 3.0, 3.0)
    assert (count.low, count.median, count.high) == (0.0, 4.0, 11.0)


def test_events_outside_are_counted_in_each_column(features: np.ndarray) -> None:
    envelope = Envelope(1.0, 2.0, 1, 1, 1, feature_ranges(NAMES, features))
    assert envelope.outside(features) / len(features) == pytest.approx([0.002, 0.0, 0.001], abs=0.0003)
    strange = np.array([[0.5, 3.0, 4.0], [-1.0, 3.0, 50.0], [0.5, 3.1, 4.0], [2.0, 2.9, 4.0]], dtype=np.float32)
    assert envelope.outside(strange).tolist() == [2, 2, 1]


def test_a_thousand_columns_make_no_large_file() -> None:
    features = np.random.default_rng(1).random((500, 1000), dtype=np.float32)
    ranges = feature_ranges([f"hit_energy[{i}]" for i in range(1000)], features)
    text = json.dumps(asdict(Envelope(1.0, 2.0, 1, 1, 1, ranges)))
    assert len(text) < 200_000
    assert from_document(Envelope, json.loads(text)).features == ranges
