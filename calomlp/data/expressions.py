"""The feature language: arithmetic over branches, parsed by a whitelist and never executed as code.

====================================  =======================================================================
``layer_energy``                      a branch; a fixed array expands to one column per element
``branch('Muon/pt[3]')``              a branch whose name is not an identifier; ``Muon.pt`` needs no quotes
``+ - * / ** %``, ``< <= > >= == !=``  arithmetic and comparisons, event by event and element by element
``a & b``, ``a | b``, ``~a``          boolean masks
``layer_energy[3]``, ``[:5]``         element or slice of an array
``hit_energy[hit_layer == 3]``        elements that pass a mask
``sum mean std min max count``        reductions of everything inside an event; ``count`` is the number of elements
``mean(x, w)``, ``std(x, w)``         the same with weights
``moment(x, n)``, ``moment(x, n, w)``  central moment of order n from 2 on
``quantile(x, 0.9)``, ``top(x, 5)``   a quantile; the largest elements in descending order, 0 where there are fewer
``sqrt log log1p exp abs``            functions of one argument
``hypot(a, b)``, ``where(c, a, b)``   functions of several
====================================  =======================================================================
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from calomlp.errors import UsageError, did_you_mean

_MAX_LENGTH = 2000
_MAX_TOP = 1000

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}
_SPOKEN = (ast.BoolOp, ast.Compare, ast.UnaryOp)
"""Nodes that are in the language when they are written with symbols and one at a time."""

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _reduction(name: str) -> Callable[[Any], Any]:
    """Return a reduction over all axes inside an event, so that one number per event is left."""

    def reduce(values: Any) -> Any:
        if not isinstance(values, ak.Array):
            values = np.asarray(values)
            if values.ndim < 2:
                return np.ones_like(values) if name == "count" else values
            flat = values.reshape(len(values), -1)
            return np.full(len(flat), flat.shape[1]) if name == "count" else getattr(np, name)(flat, axis=1)
        while values.ndim > 2:
            values = ak.flatten(values, axis=2)
        return ak.to_numpy(ak.fill_none(getattr(ak, "num" if name == "count" else name)(values, axis=1), np.nan))

    return reduce


def _elements(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return all numbers, event by event, and how many are in each event."""
    if isinstance(values, ak.Array):
        while values.ndim > 2:
            values = ak.flatten(values, axis=2)
        return np.asarray(ak.flatten(values, axis=1), dtype=np.float64), np.asarray(ak.num(values, axis=1))
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    return flat.ravel(), np.full(len(flat), flat.shape[1])


