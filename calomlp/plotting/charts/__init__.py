"""What there is to be drawn: each kind is a function that makes a chart, or raises ``NothingToDraw``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calomlp.plotting.charts.learning import Training, learning_curve, training
from calomlp.plotting.charts.quantities import dependence, domain, importance
from calomlp.plotting.charts.resolution import linearity, resolution, resolution_root
from calomlp.plotting.charts.response import energy, response, response_linear, tails
from calomlp.plotting.charts.showers import density, longitudinal, radial
from calomlp.plotting.charts.uncertainty import uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable

    from calomlp.evaluation.showers import ShowerProfiles
    from calomlp.plotting.chart import Chart
    from calomlp.plotting.view import View

REPORT_CHARTS: dict[str, Callable[[View], Chart]] = {
    "resolution": resolution,
    "resolution-root": resolution_root,
    "linearity": linearity,
    "response": response,
    "response-linear": response_linear,
    "energy": energy,
    "tails": tails,
    "dependence": dependence,
    "uncertainty": uncertainty,
    "training": lambda view: training(Training.of_report(view.single("the training"))),
    "learning-curve": lambda view: learning_curve(Training.of_report(view.single("the learning curve"))),
    "importance": importance,
    "domain": domain,
}
"""Of reports, in the order of :data:`calomlp.plotting.names.REPORT_KINDS`."""

SHOWER_CHARTS: dict[str, Callable[[ShowerProfiles], Chart]] = {
    "longitudinal": longitudinal,
    "radial": radial,
    "density": density,
}
"""Of mean showers; ``hits`` and ``event`` are of other data, and follow them."""
