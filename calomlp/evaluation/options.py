"""Options of an evaluation; importing them needs no library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Width:
    """A width and the location that it is relative to."""

    width: str  # name of the estimator of the width
    location: str  # name of that of the location
    label: str  # what tables and figures call the pair
    symbol: str  # of the width
    centre: str  # of the location


WIDTHS = {
    "core": Width("core_sigma", "core_mean", "Gaussian core", "σ", "μ"),
    "rms": Width("rms", "mean", "RMS and mean", "RMS", "mean"),
    "rms90": Width("rms90", "mean90", "RMS90 and mean90", "RMS90", "mean90"),
    "sigma_68": Width("sigma_68", "median", "median and 15.87 to 84.13 % quantiles", "σ68", "median"),
    "sigma_eff": Width("sigma_eff", "median", "median and shortest interval with 68.27 %", "σeff", "median"),
    "mad": Width("mad", "median", "median and 1.4826 MAD", "MAD", "median"),
    "fwhm": Width("fwhm", "mode", "mode and FWHM/2.355", "FWHM/2.355", "mode"),
    "crystal_ball": Width("crystal_ball_sigma", "crystal_ball_mean", "Crystal Ball", "σ", "μ"),
}
"""What a resolution can be measured by."""

MEAN, TRUTH = RELATIVE_TO = ("mean", "truth")
"""A resolution is a width over the mean (location) of the measured energy, or over the true one."""

QUADRATURE, LINEAR = SUMS = ("quadrature", "linear")
"""How the terms of the resolution are added up; some papers on hadrons add them linearly."""

TRAINING, SIMULATION = "training", "simulation"
"""Where the settings of a report come from."""


@dataclass(frozen=True)
class Options:
    """Options of the numbers that are derived from histograms.

    Attributes:
        width: One of :data:`WIDTHS`: what ``resolution`` and ``bias`` stand for in fits, ratios and tables.
        core_sigmas: Half width of the window of the Gaussian core, in its sigma.
        relative_to: One of :data:`RELATIVE_TO`.
        sum: How the terms of the resolution are added up, one of :data:`SUMS`.
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
