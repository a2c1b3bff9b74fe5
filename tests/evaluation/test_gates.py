from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import ExitCode, QualityError, UsageError
from calomlp.evaluation.gates import Gate, check_curves, check_gates
from calomlp.evaluation.report import Report
from tests.conftest import linear_showers
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]


@pytest.fixture(scope="module")
def report(make_root_once: Make) -> Report:
    return judged(make_root_once(linear_showers(20_000)), "sum(layer_energy)", "wide=1.1*layer_energy[0]*6")


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


@pytest.fixture(scope="module")
def negative(make_root_once: Make) -> Report:
    """Of four energies, the response is negative at 10 GeV in one curve, and narrower than the fine bins in another."""
    rng = np.random.default_rng(1)
    energy = np.repeat([5.0, 10.0, 20.0, 40.0], 1000)
    good = energy * rng.normal(1, 0.05, 4000)
    columns = {"true_energy": energy, "good": good, "bad": np.where(energy == 10, -good, good), "exact": energy}
    return judged(make_root_once(columns, name="negative.root"), "bad", "good=good", "exact=exact")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("resolution < 0.2", r"resolution\[10\] has no value: the mean response is not above zero"),
        ("resolution[10] < 0.2", "the mean response is not above zero"),
        ("resolution_per_slope[10] < 0.2", "the mean response is not above zero"),
        ("ratio.good < 1.5", r"ratio.good\[10\] has no value: the mean response is not above zero"),
        ("ratio.exact[5] < 1.5", "narrower than 2 fine bins"),
        ("exact.sigma_68 < 1", "narrower than 2 fine bins"),
        ("exact.resolution[5] < 1", "narrower than 2 fine bins"),
        ("stochastic < 1", "3 of 4 energies can be fitted, 4 are needed, 1 without a resolution"),
        ("linearity < 1", "the mean response is not above zero at 10 GeV"),
        ("(resolution[10] < 0.2) | (good.resolution[10] < 0.2)", "the mean response is not above zero"),
        ("abs(bias) < 1", r"bias\[10\] = -[12]"),
    ],
)
def test_gates_on_numbers_that_are_absent_are_not_met(negative: Report, text: str, why: str) -> None:
    with pytest.raises(QualityError, match=why) as caught:
        check_gates([Gate.parse(text)], negative)
    assert caught.value.exit_code is ExitCode.QUALITY


@pytest.mark.parametrize(
    "text", ["resolution[5] < 0.1", "good.resolution < 0.1", "exact.linearity < 1e-3", "events > 9"]
)
def test_gates_on_what_is_there_do_not_ask_for_more(negative: Report, text: str) -> None:
    check_gates([Gate.parse(text)], negative)


def test_a_negative_response_is_in_no_fit_and_no_mean(negative: Report) -> None:
    bad, good, exact = negative.curves
    assert bad.fit is None
    assert bad.linearity is None
    assert good.fit is not None
    assert exact.fit is None
    assert exact.linearity is not None
    assert exact.linearity.max == pytest.approx(0, abs=1e-12)
    ratios = negative.comparisons[0].ratios
    assert [item.energy for item in ratios] == [5, 20, 40]
    assert all(item.ratio.value == pytest.approx(1, abs=1e-12) for item in ratios)
    assert negative.comparisons[1].ratios == ()
    assert bad.bins[2].estimates["resolution_per_slope"].value == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("events", [1, 250, 1200])
def test_a_spectrum_of_few_events_says_what_it_lacks(events: int, make_root: Make) -> None:
    report = judged(make_root(linear_showers(events)), "sum(layer_energy)")
    assert any("no fit of the resolution: " in note and "4 are needed" in note for note in report.notes)
    with pytest.raises(QualityError, match="stochastic has no value"):
        check_gates([Gate.parse("stochastic < 1")], report)
