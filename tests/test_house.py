"""The plan of the house: who may call whom, what may be imported where, and that a name means one thing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "calomlp"
FLOORS = ("ground", "data", "model", "simulation", "training", "prediction", "evaluation", "plotting", "cli")
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
HEAVY = ("torch", "uproot", "awkward", "numpy", "matplotlib")
COMMANDS = ("", "simulate", "train", "evaluate", "plot", "predict", "export", "inspect")

SHARED_MODULES = "evaluate export flags train"
"""Names that several modules have: commands and what they call; flags, of the command line and of data."""


def floor_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts[0] in FLOORS else "ground"


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_a_floor_imports_only_from_floors_below_it() -> None:
    wrong = []
    for path, tree in TREES.items():
        here = floor_of(path.parts)
        for module in imports(tree):
            package, *parts = module.split(".")
            there = floor_of(tuple(parts)) if package == "calomlp" and parts else "ground"
            too_high = FLOORS.index(there) > FLOORS.index(here) and path.name != "__main__.py"
            if too_high or (package in ("typer", "rich") and here != "cli"):
                wrong.append(f"{path} imports {module}")
    assert wrong == []


def test_the_core_neither_prints_nor_exits_nor_executes() -> None:
    wrong = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="print" | "exit" | "eval" | "exec" | "compile" | "__import__" as name)):
                    wrong.append(f"{path}:{node.lineno} calls {name}")
                case ast.Attribute(value=ast.Name(id="sys"), attr="exit") if path.parts[0] != "cli":
                    wrong.append(f"{path}:{node.lineno} calls sys.exit")
    assert wrong == []


def test_a_name_of_a_module_or_a_class_means_one_thing() -> None:
    modules: dict[str, list[str]] = {}
    classes: dict[str, list[str]] = {}
    for path, tree in TREES.items():
        if not path.name.startswith("__"):
            modules.setdefault(path.stem, []).append(str(path))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(str(path))
    for places, known in ((modules, SHARED_MODULES.split()), (classes, [])):
        assert {name: paths for name, paths in places.items() if len(paths) > 1 and name not in known} == {}


def printed(code: str) -> list[str]:
    """Return the lines that a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom calomlp.cli import run\n"
        f"for command in {COMMANDS!r}:\n"
        "    run([*command.split(), '--help'])\n"
        f"    print('HEAVY', command, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = [line for line in printed(code) if line.startswith("HEAVY")]
    assert found == [f"HEAVY {command} []" for command in COMMANDS]


def test_drawing_a_report_needs_neither_torch_nor_uproot() -> None:
    drawn = "calomlp.plotting.paper, calomlp.plotting.figures, calomlp.plotting.terminal"
    code = f"import sys, {drawn}\nprint([n for n in ('torch', 'uproot') if n in sys.modules])"
    assert printed(code) == ["[]"]
