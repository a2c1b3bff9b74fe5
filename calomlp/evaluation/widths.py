"""Estimators of location and width of a distribution, of the data and of all bootstrap replicas at once.

``counts`` has shape [replicas, bins], where the first row is the data and the others are replicas. Definitions follow
the test-beam and reconstruction literature; where a paper fixed one it is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from calomlp.evaluation.histogram import Histogram, fine_width
from calomlp.evaluation.measurement import Measurement

ONE_SIGMA = 0.6827
"""Probability within one sigma of a Gaussian."""

_CORE_ITERATIONS = 50
_CORE_PRECISION = 1e-4
_HALVINGS = 25
_GRID, _REACH = 161, 5.0  # points and half width, in sigma, of a smoothed density
_QUARTILE = 0.6745  # sigma of a Gaussian
_FWHM = math.sqrt(8 * math.log(2))
_GAUSSIAN_MAD = 1.4826

_BALL_REACH = 8.0  # core sigma
_BALL_FINENESS = 16  # bins in a core sigma
_STEEPNESS = (1.01, 100.0)
_TURN = (0.2, 5.0)
_STEEP = 50.0  # a power that is none
_MIN_TAIL = 10.0  # events

Counts = NDArray[np.float64]
Row = NDArray[np.float64]


class ReplicatedHistogram:
    """Histograms over the same bins, with the running sums that the estimators share.

    Sums of the first and second power are those of the distance from the middle bin, and run from there to both sides:
    neither the scale of the response nor a single event far away costs the others a digit.

    Args:
        low: Where the occupied bins begin, in ascending order, shape [bins].
        high: Where they end.
        counts: Shape [replicas, bins].
    """

    def __init__(self, low: Row, high: Row, counts: Counts) -> None:
        self.low, self.width, self.counts = low, high - low, counts
        self.centres = low + self.width / 2
        self.total = counts.sum(axis=1)  # [replicas]
        self.replicas = np.arange(len(counts))
        zero = np.zeros((len(counts), 1))
        self.running = [np.concatenate([zero, np.cumsum(counts, axis=1)], axis=1)]
        middle = int(np.searchsorted(self.running[0][0, 1:], self.total[0] / 2))
        self.middle, self.finest = self.centres[middle], self.width[middle]
        self.x = self.centres - self.middle
        for power in (1, 2):
            moment = counts * self.x**power
            before, after = (
                -np.cumsum(moment[:, :middle][:, ::-1], axis=1)[:, ::-1],
                np.cumsum(moment[:, middle:], axis=1),
            )
            self.running.append(np.concatenate([before, zero, after], axis=1))

    def quantile(self, probability: float) -> Row:
        """Return a quantile of every replica, interpolated inside the bin that holds it."""
        return self.place(probability * self.total[:, None])[:, 0]

    def reaching(self, events: Counts) -> NDArray[np.int64]:
        """Return the bin in which every replica reaches so many events, shape [replicas, any]."""
        bins = np.searchsorted(self._shares.ravel(), self._shifted(events)) - len(self.centres) * self.replicas[:, None]
        clipped: NDArray[np.int64] = np.clip(bins, 0, len(self.centres) - 1)
        return clipped

    @cached_property
    def _shares(self) -> Counts:
        return self._shifted(self.running[0][:, 1:])

    def _shifted(self, events: Counts) -> Counts:
        """Return shares of all events, plus two for each replica before, so that all are searched at once."""
        return np.asarray(events / self.total[:, None] + 2.0 * self.replicas[:, None])

    def place(self, events: Counts) -> Counts:
        """Return the response below which every replica has so many events, shape [replicas, any]."""
        bin_, rows = self.reaching(events), self.replicas[:, None]
        inside = (events - self.running[0][rows, bin_]) / np.maximum(self.counts[rows, bin_], 1)
        return np.asarray(self.low[bin_] + inside * self.width[bin_])

    def below(self, place: Row) -> Row:
        """Return how many events every replica has below a response, shape [replicas]."""
        return self._cumulated(place)[0]

    def _cumulated(self, place: Row) -> list[Row]:
        """Return the running sums up to a response, interpolated inside the bin, so that no window snaps to bins."""
        bin_ = np.clip(np.searchsorted(self.low, place, side="right") - 1, 0, None)
        inside = np.clip((place - self.low[bin_]) / self.width[bin_], 0, 1)
        own = inside * self.counts[self.replicas, bin_]
        x = self.x[bin_]
        return [running[self.replicas, bin_] + own * x**power for power, running in enumerate(self.running)]

    def moments(self, low: Row, high: Row) -> tuple[Row, Row, Row]:
        """Return number, mean and variance of what every replica has between two responses, shape [replicas] each."""
        parts = zip(self._cumulated(low), self._cumulated(high), strict=True)
        number, deviation, squared = (upper - lower for lower, upper in parts)
        number = np.maximum(number, 1)
        mean = deviation / number
        return number, self.middle + mean, np.maximum(squared / number - mean**2, 0)

    def spread(self, probability: float = ONE_SIGMA) -> Row:
        """Return half the distance of the quantiles that have so many events between them, at least a bin."""
        low, high = (self.quantile(0.5 + sign * probability / 2) for sign in (-1, 1))
        return np.asarray(np.maximum((high - low) / 2, self.finest))


def gaussian_core(sample: ReplicatedHistogram, n_sigmas: float) -> dict[str, Row]:
    """Return mean and sigma of the Gaussian core.

    The moments inside ``mean +- n_sigmas * sigma`` are taken again and again until they change by less than 0.01 %; the
    standard deviation inside is divided by that of a Gaussian cut at the same place (0.7426, 0.8796, 0.9546 for 1.5, 2
    and 2.5 sigma). It starts from median and quartiles, which a fifth of the events far away does not reach. For
    Gaussian data the relative error of sigma is 1.75, 1.13 and 0.88/sqrt(N), that of the mean 1.15 sigma/sqrt(N) for 2
    sigma, and sigma is 1.7 % low for 100 events, 0.5 % for 300.
    """
    density = math.exp(-(n_sigmas**2) / 2) / math.sqrt(2 * math.pi)
    shrinkage = math.sqrt(1 - 2 * n_sigmas * density / math.erf(n_sigmas / math.sqrt(2)))
    mean, sigma = sample.quantile(0.5), sample.spread(0.5) / _QUARTILE
    for _ in range(_CORE_ITERATIONS):
        _, new_mean, variance = sample.moments(mean - n_sigmas * sigma, mean + n_sigmas * sigma)
        new_sigma = np.maximum(np.sqrt(variance) / shrinkage, sample.finest)
        change = np.maximum(np.abs(new_mean - mean), np.abs(new_sigma - sigma)) / new_sigma
        mean, sigma = new_mean, new_sigma
        if change.max() < _CORE_PRECISION:
            break
    return {"core_mean": mean, "core_sigma": sigma}


def quantiles(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return the median, and half the distance of the 15.87 and 84.13 % quantiles.

    For Gaussian data their errors are 1.25 sigma/sqrt(N) and, relative, 0.97/sqrt(N).
    """
    return {"median": sample.quantile(0.5), "sigma_68": sample.spread()}


