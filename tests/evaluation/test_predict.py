"""Energies of data: an entry for each entry of the input, whatever becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

from calomlp.data import root
from calomlp.data.rows import Layout
from calomlp.data.sample import parse_cut
from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, BadValueError, InputError, UsageError
from calomlp.evaluation.evaluate import evaluate, predictions
from calomlp.evaluation.options import EvaluateSettings
from calomlp.evaluation.report import REGRESSOR
from calomlp.evaluation.subjects import Trained
from calomlp.model.file import Model
from calomlp.prediction.energies import Predicted, PredictionTask, predict
from calomlp.run import Run
from calomlp.streams import Streams
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import damage, fitted, linear_showers

Make = Callable[..., Source]
QUICK: Mapping[str, Any] = {"epochs": 2, "ensemble": 1, "features": ("layer_energy",)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Models of one form for each kind of spread, whose networks say something else of every event."""
    path = tmp_path_factory.mktemp("trained") / "train.root"
    with uproot.recreate(path, uuid_function=lambda: UUID(int=1)) as file:
        file.mktree("events", linear_showers(4000))
    source = Source(str(path), None, path.name)
    losses = ("huber", "gaussian-nll", "quantiles")
    found = {loss: fitted(source, TrainingSettings(loss=loss, **QUICK)) for loss in losses}
    generator = torch.Generator().manual_seed(1)
    for model in found.values():
        for weights in model.regressor.network.parameters():
            weights.data += 0.02 * torch.randn(weights.shape, generator=generator)
    return found


def of_data(n_events: int, seed: int = 2) -> dict[str, np.ndarray]:
    """Showers without their truth."""
    return {"layer_energy": linear_showers(n_events, seed=seed)["layer_energy"], "event": np.arange(n_events)}


def predicted(
    model: Model | dict[str, Model], sources: Source | list[Source], output: Path, **request: Any
) -> tuple[Predicted, dict[str, Any]]:
    """Predict without a word, into one file; return the counts and the branches."""
    models = model if isinstance(model, dict) else {"": model}
    recipe = replace(models[""].recipe, on_bad=request.pop("on_bad", "skip"), cut=parse_cut(request.pop("cut", None)))
    sources = [sources] if isinstance(sources, Source) else sources
    found = predict(
        PredictionTask(models, recipe, **request),
        {str(output): sources},
        Streams().artefact,
        Run(),
    )
    with uproot.open(output) as file:
        return found, {name: file["events"][name].array(library="np") for name in file["events"].keys()}  # noqa: SIM118


def test_every_entry_has_its_energy_in_its_place(
    models: dict[str, Model], make_root: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root, "_MAX_CHUNK_EVENTS", 700)
    data = of_data(3000)
    found, energies = predicted(models["huber"], make_root(data), tmp_path / "e.root", keep=("event",))
    assert set(energies) == {"event", "calo_energy", "calo_anchor", "calo_in_domain"}
    expected = models["huber"].regressor.estimates(data["layer_energy"])
    assert energies["event"].tolist() == list(range(3000))
    assert energies["calo_energy"] == pytest.approx(expected.regressor.numpy(), rel=1e-5)
    assert energies["calo_anchor"] == pytest.approx(expected.anchor.numpy(), rel=1e-5)
    assert energies["calo_in_domain"].tolist() == expected.in_domain.tolist()
    assert found.entries == found.tally.events == 3000
    assert found.counts("") == {"not_measured": 0, "outside_domain": int((~expected.in_domain).sum())}


