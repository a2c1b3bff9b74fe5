"""Numbers that must not change: with units, scales and signs, with the order of events, with how they are filed.

The right value is that of the same events as they were. What changes no fine bin changes no digit; what moves events by
a fine bin changes numbers by a small part of their errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.data.sample import parse_target, plain_recipe
from calomlp.data.sources import Source
from calomlp.evaluation.evaluate import evaluate
from calomlp.evaluation.numbers import to_tsv
from calomlp.evaluation.options import EvaluateSettings
from calomlp.evaluation.report import Bin, Report, read_report
from calomlp.evaluation.subjects import parse_estimate
from calomlp.evaluation.summary import merge
from calomlp.plotting.render import to_markdown
from calomlp.run import Run
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers
from tests.evaluation.test_merge import differences

Make = Callable[..., Source]
Columns = dict[str, np.ndarray]

pytestmark = pytest.mark.usefixtures("few_replicas")

EVENTS = 12_000
BEAM = (5.0, 10.0, 20.0, 50.0)
RELATIVE = ("resolution", "resolution_per_slope", "tail_2sigma", "tail_3sigma")
WIDTHS = ("core_sigma", "rms", "rms90", "sigma_68", "sigma_eff", "mad", "fwhm")


def slow(*values: Any) -> Any:
    """A case of the slow suite."""
    return pytest.param(*values, marks=pytest.mark.slow)


def spectrum(seed: int = 1) -> Columns:
    """Events of 1 to 100 GeV with 10 and 15 %/sqrt(E)."""
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(0, np.log(100), EVENTS))
    first, second = rng.standard_normal((2, EVENTS))
    return {
        "true_energy": energy,
        "cluster": energy + 0.1 * np.sqrt(energy) * first,
        "other": energy + np.sqrt(energy) * (0.1 * first + 0.11 * second),
    }


def judged(
    sources: Source | list[Source],
    first: str = "cluster",
    other: str = "other",
    unit: str | None = None,
    edges: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64, 100),
) -> Report:
    recipe = replace(plain_recipe("true_energy"), target=parse_target("true_energy", unit))
    subjects = [parse_estimate(first), parse_estimate(f"other={other}")]
    sources = [sources] if isinstance(sources, Source) else sources
    wishes = EvaluateSettings(bins=",".join(map(repr, edges)) if edges else "auto")
    return evaluate(subjects, recipe, sources, wishes, Run())


def document(report: Report) -> dict[str, Any]:
    """Return all numbers of a report, but not the names of files, branches and commands."""
    found: dict[str, Any] = json.loads(report.to_json())
    del found["context"], found["notes"], found["statistics"]["tally"]
    for curve in found["curves"]:
        del curve["label"]
    del found["statistics"]["labels"]
    return found


def counts(found: dict[str, Any]) -> Any:
    """Return the fine bins of a report, and the events in them."""
    return {key: item["histograms"] for key, item in found["statistics"]["responses"]["content"].items()}


def relative(bin_: Bin) -> dict[str, tuple[float, float]]:
    """Return the numbers of a bin that know no unit, each with its error."""
    found = {name: bin_.estimates[name] for name in RELATIVE if name in bin_.estimates}
    numbers = {name: (item.value, item.error) for name, item in found.items()}
    at = bin_.estimates["median"].value
    widths = {name: bin_.estimates[name] for name in WIDTHS if name in bin_.estimates}
    return numbers | {name: (item.value / at, item.error / at) for name, item in widths.items()}


def check_alike(one: Report, other: Report, part: float, slack: float = 0.0) -> int:
    """Compare numbers without unit: they may differ by a part of their errors; return how many there were.

    Ratios may differ by more if the training has changed, which their errors do not hold.
    """
    compared = 0
    for curve, same in zip(one.curves, other.curves, strict=True):
        for bin_, its in zip(curve.bins, same.bins, strict=True):
            assert bin_.events == its.events
            numbers, theirs = relative(bin_), relative(its)
            assert numbers.keys() == theirs.keys()
            for name, (value, error) in numbers.items():
                assert theirs[name][0] == pytest.approx(value, abs=part * error + 1e-12), (name, bin_.energy)
                compared += 1
        assert (curve.fit is None) == (same.fit is None)
    for comparison, same_one in zip(one.comparisons, other.comparisons, strict=True):
        for ratio, its_ratio in zip(comparison.ratios, same_one.ratios, strict=True):
            assert its_ratio.ratio.value == pytest.approx(ratio.ratio.value, abs=part * ratio.ratio.error + slack)
    return compared


# Without any model: units, signs, order and files of energies that are given


@pytest.fixture(scope="module")
def plain(make_root_once: Make) -> Report:
    """The report of the events as they are."""
    return judged(make_root_once(spectrum(), name="plain.root"))


@pytest.mark.parametrize("power", [-10, *map(slow, (-60, 1, 17, 60))])
def test_a_power_of_two_changes_no_digit_of_what_is_relative(power: int, make_root: Make, plain: Report) -> None:
    columns = spectrum()
    scaled = {**columns, **{name: columns[name] * 2.0**power for name in ("cluster", "other")}}
    other = judged(make_root(scaled, name="2.root"))
    assert check_alike(plain, other, 0.0) > 100
    for curve, same in zip(plain.curves, other.curves, strict=True):
        for bin_, its in zip(curve.bins, same.bins, strict=True):
            assert its.estimates["mean"].value == bin_.estimates["mean"].value * 2.0**power
            assert its.estimates["rms"].error == bin_.estimates["rms"].error * 2.0**power
        assert curve.fit == same.fit


@pytest.mark.parametrize("factor", [0.0023, 3e12, *map(slow, (1e5, 1e-3, 1.6e-10, 1000 / 7))])
def test_a_factor_changes_numbers_by_a_small_part_of_their_errors(
    factor: float, make_root: Make, plain: Report
) -> None:
    columns = spectrum()
    scaled = {**columns, **{name: columns[name] * factor for name in ("cluster", "other")}}
    check_alike(plain, judged(make_root(scaled, name="2.root")), 0.5)


@pytest.mark.parametrize("factor", [1.97, *map(slow, (1.001, 0.5, 2.0**-0.5))])
def test_where_the_response_lies_among_powers_of_two_does_not_matter(
    factor: float, make_root: Make, plain: Report
) -> None:
    columns = spectrum()
    scaled = {**columns, **{name: columns[name] * factor for name in ("cluster", "other")}}
    check_alike(plain, judged(make_root(scaled, name="2.root")), 0.5)


@pytest.mark.parametrize(("unit", "factor"), [("MeV", 1e3), slow("keV", 1e6), slow("TeV", 1e-3)])
def test_the_unit_of_the_truth_does_not_matter(unit: str, factor: float, make_root: Make, plain: Report) -> None:
    columns = spectrum()
    other = {name: values * factor for name, values in columns.items()}
    found = judged(make_root(other, name="2.root"), f"cluster / {factor}", f"other / {factor}", unit)
    check_alike(plain, found, 0.02)


def test_all_energies_a_thousand_times_as_large_in_bins_that_are(make_root: Make, plain: Report) -> None:
    columns = spectrum()
    other = {name: values * 1024 for name, values in columns.items()}
    edges = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0)
    found = judged(make_root(other, name="2.root"), edges=tuple(1024 * edge for edge in edges))
    check_alike(plain, found, 0.0)


def test_the_sign_mirrors_the_response(make_root: Make, plain: Report) -> None:
    mirrored = judged(make_root(spectrum()), "-cluster", "-other")
    for curve, same in zip(plain.curves, mirrored.curves, strict=True):
        assert (same.fit, same.linearity, same.line) == (None, None, None)
        for bin_, its in zip(curve.bins, same.bins, strict=True):
            assert its.estimates["bias"].value == pytest.approx(-2 - bin_.estimates["bias"].value)
            assert not {"resolution", "resolution_per_slope"} & set(its.estimates)
            for name in ("core_sigma", "rms", "sigma_68", "mad", "sigma_eff"):
                assert its.estimates[name].value == pytest.approx(bin_.estimates[name].value, rel=1e-4)
    assert mirrored.comparisons[0].ratios == ()


def test_the_order_of_the_events_changes_no_digit(make_root: Make, plain: Report) -> None:
    columns = spectrum()
    order = np.random.default_rng(3).permutation(EVENTS)
    other = {name: values[order] for name, values in columns.items()}
    one, found = document(plain), document(judged(make_root(other)))
    assert differences(one, found, tolerance=1e-6) == []
    assert counts(one) == counts(found)


@pytest.mark.parametrize("edges", [(1.0, 3.0, 10.0, 30.0, 100.0), slow(())])
def test_how_events_are_filed_changes_no_digit(edges: tuple[float, ...], make_root: Make, tmp_path: Path) -> None:
    columns = spectrum()
    cuts = [0, 1, 700, 7000, EVENTS]
    parts = [
        make_root({name: values[low:high] for name, values in columns.items()}, name=f"{low}.root")
        for low, high in pairwise(cuts)
    ]
    whole = document(judged(make_root(columns), edges=edges))
    assert differences(whole, document(judged(parts, edges=edges)), tolerance=1e-6) == []
    reports = []
    for i, part in enumerate(parts):
        path = tmp_path / f"{i}.json"
        path.write_text(judged(part, edges=edges).to_json())
        reports.append(read_report(str(path), path.name))
    for order in (reports, reports[::-1]):
        merged = document(merge(order))
        assert differences(whole, merged, tolerance=1e-6) == []
        assert counts(whole) == counts(merged)


def test_beam_energies_are_merged_as_they_are_read(make_root: Make) -> None:
    rng = np.random.default_rng(4)
    energy = np.repeat(BEAM, 1500)
    columns = {"true_energy": energy, "cluster": energy * rng.normal(1, 0.1, 6000)}
    columns["other"] = columns["cluster"] * rng.normal(1, 0.05, 6000)
    parts = [make_root({n: v[i::3] for n, v in columns.items()}, name=f"{i}.root") for i in range(3)]
    whole = document(judged(make_root(columns), edges=()))
    assert differences(whole, document(merge([judged(part, edges=()) for part in parts])), tolerance=1e-6) == []


def test_names_of_branches_and_branches_beside_them_do_not_matter(make_root: Make, plain: Report) -> None:
    columns = spectrum()
    renamed = {"true_energy": columns["true_energy"], "c": columns["cluster"], "o": columns["other"]}
    more = {**columns, "noise": np.random.default_rng(5).standard_normal(EVENTS)}
    whole = document(plain)
    for found in (judged(make_root(renamed, name="2.root"), "c", "o"), judged(make_root(more, name="3.root"))):
        assert differences(whole, document(found)) == []


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_the_precision_of_the_file_hardly_matters(kind: str, make_root: Make, plain: Report) -> None:
    columns = spectrum()
    other = {name: values.astype(kind) for name, values in columns.items()}
    check_alike(plain, judged(make_root(other, name="2.root")), 0.02)


# Estimates that are none


def strange() -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(6)
    energy = np.repeat(BEAM, 1500)
    good = energy * rng.normal(1, 0.1, len(energy))
    beside = np.arange(len(energy))
    return {
        "zero": 0 * energy,
        "minus zero": -0.0 * energy,
        "constant": 0 * energy + 7,
        "exact": energy,
        "all but exact": energy * (1 + 1e-5 * rng.standard_normal(len(energy))),
        "half exact": np.where(beside % 2, energy, good),
        "negative": -good,
        "one bin negative": np.where(energy == 10, -good, good),
        "mixed signs": np.where(beside % 2, good, -good),
        "around zero": rng.standard_normal(len(energy)),
        "all missing": energy * np.nan,
        "one bin missing": np.where(energy == 10, np.nan, good),
        "all infinite": energy * np.inf,
        "marked by the largest number": np.where(beside % 50, good, np.finfo(np.float64).max),
        "marked by -9999": np.where(beside % 8, good, -9999),
        "all -9999": 0 * energy - 9999,
        "tiny": good * 1e-300,
        "huge": good * 1e25,
    }


@pytest.mark.parametrize("kind", strange())
def test_estimates_that_are_none_have_a_report(kind: str, make_root: Make, tmp_path: Path) -> None:
    """Every form of the report can be written, and read again; numbers are right or absent."""
    energy = np.repeat(BEAM, 1500)
    values = strange()[kind]
    columns = {"true_energy": energy, "cluster": values, "other": strange()["marked by -9999"]}
    for first, other in (("cluster", "other"), ("other", "cluster")):
        report = judged(make_root(columns), first, other, edges=())
        path = tmp_path / f"{first}.json"
        path.write_text(report.to_json())
        again = read_report(str(path), path.name)
        assert document(again) == document(report)
        assert to_tsv(again)
        assert to_markdown(again)
        for curve, name in zip(again.curves, (first, other), strict=True):
            for bin_ in curve.bins:
                if "resolution" in bin_.estimates:
                    own = columns[name][energy == bin_.energy]
                    median = np.median(own[np.isfinite(own) & (np.abs(own) < 1e30)]) / bin_.energy
                    assert median > 0
                    assert bin_.estimates["median"].value == pytest.approx(median, rel=1e-3, abs=0.01 * median)
        assert len(again.curves[0].bins) == len(BEAM)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("zero", "the mean response is not above zero"),
        ("exact", "narrower than 2 fine bins"),
        ("all but exact", "narrower than 2 fine bins"),
        ("negative", "not above zero"),
        ("one bin negative", "no resolution at 10 GeV: the mean response is not above zero"),
        ("one bin missing", "1500 of 6000 estimates are missing"),
        ("around zero", "not above zero"),
        ("all missing", "6000 of 6000 estimates are missing"),
        ("marked by the largest number", "120 of 6000 estimates are infinite"),
    ],
)
def test_what_is_absent_is_said(kind: str, why: str, make_root: Make) -> None:
    columns = {"true_energy": np.repeat(BEAM, 1500), "cluster": strange()[kind], "other": strange()["exact"]}
    report = judged(make_root(columns), edges=())
    assert any(why in note for note in report.notes), report.notes


@pytest.mark.parametrize("events", [1, 2, 99, 100, 101])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_few_events_have_a_report(events: int, spread: float, make_root: Make) -> None:
    energy = np.full(events, 10.0)
    cluster = energy * (1 + spread * np.random.default_rng(7).standard_normal(events))
    report = judged(make_root({"true_energy": energy, "cluster": cluster, "other": 0 * energy}), edges=())
    assert report.events == events
    assert to_markdown(report)
    assert report.to_json()


# A whole chain: train, evaluate. The training itself changes with what it reads, within errors


def chain(columns: Columns, make_root: Make, **settings: Any) -> Report:
    """Train and evaluate; the names of the files, which decide the split, are always the same."""
    train = {key: values[: EVENTS // 2] for key, values in columns.items()}
    test = {key: values[EVENTS // 2 :] for key, values in columns.items()}
    model = fitted(make_root(train, name="train.root"), TrainingSettings(hidden="8", epochs=2, seed=1, **settings))
    return evaluated(model, [make_root(test, name="test.root")], bins="2,4,8,16,32,64")


@pytest.fixture(scope="module")
def showers() -> Columns:
    return linear_showers(EVENTS)


@pytest.fixture(scope="module")
def of_showers(showers: Columns, make_root_once: Make) -> Report:
    """The report of a model of the showers as they are."""
    return chain(showers, make_root_once)


@pytest.mark.parametrize(
    ("change", "settings", "part"),
    [
        ("permuted layers", {}, 1.0),
        ("ADC counts", {}, 1.0),
        ("power of two", {}, 1.0),
        ("MeV", {"unit": "MeV"}, 1.0),
        ("renamed", {"features": ("signals",), "energies": ("signals",)}, 1.0),
        ("duplicate", {}, 1.0),
    ],
)
def test_the_numbers_of_a_model_know_no_unit(
    change: str, settings: dict[str, Any], part: float, showers: Columns, of_showers: Report, make_root: Make
) -> None:
    layers = showers["layer_energy"]
    changed: Columns = {
        "permuted layers": {**showers, "layer_energy": layers[:, ::-1]},
        "ADC counts": {**showers, "layer_energy": 4300 * layers},
        "power of two": {**showers, "layer_energy": 2.0**-12 * layers},
        "MeV": {name: 1000 * values for name, values in showers.items()},
        "renamed": {"true_energy": showers["true_energy"], "signals": layers},
        "duplicate": {**showers, "layer_energy_copy": layers.copy()},
    }[change]
    found = chain(changed, make_root, **settings)
    assert check_alike(of_showers, found, part, slack=0.01) > 50
