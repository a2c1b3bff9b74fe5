"""Missing and non-finite values: refused, left out or set to zero, and always counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.dataset import Data
from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.sample import Recipe, Split
from calomlp.data.sources import Source, Tally
from calomlp.errors import BadValueError, InputError
from tests.conftest import damage, linear_showers, read, together

Make = Callable[..., Source]
FEATURES = FeatureSet(Feature(text, energy=True) for text in ("e1", "sum(hit_energy)"))
RECIPE = Recipe(FEATURES, Expression.parse("true_energy"), Split())


def columns() -> dict[str, Any]:
    hits = ak.Array([[1.0, 2.0], [], [-999.0, 4.0], [np.nan, 1.0], [np.inf], [3.0]])
    e1 = np.array([1, -999, 3, 4, 5, np.nan], np.float32)
    return {"e1": e1, "hit_energy": hits, "true_energy": np.arange(1.0, 7)}


def treated(make_root: Make, **options: Any) -> tuple[Data, np.ndarray]:
    data = read([make_root(columns())], replace(RECIPE, **options))
    return data, together(data).features


def test_bad_values_are_refused_and_named(make_root: Make) -> None:
    message = (
        r"^data.root:events: feature 'e1' is not finite in 1 of events 0 to 5, first in event 5 \(nan\); "
        "--on-bad skip leaves such events out$"
    )
    with pytest.raises(BadValueError, match=message):
        treated(make_root)
    with pytest.raises(BadValueError, match=r"'e1' is not finite in 2 .* event 1"):
        treated(make_root, missing=(-999.0,))


def test_events_with_bad_values_are_left_out_and_counted(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data, features = treated(make_root, missing=(-999.0, -1000.0), on_bad="skip")
    assert features.tolist() == [[1.0, 3.0]]
    assert data.tally == Tally(events=6, bad={"e1": 2, "hit_energy": 3}, left_out=5, missing=2)
    assert "5 of 6 events have a bad value and are left out: hit_energy in 3, e1 in 2" in caplog.text


def test_bad_values_count_as_zero_in_the_branches(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data, features = treated(make_root, missing=(-999.0,), on_bad="zero")
    assert features.tolist() == [[1, 3], [0, 0], [3, 4], [4, 1], [5, 0], [0, 3]]
    assert data.tally == Tally(events=6, bad={"e1": 2, "hit_energy": 3}, replaced=5, missing=2, empty=1)
    assert "5 of 6 events have a bad value, which counts as zero: hit_energy in 3, e1 in 2" in caplog.text


def test_a_feature_that_is_not_finite_though_its_branches_are(make_root: Make) -> None:
    source = make_root({"e1": np.array([1.0, -1.0]), "true_energy": np.ones(2)})
    recipe = replace(RECIPE, features=FeatureSet([Feature("log(e1)", energy=True)]), on_bad="zero")
    data = read([source], recipe)
    assert together(data).features.tolist() == [[0.0], [0.0]]
    assert data.tally.bad == {"log(e1)": 1}


@pytest.mark.parametrize("on_bad", ["refuse", "zero"])
def test_a_bad_true_energy_is_never_replaced(make_root: Make, on_bad: str) -> None:
    broken = {**columns(), "true_energy": np.array([1.0, 2.0, -999.0, 4.0, 5.0, 6.0]), "e1": np.ones(6)}
    broken["hit_energy"] = ak.Array([[1.0]] * 6)
    with pytest.raises(BadValueError, match=r"true energy 'true_energy' is not finite and above .* event 2 \(-999\)"):
        read([make_root(broken)], replace(RECIPE, on_bad=on_bad))
    data = read([make_root(broken, name="other.root")], replace(RECIPE, on_bad="skip"))
    assert together(data).true_energy.tolist() == [1, 2, 4, 5, 6]
    assert data.tally.bad == {"true_energy": 1}


def test_a_weight_may_be_zero_and_not_negative(make_root: Make) -> None:
    showers = linear_showers(4)
    recipe = Recipe(FeatureSet([Feature("layer_energy", (6,), energy=True)]), RECIPE.target, Split())
    weighted = replace(recipe, weight=Expression.parse("w * 2"))
    good = make_root({**showers, "w": np.array([0, 1, 2, 3])})
    assert together(read([good], weighted)).weight.tolist() == [0, 2, 4, 6]
    bad = make_root({**showers, "w": np.array([0, 1, -2, 3])}, name="bad.root")
    with pytest.raises(BadValueError, match=r"weight 'w \* 2' is not finite and at least zero .* event 2 \(-4\)"):
        read([bad], weighted)


@pytest.fixture
def three_files(make_root: Make) -> list[Source]:
    """Three files, of which the second cannot be read to its end."""
    sources = [make_root(linear_showers(3000, seed=n), name=f"{n}.root") for n in (1, 2, 3)]
    damage(sources[1])
    return sources


LAYERS = Recipe(FeatureSet([Feature("layer_energy", (6,), energy=True)]), RECIPE.target, Split())


def test_a_file_that_cannot_be_read_is_left_out_and_named(
    three_files: list[Source], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 8000)  # some of the file is read before it fails
    with pytest.raises(InputError, match=r"^2.root"):
        read(three_files, LAYERS)
    with caplog.at_level(logging.WARNING):
        data = read(three_files, LAYERS, skip_bad_files=True)
    alone = read([three_files[0], three_files[2]], LAYERS)
    assert (together(data).features == together(alone).features).all()
    assert (data.side == alone.side).all()
    assert [record.path for record in data.files] == ["1.root", "3.root"]
    assert data.tally.events == 6000
    assert "2.root is left out: branch 'layer_energy' cannot be read after event " in caplog.text


def test_a_file_that_is_gone_or_lacks_a_branch_is_left_out(make_root: Make, tmp_path: Path) -> None:
    good = make_root(linear_showers(100), name="good.root")
    poor = make_root({"true_energy": np.ones(3)}, name="poor.root")
    gone = Source(str(tmp_path / "gone.root"), None, "gone.root")
    data = read([gone, good, poor], LAYERS, skip_bad_files=True)
    assert set(data.tally.files) == {"gone.root", "poor.root"}
    assert "'layer_energy' is not there" in data.tally.files["poor.root"]
    with pytest.raises(InputError, match="none of 2 files can be read"):
        read([gone, poor], LAYERS, skip_bad_files=True)


def test_bad_values_are_no_reason_to_leave_a_file_out(make_root: Make) -> None:
    showers = linear_showers(100)
    showers["layer_energy"][3] = np.nan
    with pytest.raises(BadValueError):
        read([make_root(showers)], LAYERS, skip_bad_files=True)
