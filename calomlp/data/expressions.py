"""The feature language: arithmetic over branches, parsed by a whitelist and never executed as code.

README.md beside this file has every operator and function.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.data import operations
from calomlp.errors import UsageError, did_you_mean

_MAX_LENGTH = 2000

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operations.arithmetic(operator.add),
    ast.Sub: operations.arithmetic(operator.sub),
    ast.Mult: operations.arithmetic(operator.mul),
    ast.Div: operations.arithmetic(operator.truediv),
    ast.Pow: operations.arithmetic(operator.pow),
    ast.Mod: operations.arithmetic(operator.mod),
    ast.BitAnd: operations.logic(operator.and_),
    ast.BitOr: operations.logic(operator.or_),
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operations.numbers,
    ast.USub: lambda value: -operations.numbers(value),
    ast.Invert: operations.negation,
}
_SPOKEN = (ast.BoolOp, ast.Compare, ast.UnaryOp)
"""Nodes that are in the language when they are written with symbols and one at a time."""

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operations.comparison(operator.lt),
    ast.LtE: operations.comparison(operator.le),
    ast.Gt: operations.comparison(operator.gt),
    ast.GtE: operations.comparison(operator.ge),
    ast.Eq: operations.comparison(operator.eq),
    ast.NotEq: operations.comparison(operator.ne),
}


_IN_BRACKETS = (
    "what stands in brackets is a whole number, a slice, a number for each event, or a mask over its elements"
)
_MANY = range(2, _MAX_LENGTH)

_FUNCTIONS: dict[str, tuple[Sequence[int], Callable[..., Any]]] = {
    **{name: ((1,), operations.reduction(name)) for name in ("sum", "min", "max", "count")},
    "mean": ((1, 2), operations.mean),
    "std": ((1, 2), operations.std),
    "moment": ((2, 3), operations.moment),
    "quantile": ((2,), operations.quantile),
    "top": ((2,), operations.top),
    **{name: ((1,), operations.function(getattr(np, name))) for name in ("sqrt", "log", "log1p", "exp", "abs")},
    "hypot": ((2,), operations.function(np.hypot)),
    "where": ((3,), operations.where),
    "layers": ((3, 5), operations.layers),
    "depth": ((1, 2), operations.depth),
    "depth_rms": ((1,), operations.depth_rms),
    "depth_skewness": ((1,), operations.depth_skewness),
    "shower_start": ((2,), operations.shower_start),
    "share": ((2,), operations.share),
    "spectrum": (_MANY, operations.spectrum),
    "lateral_rms": ((3,), operations.lateral_rms),
    "radius": ((4,), operations.radius),
}
"""Numbers of arguments, and what is done with them."""


_Value = Callable[[Mapping[str, Any], dict[str, Any]], Any]
"""Makes a value of columns by branch name; takes, too, the values of calls by their text that are known already."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression over branches.

    Attributes:
        text: As the user wrote it.
        branches: The branches that it reads.
    """

    text: str
    branches: frozenset[str]
    _value: _Value = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Parse an expression.

        Raises:
            UsageError: If it holds anything outside the feature language.
        """
        if len(text) > _MAX_LENGTH:
            raise UsageError(f"an expression of {len(text)} characters is too long: at most {_MAX_LENGTH}")
        text = text.strip()
        branches: set[str] = set()
        try:
            value = _compiled(ast.parse(text, mode="eval").body, text, branches)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else error
            raise UsageError(f"expression {text!r} cannot be parsed: {reason}") from None
        return cls(text, frozenset(branches), value)

    of_document = parse

    def as_document(self) -> str:
        """Return the text."""
        return self.text

    def __call__(self, columns: Mapping[str, Any], memo: dict[str, Any] | None = None) -> Any:
        """Evaluate over columns.

        Args:
            columns: By branch name: numpy arrays of shape [events, ...], or jagged awkward arrays.
            memo: Values of calls by their text, of these columns only. What is there is not computed again, and what is
                not is added, so that several expressions share their common parts.

        Raises:
            UsageError: If the shapes do not go together.
        """
        try:
            with np.errstate(all="ignore"):  # non-finite results are found, counted and named by the reader
                return self._value(columns, {} if memo is None else memo)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UsageError(f"expression {self.text!r} cannot be evaluated: {reason}") from error


def branch_name(node: ast.expr) -> str | None:
    """Return the branch that a node names, or ``None`` if it is something else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = branch_name(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "branch":
        quoted = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if isinstance(quoted, ast.Constant) and isinstance(quoted.value, str):
            return quoted.value
    return None


def quote_branch(name: str) -> str:
    """Write a branch's name as the feature language reads it."""
    try:
        plain = branch_name(ast.parse(name, mode="eval").body) == name
    except (SyntaxError, ValueError):
        plain = False
    return name if plain else f"branch({name!r})"


