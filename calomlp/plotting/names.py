"""The figures that exist, for help texts: importing this costs nothing."""

from __future__ import annotations

DESCRIPTIONS = {
    "resolution": "sigma/mu of the Gaussian core against true energy, with fitted terms and ratio to the baselines",
    "resolution-root": "the same against 1/sqrt(E)",
    "linearity": "mean response of the core against true energy, with bands of 1 and 2 %",
    "response": "distributions of E_reco/E_true at several energies, with the Gaussian core",
    "response-linear": "the same on linear axes",
    "energy": "E_reco and response against true energy, medians and the band of 68 %",
    "tails": "share of the events beyond two and three sigma",
    "dependence": "median response in slices of each quantity of --by",
    "uncertainty": "pulls, probability integral transform, coverage and reliability of predicted uncertainties",
    "training": "loss, resolution of the validation side and learning rate against epoch",
    "learning-curve": "resolution and loss against the number of training events",
    "importance": "increase of the deviation if a feature is shuffled",
    "domain": "response beyond the energies of the training, and features outside of their range",
}
"""One line for each figure of a report, in the order in which they are drawn."""

ON_REQUEST = ("resolution-root", "response-linear")
"""Figures that show the same as others, and are drawn if they are asked for."""

SHOWER_DESCRIPTIONS = {
    "longitudinal": "mean energy in every layer against depth, at several energies",
    "radial": "share of the energy within a distance of the axis of the shower; needs hits",
    "density": "energy per area around the axis of the shower; needs hits",
    "hits": "number of hits of each energy; needs hits",
    "event": "one shower, layers and cells; needs hits",
}
"""The same for a data set."""

OF_HITS = ("radial", "density", "hits", "event")
"""Those that need hits."""

STYLES = ("calomlp", "cms", "atlas", "lhcb2", "alice")
"""Styles of figures."""

SIZES = ("column", "page", "slide")
"""Sizes of figures: of a column or the width of a page of a journal, or of a slide."""

MODEL_KINDS = ("training", "learning-curve")
"""Figures of a model."""
