"""The feature language against a slow evaluator that takes one event at a time, in plain Python.

Random expressions over random numbers, arrays, lists and nested lists. There are as many events as the arrays have
elements, so that whoever aligns shapes at the wrong end takes the number of another event.
"""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.expressions import Expression

N = 6  # events, and elements of the arrays

Value = float | bool | list[Any]


def columns(seed: int) -> dict[str, Any]:
    """Random branches of all kinds; ``h`` and ``g`` have the same elements, ``q`` a list in each of them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, N)
    total = int(counts.sum())
    inner = rng.integers(0, 3, total)
    return {
        "a": rng.normal(2, 3, N),
        "b": rng.integers(0, 255, N).astype(np.uint8),
        "c": rng.integers(-127, 127, N).astype(np.int8),
        "d": rng.random(N) < 0.5,
        "A": rng.normal(1, 2, (N, N)),
        "B": rng.integers(0, 60_000, (N, N)).astype(np.uint16),
        "C": rng.normal(1, 2, (N, N)).astype(np.float32),
        "h": ak.unflatten(rng.normal(1, 2, total), counts),
        "g": ak.unflatten(rng.integers(0, 250, total).astype(np.uint8), counts),
        "q": ak.unflatten(ak.unflatten(rng.normal(1, 2, int(inner.sum())), inner), counts),
    }


KINDS = {"a": "number", "b": "number", "c": "number", "d": "flag", "A": "array", "B": "array", "C": "array"} | {
    "h": "list",
    "g": "list",
    "q": "nested",
}
ARITHMETIC = ("+", "-", "*", "/")
COMPARE = ("<", "<=", ">", ">=", "==", "!=")
REDUCE = ("sum", "min", "max", "count", "mean")
ELEMENTWISE = ("abs", "sqrt", "log1p", "exp")


class Writer:
    """Writes random expressions of a wanted shape: number, array, list or nested."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, shape: str, depth: int) -> str:  # noqa: PLR0911 - one line for each kind
        pick = self._random.random()
        if depth <= 0 or pick < 0.15:
            return self._leaf(shape)
        if pick < 0.55:
            if self._random.random() < 0.15:  # of leaves, because rounding would make a remainder anything
                return f"({self._leaf(shape)} % {self._random.choice(['2', '7', 'b', '2.5'])})"
            left, right = self._operands(shape, depth)
            return f"({left} {self._random.choice(ARITHMETIC)} {right})"
        if pick < 0.65:
            return f"({self.condition(shape, depth - 1)} + {self.value(shape, depth - 1)})"
        if pick < 0.72:
            return f"{self._random.choice(ELEMENTWISE)}({self.value(shape, depth - 1)} / 100)"
        if pick < 0.78:
            return (
                f"where({self.condition(shape, depth - 1)}, {self.value(shape, depth - 1)}, {self.value('number', 0)})"
            )
        if pick < 0.83:
            return f"(-{self.value(shape, depth - 1)})"
        if pick < 0.88:
            return f"hypot({self.value(shape, depth - 1)}, {self.value('number', depth - 1)})"
        if shape == "number":
            return self._reduced(depth)
        return self._leaf(shape)

    def condition(self, shape: str, depth: int) -> str:
        if shape == "number" and self._random.random() < 0.2:
            return "d"
        left, right = self._operands(shape, depth)
        text = f"({left} {self._random.choice(COMPARE)} {right})"
        if depth > 0 and self._random.random() < 0.3:
            return f"({text} {self._random.choice('&|')} {self.condition(shape, depth - 1)})"
        return f"(~{text})" if self._random.random() < 0.2 else text

    def _operands(self, shape: str, depth: int) -> list[str]:
        lower = {"array": ["number"], "list": ["number"], "nested": ["list", "number"]}.get(shape, ["number"])
        pair = [self.value(shape, depth - 1), self.value(self._random.choice([shape, *lower]), depth - 1)]
        self._random.shuffle(pair)
        return pair

    def _reduced(self, depth: int) -> str:
        shape = self._random.choice(["array", "list", "nested"])
        inner = self.value(shape, depth - 1)
        if shape != "nested" and self._random.random() < 0.4:
            mask = self.condition(self._random.choice([shape, "number"]), depth - 1)
            inner = f"{self._leaf(shape)}[{mask}]"
        return f"{self._random.choice(REDUCE)}({inner})"

    def _leaf(self, shape: str) -> str:
        if shape == "number" and self._random.random() < 0.3:
            return self._random.choice(["2", "0.5", "3", "-1.5", "100"])
        return self._random.choice([name for name, kind in KINDS.items() if kind == shape])


