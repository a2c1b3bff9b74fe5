from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calomlp.data.expressions import Expression
from calomlp.data.features import Feature, FeatureSet
from calomlp.data.rows import Layout, open_rows
from calomlp.data.sample import Recipe, Sample, Split
from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, InputError
from tests.conftest import linear_showers, read, together

Make = Callable[..., Source]
RECIPE = Recipe(FeatureSet([Feature("layer_energy", (6,), energy=True)]), Expression.parse("true_energy"), Split())


def loaded(sources: list[Source], recipe: Recipe = RECIPE) -> Sample:
    return together(read(sources, recipe))


def test_files_are_read_into_one_matrix(make_root: Make) -> None:
    parts = [linear_showers(n, seed=n) for n in (500, 700)]
    sample = loaded([make_root(part, name=f"{index}.root") for index, part in enumerate(parts)])
    assert (sample.features == np.concatenate([part["layer_energy"] for part in parts])).all()
    assert (sample.true_energy == np.concatenate([part["true_energy"] for part in parts])).all()


def test_an_event_is_on_the_same_side_however_it_is_read(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [make_root(linear_showers(3000, seed=n), name=f"{n}.root") for n in (1, 2)]
    whole = read(sources, RECIPE)
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 1)
    monkeypatch.setattr("calomlp.data.dataset.PART", 1234)  # no whole number of parts in a file
    assert (read(sources, RECIPE).side == whole.side).all()
    assert (read(sources[::-1], RECIPE).side == np.concatenate([whole.side[3000:], whole.side[:3000]])).all()


def test_a_group_stays_together_across_files(make_root: Make) -> None:
    runs = np.arange(1000) % 40
    sources = [make_root({**linear_showers(1000, seed=n), "run": runs}, name=f"{n}.root") for n in (1, 2)]
    side = read(sources, replace(RECIPE, split_by="run")).side
    for run in range(40):
        assert len(set(side[np.concatenate([runs, runs]) == run])) == 1
    assert len(set(side)) == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer_energy", np.nan, r"data.root:events: feature 'layer_energy\[0\]' is not finite in 1 .* event 7"),
        ("layer_energy", np.inf, "not finite"),
        ("true_energy", np.nan, "true energy 'true_energy' is not finite and above zero in 1 .* event 7"),
        ("true_energy", 0.0, "above zero"),
        ("true_energy", -999.0, r"\(-999\)"),
    ],
)
def test_values_that_cannot_be_used_are_named(make_root: Make, name: str, value: float, message: str) -> None:
    columns: dict[str, Any] = linear_showers(100)
    columns[name][7] = value
    with pytest.raises(InputError, match=message):
        loaded([make_root(columns)])


def test_a_file_that_the_model_does_not_fit(make_root: Make) -> None:
    message = "'layer_energy' is not there"
    source = make_root({"true_energy": np.ones(3)})
    with open_rows(source, Layout()) as rows, pytest.raises(ArtefactError, match=message):
        RECIPE.check(rows)


def test_files_without_events(make_root: Make) -> None:
    columns = {name: values[:0] for name, values in linear_showers(1).items()}
    with pytest.raises(InputError, match="no events"):
        loaded([make_root(columns)])


def test_a_cut_leaves_every_other_event_where_it_was(make_root: Make) -> None:
    source = make_root(linear_showers(3000, seed=1))
    whole = read([source], RECIPE)
    cut = read([source], replace(RECIPE, cut=Expression.parse("layer_energy[2] > 1")))
    passes = together(whole).features[:, 2] > 1
    assert 0 < np.count_nonzero(passes) < 3000
    assert (together(cut).features == together(whole).features[passes]).all()
    assert (cut.side == whole.side[passes]).all()


def test_what_a_cut_leaves_out_may_be_broken(make_root: Make) -> None:
    columns = linear_showers(100, seed=1)
    columns["layer_energy"][7] = np.nan
    recipe = replace(RECIPE, cut=Expression.parse("layer_energy[0] > -1e9"))
    assert len(loaded([make_root(columns)], recipe)) == 99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer_energy > 1", "not one condition"),
        ("layer_energy[0]", "not one condition"),
        ("true_energy < 0", "no event"),
    ],
)
def test_a_cut_that_is_none_or_leaves_nothing_is_refused(make_root: Make, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded([make_root(linear_showers(100, seed=1))], replace(RECIPE, cut=Expression.parse(text)))
