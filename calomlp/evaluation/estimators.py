"""Measurements of one histogram of the response: the formulas of ``widths.py`` on bootstrap replicas, with errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calomlp.evaluation.histogram import Histogram, Joint, edges, fine_width
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import MEAN, WIDTHS, Options
from calomlp.evaluation.widths import OF_WIDTH, Counts, ReplicatedHistogram, Row, fit_crystal_ball

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
_HALF_SIGMA = 0.3829  # probability within half a sigma of a Gaussian
_LEAST = 2.0**-126  # what is smaller is zero

_MIN_FINE_BINS = 2.0
"""Narrowest width that is quoted, in fine bins: below it, the binning itself is measured."""

_ABOVE = 3.0
"""A location is above zero if it is by so many standard errors."""


def estimate_all(histogram: Histogram, options: Options) -> dict[str, Measurement]:
    """Return every estimator of a histogram with its error, by name; empty for fewer than :data:`MIN_EVENTS` events.

    Errors are standard deviations of Poisson bootstrap replicas. ``resolution`` is the width that the options name,
    relative to what they name; ``bias`` is the location that goes with it, minus one. A width that is narrower than two
    fine bins has no value, and a location that is not above zero no resolution; :func:`why_absent` says which.
    """
    if histogram.events < MIN_EVENTS:
        return {}
    rng = np.random.default_rng(options.seed)
    rows = _rows(_resampled(histogram, rng), options.core_sigmas)
    if histogram.events < MIN_QUOTED:
        del rows["sigma_eff"]
    estimates = {name: _measured(row) for name, row in rows.items()}
    chosen = WIDTHS[options.width]
    if options.width == "crystal_ball":
        estimates |= fit_crystal_ball(histogram, estimates["core_mean"].value, estimates["core_sigma"].value)
    _drop_narrow(estimates)
    if chosen.location in estimates:
        estimates["bias"] = Measurement(estimates[chosen.location].value - 1, estimates[chosen.location].error)
    if chosen.width not in estimates or not is_above_zero(estimates[chosen.location]):
        return estimates
    location = estimates[chosen.location]
    relative = options.relative_to == MEAN
    if chosen.width in rows and chosen.location in rows:
        row = rows[chosen.width] / rows[chosen.location] if relative else rows[chosen.width]
        estimates["resolution"] = _measured(row)
    else:  # the errors of width and location are all but independent
        estimates["resolution"] = _relative(estimates[chosen.width], location if relative else Measurement(1, 0))
    return estimates


def is_above_zero(location: Measurement) -> bool:
    """Whether a location of the response is above zero beyond its error: a width can be relative to it."""
    return location.value > _ABOVE * location.error


def why_absent(name: str, estimates: Mapping[str, Measurement], events: int, options: Options) -> str:
    """Say why an estimator of some events has no value.

    Args:
        name: Of the estimator.
        estimates: Those that have one.
        events: Number of the events.
        options: Say what the resolution is.
    """
    chosen = WIDTHS[options.width]
    location = estimates.get(chosen.location if name in ("resolution", "bias") else "core_mean")
    if not estimates:
        return f"{events} events are fewer than {MIN_EVENTS}"
    relative = name in ("resolution", "resolution_per_slope")
    if relative and location is not None and not is_above_zero(location):
        return "the mean response is not above zero"
    width = {"resolution": chosen.width, "resolution_per_slope": "core_sigma"}.get(name, name)
    if width == "sigma_eff" and events < MIN_QUOTED:
        return f"{events} events are fewer than {MIN_QUOTED}"
    if width in estimates:
        return "the response does not rise with the true energy, or has fewer than three bins"
    if width.startswith("crystal_ball"):
        return "the fit did not converge"
    narrow = f"the response is narrower than {_MIN_FINE_BINS:g} fine bins"
    return f"{narrow}, which are {100 * fine_width(1):.2g} % of it at most"


def _drop_narrow(estimates: dict[str, Measurement]) -> None:
    """Leave out widths that are those of the fine bins, and what follows from them."""
    for pair in WIDTHS.values():
        if pair.width not in estimates:
            continue
        width, location = estimates[pair.width].value, estimates[pair.location]
        own = fine_width(abs(location.value) + width)
        if width < _MIN_FINE_BINS * own:
            del estimates[pair.width]
            estimates[pair.location] = Measurement(location.value, max(location.error, own / math.sqrt(12)))
    if "core_sigma" not in estimates:
        del estimates["tail_2sigma"], estimates["tail_3sigma"]


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

    It is ``None`` for fewer than :data:`MIN_EVENTS` events, and where there is no resolution.
    """
    if joint.count[cells].sum() < MIN_EVENTS:
        return None
    (sample,) = _samples(joint, cells, ("y",), options.seed)
    return _measured(_chosen(sample, options))


