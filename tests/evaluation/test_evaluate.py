from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from calomlp.data.expressions import Expression
from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, InputError
from calomlp.evaluation.report import Report, read_report, report_schema
from calomlp.evaluation.subjects import training_sources
from calomlp.model.file import Model
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers

Make = Callable[..., Source]


@pytest.fixture(scope="module")
def source(make_root_once: Make) -> Source:
    return make_root_once(linear_showers(10_000), name="train.root")


@pytest.fixture(scope="module")
def model(source: Source) -> Model:
    settings = TrainingSettings(hidden="8", epochs=2)
    return fitted(source, settings)


@pytest.fixture(scope="module")
def report(model: Model, source: Source) -> Report:
    return evaluated(model, [source])


def test_the_model_stands_beside_its_baselines(report: Report) -> None:
    assert [curve.name for curve in report.curves] == ["regressor", "anchor", "sum"]
    for curve in report.curves:
        assert curve.fit is not None
        assert curve.fit(np.array([10.0])) == pytest.approx(0.1 / 10**0.5, rel=0.1)  # the showers' 10 %/sqrt(E)
        assert curve.linearity is not None
        assert curve.linearity.response == pytest.approx(1, abs=0.01)


def test_only_what_was_trained_is_left_out_at_the_edges(report: Report) -> None:
    regressor, *others = report.curves
    assert any(bin_.edge for bin_ in regressor.bins)
    assert not any(bin_.edge for curve in others for bin_ in curve.bins)
    assert regressor.fit is not None
    for curve in others:
        assert curve.fit is not None
        assert curve.fit.energy_min <= regressor.fit.energy_min
        assert curve.fit.energy_max >= regressor.fit.energy_max
        assert curve.fit.ndf >= regressor.fit.ndf
    edges = [bin_.edge for bin_ in regressor.bins if "resolution" in bin_.estimates and bin_.events >= 300]
    assert [item.edge for item in report.comparisons[0].ratios] == edges


def test_a_training_file_contributes_its_test_side_only(model: Model, source: Source, report: Report) -> None:
    assert report.events == model.envelope.n_test
    assert report.events + report.statistics.left_out == 10_000
    assert any("left out" in note for note in report.notes)
    everything = evaluated(model, [source], all=True)
    assert everything.events == 10_000
    assert any("--all" in note for note in everything.notes)


def test_a_copy_of_a_training_file_is_recognised(model: Model, source: Source, tmp_path: Path) -> None:
    copy = tmp_path / "copy.root"
    copy.write_bytes(Path(source.path).read_bytes())
    assert evaluated(model, [Source(str(copy), None, "copy.root")]).events == model.envelope.n_test


def test_another_file_is_used_whole(model: Model, make_root: Make) -> None:
    report = evaluated(model, [make_root(linear_showers(3000, seed=2), name="other.root")])
    assert (report.events, report.statistics.left_out) == (3000, 0)


def test_two_files_make_the_bins_of_one(model: Model, make_root: Make) -> None:
    sources = [make_root(linear_showers(3000, seed=seed), name=f"{seed}.root") for seed in (2, 3)]
    both = evaluated(model, sources)
    parts = [evaluated(model, [item]) for item in sources]
    assert {part.statistics.bins for part in parts} == {both.statistics.bins}
    for key, content in both.statistics.responses.content.items():
        found = [part.statistics.responses.content.get(key) for part in parts]
        same = [item.histograms["regressor"] for item in found if item]
        assert sum(histogram.events for histogram in same) == content.histograms["regressor"].events
        if len(same) == 2:
            assert np.array_equal((same[0] + same[1]).count, content.histograms["regressor"].count)
    assert sum(bin_.events for bin_ in both.curves[0].bins) == 6000


def test_beam_energies_are_recognised(model: Model, make_root: Make) -> None:
    columns = linear_showers(4000, seed=5)
    points = np.array([2.0, 5.0, 10.0, 20.0, 50.0], dtype=np.float32)[np.arange(4000) % 5]
    columns["layer_energy"] *= (points / columns["true_energy"])[:, None]
    columns["true_energy"] = points
    report = evaluated(model, [make_root(columns, name="beam.root")])
    assert report.bins.kind == "points"
    assert [bin_.energy for bin_ in report.curves[0].bins] == [2, 5, 10, 20, 50]


def test_bins_at_the_edges_of_the_training_range_are_marked(report: Report) -> None:
    edge = [bin_.edge for bin_ in report.curves[0].bins]
    assert edge[0]
    assert edge[-1]
    assert not any(edge[1:-1])
    fit = report.curves[0].fit
    assert fit is not None
    assert fit.energy_min > report.curves[0].bins[0].energy