def test_the_energies_are_those_that_an_evaluation_measures(
    models: dict[str, Model], make_root: Make, tmp_path: Path
) -> None:
    source = make_root(linear_showers(2000, seed=3))
    subjects = (Trained(REGRESSOR, models["huber"]),)
    with predictions(tmp_path / "p.root", [source], ["x"]) as keep:
        evaluate(subjects, models["huber"].recipe, [source], EvaluateSettings(), Run(), keep=keep)
    _, energies = predicted(models["huber"], source, tmp_path / "e.root", keep=("true_energy",))
    with uproot.open(tmp_path / "p.root") as file:
        measured = file["events"].arrays(library="np")
    assert measured["entry"].tolist() == list(range(2000))
    assert energies["true_energy"] == pytest.approx(measured["true_energy"])
    assert energies["calo_energy"] == pytest.approx(measured["regressor"], rel=1e-6)
    assert energies["calo_anchor"] == pytest.approx(measured["anchor"], rel=1e-6)
    assert energies["calo_in_domain"].tolist() == measured["in_domain"].tolist()


def test_what_cannot_be_measured_stays_in_its_place(models: dict[str, Model], make_root: Make, tmp_path: Path) -> None:
    data = of_data(1000)
    data["layer_energy"][[3, 999], 2] = np.nan, np.inf
    data["layer_energy"][7] = 1e38  # finite, but its energy is not
    found, energies = predicted(
        models["huber"], make_root(data), tmp_path / "e.root", cut="event != 5", keep=("event",)
    )
    assert np.flatnonzero(np.isnan(energies["calo_energy"])).tolist() == [3, 5, 7, 999]
    assert np.flatnonzero(np.isnan(energies["calo_anchor"])).tolist() == [3, 5, 7, 999]
    assert not energies["calo_in_domain"][[3, 5, 7, 999]].any()
    assert energies["event"].tolist() == list(range(1000))
    whole = models["huber"].regressor.energies(data["layer_energy"][8:999])
    assert energies["calo_energy"][8:999] == pytest.approx(whole, rel=1e-5)
    assert (found.tally.cut, found.counts("")["not_measured"]) == (1, 3)
    (sentence,) = found.losses()
    assert sentence.startswith("3 events have a bad value, and NaN as energy: layer_energy in 2")


def test_bad_values_are_refused_or_zero_if_that_is_asked_for(
    models: dict[str, Model], make_root: Make, tmp_path: Path
) -> None:
    data = of_data(1000)
    data["layer_energy"][3, 2] = np.nan
    source, output = make_root(data), tmp_path / "e.root"
    with pytest.raises(BadValueError, match=r"layer_energy\[2\]' is not finite in 1 .* first in event 3 .*skip makes"):
        predicted(models["huber"], source, output, on_bad="refuse")
    assert not [*tmp_path.glob("*e.root*")]
    found, energies = predicted(models["huber"], source, output, on_bad="zero")
    data["layer_energy"][3, 2] = 0
    assert energies["calo_energy"] == pytest.approx(models["huber"].regressor.energies(data["layer_energy"]), rel=1e-5)
    assert found.of_models[""].replaced == 1
    assert np.isfinite(energies["calo_energy"]).all()


def test_spreads_and_several_models(models: dict[str, Model], make_root: Make, tmp_path: Path) -> None:
    three = {"": models["gaussian-nll"], "q": models["quantiles"], "plain": models["huber"]}
    data = of_data(500)
    _, energies = predicted(three, make_root(data), tmp_path / "e.root")
    ours = {"energy", "anchor", "in_domain"}
    names = ours | {"sigma"} | {f"{name}_plain" for name in ours}
    names |= {f"{name}_q" for name in (*ours, "sigma", "sigma_below", "sigma_above")}
    assert set(energies) == {f"calo_{name}" for name in names}
    for name, model in three.items():
        end = f"_{name}" if name else ""
        expected = model.regressor.estimates(data["layer_energy"])
        assert energies[f"calo_energy{end}"] == pytest.approx(expected.regressor.numpy(), rel=1e-5)
        if expected.below is not None and expected.above is not None:
            assert (expected.below == expected.above).all() == (name == "")
            middle = (expected.below + expected.above) / 2
            assert energies[f"calo_sigma{end}"] == pytest.approx(middle.numpy(), rel=1e-5)
    expected = models["quantiles"].regressor.estimates(data["layer_energy"])
    for name, width in (("below", expected.below), ("above", expected.above)):
        assert width is not None
        assert energies[f"calo_sigma_{name}_q"] == pytest.approx(width.numpy(), rel=1e-5)