def slow(node: ast.expr, event: dict[str, Value]) -> Any:  # noqa: C901, PLR0911 - one line for each kind
    """Evaluate a node for one event."""
    match node:
        case ast.Name():
            return event[node.id]
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp():
            return both(BINARY[type(node.op)], slow(node.left, event), slow(node.right, event))
        case ast.Compare():
            return both(BINARY[type(node.ops[0])], slow(node.left, event), slow(node.comparators[0], event))
        case ast.UnaryOp(op=ast.USub()):
            return each(lambda x: -float(x), slow(node.operand, event))
        case ast.UnaryOp():
            return each(lambda x: not x, slow(node.operand, event))
        case ast.Subscript():
            values, mask = slow(node.value, event), slow(node.slice, event)
            chosen = mask if isinstance(mask, list) else [mask] * len(values)
            return [value for value, keep in zip(values, chosen, strict=True) if keep]
        case ast.Call(func=ast.Name(id="where")):
            condition, yes, no = (slow(argument, event) for argument in node.args)
            return both(
                lambda pair, other: pair[1] if pair[0] else other, both(lambda x, y: (x, y), condition, yes), no
            )
        case ast.Call(func=ast.Name(id="hypot")):
            return both(math.hypot, *(slow(argument, event) for argument in node.args))
        case ast.Call(func=ast.Name(id=function)):
            value = slow(node.args[0], event)
            return reduced(function, value) if function in REDUCE else each(UNARY[function], value)
    raise AssertionError(ast.dump(node))


def each(function: Callable[[Any], Any], value: Any) -> Any:
    return [each(function, item) for item in value] if isinstance(value, list) else function(value)


def both(function: Callable[[Any, Any], Any], one: Any, other: Any) -> Any:
    """Apply to numbers, to the elements of two lists, or to a number and each element of a list."""
    if isinstance(one, list) and isinstance(other, list):
        return [both(function, x, y) for x, y in zip(one, other, strict=True)]
    if isinstance(one, list):
        return [both(function, x, other) for x in one]
    if isinstance(other, list):
        return [both(function, one, y) for y in other]
    return function(one, other)


def flat(value: Any) -> list[Any]:
    return [x for item in value for x in flat(item)] if isinstance(value, list) else [value]


def reduced(function: str, value: Any) -> float:
    numbers: list[float] = flat(value)
    if function == "count":
        return float(len(numbers))
    if function == "sum":
        return guarded(lambda: math.fsum(map(float, numbers)))
    if not numbers:
        return math.nan
    if any(math.isnan(x) for x in numbers):
        return math.nan
    if function == "mean":
        return guarded(lambda: math.fsum(map(float, numbers)) / len(numbers))
    return float(min(numbers) if function == "min" else max(numbers))


def guarded(function: Callable[[], float]) -> float:
    try:
        return function()
    except (ValueError, OverflowError):
        return math.nan


def divided(x: float, y: float) -> float:
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)
    return x / y


def remainder(x: float, y: float) -> float:
    return math.nan if y == 0 or math.isinf(x) else float(np.mod(np.float64(x), np.float64(y)))


BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: lambda x, y: float(x) + float(y),
    ast.Sub: lambda x, y: float(x) - float(y),
    ast.Mult: lambda x, y: float(x) * float(y),
    ast.Div: lambda x, y: divided(float(x), float(y)),
    ast.Mod: lambda x, y: remainder(float(x), float(y)),
    ast.BitAnd: lambda x, y: x and y,
    ast.BitOr: lambda x, y: x or y,
    ast.Lt: lambda x, y: x < y,
    ast.LtE: lambda x, y: x <= y,
    ast.Gt: lambda x, y: x > y,
    ast.GtE: lambda x, y: x >= y,
    ast.Eq: lambda x, y: x == y,
    ast.NotEq: lambda x, y: x != y,
}
UNARY: dict[str, Callable[[float], float]] = {
    "abs": lambda x: abs(float(x)),
    "sqrt": lambda x: math.nan if math.isnan(x) or x < 0 else math.sqrt(x),
    "log1p": lambda x: -math.inf if x == -1 else math.nan if math.isnan(x) or x < -1 else math.log1p(x),
    "exp": lambda x: math.inf if x > 709.78 else math.exp(x),
}


def compare(text: str, branches: dict[str, Any]) -> None:
    """Fail if the two evaluators do not say the same; near comparisons of rounded numbers are let pass."""
    fast = Expression.parse(text)(branches)
    tree = ast.parse(text, mode="eval").body
    events = [
        {
            name: ak.to_list(values)[i] if isinstance(values, ak.Array) else values[i].tolist()
            for name, values in branches.items()
        }
        for i in range(N)
    ]
    expected = [slow(tree, event) for event in events]
    found = (
        ak.to_list(fast)
        if isinstance(fast, ak.Array)
        else np.broadcast_to(np.asarray(fast), (N,) if np.ndim(fast) == 0 else np.shape(fast)).tolist()
    )
    for one, other in zip(found, expected, strict=True):
        ours, theirs = (np.array(flat(item), np.float64) for item in (one, other))
        assert ours.shape == theirs.shape, text
        np.testing.assert_allclose(
            ours,
            theirs,
            rtol=1e-4,
            atol=1e-4 * (1 + np.nanmax(np.abs(theirs[np.isfinite(theirs)]), initial=0)),
            err_msg=text,
        )


def run(number: int, seed: int) -> int:
    """Compare so many expressions; return how many hold something that can be told apart."""
    told = 0
    for index in range(number):
        writer = Writer(seed * 1_000_003 + index)
        shape = ("number", "array", "list", "nested")[index % 4]
        text = writer.value(shape, 1 + index % 4)
        compare(text, columns(seed + index % 50))
        told += len(ast.parse(text, mode="eval").body._fields) > 1
    return told


def test_random_expressions_say_the_same_as_one_event_at_a_time() -> None:
    assert run(500, 1) > 350


@pytest.mark.slow
def test_many_random_expressions_say_the_same_as_one_event_at_a_time() -> None:
    assert run(20_000, 2) > 14_000