def test_a_report_is_read_back_whole(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(report.to_json())
    found = read_report(str(path), "r")
    assert found.to_json() == report.to_json()
    assert found.curves[0].fit == report.curves[0].fit
    assert found.curves[0].bins[3].estimates == report.curves[0].bins[3].estimates


def test_the_schema_is_a_schema_and_leaves_nothing_open(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    document = json.loads(report.to_json())
    document["curves"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        jsonschema.validate(document, report_schema())


def test_a_report_that_does_not_follow_its_schema_is_refused(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    document = json.loads(report.to_json())
    del document["curves"][0]["bins"][0]["energy"]
    path.write_text(json.dumps(document))
    with pytest.raises(ArtefactError, match=r"curves\[0\].bins\[0\].*'energy' is a required property"):
        read_report(str(path), "r")
    path.write_text(json.dumps({"schema": "calomlp.report/3"}))
    with pytest.raises(ArtefactError, match=r"schema 'calomlp.report/3'"):
        read_report(str(path), "r")
    path.write_text(json.dumps({"schema": "calomlp.report/1", "statistics": {"responses": 1}}))
    with pytest.raises(ArtefactError, match="do not go together"):
        read_report(str(path), "r")
    path.write_text("not json")
    with pytest.raises(ArtefactError, match="not JSON"):
        read_report(str(path), "r")
    with pytest.raises(InputError, match="cannot open"):
        read_report(str(tmp_path / "nosuch"), "nosuch")


def test_a_file_that_lacks_a_branch_of_the_model(model: Model, make_root: Make) -> None:
    with pytest.raises(ArtefactError, match=r"does not fit this file.*'layer_energy' is not there"):
        evaluated(model, [make_root({"true_energy": np.ones(10)}, name="other.root")])


def test_no_event_left(model: Model, make_root: Make) -> None:
    columns = {name: values[:0] for name, values in linear_showers(1).items()}
    with pytest.raises(InputError, match="no event is left"):
        evaluated(model, [make_root(columns, name="empty.root")])


def test_the_training_files_are_known_unless_they_came_through_a_pipe(model: Model, source: Source) -> None:
    assert training_sources(model, Path(source.path).parent)[0].path == source.path
    with pytest.raises(InputError, match="which is not there: name the data"):
        training_sources(model, Path("nosuch"))
    piped = replace(model, files=(replace(model.files[0], path="<stdin>"),))
    with pytest.raises(InputError, match="from a pipe"):
        training_sources(piped, Path())


def test_a_training_file_that_was_replaced_is_not_taken_for_it(model: Model, make_root: Make) -> None:
    other = Path(make_root(linear_showers(100, seed=3), name="other.root").path)
    of_other = replace(model, files=(replace(model.files[0], path=other.name),))
    with pytest.raises(InputError, match="has been replaced by another: name the data"):
        training_sources(of_other, other.parent)


def test_an_array_is_no_target(model: Model, source: Source) -> None:
    array = replace(model, recipe=replace(model.recipe, target=Expression.parse("layer_energy")))
    with pytest.raises(InputError, match="is an array in each event"):
        evaluated(array, [source])


def test_a_file_that_was_not_trained_on_needs_no_split(make_root: Make) -> None:
    spills = make_root({**linear_showers(3000), "spill": np.arange(3000) % 50}, name="spills.root")
    settings = TrainingSettings(hidden="8", epochs=1, split_by="spill")
    model = fitted(spills, settings)
    assert evaluated(model, [make_root(linear_showers(500), name="beam.root")]).events == 500


def test_the_coverage_of_predicted_spreads_is_told(make_root: Make) -> None:
    settings = TrainingSettings(hidden="8", epochs=2, loss="gaussian-nll")
    training, test = (make_root(linear_showers(10_000, seed=n), name=f"{n}.root") for n in (1, 2))
    report = evaluated(fitted(training, settings), [test])
    (note,) = [note for note in report.notes if "predicted sigma" in note]
    assert float(note.split(" ")[0].removesuffix("%")) == pytest.approx(68.3, abs=3)


def test_features_in_another_unit_are_told(model: Model, make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    showers = linear_showers(2000, seed=9)
    showers["layer_energy"] *= 1000
    report = evaluated(model, [make_root(showers, name="mev.root")])
    assert report.notes[0].startswith("the median response is 1")
    assert "in the units of the training?" in caplog.text


def test_events_unlike_those_of_the_training_are_told(model: Model, make_root: Make) -> None:
    showers = linear_showers(2000, seed=9)
    assert not [note for note in evaluated(model, [make_root(showers, name="a.root")]).notes if "unlike" in note]
    showers["layer_energy"][::4, 0] += 50 * showers["layer_energy"][::4, 0]
    (note,) = [note for note in evaluated(model, [make_root(showers, name="b.root")]).notes if "unlike" in note]
    assert 15 < float(note.partition("%")[0]) < 30


def test_the_features_that_are_most_often_out_of_range_are_named(
    make_root: Make, caplog: pytest.LogCaptureFixture
) -> None:
    columns = linear_showers(10_000) | {"spare": np.random.default_rng(3).random(10_000, dtype=np.float32)}
    settings = TrainingSettings(features=("layer_energy", "spare"), hidden="8", epochs=1)
    model = fitted(make_root(columns, name="train.root"), settings)
    beam = linear_showers(2000, seed=9) | {"spare": np.full(2000, 0.5, np.float32)}
    beam["layer_energy"][::4, 2] *= 50
    beam["spare"][::2] = 7.0
    report = evaluated(model, [make_root(beam, name="beam.root")])
    (note,) = [note for note in report.notes if "unlike" in note]
    assert note in caplog.text
    assert "; most often outside their range in training: spare in 50.0%, layer_energy[2] in 2" in note
    assert note.endswith("% of the events")
    assert note.count(" in ") <= 5


def test_a_file_that_cannot_be_read_is_left_out_if_that_is_asked_for(
    model: Model, make_root: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = make_root(linear_showers(2000, seed=9), name="good.root")
    bad = tmp_path / "bad.root"
    bad.write_bytes(Path(good.path).read_bytes()[:5000])
    files = [Source(str(bad), None, "bad.root"), good]
    with pytest.raises(InputError, match=r"bad.root: is truncated"):
        evaluated(model, files)
    report = evaluated(model, files, on_bad_file="skip")
    assert report.events == 2000
    assert [record.path for record in report.context.files] == ["good.root"]
    assert "bad.root is left out: is truncated" in caplog.text
    assert any(note.startswith("bad.root is left out") for note in report.notes)
