"""A look at the training data for what would make a result worthless, before a week is lost with it.

A simulation also writes what no detector knows, such as the energies that are lost in absorbers or leak out. With the
readout they add up to the true energy, because energy is conserved: features that give it far better than a detector
can look like truth, whatever their names. Residuals are those of least-squares fits to one half of the events, on the
other half: the median of abs(fit/E - 1), times 1.4826, which is sigma for Gaussian data.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.data.dataset import Data, DataFile
from calomlp.data.expressions import quote_branch
from calomlp.data.names import MISSING_MARKS, Role, is_loss, looks_like_energy, looks_like_truth, role_of
from calomlp.data.operations import reduction
from calomlp.data.rows import Rows, open_rows
from calomlp.data.sample import MAX_BEAM_ENERGIES, Recipe, Sample, Side
from calomlp.data.sources import Source, Tally
from calomlp.model.outcome import DataWarning, WarningKind
from calomlp.run import Run
from calomlp.units import listed

logger = logging.getLogger(__name__)

_EVENTS, _FEWEST = 5_000, 300
_COLUMNS = 100  # of the readout that are fitted one by one
_LEFT_OUT = 200  # branches that are looked at
_EXACT = 1e-3
"""Closer than this no detector follows the true energy, and no momentum either."""

_SUM = 8e-3
"""A sum of several branches that comes closer than this, and several times as close as each of them, is no calorimeter:
electrons of some GeV in crystals are known to about this."""

_CLOSED = 2e-3  # a sum that left-out branches complete is as close as this, and
_CLOSER = 10.0  # so many times as close as the readout
_FAR_BETTER = 3.0
_IN_VAIN = 1.2  # what makes a residual larger by less than this is not needed
_SIGNIFICANT, _WORTHWHILE = 4.0, 0.02
_BLOCK = 40  # events of a piece of a curve through a single feature

_RIGHT = (Role.ENERGY, Role.SIGNAL, Role.TRANSVERSE, Role.MOMENTUM, Role.POSITION, Role.LAYER, Role.COUNT, Role.SHAPE)
"""What a detector or a reconstruction knows by its name."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Columns that explain the true energy.

    Attributes:
        suspects: Features that look like truth.
        sentence: Says why; empty if none does.
        worth_adding: Branches that were left out and improve the line, as ``--also`` takes them.
    """

    suspects: tuple[str, ...] = ()
    sentence: str = ""
    worth_adding: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Events:
    """Training events, and what is known of them."""

    truth: Array  # true energies [GeV], shape [events]
    columns: Array  # energies of the readout, shape [events, columns]
    used: dict[str, Array]  # features by their expressions, arrays as their sums, shape [events] each
    right: frozenset[str]  # those that a detector knows by their names
    left_out: dict[str, Array]  # branches that are no features, shape [events] each


def look_for_truth(sources: Sequence[Source], recipe: Recipe) -> Explanation:
    """Look at the first training events for features that explain the true energy too well, or are missed.

    Args:
        sources: The files.
        recipe: What is made of them.
    """
    events = _read(sources, recipe)
    found, readout = list(_by_name(recipe)), np.inf
    if events is not None and (distinct := len(np.unique(events.truth))) > 1:
        readout = _residual(events.columns, events.truth)
        found += _alone(events, readout) if distinct > _BLOCK else ()  # fewer are told from each other by anything
        found += _together(events, readout)
    suspects = tuple(dict.fromkeys(name for names, _ in found for name in names))
    sentence = ""
    if found:
        told, reason = found[-1]  # the most telling
        others = [name for name in suspects if name not in told]
        further = f"; also {listed(others)}, by name" if others else ""
        verb = "look" if len(told) > 1 else "looks"
        sentence = f"{listed(told)} {verb} like truth, from which nothing is learned of the detector: {reason}{further}"
    return Explanation(suspects, sentence, () if found or not np.isfinite(readout) else tuple(_missed(events, readout)))


def _read(sources: Sequence[Source], recipe: Recipe) -> _Events | None:
    """Return training events of the first files, or nothing if they are too few."""
    names: list[str] | None = None
    parts: list[tuple[Any, Any, Any]] = []
    add, read = reduction("sum"), 0
    for source in sources:
        with open_rows(source, recipe.layout, recipe.branches) as rows:
            names = _candidates(rows, recipe) if names is None else [name for name in names if name in rows.columns]
            for chunk in DataFile(rows, recipe, Tally(), Run()).chunks(more=frozenset(names)):
                mine = chunk[recipe.sides(rows.identity, chunk.sample) == Side.TRAIN]
                others = {name: np.asarray(add(mine.branches[name]), np.float64) for name in names}
                parts.append((mine.sample.true_energy, mine.sample.features, others))
                read += len(mine)
                if read >= _EVENTS:
                    break
        if read >= _EVENTS:
            break
    if read < _FEWEST:
        return None
    truth, matrix = (np.concatenate([part[place] for part in parts])[:_EVENTS].astype(np.float64) for place in (0, 1))
    left_out = {name: np.concatenate([part[2][name] for part in parts])[:_EVENTS] for name in names or ()}
    features = recipe.features
    blocks = {item.expression: matrix[:, place] for item, place in zip(features, features.slices, strict=True)}
    used = {item.expression: blocks[item.expression].sum(axis=1) for item in features if item.energy or item.width == 1}
    right = frozenset(item.expression for item in features if {*map(role_of, item.parsed.branches)} <= {*_RIGHT})
    energies = [item.expression for item in features if item.energy]
    readout = [name for name in energies if name in right] or energies
    columns = np.concatenate([blocks[name] for name in readout], axis=1)
    if columns.shape[1] > _COLUMNS:
        columns = np.stack([used[name] for name in readout], axis=1)
    good = {name: values for name, values in left_out.items() if np.isfinite(values).all() and np.ptp(values) > 0}
    return _Events(truth, columns, used, right, good)


def _candidates(rows: Rows, recipe: Recipe) -> list[str]:
    """Return branches that are no features and might explain the true energy: numbers and arrays."""
    taken = recipe.branches
    names = [name for name, column in rows.columns.items() if name not in taken and not column.jagged]
    names = [name for name in names if role_of(name) not in (Role.TRUTH, Role.BOOKKEEPING, Role.ERROR)]
    return [name for name in names if np.dtype(rows.columns[name].kind).kind != "b"][:_LEFT_OUT]


def _by_name(recipe: Recipe) -> Iterator[tuple[list[str], str]]:
    """Yield features whose names say that they are truth, or energies in materials or lost ones."""
    named = [
        (feature, set(map(role_of, feature.parsed.branches)), any(map(is_loss, feature.parsed.branches)))
        for feature in recipe.features
    ]
    readout = any(feature.energy and not {Role.MATERIAL, Role.TRUTH} & roles for feature, roles, _ in named)
    truth = [item.expression for item, roles, _ in named if Role.TRUTH in roles]
    lost = [item.expression for item, roles, loss in named if loss or (readout and Role.MATERIAL in roles)]
    if truth or lost:
        yield [*lost, *truth], "by name, no detector measures it"


def _alone(events: _Events, readout: float) -> Iterator[tuple[list[str], str]]:
    """Yield single features that follow the true energy too closely."""
    for name, values in events.used.items():
        residual = _curve_residual(values, events.truth) if np.ptp(values) > 0 else np.inf
        limit = _EXACT if name in events.right else max(_EXACT, readout / _FAR_BETTER)
        if residual < limit and (residual < readout / _FAR_BETTER or len(events.used) == 1 or residual < _EXACT / 10):
            yield [name], f"{name} alone gives the true energy to {_percent(residual)}{_beside(readout)}"


def _together(events: _Events, readout: float) -> Iterator[tuple[list[str], str]]:
    """Yield features that add up to the true energy, by themselves or completed by branches that are left out."""
    used = {name: values for name, values in events.used.items() if np.ptp(values) > 0}
    doubtful = [name for name in used if name not in events.right]
    if len(used) > 1:
        residual = _sum_residual(used, events.truth)
        single = min(_residual(values[:, None], events.truth) for values in used.values())
        best = min(single, readout) if doubtful else single  # by names alone all of them are the readout
        if residual < _SUM and residual < best / _FAR_BETTER:
            needed = _needed(used, events.truth, residual * _IN_VAIN)
            suspects = [name for name in needed if name not in events.right] or needed
            beside = _beside(readout) if doubtful else f", where one alone gives {_percent(single)}"
            yield suspects, f"{listed(needed)} add up to the true energy to {_percent(residual)}{beside}"
    left_out = {name: values for name, values in events.left_out.items() if not _is_copy(values, used)}
    if not doubtful or not left_out:
        return
    everything = used | left_out
    residual = _sum_residual(everything, events.truth)
    if residual < _CLOSED and residual < readout / _CLOSER:
        needed = _needed(everything, events.truth, max(residual * _IN_VAIN, _EXACT / 100))
        suspects = [name for name in needed if name in doubtful]
        if suspects:
            yield (
                suspects,
                (
                    f"{listed(needed)} add up to the true energy to {_percent(residual)}{_beside(readout)} "
                    f"({listed([name for name in needed if name in left_out]) or 'nothing'} left out)"
                ),
            )


def _missed(events: _Events | None, readout: float) -> Iterator[str]:
    """Yield branches that are left out, are no truth, and improve the line on events that it was not fitted to."""
    if events is None:
        return
    before = np.abs(_deviations(events.columns, events.truth))
    everything = {name: values for name, values in events.left_out.items() if not _is_copy(values, events.used)}
    closed = _sum_residual(events.used | everything, events.truth) if everything else np.inf
    balance = _needed(events.used | everything, events.truth, closed * _IN_VAIN) if closed < _CLOSED else []
    for name, values in everything.items():
        role = role_of(name)
        if role in (Role.SIMULATION, Role.MATERIAL) or (name in balance and role not in _RIGHT):
            continue
        after = np.abs(_deviations(np.column_stack([events.columns, values]), events.truth))
        alone = _curve_residual(values, events.truth)
        if alone < (_EXACT if role in _RIGHT else max(_EXACT, readout / _FAR_BETTER)):
            continue
        gain = np.minimum(before, 1) - np.minimum(after, 1)
        error = gain.std() / np.sqrt(len(gain))
        if gain.mean() > max(_SIGNIFICANT * error, _WORTHWHILE * np.minimum(before, 1).mean()):
            yield quote_branch(name)


def _deviations(columns: Array, truth: Array) -> Array:
    """Return relative deviations of a weighted sum, fitted to every other event, in the others, shape [events / 2]."""
    weight = 1 / np.sqrt(truth[::2])
    scale = np.maximum(np.abs(columns).mean(axis=0), np.finfo(float).tiny)
    x = columns / scale
    fitted = np.linalg.lstsq(x[::2] * weight[:, None], truth[::2] * weight, rcond=1e-10)[0]
    return np.asarray(x[1::2] @ fitted / truth[1::2] - 1)


def _residual(columns: Array, truth: Array) -> float:
    return 1.4826 * float(np.median(np.abs(_deviations(columns, truth))))


def _sum_residual(parts: Mapping[str, Array], truth: Array) -> float:
    return _residual(np.column_stack(list(parts.values())), truth)


def _needed(parts: Mapping[str, Array], truth: Array, limit: float) -> list[str]:
    """Return the few of some quantities whose sum stays as close to the true energy as a limit, the largest first."""
    kept = dict(parts)
    for name in sorted(parts, key=lambda name: float(np.abs(parts[name]).mean())):
        rest = {other: values for other, values in kept.items() if other != name}
        if rest and _sum_residual(rest, truth) <= limit:
            kept = rest
    return sorted(kept, key=lambda name: -float(np.abs(kept[name]).mean()))


def _curve_residual(values: Array, truth: Array) -> float:
    """Return how far the true energies are from a smooth curve over a feature: straight lines in pieces of it."""
    mixed = np.random.default_rng(1).permutation(len(values))  # equal ones are in no order of the file
    order = mixed[np.argsort(values[mixed], kind="stable")]
    pieces = len(order) // _BLOCK
    x, y = (item[order][: pieces * _BLOCK].reshape(pieces, _BLOCK) for item in (values, truth))
    dx, dy = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    spread = (dx**2).sum(axis=1, keepdims=True)
    slope = np.divide((dx * dy).sum(axis=1, keepdims=True), spread, out=np.zeros_like(spread), where=spread > 0)
    return 1.4826 * float(np.median(np.abs((dy - slope * dx) / y)))


def _is_copy(values: Array, used: Mapping[str, Array]) -> bool:
    """Tell whether a quantity is proportional to one of others."""
    with np.errstate(all="ignore"):
        ratios = (values / other for other in used.values())
        return any(bool(np.isfinite(item).all()) and item.std() < _EXACT / 10 * abs(item.mean()) for item in ratios)


def _beside(readout: float) -> str:
    return f", where the readout gives {_percent(readout)}"


def _percent(residual: float) -> str:
    return f"{100 * residual:.2g} %"


_SUSPICIOUS_ENERGY = 10_000.0

_USUAL, _WILD = 0.999, 1e4
"""A value is wild if it is this many times as large as this share of all."""

_LOOK = 10_000
"""So many events tell what is usual."""


def look_at(data: Data, sample: Sample, sources: Sequence[Source]) -> list[DataWarning]:
    """Warn of what looks wrong.

    Args:
        data: What was read.
        sample: Training events.
        sources: The files, those that were left out among them.
    """
    sources = [source for source in sources if source.label not in data.tally.files]
    truth = look_for_truth(sources, data.recipe)
    warnings = [DataWarning(WarningKind.DATA, sentence) for sentence in _unit(sample)]
    warnings += [DataWarning(WarningKind.FEW_ENERGIES, sentence) for sentence in _few_energies(data, sample, sources)]
    warnings += [DataWarning(WarningKind.TRUTH, truth.sentence)] if truth.sentence else []
    warnings += [DataWarning(WarningKind.DATA, sentence) for sentence in (*_features(data, sample), *_empty(data))]
    for warning in warnings:
        logger.warning("%s", warning.sentence)
    if truth.worth_adding:
        adds = " ".join(f"--also {shlex.quote(text)}" for text in truth.worth_adding)
        logger.info("the line would be better with branches that were left out: %s", adds)
    return warnings


def _unit(sample: Sample) -> Iterator[str]:
    highest = float(sample.true_energy.max())
    if highest > _SUSPICIOUS_ENERGY:
        yield f"true energies go up to {highest:g} GeV: if these are MeV, say --unit MeV"


def _few_energies(data: Data, sample: Sample, sources: Sequence[Source]) -> Iterator[str]:
    distinct = np.unique(sample.true_energy)
    if len(distinct) == 1:
        yield (
            f"all events have the true energy {distinct[0]:g} GeV: nothing tells what is measured at others"
            + _others(data, sources)
        )
    elif len(distinct) <= MAX_BEAM_ENERGIES and data.recipe.split_by is None:
        yield (
            f"only {len(distinct)} distinct true energies ({listed([f'{energy:g}' for energy in distinct])} GeV): a "
            "network can learn them by heart, and the test does not show it; --split-by energy tests at energies that "
            "were not trained on"
        )


def _others(data: Data, sources: Sequence[Source]) -> str:
    """Say what else might be the true energy."""
    with open_rows(sources[0], data.recipe.layout) as rows:
        truth = [name for name in rows.columns if looks_like_truth(name) and name not in data.recipe.target.branches]
    return f"; {data.recipe.target.text} may not be the truth: there is also {listed(truth)}" if truth else ""


def _features(data: Data, sample: Sample) -> Iterator[str]:
    marked = [
        f"{name} is {mark:g} in {number} training events"
        for mark in MISSING_MARKS
        for name, number in zip(
            data.recipe.features.columns, np.count_nonzero(sample.features == mark, axis=0).tolist(), strict=True
        )
        if number > 1
    ]
    if marked:
        yield f"{listed(marked, 3)}: if that stands for a missing value, say so with --missing"
    if data.recipe.missing and not data.tally.missing:
        marks = ", ".join(f"{mark:g}" for mark in data.recipe.missing)
        yield f"no value is {marks}, which --missing says to stand for a missing one"
    sampled = sample[:: max(1, len(sample) // _LOOK)]
    usual = np.quantile(np.abs(sampled.features), _USUAL, axis=0)
    largest = np.abs(sample.features).max(axis=0)
    wild = [
        f"{name} reaches {peak:.3g}, where nearly all events stay below {high:.3g}"
        for name, peak, high in zip(data.recipe.features.columns, largest, usual, strict=True)
        if peak > _WILD * high > 0
    ]
    if wild:
        yield f"{listed(wild, 3)}: beside such a value all others look alike to the network; leave it out with --cut"


def line_residual(values: NDArray[np.floating], true_energy: NDArray[np.floating]) -> float:
    """Return the median relative distance of the true energies from the best straight line through a feature."""
    x, y = values.astype(np.float64), true_energy.astype(np.float64)
    spread = np.mean((x - x.mean()) ** 2)
    if not spread:
        return float("inf")
    slope = np.mean((x - x.mean()) * (y - y.mean())) / spread
    return float(np.median(np.abs(y.mean() + slope * (x - x.mean()) - y) / y))


def _empty(data: Data) -> Iterator[str]:
    if data.tally.empty:
        energies = " + ".join(
            f"sum({quote_branch(branch)})"
            for feature in data.recipe.features
            for branch in sorted(feature.parsed.branches)
            if feature.energy and looks_like_energy(branch)
        )
        way_out = f": --cut '{energies} != 0' leaves them out" if energies else ""
        share = f"{data.tally.empty} of {len(data.side)} events"
        yield f"{share} have no energy at all, which no calibration can mend{way_out}"
