"""The automatic choice of features: what a detector reads out, and nothing else.

The energies are those of :mod:`calomlp.data.readouts`, whose names :mod:`calomlp.data.names` recognises.
The same deposits enter once: of branches whose sums are proportional event by event, the one that is nearest to the
readout. Where the measured object is and how wide, and numbers of hits and cells, are for the network alone. All other
branches are left out with a reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from calomlp.data.expressions import Expression, quote_branch
from calomlp.data.names import BEAM_LINE, OBJECTS, Role, is_one_of, role_of, words
from calomlp.data.readouts import Readout, readouts
from calomlp.data.reductions import elements, reduction
from calomlp.data.rows import Rows
from calomlp.errors import InputError, UsageError, did_you_mean
from calomlp.units import listed

logger = logging.getLogger(__name__)

_SAME_DEPOSITS = 0.3  # ratio of two sums that varies by less than this share of what either varies is that of the same
_EXACT = 1e-3  # relative variation that rounding may leave between two copies
_TOGETHER = 64  # events of about the same energy
_MAX_COMPARED = 500  # readouts that are compared with each other
_FEWEST = 20  # events that tell whether two are the same
_MAX_ELECTRIC_CHARGE = 10
_NAMED = 12
_COVERED = "the features of its hits stand for it"

_FOR_NETWORK = (Role.POSITION, Role.LAYER, Role.TIME, Role.SHAPE, Role.COUNT)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Features, and why other branches are none.

    Attributes:
        features: Expressions.
        energies: Those of them that the anchor combines.
        left_out: By branch, the reason.
    """

    features: tuple[str, ...]
    energies: tuple[str, ...]
    left_out: Mapping[str, str]


def automatic(
    table: Rows,
    target: Expression | None,
    reserved: frozenset[str] | set[str],
    exclude: Sequence[str] = (),
    mip: float | None = None,
) -> Choice:
    """Choose features.

    Args:
        table: An open file; its first events tell the number of layers and the energy of a MIP.
        target: The true energy, if it is known.
        reserved: Branches that have another use.
        exclude: Patterns of the names of branches that are not to be taken.
        mip: Energy of a minimum ionising particle in the unit of the hits; ``None`` to look for it.

    Raises:
        InputError: If no energy is recognised.
        UsageError: If a pattern matches no branch.
    """
    left_out = _not_asked_for(table, target, reserved, exclude)
    roles = _roles(table, [name for name in table.columns if name not in left_out])
    found = readouts(table, roles, mip)
    if not found:
        roles |= {name: Role.ENERGY for name, role in roles.items() if role is Role.MATERIAL and _is_active(name)}
        found = readouts(table, roles, mip)
    if not found:
        raise InputError(_nothing_recognised(table, left_out, roles))
    kept, copies = _without_copies(table, target, found)
    beam_line = [item for item in kept if is_one_of(BEAM_LINE, item.branch)]
    anchored = [item for item in kept if item not in beam_line] or kept
    for_network, counts = _for_network(table, roles, kept)
    features = [text for item in kept for text in (item.energies, *item.shapes)] + list(map(quote_branch, for_network))
    read = frozenset().union(*(Expression.parse(text).branches for text in features))
    covered = frozenset().union(*(item.covers for item in kept))
    for name in table.columns:
        if name not in read and name not in left_out:
            left_out[name] = (
                copies.get(name) or counts.get(name) or (_COVERED if name in covered else _reason(roles[name]))
            )
    logger.info("features: %s", ", ".join([*map(_shown, kept, range(len(kept))), *for_network]))
    for reason, names in by_reason(left_out).items():
        logger.info("left out, %s: %s", reason, listed(names, _NAMED))
    return Choice(tuple(features), tuple(item.energies for item in anchored), left_out)