def test_the_tree_of_several_files_goes_on_like_a_chain(
    models: dict[str, Model], make_root: Make, tmp_path: Path
) -> None:
    sources = [make_root(of_data(n, n), name=f"{n}.root") for n in (300, 200)]
    _, energies = predicted(models["huber"], sources, tmp_path / "e.root")
    assert energies["calo_file"].tolist() == [0] * 300 + [1] * 200
    assert energies["calo_entry"].tolist() == [*range(300), *range(200)]
    expected = models["huber"].regressor.energies(of_data(200, 200)["layer_energy"])
    assert energies["calo_energy"][300:] == pytest.approx(expected, rel=1e-5)
    with uproot.open(tmp_path / "e.root") as file:
        origin = json.loads(file["provenance"])
    assert origin["files"] == ["300.root", "200.root"]
    assert origin["models"][""]["weights"] == models["huber"].weights_mark()


def test_features_in_another_unit_are_doubted(models: dict[str, Model], make_root: Make, tmp_path: Path) -> None:
    data = of_data(1000)
    two = {"": models["huber"], "other": models["quantiles"]}
    found, _ = predicted(two, make_root(data), tmp_path / "e.root")
    assert not [*found.doubts()]
    data["layer_energy"] *= 1000
    found, _ = predicted(two, make_root(data, name="MeV.root"), tmp_path / "f.root")
    first, second = found.doubts()
    assert first.startswith("1000 of 1000 measured events are unlike those of the training, calo_in_domain is false")
    assert "training of other, calo_in_domain" in second


def test_equal_requests_make_equal_bytes(models: dict[str, Model], make_root: Make, tmp_path: Path) -> None:
    source = make_root(of_data(300))
    for name in ("a", "b"):
        predicted(models["huber"], source, tmp_path / name)
    predicted(models["huber"], source, tmp_path / "c", cut="event < 100")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    uuids = []
    for name in "ac":
        with uproot.open(tmp_path / name) as file:
            uuids.append(file.file.uuid)
    assert uuids[0] != uuids[1]


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_objects_of_a_collection_have_lists_of_energies(make_root: Make, tmp_path: Path, container: str) -> None:
    counts = np.arange(2000) % 4
    counts[-3:] = 0  # entries without objects at the end
    energy = linear_showers(int(counts.sum()))
    columns = {
        "Photon_raw": ak.unflatten(energy["layer_energy"].sum(axis=1), counts),
        "Photon_true": ak.unflatten(energy["true_energy"], counts),
        "run": np.arange(2000, dtype=np.int32),
    }
    source = make_root(columns)
    settings = TrainingSettings(
        explode="Photon", target="Photon_true", features=("Photon_raw",), energies=("Photon_raw",), epochs=1, ensemble=1
    )
    model = fitted(source, settings)
    found, _ = predicted(model, source, tmp_path / "e.root", keep=("run",), container=container, cut="Photon_raw > 5")
    with uproot.open(tmp_path / "e.root") as file:
        energies = file["events"].arrays(["calo_energy", "calo_in_domain", "run"])
    assert ak.num(energies["calo_energy"]).tolist() == counts.tolist()
    assert energies["run"].tolist() == list(range(2000))
    flat, raw = np.asarray(ak.flatten(energies["calo_energy"])), energy["layer_energy"].sum(axis=1)
    assert np.isnan(flat).tolist() == (raw <= 5).tolist()
    assert flat[raw > 5] == pytest.approx(model.regressor.energies(raw[raw > 5][:, None]), rel=1e-5)
    assert (found.entries, found.tally.events) == (2000, len(raw))
    for events in (0, 5):  # without an object in any of them
        none = ak.unflatten(np.empty(0, np.float32), np.zeros(events, int))
        data = make_root({"Photon_raw": none, "run": np.arange(events)}, name=f"{events}.root")
        found, energies = predicted(model, data, tmp_path / f"{events}-{container}", container=container, keep=("run",))
        assert [len(each) for each in energies["calo_energy"]] == [0] * events
        assert (found.entries, found.tally.events) == (events, 0)
    with pytest.raises(UsageError, match="--keep Photon_raw: it is not one number in each entry"):
        predicted(model, source, tmp_path / "f.root", keep=("Photon_raw",))


