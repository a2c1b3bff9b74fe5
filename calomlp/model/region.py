"""The region in which a network learns, whether an event is inside, and how events from beyond come to its edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calomlp.data.sample import MAX_BEAM_ENERGIES
from calomlp.model.anchor import Anchor
from calomlp.model.spread import EDGE_SIGMAS, Spread

_INSIDE = 0.999  # of the training events are in the domain
_RIDGE = 1e-3
_MAX_FULL = 512  # inputs; of more, correlations are left out


class Domain(nn.Module):
    """Tells whether events are like those of the training.

    One is outside if its anchor is outside the range of the training energies, or if its inputs are further from their
    mean than those of 99.9 % of the training events, as measured by the Mahalanobis distance (Proc. Natl. Inst. Sci.
    India 2 (1936) 49): correlated inputs that disagree count for more than large ones.
    """

    range: Tensor
    mean: Tensor
    precision: Tensor
    limit: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("range", torch.tensor([-torch.inf, torch.inf]))
        self.register_buffer("mean", torch.zeros(n_inputs))
        full = n_inputs <= _MAX_FULL
        self.register_buffer("precision", torch.zeros(n_inputs, n_inputs if full else 1))
        self.register_buffer("limit", torch.tensor(torch.inf))

    def distance(self, inputs: Tensor) -> Tensor:
        """Return the squared Mahalanobis distance of standardised inputs, shape [events]."""
        deviation = inputs - self.mean
        turned = deviation @ self.precision if self.precision.shape[1] > 1 else deviation * self.precision[:, 0]
        return (turned * deviation).sum(dim=1)

    def forward(self, inputs: Tensor, anchor: Tensor) -> Tensor:
        """Tell of each event whether it is inside, shape [events]."""
        return (self.distance(inputs) <= self.limit) & (anchor >= self.range[0]) & (anchor <= self.range[1])

    def fit(self, inputs: Tensor, energies: tuple[float, float]) -> None:
        """Set the domain.

        Args:
            inputs: Standardised inputs of training events, shape [events, inputs].
            energies: Range of the anchor [GeV].
        """
        self.range.copy_(torch.tensor(energies))
        self.mean.copy_(inputs.mean(dim=0))
        deviation = inputs - self.mean
        if self.precision.shape[1] > 1:
            covariance = (deviation.T @ deviation).double() / len(inputs)
            covariance += _RIDGE * torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
            self.precision.copy_(torch.linalg.inv(covariance))
        else:
            self.precision[:, 0] = 1 / (deviation.square().mean(dim=0) + _RIDGE)
        rank = min(int(_INSIDE * len(inputs)) + 1, len(inputs))
        self.limit.copy_(self.distance(inputs).kthvalue(rank).values)


_PART = 8_192
_GAP = 0.05  # logarithm of the ratio of energies that are two beams, and not one with its spread
_FILLED = 0.5  # of the range of a spectrum are more than this
_EVENTS_PER_BEAM = 10  # on average
_FEWEST = 3  # energies that tell a line from a curve
_MAX_KNOTS = 6
_BINS = 12  # of a spectrum, equally wide in the logarithm
_LOWEST, _HIGHEST = slice(4), slice(-4, None)  # bins of a spectrum that show how the inputs go on beyond it
_SHARE = 0.001  # of the training events are below, and above, the limits of an input


def beam_energies(true_energy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the energies of a test beam [GeV], in rising order; none if the events have a spectrum.

    A beam may have a momentum spread. Of a spectrum, there are few events at each energy, or the energies fill more
    than half of their range.

    Args:
        true_energy: Above zero, in GeV, shape [events].
    """
    logarithm = np.sort(np.log(true_energy.astype(np.float64)))
    starts = np.flatnonzero(np.diff(logarithm, prepend=-np.inf) > _GAP)
    counts = np.diff(starts, append=len(logarithm))
    filled = np.sum(logarithm[starts + counts - 1] - logarithm[starts])
    few = len(starts) <= min(MAX_BEAM_ENERGIES, len(logarithm) / _EVENTS_PER_BEAM)
    if not few or filled > _FILLED * (logarithm[-1] - logarithm[0]):
        return np.empty(0)
    energies: NDArray[np.float64] = np.exp(np.add.reduceat(logarithm, starts) / counts)
    return energies


