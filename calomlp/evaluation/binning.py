"""Which bins of the true energy suit some files: a look at their energies before the events are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from calomlp.data.dataset import Dataset
from calomlp.data.sample import MAX_BEAM_ENERGIES, true_energies
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.bins import AUTOMATIC, EDGES, LOGARITHMIC, MAX_BINS, POINTS, QUANTILES, EnergyBins
from calomlp.evaluation.histogram import blocks, edges, fine_bins
from calomlp.model.envelope import Envelope

_MIN_EVENTS_PER_POINT = 20
_MARGIN = 1e-3


def choose_bins(wanted: tuple[str, tuple[float, ...]], dataset: Dataset, envelope: Envelope | None) -> EnergyBins:
    """Return the bins that are asked for; unless they are, one for each of few beam energies, else a grid.

    The grid follows from the model, or from nothing at all, so that evaluations of parts of the data can be merged.

    Args:
        wanted: Kind of the bins, and the number of quantiles or the edges [GeV].
        dataset: The files.
        envelope: The region that the model was trained in, if there is one.

    Raises:
        UsageError: If bins for beam energies are asked for, and there is a spectrum.
    """
    kind, numbers = wanted
    if kind == EDGES:
        return EnergyBins.between(numbers)
    if kind == QUANTILES:
        return _quantiles(dataset, int(numbers[0]))
    if kind == AUTOMATIC:
        distinct, events = _distinct_energies(dataset, MAX_BEAM_ENERGIES)
        kind = POINTS if distinct <= min(MAX_BEAM_ENERGIES, events / _MIN_EVENTS_PER_POINT) else LOGARITHMIC
    elif kind == POINTS:
        distinct, events = _distinct_energies(dataset, MAX_BINS)
        if distinct > max(MAX_BEAM_ENERGIES, min(MAX_BINS, events / _MIN_EVENTS_PER_POINT)):
            raise UsageError(
                f"--bins points: {distinct} distinct true energies among the first {events} events are a spectrum, and "
                "no beam energies: leave it out, or say --bins log"
            )
    if kind == POINTS or envelope is None:
        return EnergyBins(kind)
    return EnergyBins.over(envelope.energy_min, envelope.energy_max)


def _true_energies(dataset: Dataset) -> Iterator[NDArray[np.float32]]:
    for number in range(len(dataset)):
        with suppress(InputError), dataset.look(number) as file:
            for some in file.selected(dataset.recipe.true_branches):
                yield true_energies(some, dataset.recipe, str(file.rows.source))


def _distinct_energies(dataset: Dataset, enough: int) -> tuple[int, int]:
    """Return the numbers of distinct true energies and of events read; stops early when there are more than enough."""
    distinct: NDArray[np.floating] = np.empty(0)
    events = 0
    for energies in _true_energies(dataset):
        for block in blocks(len(energies)):
            events += len(energies[block])
            distinct = np.unique(np.concatenate([distinct, energies[block]]))
            if len(distinct) > enough:
                return len(distinct), events
    return len(distinct), events


def _quantiles(dataset: Dataset, number: int) -> EnergyBins:
    """Return bins with about as many events each, from one more pass over the true energies."""
    counts: dict[int, int] = {}
    for energies in _true_energies(dataset):
        good = energies[np.isfinite(energies) & (energies > 0)].astype(np.float64)
        cells, found = np.unique(fine_bins(good), return_counts=True)
        for cell, count in zip(cells.tolist(), found.tolist(), strict=True):
            counts[cell] = counts.get(cell, 0) + count
    if not counts:
        raise InputError("no event has a true energy to make bins of")
    cells = np.array(sorted(counts))
    cumulated = np.cumsum([counts[cell] for cell in cells.tolist()])
    places = np.searchsorted(cumulated, np.linspace(0, cumulated[-1], number + 1)[1:-1])
    (low, high), inner = edges(cells[[0, -1]] + np.array([0, 1])), edges(cells[places] + 1)
    found = np.unique([low * (1 - _MARGIN), *inner, high * (1 + _MARGIN)])
    return EnergyBins.between(tuple(float(f"{edge:.4g}") for edge in found))