def test_a_group_of_entries_has_one_energy_and_its_number(make_root: Make, tmp_path: Path) -> None:
    showers = linear_showers(1500)
    numbers = 10 * np.arange(1500) + 3
    columns = {
        "id": numbers.repeat(6),
        "edep": showers["layer_energy"].ravel(),
        "beam": showers["true_energy"].repeat(6),
    }
    source = make_root(columns)
    settings = TrainingSettings(group_by="id", target="beam[0]", features=("sum(edep)",), epochs=1, ensemble=1)
    model = fitted(source, settings)
    data = make_root({name: columns[name] for name in ("id", "edep")}, name="data.root")
    found, energies = predicted(model, data, tmp_path / "e.root")
    assert energies["id"].tolist() == numbers.tolist()
    expected = model.regressor.energies(showers["layer_energy"].sum(axis=1)[:, None])
    assert energies["calo_energy"] == pytest.approx(expected, rel=1e-4)
    assert (found.entries, found.tally.events) == (1500, 1500)
    assert model.recipe.layout == Layout(group_by="id")


def test_a_file_without_entries_makes_one_without_entries(
    models: dict[str, Model], make_root: Make, tmp_path: Path
) -> None:
    source = make_root({name: each[:0] for name, each in of_data(10).items()})
    found, energies = predicted(models["quantiles"], source, tmp_path / "e.root", keep=("event",), cut="event > 0")
    assert {name: len(each) for name, each in energies.items()} == dict.fromkeys(energies, 0)
    assert {"event", "calo_energy", "calo_sigma_above"} <= set(energies)
    assert found.entries == 0


def test_a_file_that_breaks_off_leaves_its_output_out(
    models: dict[str, Model], make_root: Make, tmp_path: Path
) -> None:
    broken, whole = make_root(of_data(3000), name="broken.root"), make_root(of_data(500), name="whole.root")
    damage(broken)
    request = PredictionTask({"": models["huber"]}, models["huber"].recipe, skip_bad_files=True)
    outputs = {str(tmp_path / "out-a.root"): [broken], str(tmp_path / "out-b.root"): [whole]}
    found = predict(request, outputs, Streams().artefact, Run())
    assert (found.entries, found.tally.events) == (500, 500)
    assert [*found.tally.files] == ["broken.root"]
    assert [path.name for path in tmp_path.glob("*out-*")] == ["out-b.root"]
    with pytest.raises(InputError, match=r"broken\.root"):
        predict(replace(request, skip_bad_files=False), outputs, Streams().artefact, Run())


def test_files_that_do_not_fit(models: dict[str, Model], make_root: Make, tmp_path: Path) -> None:
    data, output = make_root(of_data(100)), tmp_path / "e.root"
    with pytest.raises(ArtefactError, match=r"the model does not fit this file: .*'layer_energy' is not there"):
        predicted(models["huber"], make_root({"x": np.arange(3.0)}, name="other.root"), output)
    with pytest.raises(InputError, match=r"'true_energy' is not there.*; the cut .* needs it, --cut '' takes all"):
        predicted(models["huber"], data, output, cut="true_energy > 5")
    with pytest.raises(InputError, match="'evnt' is not there: did you mean 'event'"):
        predicted(models["huber"], data, output, keep=("evnt",))
    taken = make_root(of_data(9) | {"calo_energy": np.arange(9.0)}, name="taken.root")
    with pytest.raises(UsageError, match="--keep calo_energy: its name is taken"):
        predicted(models["huber"], taken, output, keep=("calo_energy",))
    assert not output.exists()