def _moment(values: Any, order: Any, weights: Any = None) -> NDArray[np.float64]:
    """Return the mean of order 1, or the central moment of a higher one, of everything inside an event."""
    if not isinstance(order, np.integer) or not 1 <= order <= 8:
        raise ValueError("the order of a moment is a whole number from 1 to 8")
    numbers, counts = _elements(values)
    weight, weight_counts = _elements(weights) if weights is not None else (np.ones_like(numbers), counts)
    if not np.array_equal(counts, weight_counts):
        raise ValueError("values and weights have not the same number of elements in every event")
    event = np.arange(len(counts)).repeat(counts)

    def mean(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(event, weight * of, len(counts)) / np.bincount(event, weight, len(counts))

    centre = mean(numbers)
    return centre if order == 1 else mean((numbers - centre[event]) ** int(order))


def _mean(values: Any, weights: Any = None) -> Any:
    return _reduction("mean")(values) if weights is None else _moment(values, np.int64(1), weights)


def _std(values: Any, weights: Any = None) -> Any:
    return _reduction("std")(values) if weights is None else np.sqrt(_moment(values, np.int64(2), weights))


def _sorted(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all numbers in ascending order inside each event, their counts, and where each event begins."""
    numbers, counts = _elements(values)
    order = np.lexsort((numbers, np.arange(len(counts)).repeat(counts)))
    return numbers[order], counts, counts.cumsum() - counts


def _quantile(values: Any, share: Any) -> NDArray[np.float64]:
    """Return a quantile of everything inside an event, linear between elements; NaN where there are none."""
    if not isinstance(share, np.number) or not 0 <= share <= 1:
        raise ValueError("a quantile takes a share from 0 to 1")
    numbers, counts, first = _sorted(values)
    result = np.full(len(counts), np.nan)
    filled = counts > 0
    place = float(share) * (counts[filled] - 1)
    below = np.floor(place).astype(np.int64)
    low, high = (numbers[first[filled] + i] for i in (below, np.minimum(below + 1, counts[filled] - 1)))
    result[filled] = low + (place - below) * (high - low)
    return result


def _top(values: Any, number: Any) -> NDArray[np.float64]:
    """Return the largest elements of an event in descending order, 0 where there are fewer; [events, number]."""
    if not isinstance(number, np.integer) or not 1 <= number <= _MAX_TOP:
        raise ValueError(f"top takes a whole number of elements from 1 to {_MAX_TOP}")
    numbers, counts, first = _sorted(values)
    rank = np.arange(int(number))
    there = rank < counts[:, None]
    result = np.zeros((len(counts), len(rank)))
    result[there] = numbers[((first + counts - 1)[:, None] - rank)[there]]
    return result


def _where(condition: Any, yes: Any, no: Any) -> Any:
    arrays = (condition, yes, no)
    return ak.where(*arrays) if any(isinstance(item, ak.Array) for item in arrays) else np.where(*arrays)


_FUNCTIONS: dict[str, tuple[tuple[int, ...], Callable[..., Any]]] = {
    **{name: ((1,), _reduction(name)) for name in ("sum", "min", "max", "count")},
    "mean": ((1, 2), _mean),
    "std": ((1, 2), _std),
    "moment": ((2, 3), _moment),
    "quantile": ((2,), _quantile),
    "top": ((2,), _top),
    **{name: ((1,), getattr(np, name)) for name in ("sqrt", "log", "log1p", "exp", "abs")},
    "hypot": ((2,), np.hypot),
    "where": ((3,), _where),
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

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        """Evaluate over columns by branch name: numpy arrays of shape [events, ...], or jagged awkward arrays.

        Raises:
            UsageError: If the shapes do not go together.
        """
        try:
            with np.errstate(all="ignore"):  # non-finite results are found, counted and named by the reader
                return _evaluate(self._tree, columns)
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
            raise UsageError(f"expression {text!r}: {part!r} is not in the feature language{hint}")
    return set().union(*(_check(child, text) for child in children)) if children else set()


def _check_call(node: ast.Call, function: str, text: str) -> None:
    if function not in _FUNCTIONS:
        raise UsageError(f"expression {text!r}: unknown function {function!r}: {did_you_mean(function, _FUNCTIONS)}")
    arities = _FUNCTIONS[function][0]
    if len(node.args) not in arities or node.keywords:
        takes = " or ".join(map(str, arities))
        raise UsageError(f"expression {text!r}: {function} takes {takes} argument{'s' if arities != (1,) else ''}")


def _slice(node: ast.Slice, text: str) -> slice:
    try:
        bounds = [None if part is None else ast.literal_eval(part) for part in (node.lower, node.upper, node.step)]
    except (ValueError, TypeError):
        bounds = [0.5]
    if any(not isinstance(bound, int | None) for bound in bounds) or bounds[-1] == 0:
        raise UsageError(f"expression {text!r}: a slice takes whole numbers, for example [2:5]")
    return slice(*bounds)


def _evaluate(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    name = branch_name(node)
    if name is not None:
        return _wide(columns[name])
    match node:
        case ast.Constant():
            return _number(node.value)
        case ast.BinOp():
            return _BINARY[type(node.op)](_evaluate(node.left, columns), _evaluate(node.right, columns))
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_evaluate(node.operand, columns))
        case ast.Compare():
            left, right = _evaluate(node.left, columns), _evaluate(node.comparators[0], columns)
            return _COMPARE[type(node.ops[0])](left, right)
        case ast.Call(func=ast.Name(id=function)):
            return _FUNCTIONS[function][1](*(_evaluate(argument, columns) for argument in node.args))
        case ast.Subscript(slice=ast.Slice() as bounds):
            return _evaluate(node.value, columns)[:, _slice(bounds, "")]
        case ast.Subscript():
            return _subscript(_evaluate(node.value, columns), _evaluate(node.slice, columns))
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
    if getattr(values, "ndim", 0) < 2 or getattr(index, "ndim", 0) < 2 or _kind(index) != "b":
        raise ValueError("what stands in brackets is a whole number, a slice, or a mask over the elements of an event")
    values, index = (
        ak.from_regular(ak.Array(item)) if isinstance(item, np.ndarray) else item for item in (values, index)
    )
    return values[index]


def _wide(values: Any) -> Any:
    """Return a branch with integers as double precision: in their own width, differences and sums would wrap around."""
    if _kind(values) not in "iu":
        return values
    return ak.values_astype(values, np.float64) if isinstance(values, ak.Array) else values.astype(np.float64)


def _kind(values: Any) -> str:
    """Return numpy's letter for the kind of number that is in an array."""
    if not isinstance(values, ak.Array):
        return str(np.asarray(values).dtype.kind)
    form = values.layout.form
    while not hasattr(form, "primitive"):
        form = form.content
    return str(np.dtype(form.primitive).kind)
