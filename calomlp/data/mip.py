"""The energy of a minimum ionising particle (MIP) in a cell, from the spectrum of the energies of hits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = 0.1  # width of a bin in the logarithm of the energy; the peak of a MIP is some 0.5 wide
_SMOOTH = np.array([0.06, 0.24, 0.4, 0.24, 0.06])  # a Gaussian of one bin
_EFFECTIVE = 1 / float(np.sum(_SMOOTH**2))  # bins that a smoothed one stands for
_MIN_HITS = 500
_DEPTH, _SIGMAS = 0.15, 3.0  # a peak stands out by this share of its height, and by so many standard errors
_HALF_WIDTH = 1.2  # distance in the logarithm at which the peak of a MIP has fallen to its half
_MANY = 0.05
_MAX_STEPS = 5000  # distinct energies of an ADC
_GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread evenly
_NEAR = 6  # bins
_THRESHOLD = 3  # bins above the threshold of the readout, where cut noise makes a peak of its own

Array = NDArray[np.float64]


def find_mip(energy: Array, group: NDArray[np.int64] | None = None) -> float | None:
    """Return the most probable energy that a minimum ionising particle leaves in a cell.

    Hits that are alone in their layer are those of single particles: the track of a hadron before its shower, and the
    remains behind it. The highest peak in the spectrum of these, if it is narrow, else the only one of all hits above
    the threshold of the readout, is that of a MIP. Below lie neutrons, photons and corners of cells, above the dense
    core of a shower.

    Args:
        energy: Of the hits, in any unit, shape [hits].
        group: A number that is the same for all hits in one layer of one event, shape [hits]; ``None`` if layers are
            not known.

    Returns:
        In the unit of the hits; ``None`` if there is no such peak.
    """
    good = np.isfinite(energy) & (energy > 0)
    energy = _smeared(energy) if good.any() else energy
    if group is not None:
        _, place, size = np.unique(group, return_inverse=True, return_counts=True)
        if peak := _highest_peak(energy[good & (size[place] == 1)]):
            return peak
    return _only_peak(energy[good])


def _smeared(energy: Array) -> Array:
    """Return energies with the steps of an ADC evened out, which would make a comb of any spectrum."""
    values = np.unique(energy[: 100 * _MAX_STEPS])
    if len(values) > _MAX_STEPS or len(values) < 2:
        return energy
    places = np.arange(len(energy)) * _GOLDEN % 1 - 0.5
    return np.asarray(energy + np.diff(values).min() * places)


def _highest_peak(energy: Array) -> float | None:
    """Return the energy at the highest peak of a spectrum in the logarithm, if it is as narrow as that of a MIP."""
    if len(energy) < _MIN_HITS:
        return None
    centres, density, error = _spectrum(energy, per_energy=False)
    start = _above_threshold(density)
    highest = start + int(np.argmax(density[start:]))
    plateau = np.flatnonzero(density[start:] >= density[highest] - 2 * error[highest])
    peak = start + int(plateau[0])  # what is alone leaves no more than a MIP, whatever chance adds behind it
    if not _holds_many(peak, density):
        return None
    for side in (-1, 1):
        low = np.flatnonzero(density[peak::side] < density[peak] / 2)
        if (len(low) and low[0] * _STEP > _HALF_WIDTH) or not _stands_out(density, error, peak, side):
            return None
    return _at(peak, centres, density)


def _only_peak(energy: Array) -> float | None:
    """Return the energy at the one peak of a spectrum in the energy, in which a bulk above the MIP hides nothing."""
    if len(energy) < _MIN_HITS:
        return None
    centres, density, error = _spectrum(energy, per_energy=True)
    inner = np.arange(_above_threshold(density), len(density) - 1)
    peaks = inner[(density[inner] >= density[inner - 1]) & (density[inner] > density[inner + 1])]
    hits = density * np.exp(centres)
    found = [
        peak
        for peak in peaks.tolist()
        if _holds_many(peak, hits)
        and all(_is_near(density, peak, side) and _stands_out(density, error, peak, side) for side in (-1, 1))
    ]
    return _at(found[0], centres, density) if len(found) == 1 else None  # several are those of photo-electrons


def _spectrum(energy: Array, *, per_energy: bool) -> tuple[Array, Array, Array]:
    """Return centres of bins in the logarithm, the smoothed density of hits, and its error, shape [bins] each."""
    logarithm = np.log(energy)
    low, high = np.quantile(logarithm, [0.0005, 0.9995])
    n_bins = max(int((high - low) / _STEP) + 1, _THRESHOLD + 5)
    counts, edges = np.histogram(logarithm, n_bins, (low, low + n_bins * _STEP))
    centres = (edges[1:] + edges[:-1]) / 2
    weight = np.exp(centres[0] - centres) if per_energy else np.ones(n_bins)
    density = np.convolve(counts * weight, _SMOOTH, "same")
    error = np.sqrt(np.convolve(np.maximum(counts, 1) * weight**2, _SMOOTH, "same") / _EFFECTIVE)
    return centres, density, error


def _above_threshold(density: Array) -> int:
    """Return the first bin behind what noise and the tail of a falling spectrum pile up at the threshold."""
    bin_ = _THRESHOLD
    if density[:_THRESHOLD].max() > density[_THRESHOLD]:
        while bin_ < len(density) - 2 and density[bin_ + 1] <= density[bin_]:
            bin_ += 1
    return bin_


def _at(peak: int, centres: Array, density: Array) -> float:
    near = slice(max(peak - 1, 0), peak + 2)
    return float(np.exp(np.average(centres[near], weights=density[near])))


def _holds_many(peak: int, hits: Array) -> bool:
    """Tell whether a good part of all hits lies at a peak and behind it, which is not so in the tail of the noise."""
    return bool(hits[peak : peak + round(_HALF_WIDTH / _STEP / 2)].sum() > _MANY * hits.sum())


def _is_near(density: Array, peak: int, side: int) -> bool:
    """Tell whether a spectrum begins to fall close to a peak, which it does not where a plateau ends."""
    return bool((density[peak::side][: _NEAR + 1] < (1 - _DEPTH) * density[peak]).any())


def _stands_out(density: Array, error: Array, peak: int, side: int) -> bool:
    """Tell whether a spectrum falls on one side of a peak before it rises above it."""
    beyond = density[peak::side]
    higher = np.flatnonzero(beyond > beyond[0] + 2 * error[peak])
    valley = beyond[: higher[0] if len(higher) else None]
    lowest = int(np.argmin(valley))
    drop = beyond[0] - valley[lowest]
    return bool(drop > _DEPTH * beyond[0] and drop > _SIGMAS * np.hypot(error[peak], error[peak + side * lowest]))