def places_of(true_energy: NDArray[np.floating], beams: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the beam that each true energy [GeV] is closest to, or its bin of a spectrum, shape [events].

    Args:
        true_energy: Above zero, in GeV, shape [events].
        beams: In GeV, in rising order; none for a spectrum.
    """
    logarithm = np.log(true_energy.astype(np.float64))
    if len(beams):
        edges = np.log(beams[1:] * beams[:-1]) / 2
    else:
        edges = np.linspace(logarithm.min(), logarithm.max(), _BINS + 1)[1:-1]
    return np.searchsorted(edges, logarithm)


class InputProfile(NamedTuple):
    """Means of the inputs of a network at energies.

    Attributes:
        logarithm: Of the energies [GeV], in rising order, shape [energies].
        means: Shape [energies, inputs].
        events: How many there are at each energy, shape [energies].
    """

    logarithm: Tensor
    means: Tensor
    events: Tensor


def profile_of(
    inputs: Callable[[Tensor], Tensor], features: Tensor, true_energy: Tensor, beams: NDArray[np.float64]
) -> InputProfile:
    """Measure means at beam energies, or in bins of a spectrum.

    Args:
        inputs: Makes inputs, shape [events, inputs], of features.
        features: Shape [events, columns].
        true_energy: In GeV, shape [events].
        beams: In GeV, in rising order; none for a spectrum.
    """
    places = torch.from_numpy(places_of(true_energy.numpy(), beams))
    total = torch.zeros(int(places.max()) + 1, inputs(features[:1]).shape[1] + 2, dtype=torch.float64)
    for start in range(0, len(features), _PART):
        part = slice(start, start + _PART)
        logarithm = true_energy[part, None].double().log()
        columns = torch.cat([inputs(features[part]).double(), logarithm, torch.ones_like(logarithm)], dim=1)
        total.index_add_(0, places[part], columns)
    filled = total[total[:, -1] > 0]
    means = filled / filled[:, -1:]
    return InputProfile(means[:, -2], means[:, :-2], filled[:, -1])


def training_range(anchor: Anchor, true_energy: Tensor) -> tuple[float, float]:
    """Return the energies [GeV] between which nearly all anchors of training events are."""
    low, high = float(true_energy.min()), float(true_energy.max())
    below, above = (EDGE_SIGMAS * math.sqrt(anchor.spread.variance(edge)) for edge in (low, high))
    return low - below, high + above


class Region(nn.Module):
    """Brings events to the region that a network knows.

    Beyond the energies of the training, an event is moved to their edge: each input is changed by what it changes on
    average between there and the anchor of the event, and keeps its fluctuation, so that the correction goes on as at
    the edge. That average is a chain of straight lines in the logarithm of the anchor.

    At a few beam energies, the correction that fits best is the ratio of the beam's energy and the anchor, which is
    wrong everywhere else. There the whole chain is taken out of the inputs: the network sees how an event differs from
    others of its energy, and not the energy. The chain has half as many lines as there are energies. What rises like a
    power of the energy, as counts do, has a chain in its own logarithm.

    Each standardised input ends at its limits, beyond which hardly any training event was. Below the lowest beam
    energy, where showers fluctuate more than any that were seen, the correction fades as the resolution gets worse. A
    region that was not fitted changes nothing.
    """

    least: Tensor
    lowest: Tensor
    growth: Tensor
    knots: Tensor
    slopes: Tensor
    start: Tensor
    power: Tensor
    limits: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("least", torch.tensor(0.0))  # size of an anchor [GeV]
        self.register_buffer("lowest", torch.tensor(0.0))  # logarithm of an energy [GeV]
        self.register_buffer("growth", torch.tensor(0.0))  # the resolution grows like the energy to minus this power
        self.register_buffer("knots", torch.zeros(_MAX_KNOTS))
        self.register_buffer("slopes", torch.zeros(1 + _MAX_KNOTS, n_inputs))  # below the first knot; change at each
        self.register_buffer("start", torch.zeros(n_inputs))  # logarithm of the mean at the first knot
        self.register_buffer("power", torch.zeros(n_inputs))  # one for each input with a chain in its logarithm
        self.register_buffer("limits", torch.tensor([[-torch.inf], [torch.inf]]).repeat(1, n_inputs))

    def forward(self, inputs: Tensor, logarithm: Tensor) -> Tensor:
        """Return inputs as they would be in the region, shape [events, inputs].

        Args:
            inputs: Not standardised, shape [events, inputs].
            logarithm: Of the size of the anchor [GeV], shape [events, 1].
        """
        below = (logarithm - self.knots[:1]).clamp(max=0)
        above = torch.relu(logarithm - self.knots)
        change = torch.cat([below, above], dim=1) @ self.slopes
        factor = torch.exp(self.power * self.start) * torch.expm1(self.power * change)
        return inputs - (1 - self.power) * change - factor

    def clip(self, inputs: Tensor) -> Tensor:
        """Return standardised inputs that end at their limits, shape [events, inputs]."""
        return torch.clamp(inputs, self.limits[0], self.limits[1])

    def faded(self, logarithm: Tensor) -> Tensor:
        """Return how much of the correction there is at a logarithm of the size of the anchor [GeV], the same shape."""
        return torch.exp(self.growth * (logarithm - self.lowest).clamp(max=0))

    def fit(self, profile: InputProfile, edges: tuple[float, float] | None) -> None:
        """Set the chain of lines.

        Args:
            profile: The means of the inputs, the last of which is the logarithm of the anchor.
            edges: Lowest and highest energy [GeV] of a spectrum; ``None`` for beam energies.
        """
        if edges is None:
            power = _is_power(profile)
            means = torch.where(power, profile.means.clamp(min=torch.finfo(torch.float32).tiny).log(), profile.means)
            knots, start, slopes = _chain(profile._replace(means=means))
            slopes[:, -1] = 1
            self.power.copy_(power)
            self.start.copy_(start)
        else:
            knots = torch.tensor(edges, dtype=torch.float64).log()
            low, high = (_line(InputProfile(*(each[part] for each in profile))) for part in (_LOWEST, _HIGHEST))
            low[-1] = high[-1] = 1
            slopes = torch.stack([low, torch.zeros_like(low), high])
        self.knots.fill_(float(knots[-1]))
        self.knots[: len(knots)] = knots
        self.slopes.zero_()
        self.slopes[: len(slopes)] = torch.cat([slopes[:2], slopes[1:].diff(dim=0)])

    def fade(self, least: float, lowest: float, spread: Spread) -> None:
        """Let the correction fade below the lowest beam energy.

        Args:
            least: Anchors count as not smaller than this [GeV].
            lowest: The lowest beam energy [GeV].
            spread: The expected spread, which says how the resolution grows below it.
        """
        below, at = (math.sqrt(spread.variance(energy)) / energy for energy in (lowest / 2, lowest))
        self.least.fill_(least)
        self.lowest.fill_(math.log(lowest))
        self.growth.fill_(math.log2(below / at))

    def limit(self, inputs: NDArray[np.float32]) -> None:
        """Set the limits to those of standardised inputs of training events, shape [events, inputs]."""
        self.limits.copy_(torch.from_numpy(np.quantile(inputs, [_SHARE, 1 - _SHARE], axis=0)))


def _line(profile: InputProfile) -> Tensor:
    """Return the slopes of straight lines through means, shape [inputs]; of one mean, none."""
    logarithm, means, events = profile
    distance = logarithm - (events @ logarithm) / events.sum()
    spread = events @ distance.square()
    return (events * distance) @ means / spread if spread > 0 else torch.zeros_like(means[0])


def _is_power(profile: InputProfile) -> Tensor:
    """Tell which means rise like a power of the energy rather than like its logarithm, shape [inputs].

    They more than double, and one straight line through their logarithms misses them by less than one through the
    means, if there are enough energies to tell.
    """
    logarithm, means, events = profile
    positive = (means > 0).all(dim=0)
    logarithms = torch.where(positive, means, 1).log()
    power = positive & (logarithms[-1] - logarithms[0] > math.log(2))
    if len(logarithm) >= _FEWEST:
        distance = (logarithm - (events @ logarithm) / events.sum())[:, None]
        centre, log_centre = (events @ each / events.sum() for each in (means, logarithms))
        line = centre + distance * _line(profile)
        curve = (log_centre + distance * _line(profile._replace(means=logarithms))).exp()
        power &= (curve - means).square().sum(dim=0) < (line - means).square().sum(dim=0)
    power[-1] = False
    return power


def _chain(profile: InputProfile) -> tuple[Tensor, Tensor, Tensor]:
    """Return chains of lines that are fitted by least squares.

    Returns:
        Their knots; the means at the first one; the slopes below, between and above.
    """
    logarithm, means, _ = profile
    lines = min(max(1, (len(logarithm) + 1) // 2), 1 + _MAX_KNOTS)
    if lines == 1:
        slope = _line(profile)
        return logarithm[:1], means[0], torch.stack([slope, slope])
    places = torch.linspace(0, len(logarithm) - 1, lines + 1, dtype=torch.float64).round().long()
    knots = logarithm[places[1:-1]]
    distance = logarithm[:, None] - knots
    design = torch.cat([torch.ones_like(distance[:, :1]), distance[:, :1].clamp(max=0), distance.clamp(min=0)], dim=1)
    start, below, *changes = torch.linalg.lstsq(design, means).solution
    return knots, start, torch.cat([below[None], torch.stack(changes).cumsum(dim=0)])
