"""Reports on parts of the data add up to the report on all of it, number for number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.errors import ArtefactError
from calomlp.evaluation.options import Options
from calomlp.evaluation.report import read_report
from calomlp.evaluation.subjects import parse_estimate
from calomlp.evaluation.summary import merge
from calomlp.model.file import Model
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import evaluated, fitted, linear_showers

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    import uproot

    path = tmp_path_factory.mktemp("merge") / "train.root"
    with uproot.recreate(path) as file:
        file.mktree("events", linear_showers(10_000))
    return fitted(Source(str(path), None, "train.root"), TrainingSettings(hidden="8", epochs=2, loss="gaussian-nll"))


def differences(one: Any, other: Any, place: str = "", tolerance: float = 1e-12) -> list[str]:
    """Return where two documents differ: integers and texts at all, numbers by more than rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        missing = [f"{place}/{key}" for key in one.keys() ^ other.keys()]
        return missing + [
            x
            for key in one.keys() & other.keys()
            for x in differences(one[key], other[key], f"{place}/{key}", tolerance)
        ]
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [place]
        return [
            x
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for x in differences(a, b, f"{place}/{i}", tolerance)
        ]
    if isinstance(one, float) and isinstance(other, float):
        return [] if one == pytest.approx(other, rel=tolerance, abs=tolerance) else [f"{place}: {one} {other}"]
    return [] if one == other else [f"{place}: {one} {other}"]


def test_parts_add_up_to_the_whole(trained: Model, make_root: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sources = []
    for i, events in enumerate((900, 2500, 1, 1700)):
        columns = {**linear_showers(events, seed=10 + i), "angle": rng.uniform(0, 40, events)}
        sources.append(make_root(columns, name=f"{i}.root"))
    looks = {"by": ("angle:10,20,30",), "worst": 7, "importance": True}
    subjects = [parse_estimate("plain=sum(layer_energy)")]
    whole = evaluated(trained, sources, *subjects, **looks)
    parts = []
    for i, source in enumerate(sources):
        path = tmp_path / f"{i}.json"
        path.write_text(evaluated(trained, [source], *subjects, **looks).to_json())
        parts.append(read_report(str(path), str(path)))
    merged = merge(parts)
    documents = [json.loads(report.to_json()) for report in (whole, merged)]
    assert len(documents[1]["context"]["provenance"].pop("parts")) == 4
    assert differences(*documents) == []
    assert documents[0]["uncertainty"]["events"] == 5101
    assert len(documents[0]["statistics"]["worst"]["events"]) == 7


def test_the_order_of_the_parts_does_not_matter(trained: Model, make_root: Make) -> None:
    parts = [evaluated(trained, [make_root(linear_showers(800, seed=i), name=f"{i}.root")]) for i in (2, 3, 4)]
    found = [json.loads(merge(order).to_json()) for order in (parts, parts[::-1])]
    for document in found:
        document["context"]["files"].sort(key=lambda record: record["path"])
    assert differences(*found) == []


def test_what_does_not_belong_together_is_refused(trained: Model, make_root: Make) -> None:
    one, other = (make_root(linear_showers(800, seed=i), name=f"{i}.root") for i in (2, 3))
    first = evaluated(trained, [one])
    with pytest.raises(ArtefactError, match=r"2.root is in two of the reports: merged, its events would count twice"):
        merge([first, first])
    with pytest.raises(ArtefactError, match="with different curves cannot be merged"):
        merge([first, evaluated(trained, [other], parse_estimate("plain=sum(layer_energy)"))])
    with pytest.raises(ArtefactError, match="different energy bins"):
        merge([first, evaluated(trained, [other], bins="1,10,100")])
    by = [evaluated(trained, [item], by=("sum(layer_energy):3",)) for item in (one, other)]
    with pytest.raises(ArtefactError, match="different slices cannot be merged: give their edges"):
        merge(by)


def test_numbers_can_be_derived_anew(trained: Model, make_root: Make) -> None:
    report = evaluated(trained, [make_root(linear_showers(3000, seed=2), name="2.root")])
    linear = merge([report], Options(width="rms90", sum="linear"))
    assert linear.curves[0].fit is not None
    assert linear.curves[0].fit.sum == "linear"
    bin_ = linear.curves[0].bins[2]
    ratio = bin_.estimates["rms90"].value / bin_.estimates["mean90"].value
    assert bin_.estimates["resolution"].value == pytest.approx(ratio)
