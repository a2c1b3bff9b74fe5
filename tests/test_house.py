"""The plan of the house: who may call whom, and what may be imported where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "calomlp"
FLOORS = ("ground", "data", "model", "simulation", "training", "prediction", "evaluation", "plotting", "cli")
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "uproot", "awkward", "numpy", "matplotlib")


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "ground"


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_floor_imports_only_from_floors_below_it(path: Path) -> None:
    here = floor_of(".".join(("calomlp", *path.relative_to(PACKAGE).with_suffix("").parts)))
    if path.name == "__main__.py":
        return
    for module in imports(path):
        if module.startswith("calomlp."):
            there = floor_of(module)
            assert FLOORS.index(there) <= FLOORS.index(here), f"{path.name} on {here} imports {module} on {there}"
        if module.partition(".")[0] in ("typer", "rich"):
            assert here == "cli", f"{path.name} on {here} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_neither_prints_nor_exits_nor_executes(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "exit", "eval", "exec", "compile", "__import__"}
        if isinstance(node, ast.Attribute) and node.attr == "exit" and isinstance(node.value, ast.Name):
            assert node.value.id != "sys" or path.parent.name == "cli"


@pytest.mark.parametrize("command", ["", "simulate", "train", "evaluate", "plot", "predict", "export", "inspect"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom calomlp.cli import run\n"
        f"run([*{command.split()!r}, '--help'])\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip().endswith("HEAVY []")


def test_drawing_a_report_needs_neither_torch_nor_uproot() -> None:
    drawn = "calomlp.plotting.paper, calomlp.plotting.subjects, calomlp.plotting.terminal"
    code = f"import sys, {drawn}\nprint([n for n in ('torch', 'uproot') if n in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
