"""What an exported model wants and gives: its contract, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calomlp.plotting.page import Page, facts, fill, first_rows
from calomlp.plotting.quantity import count
from calomlp.plotting.tables import Table

_MAX_COLUMNS = 60
_RANGE = ("low", "median", "high")


def export_page(contract: Mapping[str, Any], path: str) -> Page:
    """Return the contract of an ONNX file.

    Args:
        contract: As :class:`calomlp.model.export.Export` has it.
        path: The file.
    """
    verification, selection, limits = contract["verification"], contract["selection"], contract["range"]
    worst = ", ".join(f"{name} {deviation:.1e}" for name, deviation in verification["deviations"].items())
    layout = ", ".join(f"{key} {value}" for key, value in selection["layout"].items() if value)
    rows = [
        ("input", f"{contract['input']['name']}, float32 [events, {len(contract['columns'])}]"),
        *((item["name"], f"float32 [events], {item['unit']}: {item['is']}") for item in contract["outputs"]),
        ("trained", f"from {limits['energy_min']:g} to {limits['energy_max']:g} {limits['unit']}"),
        ("cut", selection["cut"] or ""),
        ("an event", layout),
        ("missing", ", ".join(f"{value:g}" for value in selection["missing"])),
        ("verified", f"on {count(verification['events'])} {verification['origin']}, by {verification['runtime']}"),
        ("deviation", f"at most {worst}; tolerance {verification['tolerance']:.0e}"),
    ]
    return [
        f"{path}: ONNX, opset {contract['opset']}",
        f"\n{facts(rows)}\n",
        ("Columns of the input, to be computed outside of the graph", _columns(contract["columns"])),
        fill(f"Units are {contract['units']}.", hanging=""),
    ]


def _columns(columns: list[Mapping[str, Any]]) -> Table:
    rows = [
        (column["name"], str(number), "yes" if column["energy"] else "", *(f"{column[key]:.4g}" for key in _RANGE))
        for number, column in enumerate(columns)
    ]
    return Table(("feature", "column", "energy", "0.1 %", "median", "99.9 %"), first_rows(rows, _MAX_COLUMNS))