def by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the branches that are left out for each reason."""
    found: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        found.setdefault(reason, []).append(name)
    return found


def _not_asked_for(
    table: Rows, target: Expression | None, reserved: frozenset[str] | set[str], exclude: Sequence[str]
) -> dict[str, str]:
    """Return the branches that have another use or are excluded, with the reason."""
    keys = {_last(name) for name in reserved}
    left_out = {name: "the target" for name in (target.branches if target else ()) if name in table.columns}
    lengths = {f"n{name}": name for name, column in table.columns.items() if column.jagged}
    left_out |= {
        length: f"the number of elements of {name}" for length, name in lengths.items() if length in table.columns
    }
    left_out |= {name: "it has another use" for name in table.columns if name in reserved or _last(name) in keys}
    for pattern in exclude:
        names = [name for name in table.columns if fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(f"--exclude {pattern!r} is no branch: {did_you_mean(pattern, table.columns)}")
        left_out |= dict.fromkeys(names, "excluded")
    return left_out


def _last(name: str) -> str:
    """Return a name without its tree: the number of an event is the same in friends."""
    return name.rpartition(".")[2]


def _roles(table: Rows, names: Sequence[str]) -> dict[str, Role]:
    """Return what branches hold; whether a charge is electric is told by its numbers, which are few and whole."""
    flags = {name for name in names if np.dtype(table.columns[name].kind).kind == "b"}
    roles = {name: Role.BOOKKEEPING if name in flags else role_of(name) for name in names}
    charges = [name for name, role in roles.items() if role is Role.CHARGE]
    for _, first in table.chunks(charges) if charges and table.entries else ():
        for name in charges:
            values, _ = elements(first[name])
            if np.any(values % 1 != 0) or np.any(np.abs(values) > _MAX_ELECTRIC_CHARGE):
                roles[name] = Role.SIGNAL
        break
    return roles


def _is_active(name: str) -> bool:
    """Tell whether a material may be what is read out: a single block of a simulation is often called absorber."""
    return not is_one_of(frozenset({"dead", "passive", "edead", "epassive"}), name)


def _nothing_recognised(table: Rows, left_out: Mapping[str, str], roles: Mapping[str, Role]) -> str:
    reasons = by_reason({**left_out, **{name: _reason(role) for name, role in roles.items()}})
    why = "".join(f"; {reason}: {listed(names)}" for reason, names in reasons.items())
    return f"{table.source}: no branch is recognised as an energy: name the features with --features{why}"


def _reason(role: Role) -> str:
    if role in _FOR_NETWORK:
        return f"{role.value}, but not of what is measured"
    return "there is an energy beside it" if role is Role.TRANSVERSE else role.value


def _shown(readout: Readout, number: int) -> str:
    """Return the features of a readout with a short name for an expression that comes again and again."""
    short = f"p{number}" if "(" in readout.energies and readout.shapes else readout.energies
    defined = readout.energies if short == readout.energies else f"{short} = {readout.energies}"
    return ", ".join([defined, *(shape.replace(readout.energies, short) for shape in readout.shapes)])


def _without_copies(
    table: Rows, target: Expression | None, found: Sequence[Readout]
) -> tuple[list[Readout], dict[str, str]]:
    """Return the readouts of different deposits in their order, and of what the others are copies.

    Two of the same deposits, such as layers with and without quenching, or hits and their contributions, have sums
    whose ratio varies by less than :data:`_SAME_DEPOSITS` of what either varies among events of about the same energy.
    """
    if len(found) < 2 or len(found) > _MAX_COMPARED or not table.entries:
        return list(found), {}
    _, first = next(iter(table.chunks({item.branch for item in found} | (target.branches if target else set()))))
    add = reduction("sum")
    with np.errstate(all="ignore"):
        sums = {item.branch: np.log(np.asarray(add(first[item.branch]), np.float64)) for item in found}
        truth = np.log(np.asarray(add(target(first)), np.float64)) if target else None
    distinct: list[Readout] = []
    copies: dict[str, str] = {}
    for item in sorted(found, key=lambda item: item.rank):
        own = sums[item.branch]
        same = next((other for other in distinct if _is_copy(own, sums[other.branch], truth)), None)
        if same is None:
            distinct.append(item)
        else:
            copies |= dict.fromkeys(item.covers, f"the same deposits as {same.branch}")
    return [item for item in found if item in distinct], copies


def _is_copy(one: Array, other: Array, truth: Array | None) -> bool:
    """Tell whether two logarithms of energies are those of the same deposits, shape [events] each."""
    good = np.isfinite(one) & np.isfinite(other) & (True if truth is None else np.isfinite(truth))
    if np.count_nonzero(good) < max(_FEWEST, len(good) / 2):
        return False
    one, other = one[good], other[good]
    if truth is None:
        return _variation(one - other, one) < _EXACT
    truth = truth[good]
    between = _variation(one - other, truth)
    return between < max(_EXACT, _SAME_DEPOSITS * min(_variation(one - truth, truth), _variation(other - truth, truth)))


def _variation(values: Array, truth: Array) -> float:
    """Return half the width of the middle 68 % of values among events of about the same true energy."""
    order = np.argsort(truth, kind="stable")
    size = min(_TOGETHER, len(order))
    blocks = values[order][: len(order) // size * size].reshape(-1, size)
    low, high = np.quantile(blocks, [0.1587, 0.8413], axis=1)
    return float(np.median(high - low)) / 2


def _for_network(table: Rows, roles: Mapping[str, Role], kept: Sequence[Readout]) -> tuple[list[str], dict[str, str]]:
    """Return single numbers that say where the measured object is, how wide, and of how many hits and cells.

    Returns:
        Their branches; and others with the reason why these are none.
    """
    named = frozenset(words(item.branch)[0] for item in kept)
    lists = [item.branch for item in kept if table.columns[item.branch].jagged]
    possible = [
        name
        for name, role in roles.items()
        if role in _FOR_NETWORK and not table.columns[name].jagged and not table.columns[name].shape
        if _is_of_the_object(name, role, named)
    ]
    if not possible or not table.entries:
        return possible, {}
    _, first = next(iter(table.chunks({*possible, *lists})))
    counts = {name: elements(first[name])[1] for name in lists}
    left_out = {}
    for name in possible:
        if not np.isfinite(np.asarray(first[name], np.float64)).all():
            left_out[name] = "not always finite"
        for of, count in counts.items():
            if np.array_equal(first[name], count):
                left_out[name] = f"the number of elements of {of}"
    return [name for name in possible if name not in left_out], left_out


def _is_of_the_object(name: str, role: Role, readouts: frozenset[str]) -> bool:
    """Tell whether a number belongs to what is measured and not to a jet, a vertex or a second particle."""
    before = frozenset(words(name)[:-1])
    if role is Role.COUNT:
        return True
    return bool(before & (OBJECTS | readouts)) if before or role is Role.TIME else True
