"""What a response distribution comes to: every estimator of location and width, with bootstrap errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calomlp.evaluation.crystal_ball import fit_crystal_ball
from calomlp.evaluation.histogram import BIN_WIDTH, Histogram, Joint
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.names import MEAN, QUADRATURE, WIDTHS
from calomlp.evaluation.widths import OF_WIDTH, Counts, Row, Sample

MIN_EVENTS = 100
"""Bins with fewer events are shown without estimates: their widths are biased by more than 5 %."""

MIN_SHOWN = 300
"""Bins with fewer are in no figure and no fit."""

MIN_QUOTED = 1000
"""With fewer, the core sigma is known to 4 % at best, and the effective sigma is biased by more than 1.6 %: it has no
value then."""

_REPLICAS = 200
_LARGE = 50  # events
_FINENESS = 32  # bins in a sigma that are enough


@dataclass(frozen=True)
class Options:
    """How numbers are derived from what was accumulated.

    Attributes:
        width: One of :data:`WIDTHS`: what ``resolution`` and ``bias`` stand for in fits, ratios and tables.
        core_sigmas: Half width of the window of the Gaussian core, in its sigma.
        relative_to: One of :data:`~calomlp.evaluation.names.RELATIVE_TO`.
        sum: How the terms of the resolution are added up, one of :data:`~calomlp.evaluation.names.SUMS`.
        noise: The noise term [GeV], where it is known from elsewhere and not fitted.
        edges: Whether bins at an edge of the training range are fitted too.
        seed: Of the bootstrap.
    """

    width: str = "core"
    core_sigmas: float = 2.0
    relative_to: str = MEAN
    sum: str = QUADRATURE
    noise: float | None = None
    edges: bool = False
    seed: int = 1


def estimate_all(histogram: Histogram, options: Options) -> dict[str, Measurement]:
    """Return every estimator of a histogram with its error, by name; empty for fewer than :data:`MIN_EVENTS` events.

    ``mean`` and ``rms`` are those of all events, the others of the events in the fine bins. Errors are standard
    deviations of Poisson bootstrap replicas, that of the mean is RMS/sqrt(N). ``resolution`` is the width that the
    options name, relative to what they name; ``bias`` is the location that goes with it, minus one.
    """
    if histogram.count.sum() < MIN_EVENTS:
        return {}
    rng = np.random.default_rng(options.seed)
    rows = _rows(_resampled(histogram, rng), histogram, options.core_sigmas)
    if histogram.events < MIN_QUOTED:
        del rows["sigma_eff"]
    found = {name: _measured(row) for name, row in rows.items()} | _moments(histogram, rows["rms"])
    chosen = WIDTHS[options.width]
    if options.width == "crystal_ball":
        found |= fit_crystal_ball(histogram, found["core_mean"].value, found["core_sigma"].value)
    if chosen.location in found:
        found["bias"] = Measurement(found[chosen.location].value - 1, found[chosen.location].error)
    if chosen.width not in found:
        return found
    location = found[chosen.location]
    relative = options.relative_to == MEAN
    if chosen.width in rows and chosen.location in rows:
        row = rows[chosen.width] / rows[chosen.location] if relative else rows[chosen.width]
        found["resolution"] = _measured(row)
    else:  # the errors of width and location are all but independent
        found["resolution"] = _relative(found[chosen.width], location if relative else Measurement(1, 0))
    return found


def resolution_ratio(joint: Joint, options: Options) -> Measurement:
    """Return the ratio of the resolutions of two curves that are made from the same events.

    Both are taken from each bootstrap replica of the joint histogram, so that what fluctuates alike in both does not
    count: the error is two to five times smaller than that of independent samples.

    Args:
        joint: Responses of the one curve and the other.
        options: Say which resolution.
    """
    one, other = (_chosen(sample, options) for sample in _samples(joint, slice(None), ("x", "y"), options.seed))
    return _measured(one / other)


def resolution_in(joint: Joint, cells: NDArray[np.intp], options: Options) -> Measurement | None:
    """Return the resolution of what is in some cells of a joint histogram whose ``y`` is the response.

    It is ``None`` for fewer than :data:`MIN_EVENTS` events.
    """
    if joint.count[cells].sum() < MIN_EVENTS:
        return None
    (sample,) = _samples(joint, cells, ("y",), options.seed)
    return _measured(_chosen(sample, options))


def _samples(joint: Joint, cells: slice | NDArray[np.intp], axes: Sequence[str], seed: int) -> Iterator[Sample]:
    """Yield the distributions of quantities of a joint histogram, and of the same replicas of all of them."""
    counts = _with_replicas(joint.count[cells].astype(np.float64), np.random.default_rng(seed))
    for axis in axes:
        place = getattr(joint, axis)[cells]
        order = np.argsort(place, kind="stable")
        found, starts = np.unique(place[order], return_index=True)
        summed = np.add.reduceat(counts[:, order], starts, axis=1)
        yield Sample((found + 0.5) * joint.width, summed, joint.width)


def _with_replicas(data: Row, rng: np.random.Generator) -> Counts:
    """Return counts and their Poisson bootstrap replicas below them; large ones are as good as normal, and faster."""
    counts = np.empty((1 + _REPLICAS, len(data)))
    counts[0] = data
    large = data > _LARGE
    counts[1:, ~large] = rng.poisson(data[~large], (_REPLICAS, np.count_nonzero(~large)))
    counts[1:, large] = data[large] + np.sqrt(data[large]) * rng.standard_normal((_REPLICAS, np.count_nonzero(large)))
    return counts


def _chosen(sample: Sample, options: Options) -> Row:
    """Return the resolution of every replica; that of the core stands for the fit of a Crystal Ball."""
    chosen = WIDTHS[options.width if options.width != "crystal_ball" else "core"]
    rows = OF_WIDTH[chosen.width](sample, options.core_sigmas)
    return rows[chosen.width] / rows[chosen.location] if options.relative_to == MEAN else rows[chosen.width]


def _resampled(histogram: Histogram, rng: np.random.Generator) -> Sample:
    """Return a histogram and its replicas, with bins that are as fine as they need to be."""
    level = 0
    cumulated = np.cumsum(histogram.count) / histogram.count.sum()
    low, high = histogram.index[np.searchsorted(cumulated, [0.1587, 0.8413])]
    while (high - low) >> (level + 1) > 2 * _FINENESS:
        level += 1
    index, starts = np.unique(histogram.index >> level, return_index=True)
    data = np.add.reduceat(histogram.count, starts).astype(np.float64)
    counts = _with_replicas(data, rng)
    width = BIN_WIDTH * 2**level
    return Sample(1 + (index + 0.5) * width, counts, width)


def _rows(sample: Sample, histogram: Histogram, core_sigmas: float) -> dict[str, Row]:
    """Return the estimators of every replica by name."""
    rows: dict[str, Row] = {}
    for of_width in OF_WIDTH.values():
        rows |= of_width(sample, core_sigmas)
    del rows["mean"]  # that of all events is better
    everything = sample.total + histogram.outside
    for sigmas in (2, 3):
        reach = sigmas * rows["core_sigma"]
        inside = sample.below(rows["core_mean"] + reach) - sample.below(rows["core_mean"] - reach)
        rows[f"tail_{sigmas}sigma"] = 1 - inside / everything
    return rows


def _measured(row: Row) -> Measurement:
    return Measurement(float(row[0]), float(row[1:].std(ddof=1)))


def _relative(width: Measurement, location: Measurement) -> Measurement:
    ratio = width.value / location.value
    return Measurement(ratio, float(np.hypot(width.error / location.value, ratio * location.error / location.value)))


def _moments(histogram: Histogram, replicas: Row) -> dict[str, Measurement]:
    """Return mean and RMS of all events; for Gaussian data their errors are sigma/sqrt(N) and RMS/sqrt(2 N).

    The error of the RMS is that of the replicas of the events in the fine bins, scaled.
    """
    n = histogram.events
    mean = histogram.deviation / n
    rms = math.sqrt(max(histogram.deviation_squared / n - mean**2, 0.0) * n / (n - 1))
    within = _measured(replicas)
    error = rms * within.error / within.value if within.value else 0.0
    return {"mean": Measurement(1 + mean, rms / math.sqrt(n)), "rms": Measurement(rms, error)}