def absolute_deviation(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return 1.4826 times the median distance from the median, which is sigma for Gaussian data.

    The relative error is 1.17/sqrt(N); for 100 events it is 0.9 % low.
    """
    median = sample.quantile(0.5)
    quartiles = [np.abs(sample.quantile(share) - median) for share in (0.25, 0.75)]
    low, high = np.minimum(*quartiles), np.maximum(*quartiles)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = sample.below(median + middle) - sample.below(median - middle) >= sample.total / 2
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return {"median": median, "mad": _GAUSSIAN_MAD * high}


def smallest_rms(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return mean and RMS of the contiguous range with at least 90 % of the entries whose RMS is smallest.

    These are mean90 and RMS90 (M. Thomson, NIM A611 (2009) 25); no factor is applied that would make RMS90 the sigma of
    a Gaussian, for which it is 0.7893 sigma. For Gaussian data the errors are 1.3 sigma/sqrt(N) and, relative,
    0.80/sqrt(N).
    """
    wanted = 0.9 * sample.total[:, None]  # [replicas, 1]
    some = sample.running[0][:, :-1] <= sample.total[:, None] - wanted  # where enough is left, [replicas, bins]
    some = some[:, : np.count_nonzero(some.any(axis=0))]  # the first bins, here and below
    below, first, second = (running[:, : some.shape[1]] for running in sample.running)
    end = sample.reaching(below + wanted)
    x = sample.x[end]
    at_end = (sample.replicas[:, None], end)
    more = below + wanted - sample.running[0][at_end]  # a part of the last bin
    deviation = sample.running[1][at_end] + more * x - first
    squared = sample.running[2][at_end] + more * x**2 - second
    variance = np.where(some, squared / wanted - (deviation / wanted) ** 2, np.inf)
    best = np.argmin(variance, axis=1)
    at_best = (sample.replicas, best)
    return {
        "mean90": sample.middle + deviation[at_best] / wanted[:, 0],
        "rms90": np.sqrt(np.maximum(variance[at_best], 0)),
    }


def shortest_interval(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return half the length of the shortest interval that holds 68.27 % of the entries, and the median.

    This is the effective sigma of the CMS photon analyses (arXiv:1502.02702). It is biased low for few events: by 6 %
    for 100, 1.6 % for 1000, 0.4 % for 10 000. For Gaussian data the relative error is 0.95/sqrt(N).
    """
    wanted, low = ONE_SIGMA * sample.total[:, None], sample.low
    begins = sample.running[0][:, :-1] + wanted <= sample.total[:, None]  # in the first bins, [replicas, bins]
    ends = sample.running[0][:, 1:] >= wanted  # in the last ones
    first, last = np.count_nonzero(begins.any(axis=0)), len(low) - np.count_nonzero(ends.any(axis=0))
    upper = sample.place(sample.running[0][:, :first] + wanted)
    lower = sample.place(sample.running[0][:, 1 + last :] - wanted)
    from_edge = np.where(begins[:, :first], upper - low[:first], np.inf)
    to_edge = np.where(ends[:, last:], low[last:] + sample.width[last:] - lower, np.inf)
    shortest = np.concatenate([from_edge, to_edge], axis=1).min(axis=1)
    return {"median": sample.quantile(0.5), "sigma_eff": shortest / 2}


def half_maximum(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return the mode of the density, and its full width at half maximum over 2.355, the sigma of a Gaussian.

    The density is that of a Gaussian kernel whose width is chosen by Silverman's rule, 0.9 sigma_68 N^(-1/5); what it
    adds to the width of a Gaussian is taken away again, in quadrature. It draws the mode of a skewed distribution to
    the mean, by 0.1 sigma for 2000 events of a gamma variate with 25 quanta.
    """
    spread, middle = float(sample.spread()[0]), float(sample.quantile(0.5)[0])
    kernel = max(0.9 * spread * float(sample.total[0]) ** -0.2, sample.finest)
    grid = middle + spread * np.linspace(-_REACH, _REACH, _GRID)
    near = np.abs(sample.centres - middle) < (_REACH + 1) * spread
    weights = np.exp(-(((sample.centres[near, None] - grid) / kernel) ** 2) / 2).astype(np.float32)
    density = (sample.counts[:, near].astype(np.float32) @ weights).astype(np.float64)  # [replicas, grid]
    step, place, replicas = grid[1] - grid[0], np.arange(_GRID), np.arange(len(density))
    peak = np.clip(np.argmax(density, axis=1), 1, _GRID - 2)
    left, top, right = (density[replicas, peak + shift] for shift in (-1, 0, 1))
    curvature = np.minimum(left - 2 * top + right, -1e-300)
    offset = np.clip((left - right) / (2 * curvature), -0.5, 0.5)
    half = (top - (left - right) * offset / 4) / 2
    under = density < half[:, None]
    first = np.max(np.where(under & (place < peak[:, None]), place, 0), axis=1)  # the last one before the peak
    last = np.min(np.where(under & (place > peak[:, None]), place, _GRID - 1), axis=1)

    def crossing(outer: NDArray[np.int64], inner: NDArray[np.int64]) -> Row:
        low, high = density[replicas, outer], density[replicas, inner]
        return np.asarray(grid[outer] + (grid[inner] - grid[outer]) * np.clip((half - low) / (high - low), 0, 1))

    full = crossing(last, last - 1) - crossing(first, first + 1)
    width = np.sqrt(np.maximum((full / _FWHM) ** 2 - kernel**2, 0))
    return {"mode": grid[peak] + offset * step, "fwhm": width}


def all_entries(sample: ReplicatedHistogram, _: float) -> dict[str, Row]:
    """Return mean and RMS; for Gaussian data the errors are sigma/sqrt(N) and, relative, 0.707/sqrt(N)."""
    number = np.maximum(sample.total, 2)
    mean, square = (sample.counts @ sample.x**power / number for power in (1, 2))
    return {"mean": sample.middle + mean, "rms": np.sqrt(np.maximum(square - mean**2, 0) * number / (number - 1))}


OF_WIDTH: dict[str, Callable[[ReplicatedHistogram, float], dict[str, Row]]] = {
    "core_sigma": gaussian_core,
    "rms": all_entries,
    "rms90": smallest_rms,
    "sigma_68": quantiles,
    "sigma_eff": shortest_interval,
    "mad": absolute_deviation,
    "fwhm": half_maximum,
}
"""What finds a width and the location that goes with it, by the name of the width."""


def crystal_ball(
    x: NDArray[np.float64],
    mean: float,
    sigma: float,
    low_turn: float,
    low_power: float,
    high_turn: float,
    high_power: float,
) -> NDArray[np.float64]:
    """Return the density at responses, up to a factor.

    A Gaussian between ``mean - low_turn sigma`` and ``mean + high_turn sigma``; beyond, powers of the distance that go
    on with the same value and slope (M. Oreglia, SLAC-R-236 (1980), App. D; both sides as in ATLAS, Phys. Rev. Lett.
    113 (2014) 171801).
    """
    z = (x - mean) / sigma
    density = np.exp(-0.5 * np.square(np.clip(z, -low_turn, high_turn)))
    for distance, turn, power in ((-z, low_turn, low_power), (z, high_turn, high_power)):
        beyond = distance > turn
        density[beyond] *= (1 + turn / power * (distance[beyond] - turn)) ** -power
    return np.asarray(density)


def _tail(counts: NDArray[np.float64], x: NDArray[np.float64], values: Any, turn: str) -> float:
    """Return how many events are beyond where a power law begins."""
    z = (x - values["mean"]) / values["sigma"]
    beyond = -z > values[turn] if turn == "low_turn" else z > values[turn]
    return float(counts[beyond].sum())


def fit_crystal_ball(histogram: Histogram, mean: float, sigma: float) -> dict[str, Measurement]:
    """Fit a double-sided Crystal Ball by maximum likelihood, within eight core sigma.

    Args:
        histogram: The responses.
        mean: Of the Gaussian core, to start from.
        sigma: The same.

    Returns:
        Mean and sigma with the errors of the fit; nothing if it does not converge.
    """
    finest = fine_width(abs(mean) + _BALL_REACH * sigma)
    width = max(math.ldexp(1.0, math.floor(math.log2(sigma / _BALL_FINENESS))), finest)
    first, last = (math.floor((mean + sign * _BALL_REACH * sigma) / width) for sign in (-1, 1))
    near = (histogram.centres >= first * width) & (histogram.centres < (last + 1) * width)
    index = np.floor(histogram.centres[near] / width).astype(np.int64)
    counts = np.bincount(index - first, histogram.count[near], last - first + 1).astype(np.float64)
    middle = np.arange(first, last + 1, dtype=np.float64) + 0.5
    x = (middle * width - mean) / sigma  # as the fit is, without unit

    def negative_log_likelihood(*parameters: float) -> float:
        density = crystal_ball(x, *parameters)
        return float(counts.sum() * np.log(density.sum()) - counts @ np.log(np.maximum(density, 1e-300)))

    names = ("mean", "sigma", "low_turn", "low_power", "high_turn", "high_power")
    fit = Minuit(negative_log_likelihood, 0.0, 1.0, 1.5, 5.0, 1.5, 5.0, name=names)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits = [(None, None), (width / sigma / 10, None), _TURN, _STEEPNESS, _TURN, _STEEPNESS]
    fit.migrad()
    for turn, power in (("low_turn", "low_power"), ("high_turn", "high_power")):
        alone = _tail(counts, x, fit.values, turn) < _MIN_TAIL
        fit.fixed[power] = alone or fit.values[power] > _STEEP  # nothing tells it
        fit.fixed[turn] = alone
    fit.migrad()
    fit.hesse()
    if fit.covariance is None or not fit.fmin.has_accurate_covar:
        return {}
    (location, spread), errors = fit.values[:2], [sigma * error for error in fit.errors[:2]]
    return {
        "crystal_ball_mean": Measurement(float(mean + sigma * location), float(errors[0])),
        "crystal_ball_sigma": Measurement(float(sigma * spread), float(errors[1])),
    }
