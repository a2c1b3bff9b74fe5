"""A look at the training data for what would make a result worthless, before a week is lost with it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from calomlp.data.dataset import Data
from calomlp.data.expressions import quote_branch
from calomlp.data.names import MISSING_MARKS, looks_like_energy, looks_like_truth
from calomlp.data.rows import open_rows
from calomlp.data.sample import MAX_BEAM_ENERGIES, Sample
from calomlp.data.sources import Source
from calomlp.model.outcome import DataWarning, WarningKind
from calomlp.training.truth import look_for_truth
from calomlp.units import listed

logger = logging.getLogger(__name__)

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
            for feature, branches in zip(data.recipe.features, data.recipe.features.branches_of_each, strict=True)
            for branch in sorted(branches if feature.energy else ())
            if looks_like_energy(branch)
        )
        way_out = f": --cut '{energies} != 0' leaves them out" if energies else ""
        share = f"{data.tally.empty} of {len(data.side)} events"
        yield f"{share} have no energy at all, which no calibration can mend{way_out}"
