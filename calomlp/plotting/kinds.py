"""The figures that exist, for help texts: importing this costs nothing."""

from __future__ import annotations

REPORT_KINDS = (
    *("resolution", "resolution-root", "linearity", "response", "response-linear", "energy", "tails"),
    *("dependence", "uncertainty", "training", "learning-curve", "importance", "domain"),
)
"""Figures of a report, in the order in which they are drawn."""

ON_REQUEST = ("resolution-root", "response-linear")
"""Figures that show the same as others, and are drawn if they are asked for."""

SHOWER_KINDS = ("longitudinal", "radial", "event")
"""Figures of a data set."""

OF_HITS = ("radial", "event")
"""Those that need hits."""

FORMATS = ("pdf", "svg", "png")
"""Formats that figures can be written in."""

TABLE, CAPTION, PAGE, LATEX = "tsv", "txt", "html", "tex"
"""Suffixes of texts: the numbers behind figures, their captions, a report as a page for a browser, its tables."""

STYLES = ("calomlp", "cms", "atlas", "lhcb2", "alice")
"""Styles of figures."""

SIZES = ("column", "page", "slide")
"""Sizes of figures: of a column or the width of a page of a journal, or of a slide."""

MODEL_KINDS = ("training", "learning-curve")
"""Figures of a model."""
