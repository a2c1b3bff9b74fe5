from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.data.expressions import Expression
from calomlp.errors import UsageError

P = [[0.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [-3.0, 0.0, 4.0, -1.0]]
COLUMNS: dict[str, Any] = {
    "p": np.array(P),
    "e": ak.Array([[1.0, 3.0, -2.0], [], [0.5, 0.5]]),
    "layer": ak.Array([[0, 2, 2], [], [1, 0]]),
    "z": ak.Array([[10.0, 24.9, 20.0], [], [19.9, 15.0]]),
    "x": ak.Array([[0.0, 4.0, 9.0], [], [1.0, 1.0]]),
    "y": ak.Array([[0.0, 0.0, 9.0], [], [-1.0, 1.0]]),
    "fixed": np.array([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]]),
    "which": np.array([[0, 1], [0, 1], [1, 1]]),
}


def value(text: str, columns: dict[str, Any] = COLUMNS) -> Any:
    return np.asarray(Expression.parse(text)(columns)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers(e, layer, 3)", [[1, 0, 1], [0, 0, 0], [0.5, 0.5, 0]]),
        ("layers(e, z, 3, 10, 25)", [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ("layers(fixed, which, 2)", [[1, 3], [0, 0], [0, 4]]),
        ("depth(p)", [(2 + 2 + 3) / 4, 0, 2]),
        ("depth_rms(p)", [np.sqrt((2 * 0.75**2 + 0.25**2 + 1.25**2) / 4), 0, 0]),
        ("depth_skewness(p)", [0.49338, 0, 0]),
        ("depth(p, 0)", [0, 0, 0]),
        ("depth(p, 0.25)", [1.5, 0, 2.25]),
        ("depth(p, 0.5)", [2, 0, 2.5]),
        ("depth(p, 1)", [4, 0, 3]),
        ("shower_start(p, 2.5)", [0, 4, 0]),
        ("shower_start(p, 3)", [1, 4, 0]),
        ("share(p[:2], p)", [0.5, 0, 0]),
        ("share(max(e), e)", [0.75, 0, 0.5]),
        ("share(e[e > 1], e)", [0.75, 0, 0]),
        ("share(count(e), e)", [0.75, 0, 2]),
        ("share(2, e)", [0.5, 0, 2]),
        ("spectrum(e, 0.5, 2)", [[0, 0.25, 0.75], [0, 0, 0], [0, 1, 0]]),
        ("spectrum(fixed, 2.5)", [[0.25, 0.75], [0, 0], [1, 0]]),
        ("lateral_rms(e, x, y)", [np.sqrt((9 + 3) / 4), 0, 1]),
        ("radius(e, x, y, 0.7)", [1, 0, 1]),
        ("radius(e, x, y, 0.8)", [3, 0, 1]),
        ("radius(e, x, y, 1)", [3, 0, 1]),
    ],
)
def test_values(text: str, expected: list[Any]) -> None:
    assert np.array(value(text)) == pytest.approx(np.array(expected), abs=1e-4)


events = st.lists(
    st.lists(
        st.tuples(st.integers(-2, 9).map(lambda e: e / 2), st.integers(0, 4), st.integers(-3, 3), st.integers(-3, 3)),
        max_size=6,
    ),
    min_size=1,
    max_size=5,
)


def jagged(hits: list[list[tuple[float, ...]]]) -> dict[str, Any]:
    counts = [len(event) for event in hits]
    flat = np.array([hit for event in hits for hit in event], dtype=float).reshape(-1, 4)
    return {name: ak.unflatten(flat[:, i], counts) for i, name in enumerate(("e", "layer", "x", "y"))}


@given(events, st.sampled_from([0.1, 0.5, 0.9, 1.0]))
@settings(max_examples=100, deadline=None)
def test_shapes_are_what_a_loop_over_events_and_hits_finds(hits: list[list[Any]], share: float) -> None:
    columns = jagged(hits)
    plain, depths, spectra, widths, radii = (
        value(text, columns)
        for text in (
            "layers(e, layer, 5)",
            f"depth(layers(e * (e > 0), layer, 5), {share})",
            "spectrum(e, 1, 3)",
            "lateral_rms(e, x, y)",
            f"radius(e, x, y, {share})",
        )
    )
    for number, event in enumerate(hits):
        positive = [(max(energy, 0), *place) for energy, *place in event]
        total = sum(energy for energy, *_ in positive)
        for layer in range(5):
            assert plain[number][layer] == sum(energy for energy, where, *_ in event if where == layer)
        if not total:
            assert (depths[number], spectra[number], widths[number], radii[number]) == (0, [0, 0, 0], 0, 0)
            continue
        before, depth = 0.0, 0.0
        for layer in range(5):
            own = sum(energy for energy, where, *_ in positive if where == layer)
            if before < share * total <= before + own:
                depth = layer + (share * total - before) / own
            before += own
        assert depths[number] == pytest.approx(depth)
        bins = [
            sum(energy for energy, *_ in positive if low <= energy < high) / total
            for low, high in ((0, 1), (1, 3), (3, 9))
        ]
        assert spectra[number] == pytest.approx(bins)
        cx, cy = (sum(hit[0] * hit[i] for hit in positive) / total for i in (2, 3))
        distances = sorted((float(np.hypot(x - cx, y - cy)), energy) for energy, _, x, y in positive)
        assert widths[number] == pytest.approx(np.sqrt(sum(e * d**2 for d, e in distances) / total), abs=1e-9)
        inside = [sum(e for d, e in distances if d <= radius + 1e-9) for radius, _ in distances]
        first = next(d for (d, _), e in zip(distances, inside, strict=True) if e >= share * total - 1e-9)
        assert radii[number] == pytest.approx(first, abs=1e-9)


TEXTS = (
    "layers(e, layer, 3)",
    "depth(layers(e, layer, 3))",
    "depth(layers(e, layer, 3), 0.5)",
    "depth_skewness(layers(e, layer, 3))",
    "shower_start(layers(e, layer, 3), 1)",
    "share(e[e > 1], e)",
    "spectrum(e, 1, 2)",
    "lateral_rms(e, x, y)",
    "radius(e, x, y, 0.5)",
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_not_finite_stays_so_in_its_own_event(text: str) -> None:
    for wrong in (np.nan, np.inf):
        columns = COLUMNS | {"e": ak.Array([[1.0, 3.0], [wrong, 3.0], [0.5, 0.5]])}
        columns |= {name: COLUMNS[name][[0, 0, 2]][:, :2] for name in ("layer", "x", "y")}
        finite = np.isfinite(np.asarray(Expression.parse(text)(columns))).reshape(3, -1).all(axis=1)
        assert finite.tolist() == [True, False, True]


def test_rounding_makes_no_skewness_of_a_single_layer() -> None:
    energies = np.random.default_rng(1).uniform(0.1, 1.0, 1000)
    columns = {"p": energies[:, None] * (np.arange(40) == 37)}
    assert not np.any(value("depth_skewness(p)", columns))
    assert np.max(value("depth_rms(p)", columns)) < 1e-6


@pytest.mark.parametrize("text", TEXTS)
def test_no_events_have_no_shapes(text: str) -> None:
    assert len(value(text, {name: values[:0] for name, values in COLUMNS.items()})) == 0


@pytest.mark.parametrize("text", TEXTS)
def test_events_without_hits_have_shapes(text: str) -> None:
    found = np.array(value(text, {name: values[:, :0] for name, values in COLUMNS.items()}))
    assert (found == (3 if "start" in text else 0)).all()


def test_a_hit_outside_all_layers_makes_its_event_unusable() -> None:
    expected = np.array([[np.nan, np.nan], [0, 0], [0.5, 0.5]])
    assert np.array(value("layers(e, layer, 2)")) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(value("layers(e, layer - 1, 3)")).all(axis=1).tolist() == [True, False, True]
    assert np.isnan(value("layers(e, z, 3, 10, 24)")).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layers(e, layer, 2.5)", "a whole number of them from 1 to 1000"),
        ("layers(e, layer, 0)", "a whole number of them from 1 to 1000"),
        ("layers(e, layer, 3000)", "a whole number of them from 1 to 1000"),
        ("layers(e, z, 3, 25, 10)", "from a lower to a higher one"),
        ("layers(e, z, 3, x, 10)", "where a number is wanted"),
        ("layers(e, p, 3)", "not the same number"),
        ("lateral_rms(e, x, fixed)", "not the same number"),
        ("radius(e, x, y, 1.5)", "a share is a number from 0 to 1"),
        ("depth(p, -0.1)", "a share is a number from 0 to 1"),
        ("depth(p, p)", "where a number is wanted"),
        ("depth(e)", "an array of layer energies"),
        ("depth(sum(p))", "an array of layer energies"),
        ("depth_rms(p[:0])", "an array of layer energies"),
        ("shower_start(p[:2], 1)", "at least 3 layers"),
        ("shower_start(p, sum(p))", "where a number is wanted"),
        ("spectrum(e, 2, 1)", "ascending"),
        ("spectrum(e, 1, 1)", "ascending"),
        ("spectrum(e, 1, e)", "where a number is wanted"),
    ],
)
def test_arguments_that_are_not_legal(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be evaluated: .*{reason}"):
        Expression.parse(text)(COLUMNS)
