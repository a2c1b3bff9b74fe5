from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calomlp.data.expressions import _FUNCTIONS, Expression, quote_branch
from calomlp.errors import CalomlpError, UsageError

COLUMNS = {
    "e": np.array([1.0, 2.0, 3.0]),
    "layer": np.arange(12.0).reshape(3, 4),
    "hit": ak.Array([[1.0, 5.0], [], [2.0, 3.0, 4.0]]),
    "where_hit": ak.Array([[0, 3], [], [3, 3, 1]]),
    "Muon.pt": np.array([7.0, 8.0, 9.0]),
    "a/b[2]": np.array([4.0, 5.0, 6.0]),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("e", [1, 2, 3]),
        ("2 * e + 1", [3, 5, 7]),
        ("-e ** 2 / 2", [-0.5, -2, -4.5]),
        ("e % 2", [1, 0, 1]),
        ("layer[1]", [1, 5, 9]),
        ("layer[-1]", [3, 7, 11]),
        ("sum(layer[:2])", [1, 9, 17]),
        ("hit[e - 1]", [1, np.nan, 4]),
        ("layer[e]", [1, 6, 11]),
        ("hit[e - 2]", [np.nan, np.nan, 3]),  # a negative number stands for no match
        ("sum(layer)", [6, 22, 38]),
        ("sum(hit)", [6, 0, 9]),
        ("count(hit)", [2, 0, 3]),
        ("count(layer)", [4, 4, 4]),
        ("max(layer)", [3, 7, 11]),
        ("mean(layer)", [1.5, 5.5, 9.5]),
        ("std(layer)", [np.sqrt(1.25)] * 3),
        ("sum(hit[where_hit == 3])", [5, 0, 5]),
        ("count(hit[(hit > 1) & (hit < 5)])", [0, 0, 3]),
        ("count(hit[~(hit > 1) | (hit >= 5)])", [2, 0, 0]),
        ("mean(where_hit, hit)", [2.5, np.nan, (6 + 9 + 4) / 9]),
        ("std(where_hit, hit)", [np.sqrt(1.25), np.nan, np.sqrt((2 + 3) * (8 / 9) ** 2 / 9 + 4 * (10 / 9) ** 2 / 9)]),
        ("moment(layer, 1)", [1.5, 5.5, 9.5]),
        ("moment(layer, 2)", [1.25, 1.25, 1.25]),
        ("moment(hit, 3, hit)", [(1 * (1 - 13 / 3) ** 3 + 5 * (5 - 13 / 3) ** 3) / 6, np.nan, -146 / 729]),
        ("quantile(hit, 0.5)", [3, np.nan, 3]),
        ("quantile(layer, 0.25)", [0.75, 4.75, 8.75]),
        ("sum(top(hit, 2))", [6, 0, 7]),
        ("top(hit, 3)[2]", [0, 0, 2]),
        ("hypot(3 * e, 4 * e)", [5, 10, 15]),
        ("where(e > 1, e, 0)", [0, 2, 3]),
        ("exp(log(e)) + log1p(0 * e) + sqrt(e * e) - abs(-e)", [1, 2, 3]),
        ("sum(layer - e)", [2, 14, 26]),
        ("sum((layer / sum(layer))[1:])", [1, 18 / 22, 30 / 38]),
        ("sum(layer[layer > 2 * e])", [3, 18, 38]),
        ("sum(hit[e > 1])", [0, 0, 9]),
        ("sum(hit * e)", [6, 0, 27]),
        ("(e > 1) + (e > 2)", [0, 1, 2]),
        ("sum((layer > 2) + (layer > 3))", [1, 8, 8]),
        ("sqrt(e > 1)", [0, 1, 1]),
        ("10 ** 30 + 0 * e", [1e30, 1e30, 1e30]),
        ("Muon.pt", [7, 8, 9]),
        ("branch('a/b[2]') + branch('Muon.pt')", [11, 13, 15]),
    ],
)
def test_values(text: str, value: list[float]) -> None:
    assert np.asarray(Expression.parse(text)(COLUMNS)).tolist() == pytest.approx(value, nan_ok=True)


def test_an_element_that_is_not_there_is_not_a_number() -> None:
    value = np.asarray(Expression.parse("hit[1]")(COLUMNS))
    assert value.tolist() == pytest.approx([5, np.nan, 3], nan_ok=True)


def test_a_nested_list_is_reduced_to_one_number() -> None:
    columns = {"nested": ak.Array([[[1.0, 2.0], []], [[3.0]], []])}
    assert Expression.parse("sum(nested)")(columns).tolist() == [3, 3, 0]


