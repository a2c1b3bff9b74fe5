"""The figures that exist, for help texts: importing this costs nothing."""

from __future__ import annotations

DESCRIPTIONS = {
    "resolution": "sigma/mu of the Gaussian core against true energy, with fitted terms and ratio to the baselines",
    "linearity": "mean response of the core against true energy, with bands of 1 and 2 %",
    "response": "distributions of E_reco/E_true at several energies, with the Gaussian core",
    "training": "loss, resolution of the validation side and learning rate against epoch",
}
"""One line for each figure of a report, in the order in which they are drawn."""

SHOWER_DESCRIPTIONS = {
    "longitudinal": "mean energy in every layer against depth, at several energies",
    "radial": "share of the energy within a distance of the axis of the shower; needs hits",
}
"""The same for a data set."""