def _samples(
    joint: Joint, cells: slice | NDArray[np.intp], axes: Sequence[str], seed: int
) -> Iterator[ReplicatedHistogram]:
    """Yield the distributions of quantities of a joint histogram, and of the same replicas of all of them."""
    counts = _with_replicas(joint.count[cells].astype(np.float64), np.random.default_rng(seed))
    for axis in axes:
        place = getattr(joint, axis)[cells]
        order = np.argsort(place, kind="stable")
        places, starts = np.unique(place[order], return_index=True)
        summed = np.add.reduceat(counts[:, order], starts, axis=1)
        yield ReplicatedHistogram(*joint.edges(places), summed)


def _with_replicas(data: Row, rng: np.random.Generator) -> Counts:
    """Return counts and their Poisson bootstrap replicas below them; large ones are as good as normal, and faster."""
    counts = np.empty((1 + _REPLICAS, len(data)))
    counts[0] = data
    large = data > _LARGE
    counts[1:, ~large] = rng.poisson(data[~large], (_REPLICAS, np.count_nonzero(~large)))
    counts[1:, large] = data[large] + np.sqrt(data[large]) * rng.standard_normal((_REPLICAS, np.count_nonzero(large)))
    return counts


def _chosen(sample: ReplicatedHistogram, options: Options) -> Row:
    """Return the resolution of every replica; that of the core stands for the fit of a Crystal Ball."""
    chosen = WIDTHS[options.width if options.width != "crystal_ball" else "core"]
    rows = OF_WIDTH[chosen.width](sample, options.core_sigmas)
    return rows[chosen.width] / rows[chosen.location] if options.relative_to == MEAN else rows[chosen.width]


def _resampled(histogram: Histogram, rng: np.random.Generator) -> ReplicatedHistogram:
    """Return a histogram and its replicas, with bins that are as fine as they need to be.

    They are multiples of a power of two, so that they hold whole fine bins, and some 32 of them are a sigma: that of
    the densest part, the shortest range with 38 % of the events, which does not know of any that are far away. Fine
    bins that are wider, far from there, stay as they are.
    """
    low, high = edges(histogram.index), edges(histogram.index + 1)
    until = np.cumsum(histogram.count)
    end = np.searchsorted(until, until - histogram.count + _HALF_SIGMA * until[-1])
    sigma = np.min(high[end[end < len(high)]] - low[: np.count_nonzero(end < len(high))])
    width = math.ldexp(1.0, math.floor(math.log2(sigma / _FINENESS)))
    wider = high - low >= width
    low = np.where(wider, low, np.floor(low / width) * width)
    high = np.where(wider, high, low + width)
    low, starts = np.unique(low, return_index=True)
    data = np.add.reduceat(histogram.count, starts).astype(np.float64)
    return ReplicatedHistogram(low, high[starts], _with_replicas(data, rng))


def _rows(sample: ReplicatedHistogram, core_sigmas: float) -> dict[str, Row]:
    """Return the estimators of every replica by name."""
    rows: dict[str, Row] = {}
    for of_width in OF_WIDTH.values():
        rows |= of_width(sample, core_sigmas)
    for sigmas in (2, 3):
        reach = sigmas * rows["core_sigma"]
        inside = sample.below(rows["core_mean"] + reach) - sample.below(rows["core_mean"] - reach)
        rows[f"tail_{sigmas}sigma"] = 1 - inside / sample.total
    return rows


def _measured(row: Row) -> Measurement:
    """Return the number of the data with the standard deviation of the replicas; zero has a fine bin to itself."""
    return Measurement(float(row[0]) if abs(row[0]) > _LEAST else 0.0, float(row[1:].std(ddof=1)))


def _relative(width: Measurement, location: Measurement) -> Measurement:
    ratio = width.value / location.value
    return Measurement(ratio, float(np.hypot(width.error / location.value, ratio * location.error / location.value)))
