from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calomlp.errors import UsageError
from calomlp.units import Quantity, format_duration, parse_count, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "count"), [("5000", 5000), ("200k", 200_000), ("1.5M", 1_500_000), ("1e6", 1_000_000), ("1_000", 1000)]
)
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "k", "", "1..2k", "ten", "1e999"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(UsageError, match="not a count"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172_800), ("0.5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1x", "", "h", "1h 30m", "1.2.3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (42.3, "42 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_written_briefly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "unit", "quantity", "written"),
    [
        ("1.4 mm", "cm", Quantity(0.14, "cm"), "0.14 cm"),
        ("3mm", "cm", Quantity(0.3, "cm"), "0.3 cm"),
        ("525um", "cm", Quantity(0.0525, "cm"), "0.0525 cm"),
        ("2 m", "cm", Quantity(200.0, "cm"), "200 cm"),
        ("0.13 MIP", "MIP", Quantity(0.13, "MIP"), "0.13 MIP"),
        ("40 MeV", "GeV", Quantity(0.04, "GeV"), "0.04 GeV"),
        ("20 keV", "GeV", Quantity(2e-5, "GeV"), "2e-05 GeV"),
        ("1.7 TeV", "GeV", Quantity(1700.0, "GeV"), "1700 GeV"),
        ("15 /MIP", "/MIP", Quantity(15.0, "/MIP"), "15 /MIP"),
        (" 4500 / GeV ", "/GeV", Quantity(4500.0, "/GeV"), "4500 /GeV"),
        ("0.6 X0", "X0", Quantity(0.6, "X0"), "0.6 X0"),
        ("1156 pixels", "pixels", Quantity(1156.0, "pixels"), "1156 pixels"),
        (".5e1mm", "cm", Quantity(0.5, "cm"), "0.5 cm"),
        (0, "cm", Quantity(0.0, "cm"), "0 cm"),
        ("0", "MIP", Quantity(0.0, "MIP"), "0 MIP"),
    ],
)
def test_quantities(text: object, unit: str, quantity: Quantity, written: str) -> None:
    assert parse_quantity(text, unit) == quantity
    assert str(quantity) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, 'x = 3 has no unit: write "3 mm"; legal: mm, cm, um, m'),
        ("1.5", "x = '1.5' has no unit: write \"1.5 mm\""),
        ("3 mmm", "x = '3 mmm' has a unit that is not legal; did you mean 'mm'"),
        ("3 MeV", "has a unit that is not legal; legal: mm, cm, um, m"),
        ("-3 mm", "x = '-3 mm' is negative"),
        (-3, "x = -3 is negative"),
        ("nan mm", "is not a finite number with a unit such as"),
        (float("inf"), "x = inf is not a finite number"),
        ("mm", "is not a finite number"),
        ("", "is not a finite number"),
        ("1e999 mm", "not legal"),
        (True, "x = True is not a number with a unit"),
        ([3], "is not a number with a unit"),
    ],
)
def test_what_is_no_quantity(text: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_quantity(text, "cm", where="x")
    assert message in str(caught.value)


@given(st.floats(min_value=1e-90, max_value=1e90), st.sampled_from(["cm", "GeV", "MIP", "/GeV", "X0", "pixels"]))
def test_a_quantity_is_read_as_it_was_written(value: float, unit: str) -> None:
    assert parse_quantity(str(Quantity(value, unit)), unit) == Quantity(value, unit)
