"""The published checks, and the table that shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

import calomlp.simulation
from tests.simulation.validation import CHECKS, Check, line

TABLE = Path(calomlp.simulation.__file__).with_name("VALIDATION.md")

PARAMETERS = [
    pytest.param(
        each,
        id=f"{each.number}-{each.rows.__name__}",
        marks=[pytest.mark.physics, *([getattr(pytest.mark, each.suite)] if each.suite else [])],
    )
    for each in CHECKS
]


@pytest.mark.parametrize("check", PARAMETERS)
def test_published_number(check: Check) -> None:
    table = TABLE.read_text()
    for row in check.rows():
        assert row.passed != bool(row.reason), (
            f"{row.what}: {row.found:.4g}, not {row.target:.4g} +- {row.tolerance:.2g}"
        )
        shown = line(check, row).split(" | ")
        assert any(
            written.split(" | ")[:3] == shown[:3] and written.split(" | ")[4:] == shown[4:]
            for written in table.splitlines()
        ), f"{TABLE.name} is old: write it again with python -m tests.simulation.validation"


def test_all_checks_are_there_and_in_the_table() -> None:
    assert sorted(each.number for each in CHECKS) == list(range(1, len(CHECKS) + 1))
    numbers = {int(text.split("|")[1]) for text in TABLE.read_text().splitlines() if text[:3].strip("| ").isdigit()}
    assert numbers == {each.number for each in CHECKS}
