"""Tables on a terminal: nothing is cut, however many columns there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calomlp.cli.console import print_table
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.slices import Dependence, Slice
from calomlp.plotting.sections import Table, report_tables
from tests.plotting.conftest import Toy, make_report

CURVES = ("regressor", "anchor", "sum", "compensated")


def shown(table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(table)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    return text


@pytest.mark.parametrize("number", [1, 3, 4])
def test_no_table_of_four_curves_is_cut(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report({name: Toy(0.15 + 0.01 * i) for i, name in enumerate(CURVES[:number])}, per_bin=350)
    slices = [
        Slice(
            low, high, 1.0, 102_345, {"median": Measurement(m, 0.00123), "sigma_68": Measurement(0.12 + m / 1e3, 1e-3)}
        )
        for low, high, m in ((None, -12.345, 1.00123), (-12.345, 1.2345, 0.98765), (1.2345, None, 1.0))
    ]
    found = tuple(Dependence("shower_start", name, tuple(slices), None, 0) for name in CURVES[:number])
    for table in report_tables(replace(report, dependences=found)):
        text = shown(table, monkeypatch, capsys)
        cells = [cell for row in table.rows for cell in row[1:] if cell]
        assert sum(map(text.count, dict.fromkeys(cells))) >= len(cells)
        assert all(cell in text for cell in cells)
        assert all(word in text for heading in table.header for word in heading.split(": "))


def test_columns_that_do_not_fit_go_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(("name", *(f"column {i}" for i in range(10))), (("a", *(f"{i}" * 12 for i in range(10))),))
    rows = [line.split() for line in shown(table, monkeypatch, capsys).splitlines() if " a " in line]
    assert rows == [["a", *(f"{i}" * 12 for i in part)] for part in (range(5), range(5, 10))]
    wide = Table(("name", "x", "y"), (("b", "x" * 66, "y"),))
    assert [line.split() for line in shown(wide, monkeypatch, capsys).splitlines() if " b " in line] == [
        ["b", "x" * 66],
        ["b", "y"],
    ]
