"""Scans: settings and numbers of reports by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from calomlp.data.sources import Source
from calomlp.errors import UsageError
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.recorded_settings import _settings, find_setting, number_of
from calomlp.evaluation.report import Report
from calomlp.evaluation.resolution import ResolutionFit
from tests.conftest import linear_showers
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]

SETTINGS: dict[str, Any] = {
    "training": {
        "hidden": "64,64",
        "learning_rate": 0.001,
        "compile": False,
        "cut": None,
        "explode": "",
        "features": ["layer_energy", "n_hits"],
        "events": 7000,
        "seed": 1,
    },
    "simulation": {
        "detector": {
            "name": "toy",
            "dead_layers": [],
            "layers": [
                {
                    "name": "front",
                    "repeat": 10,
                    "absorber": {"material": "W", "thickness": "0.3 cm"},
                    "readout": {"noise": "0.1 MIP", "threshold": "0.5 MIP"},
                },
                {
                    "name": "rear",
                    "repeat": 20,
                    "absorber": {"material": "Pb", "thickness": "0.3 cm"},
                    "readout": {"noise": "0.1 GeV", "threshold": "0.5 MIP"},
                },
            ],
        },
        "angle_degrees": [10.0, 10.0],
        "spectrum": {"index": None, "energies_gev": [5.0, 20.0]},
        "events": 10000,
        "seed": 1,
    },
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    import uproot

    path = tmp_path_factory.mktemp("scan") / "showers.root"
    with uproot.recreate(path) as file:
        file.mktree("events", linear_showers(20_000))
    found = judged(Source(str(path), None, path.name), "sum(layer_energy)", "wide=1.1*layer_energy[0]*6")
    return with_settings(found, SETTINGS)


def with_settings(report: Report, settings: dict[str, Any]) -> Report:
    return replace(report, context=replace(report.context, settings=settings))


def recorded(report: Report) -> dict[str, float | str]:
    return {setting.name: setting.value for setting in _settings(report.context.settings)}


def test_settings_have_whole_names(report: Report) -> None:
    layers = "simulation.detector.layers"
    assert recorded(report) == {
        "training.hidden": "64,64",
        "training.learning_rate": 0.001,
        "training.compile": "false",
        "training.features.0": "layer_energy",
        "training.features.1": "n_hits",
        "training.events": 7000,
        "training.seed": 1,
        "simulation.detector.name": "toy",
        f"{layers}.front.repeat": 10,
        f"{layers}.front.absorber.material": "W",
        f"{layers}.front.absorber.thickness": 0.3,
        f"{layers}.front.readout.noise": 0.1,
        f"{layers}.front.readout.threshold": 0.5,
        f"{layers}.rear.repeat": 20,
        f"{layers}.rear.absorber.material": "Pb",
        f"{layers}.rear.absorber.thickness": 0.3,
        f"{layers}.rear.readout.noise": 0.1,
        f"{layers}.rear.readout.threshold": 0.5,
        "simulation.angle_degrees": 10,
        "simulation.spectrum.energies_gev.0": 5,
        "simulation.spectrum.energies_gev.1": 20,
        "simulation.events": 10000,
        "simulation.seed": 1,
    }


def test_lists_without_names_of_their_own_are_counted(report: Report) -> None:
    layers = [{"name": "a", "d": 1}, {"name": "a", "d": 2}]
    found = with_settings(report, {"layers": layers, "grid": [[1, 1], [1, 2]], "huge": 10**400})
    assert recorded(found) == {
        "huge": "1" + 400 * "0",
        "layers.0.name": "a",
        "layers.0.d": 1,
        "layers.1.name": "a",
        "layers.1.d": 2,
        "grid.0": 1,
        "grid.1.0": 1,
        "grid.1.1": 2,
    }


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("simulation.detector.layers.rear.absorber.thickness", 0.3, "cm"),
        ("layers.absorber.thickness", 0.3, "cm"),  # as --set has it
        ("absorber.thickness", 0.3, "cm"),
        ("thickness", 0.3, "cm"),
        ("rear.repeat", 20, ""),
        ("rear.absorber.material", "Pb", ""),
        ("threshold", 0.5, "MIP"),
        ("learning_rate", 0.001, ""),
        ("hidden", "64,64", ""),
        ("seed", 1, ""),  # the same in both
        ("training.events", 7000, ""),
        ("angle_degrees", 10, ""),
        ("energies_gev.1", 20, ""),
    ],
)
def test_a_setting_is_found_by_its_last_parts(report: Report, name: str, value: float | str, unit: str) -> None:
    found = find_setting(report, name, "r.json")
    assert (found.value, found.unit) == (value, unit)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "events",
            "r.json: several settings are called so and differ: training.events = 7000, simulation.events = 10000",
        ),
        ("noise", r"differ: simulation.*front.readout.noise = 0.1 MIP, simulation.*rear.readout.noise = 0.1 GeV"),
        ("energies_gev", "differ: simulation.spectrum.energies_gev.0 = 5, simulation.spectrum.energies_gev.1 = 20"),
        ("absorber.thicknes", "r.json: records no setting of this name: did you mean 'absorber.thickness'"),
        ("hickness", "did you mean 'thickness'"),  # whole parts only
        ("learning-rate", "did you mean 'learning_rate'"),
        ("cut", "records no setting of this name: legal: hidden, "),
        ("", "records no setting"),
    ],
)
def test_a_setting_that_is_not_one_is_refused(report: Report, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        find_setting(report, name, "r.json")
    assert str(error.value).startswith(f"--x {name!r}: ")
    assert "\n" not in str(error.value)


def test_a_report_without_a_simulation_says_so(report: Report) -> None:
    found = with_settings(report, {"training": SETTINGS["training"]})
    with pytest.raises(UsageError, match="no setting of this name, and nothing of a simulation: legal: hidden"):
        find_setting(found, "thickness", "r.json")
    with pytest.raises(UsageError, match="there is nothing to choose from"):
        find_setting(with_settings(report, {}), "thickness", "r.json")


def fit_of(report: Report, curve: str) -> ResolutionFit:
    fit = report.curve(curve).fit
    assert fit is not None
    return fit


def test_numbers_are_those_of_the_report_with_their_errors(report: Report) -> None:
    first, wide = report.curves
    (bin_,) = (bin_ for bin_ in first.bins if bin_.energy_low <= 10 < bin_.energy_high)
    (other,) = (bin_ for bin_ in wide.bins if bin_.energy_low <= 10 < bin_.energy_high)
    (ratio,) = (item for item in report.comparisons[0].ratios if item.energy_low <= 10 < item.energy_high)
    assert number_of(report, "stochastic", "r").measured == fit_of(report, "estimate").stochastic
    assert number_of(report, " wide.stochastic ", "r").measured == fit_of(report, "wide").stochastic
    assert number_of(report, "resolution[10]", "r").name == f"resolution[{bin_.energy:.3g}]"
    assert number_of(report, "resolution[10]", "r").measured == bin_.estimates["resolution"]
    assert number_of(report, "wide.bias[10]", "r").measured == other.estimates["bias"]
    assert number_of(report, "ratio.wide[10]", "r").measured == ratio.ratio
    assert number_of(report, "events[10]", "r").measured == Measurement(bin_.events, 0)
    assert number_of(report, "out_of_domain", "r").measured == Measurement(0, 0)


def test_a_term_that_may_be_zero_has_its_value_and_error(report: Report) -> None:
    fit = fit_of(report, "estimate")
    assert "noise" in fit.limits
    assert number_of(report, "noise", "r").measured == fit.noise


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("bias", r"^--y 'bias': r.json: has one for each of \d+ bins: name an energy, such as bias\[1"),
        ("ratio.wide", r"r.json: has one for each of \d+ bins: name an energy, such as ratio.wide\[1"),
        ("resoluton[10]", "^--y 'resoluton.10.': no number 'resoluton': did you mean 'resolution'"),
        ("stochastic[10]", "no number 'stochastic'"),
        ("resolution[ten]", "'ten' in brackets is no energy"),
        ("ratio.wide[-1]", "'-1' in brackets is no energy"),
        ("resolution[5000]", r"r.json: there is no bin at 5000 GeV, there are [\d.]+ to [\d.]+"),
        ("resolution[]", "names no number: legal are such as stochastic"),
        ("1.2 * stochastic", "names no number"),
        ("nosuch.stochastic", "r.json: no curve 'nosuch': legal: estimate, wide"),
        ("coverage", "r.json: no uncertainties of single events are predicted, so there is no coverage"),
    ],
)
def test_a_number_that_is_not_one_is_refused(report: Report, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        number_of(report, text, "r.json")
    assert "\n" not in str(error.value)
