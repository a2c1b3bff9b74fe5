from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from calomlp.data.sources import Source
from calomlp.errors import ExitCode, QualityError, UsageError
from calomlp.evaluation.gates import Gate, check_curves, check_gates
from calomlp.evaluation.report import Report
from tests.conftest import linear_showers
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]


@pytest.fixture
def report(make_root: Make) -> Report:
    return judged(make_root(linear_showers(20_000)), "sum(layer_energy)", "wide=1.1*layer_energy[0]*6")


@pytest.mark.parametrize(
    "text",
    [
        "resolution[10] < 0.04",
        "abs(bias) < 0.02",
        "stochastic < 0.11",
        "wide.resolution[10] > 2 * resolution[10]",
        "abs(wide.bias - 0.1) < 0.05",
        "ratio.wide < 0.5",
        "ratio.wide[10] < 0.5",
        "(linearity < 0.02) & (chi2_per_ndf < 4)",
        "events[10] > 500",
        "abs(slope - 1) < 3 * 0.01",
        "out_of_domain == 0",
        "missing + infinite == 0",
        "tail_3sigma < 0.02",
    ],
)
def test_gates_that_are_met(report: Report, text: str) -> None:
    check_gates([Gate.parse(text)], report)


def test_each_gate_that_is_not_met_is_named_with_its_numbers(report: Report) -> None:
    gates = [Gate.parse(text) for text in ("resolution[10] < 0.01", "stochastic < 1", "abs(bias) < 1e-9")]
    with pytest.raises(QualityError) as caught:
        check_gates(gates, report)
    message = str(caught.value)
    assert caught.value.exit_code is ExitCode.QUALITY
    assert re.search(r"not met: resolution\[10\] < 0.01 \(resolution\[[\d.]+\] = 0.03\d+ \+- 0.00\d+\)", message)
    assert "stochastic" not in message
    assert re.search(r"not met: abs\(bias\) < 1e-9 \(bias\[1.\d+\] = .*; .*; .* and in \d+ more bins\)", message)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("resoluton < 1", "no number 'resoluton': did you mean 'resolution'"),
        ("1 < 2", "says nothing of the report"),
        ("resolution[] < 1", "cannot be parsed"),
        ("stochastic[10] < 1", "no number 'stochastic'"),
        ("resolution[-3] < 1", "is no energy"),
        ("__import__('os')", "not in the feature language|unknown function"),
    ],
)
def test_gates_that_make_no_sense(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Gate.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nosuch.resolution < 1", "no curve 'nosuch': legal: estimate, wide"),
        ("ratio.nosuch < 1", "no curve 'nosuch' to compare with"),
        ("resolution[5000] < 1", r"there is no bin at 5000 GeV, there are [\d.]+ to [\d.]+, .* to [\d.]+ GeV"),
        ("ratio.wide[5000] < 1", r"there is no bin at 5000 GeV, there are [\d.]+ to [\d.]+, "),
        ("resolution * 2", "is not true or false"),
        ("coverage > 0.6", "no uncertainties of single events are predicted"),
        ("crystal_ball_sigma < 1", "crystal_ball_sigma is there with --width crystal_ball only"),
    ],
)
def test_gates_that_do_not_fit_the_report(report: Report, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_gates([Gate.parse(text)], report)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nosuch.resolution[10] < 1", "no curve 'nosuch': legal: estimate, wide"),
        ("stochastic < wid.stochastic", "no curve 'wid': did you mean 'wide'"),
        ("ratio.nosuch < 1", "no curve 'nosuch' to compare with: legal: wide"),
        ("ratio.estimate < 1", "no curve 'estimate' to compare with"),
    ],
)
def test_curves_that_there_will_not_be_are_known_before(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_curves([Gate.parse(text)], ["estimate", "wide"])


def test_curves_that_there_will_be_pass() -> None:
    texts = ("wide.bias[10] < 1", "ratio.wide[10] < 1", "estimate.bias < bias", "coverage > 0.6")
    check_curves([Gate.parse(text) for text in texts], ["estimate", "wide"])