def _compiled(node: ast.expr, text: str, branches: set[str]) -> _Value:
    """Return what makes the value of a node, and add the branches below it; refuse whatever is not in the language."""

    def applied(function: Callable[..., Any], *nodes: ast.expr) -> _Value:
        parts = [_compiled(child, text, branches) for child in nodes]
        return lambda columns, memo: function(*[part(columns, memo) for part in parts])

    name = branch_name(node)
    if name is not None:
        branches.add(name)
        return lambda columns, _: operations.wide(columns[name])
    match node:
        case ast.Constant(value=bool() | int() | float() as constant):
            return lambda *_: _number(constant)
        case ast.BinOp(op=op) if type(op) in _BINARY:
            return applied(_BINARY[type(op)], node.left, node.right)
        case ast.UnaryOp(op=op) if type(op) in _UNARY:
            return applied(_UNARY[type(op)], node.operand)
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            return applied(_COMPARE[type(op)], node.left, *node.comparators)
        case ast.Call(func=ast.Name(id=function)):
            _check_call(node, function, text)
            return _remembered(ast.get_source_segment(text, node) or "", applied(_FUNCTIONS[function][1], *node.args))
        case ast.Subscript(slice=ast.Slice() as bounds):
            part = _slice(bounds, text)
            return applied(lambda values: values[:, part], node.value)
        case ast.Subscript():
            return applied(_subscript, node.value, node.slice)
    hint = ": use & | ~ and parentheses" if isinstance(node, _SPOKEN) else ""
    hint = ": it is one expression, name others by themselves" if isinstance(node, ast.Tuple) else hint
    raise UsageError(f"expression {text!r}: {ast.unparse(node)!r} is not in the feature language{hint}")


def _remembered(text: str, value: _Value) -> _Value:
    """Return what makes the value of a call, unless it is known by its text already."""

    def remembered(columns: Mapping[str, Any], memo: dict[str, Any]) -> Any:
        if text not in memo:
            memo[text] = value(columns, memo)
        return memo[text]

    return remembered


def _check_call(node: ast.Call, function: str, text: str) -> None:
    if function not in _FUNCTIONS:
        raise UsageError(f"expression {text!r}: unknown function {function!r}: {did_you_mean(function, _FUNCTIONS)}")
    arities = _FUNCTIONS[function][0]
    if len(node.args) not in arities or node.keywords:
        takes = f"{arities[0]} or more" if isinstance(arities, range) else " or ".join(map(str, arities))
        raise UsageError(f"expression {text!r}: {function} takes {takes} argument{'s' if arities != (1,) else ''}")


def _slice(node: ast.Slice, text: str) -> slice:
    try:
        bounds = [None if part is None else ast.literal_eval(part) for part in (node.lower, node.upper, node.step)]
    except (ValueError, TypeError):
        bounds = [0.5]
    if any(not isinstance(bound, int | None) for bound in bounds) or bounds[-1] == 0:
        raise UsageError(f"expression {text!r}: a slice takes whole numbers, for example [2:5]")
    return slice(*bounds)


def _number(value: Any) -> Any:
    """Return a constant as numpy's, which divide by zero and overflow as the elements of an array do."""
    if isinstance(value, bool):
        return np.bool_(value)
    return np.int64(value) if isinstance(value, int) and abs(value) < 2**63 else np.float64(value)


def _subscript(values: Any, index: Any) -> Any:
    if isinstance(index, np.integer):
        index = int(index)
        if isinstance(values, ak.Array):
            padded = ak.pad_none(values, index + 1 if index >= 0 else -index, axis=1)
            return ak.fill_none(padded[:, index], np.nan, axis=0)
        return values[:, index]
    if isinstance(index, np.bool_):
        index = np.full(len(values), index)
    if getattr(values, "ndim", 0) < 2 or getattr(index, "ndim", 0) < 1:
        raise ValueError(_IN_BRACKETS)
    kind = operations.kind(index)
    if kind == "f" and index.ndim == 1:
        return _chosen(values, index)
    if kind != "b":
        raise ValueError(_IN_BRACKETS)
    return operations.masked(values, index)


def _chosen(values: Any, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one element of each event, NaN where there is none: a negative number stands for no match."""
    numbers, counts = operations.elements(values)
    inside = (index >= 0) & (index < counts)
    if values.ndim != 2 or (index[inside] % 1 != 0).any():
        raise ValueError("the numbers in brackets are not whole, or do not name one element")
    chosen = np.full(len(counts), np.nan)
    chosen[inside] = numbers[(counts.cumsum() - counts)[inside] + index[inside].astype(np.int64)]
    return chosen
