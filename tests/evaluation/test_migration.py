"""Reports of the older schema, with fine bins of equal width, give the numbers that the events themselves give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.data.sources import Source
from calomlp.evaluation.migration import OLD_SCHEMA
from calomlp.evaluation.report import Report, read_report
from calomlp.evaluation.summary import merge
from tests.evaluation.test_subjects import judged

Make = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("few_replicas")

ENERGIES, EVENTS = (5.0, 10.0, 20.0, 50.0), 2000
WIDTH = 1 / 4096


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    energy = np.repeat(ENERGIES, EVENTS)
    return {
        "true_energy": energy,
        "cluster": energy * rng.normal(1, 0.05, len(energy)),
        "other": energy * rng.normal(-0.2, 0.5, len(energy)),
        "sigma": 0.05 * energy,
    }


def old_histogram(values: np.ndarray) -> dict[str, Any]:
    """Return the document of a histogram as the older schema had it."""
    inside = (values >= -7) & (values < 9)
    index, count = np.unique(np.floor((values[inside] - 1) / WIDTH).astype(int), return_counts=True)
    centres = np.concatenate([np.repeat((index + 0.5) * WIDTH, count), values[~inside] - 1])
    return {
        "index": index.tolist(),
        "count": count.tolist(),
        "outside": int(np.count_nonzero(~inside)),
        "events": len(values),
        "deviation": float(centres.sum()),
        "deviation_squared": float(centres @ centres),
    }


def old_joint(x: np.ndarray, y: np.ndarray, level: int) -> dict[str, Any]:
    cells, count = np.unique(np.floor(np.stack([x, y]) / WIDTH / 2**level).astype(int), axis=1, return_counts=True)
    return {"level": level, "x": cells[0].tolist(), "y": cells[1].tolist(), "count": count.tolist()}


def old_document(report: Report, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return a report as the older schema had it."""
    document = json.loads(report.to_json())
    document["schema"] = OLD_SCHEMA
    truth = data["true_energy"]
    response = {"estimate": data["cluster"] / truth, "other": data["other"] / truth}
    statistics = document["statistics"]
    for (key, content), energy in zip(
        sorted(statistics["responses"]["content"].items(), key=lambda item: int(item[0])), ENERGIES, strict=True
    ):
        here = truth == energy
        content["histograms"] = {name: old_histogram(values[here]) for name, values in response.items()}
        content["joints"] = {"other": old_joint(response["estimate"][here], response["other"][here], 7)}
        ratio = np.log(data["sigma"][here] / data["cluster"][here])
        statistics["uncertainty"]["response"][key] = old_joint(ratio, response["estimate"][here], 6)
    pull = (data["cluster"] - truth) / data["sigma"]
    statistics["uncertainty"]["pulls"] = old_histogram(pull + 1)
    statistics["uncertainty"]["reliability"] = old_joint(np.log(data["sigma"] / truth), pull, 7)
    found: dict[str, Any] = document
    return found


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    return columns()


def test_an_older_report_gives_the_numbers_of_its_events(
    data: dict[str, np.ndarray], make_root: Make, tmp_path: Path
) -> None:
    report = judged(make_root(data), "cluster", "other=other", sigma="sigma")
    path = tmp_path / "old.json"
    document = old_document(report, data)
    document["context"]["spread"] = {"stochastic": 0.1, "noise": 0.2, "constant": 0.01}  # as one of a model has it
    path.write_text(json.dumps(document))
    old = read_report(str(path), "old.json")
    again = merge([old])
    assert old.curves[0].bins[0].estimates == report.curves[0].bins[0].estimates
    for curve, same in zip(report.curves, again.curves, strict=True):
        for bin_, its in zip(curve.bins, same.bins, strict=True):
            assert its.events == bin_.events == EVENTS
            assert its.estimates.keys() == bin_.estimates.keys()
            for name, item in bin_.estimates.items():
                assert its.estimates[name].value == pytest.approx(item.value, abs=0.5 * item.error), name
    assert again.uncertainty is not None
    assert report.uncertainty is not None
    for name, item in report.uncertainty.pull.items():
        assert again.uncertainty.pull[name].value == pytest.approx(item.value, abs=0.5 * item.error)
    for group, its_group in zip(report.uncertainty.reliability, again.uncertainty.reliability, strict=True):
        assert its_group.observed.value == pytest.approx(group.observed.value, rel=0.05)
    for one, found in zip(report.uncertainty.dropped, again.uncertainty.dropped, strict=True):
        assert found.everything.value == pytest.approx(one.everything.value, rel=0.1)


def test_what_had_no_bin_goes_to_its_mean_and_a_note_says_so(
    data: dict[str, np.ndarray], make_root: Make, tmp_path: Path
) -> None:
    data["cluster"][:3] = 5 * np.array([20, 30, 40])
    report = judged(make_root(data), "cluster", "other=other", sigma="sigma")
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old_document(report, data)))
    old = read_report(str(path), "old.json")
    assert any("3 responses beyond -7 and 9 stand at their mean" in note for note in old.notes)
    found, expected = (item.curves[0].bins[0].estimates["mean"] for item in (merge([old]), report))
    assert found.value == pytest.approx(expected.value, rel=1e-3)
