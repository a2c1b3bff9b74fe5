from __future__ import annotations

import pytest

from calomlp.errors import UsageError
from calomlp.units import format_duration, parse_count, parse_duration


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
