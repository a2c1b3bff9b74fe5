"""Pulls, probability integral transform, coverage and reliability of predicted uncertainties."""

from __future__ import annotations

import math

import numpy as np

from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.measurement import PERCENT, count, with_error
from calomlp.evaluation.uncertainty import PULL_SHIFT, Uncertainty
from calomlp.plotting.chart import BLACK, Axis, Chart, Line, Look, Marks, NothingToDraw, Panel, Steps
from calomlp.plotting.view import View

_REACH = 5.0  # sigma
_PULL_BINS = 50
_HEADROOM = 1.35
_NOTE = "black: what a perfect uncertainty gives; observed σ: what 68 % of the deviations are below"


def uncertainty(view: View) -> Chart:
    """Show pulls, probability integral transform, coverage and reliability of the predicted uncertainties."""
    report = view.single("the uncertainty")
    uncertainty, statistics = report.uncertainty, report.statistics.uncertainty
    if uncertainty is None or statistics is None:
        raise NothingToDraw("no uncertainties of single events are predicted, so there are none to draw")
    look = view.first.look
    panels = (
        _pulls(statistics.pulls, uncertainty, look),
        _transform(uncertainty, look),
        _coverage(uncertainty, look),
        _reliability(uncertainty, look),
    )
    sample, remarks = f"{count(uncertainty.events)} events", [f"uncertainties of {view.first.label}", _NOTE]
    title = "predicted uncertainties"
    return Chart("uncertainty", title, sample, panels, 4.4, (), remarks, columns=2, wide=True, separate=True)


def _pulls(pulls: Histogram, uncertainty: Uncertainty, look: Look) -> Panel:
    edges = np.linspace(-_REACH, _REACH, _PULL_BINS + 1)
    events = np.histogram(pulls.centres - PULL_SHIFT, edges, weights=pulls.count)[0].astype(np.float64)
    x = np.linspace(edges[0], edges[-1], 200)
    ideal = pulls.events * (edges[1] - edges[0]) * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    beyond = pulls.events - int(events.sum())
    numbers = [f"beyond: {count(beyond)} events"]
    if "core_sigma" in uncertainty.pull:
        core = uncertainty.pull["core_mean"], uncertainty.pull["core_sigma"]
        numbers = [f"core: μ = {with_error(core[0])}", f"σ = {with_error(core[1])}", *numbers]
    top = _HEADROOM * float(max(events.max(), ideal.max()))
    return Panel(
        Axis(r"pull $(E_\mathrm{reco} - E_\mathrm{true})/\sigma$", float(edges[0]), float(edges[-1])),
        Axis("events", 0, top),
        (Line("standard normal", BLACK, x, ideal), Steps("pull", look, edges, events, filled=True)),
        text="\n".join(numbers),
    )


def _transform(uncertainty: Uncertainty, look: Look) -> Panel:
    share = np.array(uncertainty.transform)
    edges = np.linspace(0, 1, len(share) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    error = np.sqrt(share * (1 - share) / uncertainty.events)
    return Panel(
        Axis("probability integral transform", 0, 1),
        Axis("events / expected", 0, _HEADROOM * max(1.0, float(share.max()) * len(share))),
        (
            Marks("transform", look, middle, share * len(share), error * len(share)),
            Line("flat", BLACK, np.array([0.0, 1.0]), np.ones(2)),
        ),
        text=f"largest distance: {uncertainty.distance:.3f}",
    )


def _coverage(uncertainty: Uncertainty, look: Look) -> Panel:
    """Show the share of the events inside central intervals of every probability."""
    share = np.array(uncertainty.transform)
    half = len(share) // 2
    inside = np.cumsum(share[half:] + share[half - 1 :: -1])
    asked = np.arange(1, half + 1) / half
    error = np.sqrt(np.maximum(inside * (1 - inside), 0) / uncertainty.events)
    one, two = uncertainty.coverage
    ends = np.array([0, PERCENT])
    return Panel(
        Axis("probability of the interval [%]", 0, 102),
        Axis("events inside [%]", 0, 102),
        (
            Marks("coverage", look, PERCENT * asked, PERCENT * inside, PERCENT * error),
            Line("ideal", BLACK, ends, ends, thin=True),
        ),
        text=f"within 1σ: ({with_error(one, PERCENT)}) %\nwithin 2σ: ({with_error(two, PERCENT)}) %",
    )


def _reliability(uncertainty: Uncertainty, look: Look) -> Panel:
    predicted = PERCENT * np.array([group.predicted for group in uncertainty.reliability])
    observed = PERCENT * np.array([group.observed.value for group in uncertainty.reliability])
    error = PERCENT * np.array([group.observed.error for group in uncertainty.reliability])
    low = float(min(predicted.min(), (observed - error).min()))
    high = float(max(predicted.max(), (observed + error).max()))
    log = low > 0 and high > 4 * low
    span = (low / 1.15, high * 1.15) if log else (0.0, 1.08 * high)
    return Panel(
        Axis(r"predicted $\sigma/E_\mathrm{true}$ [%]", *span, log),
        Axis(r"observed $\sigma/E_\mathrm{true}$ [%]", *span, log),
        (
            Marks("reliability", look, predicted, observed, error),
            Line("ideal", BLACK, np.array(span), np.array(span), thin=True),
        ),
    )
