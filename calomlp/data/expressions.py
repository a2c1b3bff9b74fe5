"""The feature language: arithmetic over branches, parsed by a whitelist and never executed as code.

README.md beside this file has every operator and function.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Expression:
    """A parsed expression over branches.

    Attributes:
        text: As the user wrote it.
        branches: The branches that it reads.
    """

    text: str
    branches: frozenset[str]
    _tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Parse an expression.

        Raises:
            UsageError: If it holds anything outside the feature language.
        """
        if len(text) > _MAX_LENGTH:
            raise UsageError(f"an expression of {len(text)} characters is too long: at most {_MAX_LENGTH}")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            branches = frozenset(_check(tree, text))
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else error
            raise UsageError(f"expression {text!r} cannot be parsed: {reason}") from None
        return cls(text.strip(), branches, tree)

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
                return _Evaluation(self.text, columns, {} if memo is None else memo).value(self._tree)
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


def _check(node: ast.expr, text: str) -> set[str]:
    """Return the branches below a node; refuse whatever is not in the language."""
    name = branch_name(node)
    if name is not None:
        return {name}
    children: list[ast.expr]
    match node:
        case ast.Constant(value=bool() | int() | float()):
            children = []
        case ast.BinOp(op=op) if type(op) in _BINARY:
            children = [node.left, node.right]
        case ast.UnaryOp(op=op) if type(op) in _UNARY:
            children = [node.operand]
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            children = [node.left, *node.comparators]
        case ast.Call(func=ast.Name(id=function)):
            _check_call(node, function, text)
            children = node.args
        case ast.Subscript(slice=ast.Slice() as bounds):
            _slice(bounds, text)
            children = [node.value]
        case ast.Subscript():
            children = [node.value, node.slice]
        case _:
            part = ast.unparse(node)
            hint = ": use & | ~ and parentheses" if isinstance(node, _SPOKEN) else ""
            hint = ": it is one expression, name others by themselves" if isinstance(node, ast.Tuple) else hint
            raise UsageError(f"expression {text!r}: {part!r} is not in the feature language{hint}")
    return set().union(*(_check(child, text) for child in children)) if children else set()


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


class _Evaluation:
    """An expression over columns, from the leaves up.

    Args:
        text: Of the expression.
        columns: By branch name.
        memo: Values of calls by their text, those of the same columns that are known and those that are found.
    """

    def __init__(self, text: str, columns: Mapping[str, Any], memo: dict[str, Any]) -> None:
        self._text = text
        self._columns = columns
        self._memo = memo

    def value(self, node: ast.expr) -> Any:
        """Return the value of a node."""
        name = branch_name(node)
        if name is not None:
            return operations.wide(self._columns[name])
        match node:
            case ast.Constant():
                return _number(node.value)
            case ast.BinOp():
                return _BINARY[type(node.op)](self.value(node.left), self.value(node.right))
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self.value(node.operand))
            case ast.Compare():
                left, right = self.value(node.left), self.value(node.comparators[0])
                return _COMPARE[type(node.ops[0])](left, right)
            case ast.Call(func=ast.Name(id=function)):
                text = ast.get_source_segment(self._text, node) or ""
                if text not in self._memo:
                    self._memo[text] = _FUNCTIONS[function][1](*map(self.value, node.args))
                return self._memo[text]
            case ast.Subscript(slice=ast.Slice() as bounds):
                return self.value(node.value)[:, _slice(bounds, "")]
            case ast.Subscript():
                return _subscript(self.value(node.value), self.value(node.slice))
        raise AssertionError(ast.dump(node))  # _check has let nothing else through


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
