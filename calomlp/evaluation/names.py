"""What can be chosen in an evaluation, for help texts: importing this costs nothing."""

from __future__ import annotations

WIDTH_NAMES = ("core", "rms", "rms90", "sigma_68", "sigma_eff", "mad", "fwhm", "crystal_ball")
"""What a resolution can be measured by; :data:`calomlp.evaluation.estimators.WIDTHS` says how."""

MEAN, TRUTH = RELATIVE_TO = ("mean", "truth")
"""A resolution is a width over the mean (location) of the measured energy, or over the true one."""

QUADRATURE, LINEAR = SUMS = ("quadrature", "linear")
"""How the terms of the resolution are added up; some papers on hadrons add them linearly."""

TRAINING, SIMULATION = "training", "simulation"
"""Where the settings of a report come from."""