def test_the_branches_are_known_before_anything_is_read() -> None:
    text = "sum(hit[where_hit == 3]) / branch('a/b[2]') + Muon.pt"
    assert Expression.parse(text).branches == {"hit", "where_hit", "a/b[2]", "Muon.pt"}


@pytest.mark.parametrize("name", ["e", "Muon.pt", "a/b[2]", "with space", "import", "1st", "it's"])
def test_a_quoted_branch_is_read_back(name: str) -> None:
    assert Expression.parse(quote_branch(name)).branches == {name}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "e.__class__.__mro__()",
        "(lambda: 0)()",
        "[e for e in hit]",
        "open('x')",
        "sum(e, 1)",
        "sum(*e)",
        "sum(x=e)",
        "e if e else 0",
        "'text'",
        "e and e",
        "1 < e < 2",
        "e @ e",
        "f'{e}'",
        "e := 1",
        "layer[0.5:2]",
        "layer[::0]",
        "branch(e)",
        "branch()",
        "1j * e",
        "",
        "e e",
        "e\0",
        "layers(hit, where_hit)",
        "layers(hit, where_hit, 4, 0)",
        "spectrum(hit)",
        "(" * 500,
        "x" * 3000,
    ],
)
def test_what_is_not_in_the_language(text: str) -> None:
    with pytest.raises(UsageError):
        Expression.parse(text)


SHAPES = {
    "layers": 3,
    "depth": 1,
    "depth_rms": 1,
    "depth_skewness": 1,
    "shower_start": 2,
    "share": 2,
    "spectrum": 3,
    "lateral_rms": 3,
    "radius": 4,
}


def call(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Shapes of anything, with as many arguments as they take."""
    return st.sampled_from(list(SHAPES.items())).flatmap(
        lambda shape: st.tuples(*[inner] * shape[1]).map(lambda arguments: f"{shape[0]}({', '.join(arguments)})")
    )


@given(
    st.text(st.sampled_from("ehitlayr_sumcountlog()[]:+-*/%&|~<>=.,0123456789' \"\\\n"), max_size=40)
    | st.recursive(
        st.sampled_from(["e", "hit", "layer", "2", "0", "-1.5", "1e400", "where_hit"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/%&|<>"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            st.tuples(st.sampled_from(["sum", "log", "count", "std", "~", "-"]), inner).map(
                lambda t: f"{t[0]}({t[1]})"
            ),
            st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
            st.tuples(inner, inner).map(lambda t: f"({t[0]}) ** ({t[1]})"),
            call(inner),
        ),
        max_leaves=8,
    )
)
@settings(max_examples=600, deadline=None)
def test_no_text_fails_with_anything_but_its_own_error(text: str) -> None:
    try:
        expression = Expression.parse(text)
        if expression.branches <= set(COLUMNS):
            expression(COLUMNS)
    except CalomlpError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize("text", ["e and hit", "not e", "1 < e < 2"])
def test_what_is_spoken_in_python_is_written_in_symbols(text: str) -> None:
    with pytest.raises(UsageError, match=r"use & \| ~"):
        Expression.parse(text)


@pytest.mark.parametrize("text", ["layer[e / 2]", "hit[e - 0.5]"])
def test_a_number_in_brackets_is_whole(text: str) -> None:
    with pytest.raises(UsageError, match="are not whole"):
        Expression.parse(text)(COLUMNS)


@pytest.mark.parametrize("text", ["e[e > 1]", "hit[where_hit]", "layer[layer]"])
def test_what_selects_events_or_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a number for each event, or a mask"):
        Expression.parse(text)(COLUMNS)


def test_integers_do_not_wrap_around() -> None:
    columns = {
        "a": np.array([1, 5], dtype=np.uint16),
        "b": np.array([3, 4], dtype=np.uint16),
        "h": ak.values_astype(ak.Array([[60_000, 60_000], [1]]), np.uint16),
    }
    assert Expression.parse("a - b")(columns).tolist() == [-2, 1]
    assert Expression.parse("-a")(columns).tolist() == [-1, -5]
    assert Expression.parse("sum(h) - 60000 * count(h)")(columns).tolist() == [0, -59_999]
    assert Expression.parse("(a > 1) & (b > 3)")(columns).tolist() == [False, True]


def test_what_is_called_twice_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(values: object, *_: object) -> object:
        calls.append(values)
        return values

    monkeypatch.setitem(_FUNCTIONS, "abs", ((1,), counted))
    memo: dict[str, object] = {}
    for text in ("abs(e) + abs( e )", "2 * abs(e) + abs(layer)[0]", "sum(abs(e))"):
        Expression.parse(text)(COLUMNS, memo)
    assert len(calls) == 3  # of e, of e in another spelling, and of layer
    Expression.parse("abs(e)")(COLUMNS)
    assert len(calls) == 4
