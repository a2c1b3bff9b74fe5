"""What can be chosen in an evaluation, for help texts: importing this costs nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Width:
    """How a resolution is measured: by which width, relative to which location."""

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
