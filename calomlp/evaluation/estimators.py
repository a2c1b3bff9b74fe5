"""Estimators of location and width of a response distribution, with bootstrap errors.

All work on a fine histogram, and on many at once: ``counts`` has shape [replicas, bins], where the first row is the
data and the others are bootstrap replicas, whose spread is the standard error. Definitions follow the test-beam and
reconstruction literature; where a paper fixed one it is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calomlp.evaluation.response import BIN_WIDTH, Histogram

CORE_SIGMAS = 2.0
"""Half width of the window of the Gaussian core, in its sigma."""

ONE_SIGMA = 0.6827
"""Probability within one sigma of a Gaussian."""

MIN_EVENTS = 100
"""Bins with fewer events are shown without estimates: their widths are biased by more than 5 %."""

_REPLICAS = 100
_CORE_ITERATIONS = 50
_CORE_PRECISION = 1e-3

Counts = NDArray[np.float64]
Row = NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """A number with its standard error."""

    value: float
    error: float


def estimate_all(histogram: Histogram, seed: int) -> dict[str, Measurement]:
    """Return every estimator of a histogram with its error, by name; empty for fewer than :data:`MIN_EVENTS` events.

    The errors of ``mean`` and ``rms`` are those of the moments of all events; the others are standard deviations of
    Poisson bootstrap replicas.

    Args:
        histogram: The responses.
        seed: Seed of the bootstrap.
    """
    if histogram.count.sum() < MIN_EVENTS:
        return {}
    rng = np.random.default_rng(seed)
    data = histogram.count.astype(np.float64)
    counts = np.concatenate([data[None], rng.poisson(data, size=(_REPLICAS, len(data)))])
    sample = _Sample(histogram.centres, counts)
    core_mean, core_sigma = gaussian_core(sample)
    mean90, rms90 = smallest_rms(sample, 0.9)
    rows = {
        "core_mean": core_mean,
        "core_sigma": core_sigma,
        "resolution": core_sigma / core_mean,
        "median": sample.quantile(0.5),
        "sigma_68": (sample.quantile(0.5 + ONE_SIGMA / 2) - sample.quantile(0.5 - ONE_SIGMA / 2)) / 2,
        "sigma_eff": shortest_interval(sample, ONE_SIGMA) / 2,
        "mean90": mean90,
        "rms90": rms90,
    }
    found = {name: Measurement(float(row[0]), float(row[1:].std(ddof=1))) for name, row in rows.items()}
    return _moments(histogram) | found


def _moments(histogram: Histogram) -> dict[str, Measurement]:
    n = histogram.events
    mean = histogram.deviation / n
    variance = max(histogram.deviation_squared / n - mean**2, 0.0) * n / (n - 1)
    rms = math.sqrt(variance)
    return {"mean": Measurement(1 + mean, rms / math.sqrt(n)), "rms": Measurement(rms, rms / math.sqrt(2 * n))}


class _Sample:
    """Histograms over the same fine bins, with the running sums that the estimators share."""

    def __init__(self, centres: Row, counts: Counts) -> None:
        self.centres = centres  # [bins]
        self.counts = counts  # [replicas, bins]
        self.total = counts.sum(axis=1)  # [replicas]
        zero = np.zeros((len(counts), 1))
        x = centres - 1
        self.running = [np.concatenate([zero, np.cumsum(counts * x**power, axis=1)], axis=1) for power in range(3)]

    def quantile(self, probability: float) -> Row:
        """Return a quantile of every replica, interpolated inside the fine bin that holds it."""
        wanted = probability * self.total[:, None]
        below = self.running[0]  # [replicas, bins + 1]
        bin_ = np.clip((below[:, 1:] < wanted).sum(axis=1), 0, len(self.centres) - 1)  # [replicas]
        rows = np.arange(len(below))
        inside = (wanted[:, 0] - below[rows, bin_]) / np.maximum(self.counts[rows, bin_], 1)
        return np.asarray(self.centres[bin_] + (inside - 0.5) * BIN_WIDTH)

    def moments(self, low: Row, high: Row) -> tuple[Row, Row, Row]:
        """Return number, mean and variance of what every replica has between two responses, shape [replicas] each."""
        first, last = np.searchsorted(self.centres, low), np.searchsorted(self.centres, high)
        rows = np.arange(len(self.counts))
        number, deviation, squared = (running[rows, last] - running[rows, first] for running in self.running)
        number = np.maximum(number, 1)
        mean = deviation / number
        return number, 1 + mean, np.maximum(squared / number - mean**2, 0)


def gaussian_core(sample: _Sample, n_sigmas: float = CORE_SIGMAS) -> tuple[Row, Row]:
    """Return mean and sigma of the Gaussian core.

    The moments inside ``mean +- n_sigmas * sigma`` are taken again and again until they change by less than 0.1 %; the
    standard deviation inside is divided by that of a Gaussian cut at the same place (0.8796 for two sigma). It starts
    from median and MAD-like quantiles. For Gaussian data the relative error of sigma is 1.13/sqrt(N).
    """
    density = math.exp(-(n_sigmas**2) / 2) / math.sqrt(2 * math.pi)
    shrinkage = math.sqrt(1 - 2 * n_sigmas * density / math.erf(n_sigmas / math.sqrt(2)))
    mean = sample.quantile(0.5)
    sigma = np.maximum((sample.quantile(0.8413) - sample.quantile(0.1587)) / 2, BIN_WIDTH)
    for _ in range(_CORE_ITERATIONS):
        _, new_mean, variance = sample.moments(mean - n_sigmas * sigma, mean + n_sigmas * sigma)
        new_sigma = np.maximum(np.sqrt(variance) / shrinkage, BIN_WIDTH)
        change = np.maximum(np.abs(new_mean - mean), np.abs(new_sigma - sigma)) / new_sigma
        mean, sigma = new_mean, new_sigma
        if change.max() < _CORE_PRECISION:
            break
    return mean, sigma


def smallest_rms(sample: _Sample, share: float) -> tuple[Row, Row]:
    """Return mean and RMS of the contiguous range with at least this share of the entries whose RMS is smallest.

    With 90 % these are mean90 and RMS90 (M. Thomson, NIM A611 (2009) 25); no factor is applied that would make RMS90
    the sigma of a Gaussian, for which it is 0.7893 sigma. For Gaussian data the relative error is 0.80/sqrt(N).
    """
    mean, rms = np.empty(len(sample.counts)), np.empty(len(sample.counts))
    for row, (first, last) in enumerate(_ranges(sample, share)):
        number, deviation, squared = (running[row, last] - running[row, first] for running in sample.running)
        variance = np.maximum(squared / number - (deviation / number) ** 2, 0)
        best = np.argmin(variance)
        mean[row], rms[row] = 1 + deviation[best] / number[best], math.sqrt(variance[best])
    return mean, rms


def shortest_interval(sample: _Sample, share: float) -> Row:
    """Return the length of the shortest interval that holds this share of the entries.

    Half of it, with 68.27 %, is the effective sigma of the CMS photon analyses (arXiv:1502.02702). It is biased low for
    few events: by 6 % for 100, 1.6 % for 1000. For Gaussian data the relative error is 0.95/sqrt(N).
    """
    length = np.empty(len(sample.counts))
    for row, (first, last) in enumerate(_ranges(sample, share)):
        length[row] = (sample.centres[last - 1] - sample.centres[first]).min()
    return length


def _ranges(sample: _Sample, share: float) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """For every replica, the first and one-past-last bin of the shortest ranges that hold a share of the entries."""
    found = []
    for below, total in zip(sample.running[0], sample.total, strict=True):
        first = np.flatnonzero(below[:-1] + share * total <= total)
        last = np.searchsorted(below, below[first] + share * total, side="left")
        found.append((first, last))
    return found
