"""What can be evaluated: expressions and several models beside each other, good estimates and impossible ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from calomlp.data.sample import plain_recipe
from calomlp.data.sources import Source
from calomlp.errors import InputError, UsageError
from calomlp.evaluation.evaluate import evaluate
from calomlp.evaluation.options import EvaluateSettings
from calomlp.evaluation.report import Report
from calomlp.evaluation.subjects import Trained, parse_comparison, parse_estimate
from calomlp.run import Run
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")


def judged(source: Source, *texts: str, sigma: str | None = None, **wishes: object) -> Report:
    """Evaluate expressions, without any model."""
    first, *others = texts
    subjects = [parse_estimate(first, sigma), *(parse_estimate(text) for text in others)]
    chosen = EvaluateSettings(**wishes)  # type: ignore[arg-type]
    recipe = plain_recipe("true_energy")
    return evaluate(subjects, recipe, [source], chosen, Run())


def test_an_expression_needs_no_model(make_root: Make) -> None:
    report = judged(make_root(linear_showers(20_000)), "sum(layer_energy)", "scaled=1.02 * sum(layer_energy)")
    first, other = report.curves
    assert (first.name, first.label, other.name) == ("estimate", "sum(layer_energy)", "scaled")
    assert first.fit is not None
    assert first.fit(np.array([10.0])) == pytest.approx(0.1 / 10**0.5, rel=0.05)  # the showers' 10 %/sqrt(E)
    assert first.line is not None
    assert other.line is not None
    assert other.line.slope.value / first.line.slope.value == pytest.approx(1.02, rel=1e-3)
    (comparison,) = report.comparisons
    assert comparison.mean is not None
    assert comparison.mean.value == pytest.approx(1, abs=3e-3)
    assert report.context.envelope is None
    assert not any(bin_.edge for bin_ in first.bins)


def test_estimates_that_say_nothing_are_counted(make_root: Make) -> None:
    columns = linear_showers(5000)
    energy = columns["layer_energy"].sum(axis=1)
    energy[:10], energy[10:30], energy[30:35], energy[35:36] = np.nan, np.inf, 0, -1
    report = judged(make_root({**columns, "reco": energy}), "a=reco", "b=sum(layer_energy)")
    unusual = report.curves[0].unusual
    assert (unusual.missing, unusual.infinite, unusual.not_positive) == (10, 20, 6)
    assert sum(bin_.events for bin_ in report.curves[0].bins) == 4970
    assert sum(bin_.events for bin_ in report.curves[1].bins) == 5000
    notes = " ".join(report.notes)
    assert "a: 10 of 5000 estimates are missing; these events are in none of its bins" in notes
    assert "a: 6 of 5000 estimates are zero or negative; they count like all others" in notes


def test_nothing_but_missing_estimates_make_a_report(make_root: Make) -> None:
    report = judged(make_root({**linear_showers(2000), "reco": np.full(2000, np.nan)}), "reco")
    assert report.curves[0].unusual.missing == 2000
    assert report.curves[0].fit is None
    assert report.to_json()


@pytest.mark.parametrize("events", [1, 2, 99])
def test_a_few_events_make_a_report(make_root: Make, events: int) -> None:
    report = judged(make_root(linear_showers(events)), "sum(layer_energy)", bins="log")
    assert report.events == events
    assert report.curves[0].linearity is None
    assert report.to_json()


def test_one_energy_makes_a_report(make_root: Make) -> None:
    columns = linear_showers(3000)
    columns["layer_energy"] *= (10 / columns["true_energy"])[:, None]
    report = judged(make_root({**columns, "true_energy": np.full(3000, 10.0)}), "sum(layer_energy)")
    (bin_,) = report.curves[0].bins
    assert [*bin_.edges] == [10, 10]
    assert report.curves[0].fit is None


def test_nothing_is_left(make_root: Make) -> None:
    source = make_root(linear_showers(100))
    with pytest.raises(InputError, match=r"no event is left to evaluate of 100: 100 are outside of all bins of energy"):
        judged(source, "sum(layer_energy)", bins="500,600")


def test_bins_may_be_given_or_hold_as_many_events_each(make_root: Make) -> None:
    source = make_root(linear_showers(6000))
    given = judged(source, "sum(layer_energy)", bins="2,10,50")
    assert [bin_.edges for bin_ in given.curves[0].bins] == [(2, 10), (10, 50)]
    assert given.statistics.out_of_bins + given.events == 6000
    assert any("are outside of all bins of energy and left out" in note for note in given.notes)
    shared = judged(source, "sum(layer_energy)", bins="quantiles:5")
    assert [bin_.events for bin_ in shared.curves[0].bins] == pytest.approx([1200] * 5, abs=25)
    assert shared.events == 6000


def test_bins_for_beam_energies_are_for_no_spectrum(make_root: Make) -> None:
    spectrum = linear_showers(3000)
    with pytest.raises(UsageError, match=r"2\d{3} distinct true energies among the first 3000 events"):
        judged(make_root(spectrum), "sum(layer_energy)", bins="points")
    with pytest.raises(UsageError, match=r"400 distinct true energies among the first 400 events"):
        judged(make_root(linear_showers(400), name="few.root"), "sum(layer_energy)", bins="points")
    beams = np.geomspace(1, 100, 60).astype(np.float32)[np.arange(3000) % 60]  # more than are recognised, but asked for
    source = make_root({**spectrum, "true_energy": beams}, name="beams.root")
    assert len(judged(source, "sum(layer_energy)", bins="points").curves[0].bins) == 60


def test_several_models_stand_side_by_side(make_root: Make) -> None:
    source = make_root(linear_showers(10_000), name="train.root")
    model = fitted(source, TrainingSettings(hidden="8", epochs=2))
    other = fitted(source, TrainingSettings(hidden="4", epochs=1, seed=3))
    report = evaluated(model, [source], Trained("other", other))
    assert [curve.name for curve in report.curves] == ["regressor", "anchor", "sum", "other"]
    assert report.events < min(model.envelope.n_test, other.envelope.n_test)  # seen by neither
    assert 0.5 * 0.2 * 2000 < report.events < 2 * 0.2 * 2000


def test_two_curves_of_a_name_are_refused(make_root: Make) -> None:
    source = make_root(linear_showers(2000))
    with pytest.raises(UsageError, match="two curves are called 'a': name one of them otherwise"):
        judged(source, "a=sum(layer_energy)", "a=max(layer_energy)")


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("tracker=trk_e", "tracker", "trk_e"),
        ("trk_e", "trk_e", "trk_e"),
        ("wide=models/w.safetensors", "wide", "models/w.safetensors"),
        ("models/w.safetensors", "w", "models/w.safetensors"),
    ],
)
def test_comparisons_are_models_or_expressions(text: str, name: str, rest: str) -> None:
    found, what = parse_comparison(text)
    assert found == name
    assert (what if isinstance(what, str) else what.energy.text) == rest


@pytest.mark.parametrize("text", ["3.0", "import os", "a=1"])
def test_what_is_no_estimate(text: str) -> None:
    with pytest.raises(UsageError):
        parse_estimate(text)


def test_an_array_is_no_estimate(make_root: Make) -> None:
    with pytest.raises(UsageError, match="estimate 'layer_energy' is not one number in each event"):
        judged(make_root(linear_showers(2000)), "layer_energy")


def test_a_result_better_than_the_oracle_is_suspected(make_root: Make) -> None:
    rng = np.random.default_rng(3)
    columns = linear_showers(20_000)
    true = columns["true_energy"]
    columns["good"] = true * (1 + 0.05 / np.sqrt(true) * rng.standard_normal(20_000))
    report = judged(make_root(columns), "good", "oracle=sum(layer_energy)")
    assert any("of the oracle's, which knows more than a detector can" in note for note in report.notes)


def test_a_feature_that_is_the_truth_is_named(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    columns = linear_showers(5000)
    columns["beam"] = columns["true_energy"] * (1 + 0.002 * np.random.default_rng(1).standard_normal(5000))
    settings = TrainingSettings(features=("layer_energy", "beam"), hidden="8", epochs=1)
    source = make_root(columns, name="train.root")
    report = evaluated(fitted(source, settings), [source], all=True)
    (note,) = [note for note in report.notes if "alone follows the true energy" in note]
    assert note.startswith("feature beam alone")
    assert note in caplog.text
