"""Predicted uncertainties of single events: coverage, pulls, probability integral transform, scores, reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calomlp.evaluation.accumulator import MAX_ENERGY, Added, joints
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import estimate_all, resolution_in
from calomlp.evaluation.histogram import Histogram, Joint
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.options import Options
from calomlp.evaluation.widths import ONE_SIGMA

DROPPED = (0.1, 0.2)
"""Shares of the events with the largest relative sigma, without which the resolution is shown too."""

_SIGMAS = (1.0, 2.0)
_PIT_BINS = 20
_GROUPS = 10
_ERROR = 0.96  # of a 68 % quantile of the size of Gaussian numbers, relative, times the root of their number
PULL_SHIFT = 8.0
"""What is added to pulls in their histogram."""


@dataclass(frozen=True)
class UncertaintyStatistics(Added):
    """Statistics of predicted uncertainties.

    Attributes:
        pulls: Histogram of (E_reco - E_true)/sigma, plus eight: fine bins around zero would be many.
        covered: Events with a pull within one and two sigma, shape [2].
        transform: Events in equal bins of the probability integral transform, shape [20].
        sharpness: Sum of sigma/E_true.
        score: Sum of the continuous ranked probability score over the true energy.
        likelihood: Sum of the negative logarithm of the likelihood of E_true in units of E_true.
        unusable: Events whose sigma is not finite and above zero, or whose energy is not.
        reliability: Joint histogram of sigma/E_true and abs(E_reco - E_true)/E_true.
        response: Joint histogram of sigma/E_reco and the response, by bin of energy.
    """

    pulls: Histogram
    covered: NDArray[np.int64]
    transform: NDArray[np.int64]
    sharpness: float
    score: float
    likelihood: float
    unusable: int
    reliability: Joint
    response: Mapping[int, Joint] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        keys: NDArray[np.int64],
        true_energy: NDArray[np.floating],
        energy: NDArray[np.floating],
        below: NDArray[np.floating],
        above: NDArray[np.floating],
    ) -> UncertaintyStatistics:
        """Accumulate events, shape [events] each.

        Args:
            keys: Bins of energy.
            true_energy: In GeV.
            energy: Measured [GeV].
            below: Predicted distance [GeV] to the true energy downwards, with a probability of 34 %.
            above: The same upwards.
        """
        import torch  # noqa: PLC0415 - for the normal distribution, which a report that is drawn does not need

        truth, reco, low, high = (item.astype(np.float64) for item in (true_energy, energy, below, above))
        good = (reco > 0) & (reco < MAX_ENERGY)
        for part in (low, high):
            good &= (part > truth / MAX_ENERGY) & (part < MAX_ENERGY)
        truth, reco, low, high = (item[good] for item in (truth, reco, low, high))
        sigma = (low + high) / 2
        pull = (reco - truth) / np.where(truth < reco, low, high)
        cumulative = torch.special.ndtr(torch.from_numpy(-pull)).numpy()
        density = np.exp(-(pull**2) / 2) / math.sqrt(2 * math.pi)
        score = sigma * (-pull * (2 * cumulative - 1) + 2 * density - 1 / math.sqrt(math.pi))
        likelihood = pull**2 / 2 + np.log(sigma / truth) + math.log(2 * math.pi) / 2
        return cls(
            Histogram.of(pull + PULL_SHIFT),
            np.array([np.count_nonzero(np.abs(pull) < sigmas) for sigmas in _SIGMAS]),
            np.histogram(cumulative, _PIT_BINS, (0, 1))[0].astype(np.int64),
            float(np.sum(sigma / truth)),
            float(np.sum(score / truth)),
            float(np.sum(likelihood)),
            int(np.count_nonzero(~good)),
            Joint.of(sigma / truth, np.abs(reco - truth) / truth),
            joints(keys[good], sigma / reco, reco / truth),
        )


@dataclass(frozen=True)
class Reliability:
    """Events with alike predicted uncertainties.

    Attributes:
        predicted: Mean of sigma/E_true.
        observed: What 68.27 % of abs(E_reco - E_true)/E_true are below; the RMS would be that of a few leaking showers.
        events: Number of events.
    """

    predicted: float
    observed: Measurement
    events: int


@dataclass(frozen=True)
class Dropped:
    """The resolution in a bin of energy without the events that are predicted to be worst.

    Attributes:
        energy_low: Lower edge of the bin [GeV].
        energy_high: Upper edge [GeV].
        everything: Resolution of all events.
        resolutions: Without the worst 10 and 20 % by sigma/E_reco, which is what data have.
    """

    energy_low: float
    energy_high: float
    everything: Measurement
    resolutions: tuple[Measurement, ...]


@dataclass(frozen=True)
class Uncertainty:
    """Coverage, pulls and scores of predicted uncertainties.

    Attributes:
        events: Events with one.
        unusable: Events whose sigma is not finite and above zero, or whose energy is not.
        pull: Estimators of the pull (E_reco - E_true)/sigma by name; mean and width of the core are to be 0 and 1.
        coverage: Shares of true energies within one and two sigma: 68.27 and 95.45 % are right.
        transform: Shares of the events in equal bins of the probability integral transform; flat if sigma is right.
        distance: Largest distance of its cumulative distribution from a flat one (Kolmogorov-Smirnov).
        sharpness: Mean of sigma/E_true: the smaller the better, if coverage is right.
        score: Mean continuous ranked probability score of a Gaussian over the true energy.
        likelihood: Mean negative logarithm of the likelihood of E_true, in units of E_true.
        reliability: In about ten groups of as many events, from the smallest sigma/E_true to the largest.
        dropped: In bins of energy that have events enough.
    """

    events: int
    unusable: int
    pull: Mapping[str, Measurement]
    coverage: tuple[Measurement, ...]
    transform: tuple[float, ...]
    distance: float
    sharpness: float
    score: float
    likelihood: float
    reliability: tuple[Reliability, ...]
    dropped: tuple[Dropped, ...]


def judge(statistics: UncertaintyStatistics, bins: EnergyBins, options: Options) -> Uncertainty | None:
    """Return coverage, pulls and scores of predicted uncertainties; ``None`` if no event has one.

    The score is that of T. Gneiting & A. E. Raftery, J. Am. Stat. Assoc. 102 (2007) 359, eq. 21.
    """
    n = statistics.pulls.events
    if not n:
        return None
    estimates = estimate_all(statistics.pulls, Options(seed=options.seed))
    pull = {
        name: Measurement(item.value - (PULL_SHIFT if name in ("core_mean", "mean", "median") else 0), item.error)
        for name, item in estimates.items()
        if name in ("core_mean", "core_sigma", "mean", "median", "rms", "sigma_68")
    }
    shares = statistics.covered / n
    coverage = tuple(Measurement(float(p), math.sqrt(max(p * (1 - p), 0) / n)) for p in shares)
    transform = statistics.transform / n
    distance = np.abs(np.cumsum(transform) - np.arange(1, _PIT_BINS + 1) / _PIT_BINS).max()
    return Uncertainty(
        n,
        statistics.unusable,
        pull,
        coverage,
        tuple(transform.tolist()),
        float(distance),
        statistics.sharpness / n,
        statistics.score / n,
        statistics.likelihood / n,
        tuple(_reliability(statistics.reliability)),
        tuple(_dropped(statistics.response, bins, options)),
    )


def _reliability(joint: Joint) -> list[Reliability]:
    """Return predicted and observed spread in groups of about as many events."""
    sigma, distance = (np.mean(joint.edges(axis), axis=0) for axis in (joint.x, joint.y))  # [cells]
    groups = []
    for cells in _shares(joint, np.arange(1, _GROUPS) / _GROUPS):
        if len(cells):
            order = cells[np.argsort(distance[cells], kind="stable")]
            count = joint.count[order]
            n = int(count.sum())
            within = float(np.interp(ONE_SIGMA * n, np.cumsum(count) - count / 2, distance[order]))
            observed = Measurement(within, _ERROR * within / math.sqrt(n))
            groups.append(Reliability(float(count @ sigma[order]) / n, observed, n))
    return groups


def _shares(joint: Joint, shares: Sequence[float] | NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return the cells of a joint histogram parted by shares of its events in ascending x; those of an x together."""
    _, rank = np.unique(joint.x, return_inverse=True)
    cumulated = np.cumsum(np.bincount(rank, joint.count)) / joint.count.sum()
    group = np.searchsorted(shares, cumulated - 1e-12)[rank]
    return [np.flatnonzero(group == number) for number in range(len(shares) + 1)]


def _dropped(response: Mapping[int, Joint], bins: EnergyBins, options: Options) -> list[Dropped]:
    dropped = []
    for key, joint in sorted(response.items()):
        everything = resolution_in(joint, np.arange(len(joint.x)), options)
        rest = [resolution_in(joint, _shares(joint, [1 - share])[0], options) for share in DROPPED]
        resolutions = tuple(item for item in rest if item is not None)
        if everything is not None and len(resolutions) == len(DROPPED):
            dropped.append(Dropped(*bins.edges(key), everything, resolutions))
    return dropped
