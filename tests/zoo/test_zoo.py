"""Every kind of file goes through inspect, train, evaluate and predict, and comes out as it must."""

from __future__ import annotations

import json
import shlex
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from calomlp import cli
from calomlp.errors import ExitCode
from calomlp.model.file import read_header
from tests.zoo.kinds import KINDS, Kind

MODEL, REPORT = "model.safetensors", "report.json"
QUICK = ["--epochs", "3", "--hidden", "16", "--force"]


def ran(capfd: pytest.CaptureFixture[str], *arguments: str, code: ExitCode = ExitCode.OK) -> tuple[dict[str, Any], str]:
    """Run a command; return its record and what it says."""
    assert cli.run(list(arguments)) == code, capfd.readouterr().err
    told = capfd.readouterr()
    return json.loads(told.out) if told.out else {}, told.err


def test_the_zoo_is_large() -> None:
    assert len(KINDS) >= 30


def inspected(
    kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], Any, Any]:
    """Write files of a kind; return what is suggested for them, the true energies, and the sums of the readout."""
    monkeypatch.chdir(folder)
    truth, sums = kind.write(folder, np.random.default_rng(zlib.crc32(kind.name.encode())))
    record, _ = ran(capfd, "inspect", kind.data[0])
    found = record["suggestions"]
    assert (found["target"], found["unit"]) == (kind.target, kind.unit)
    return found, truth, sums


@pytest.mark.parametrize("kind", [kind for i, kind in enumerate(KINDS) if i % 4], ids=lambda kind: kind.name)
def test_the_truth_is_recognised(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inspected(kind, tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.landing if i % 4 else (), id=kind.name) for i, kind in enumerate(KINDS)],
)
def test_kinds(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    found, truth, sums = inspected(kind, tmp_path, monkeypatch, capfd)
    command = shlex.split(found["command"])[2:]
    options = command[1:] if not kind.options else [*kind.options, "-o", MODEL]
    data = command[:1] if len(kind.data) == 1 else list(kind.data)
    if kind.refusal:
        _, said = ran(capfd, "train", *data, *options, *QUICK, code=ExitCode.INPUT)
        assert kind.refusal in said.splitlines()[-1]
        assert not Path(MODEL).exists()
        return
    _, said = ran(capfd, "train", *data, *options, *QUICK)
    assert all(sentence in said for sentence in kind.said), said
    assert not any(sentence in said for sentence in kind.unsaid), said
    features = [feature["expression"] for feature in read_header(MODEL, MODEL)["features"]]
    if not kind.options:
        assert set(found["features"]) >= set(features)
    ran(capfd, "evaluate", MODEL, *data, "--all", *kind.friends, "--bins", "0.1,100", "-o", REPORT)
    if kind.features is not None:
        assert set(kind.features) == set(filter(_is_plain, features))
        _check_numbers(kind, truth, sums)
    ran(capfd, "predict", MODEL, *data, *kind.friends, "-o", "energies.root")
    with uproot.open("energies.root") as file:
        assert file["events"].num_entries == kind.entries


def _is_plain(text: str) -> bool:
    """Tell energies and single branches from shapes."""
    return not text.startswith(("depth", "share", "shower_start", "log1p", "spectrum", "lateral", "count"))


def _check_numbers(kind: Kind, truth: Any, sums: Any) -> None:
    """Hold the widths of the calibrated sum against plain numpy, and the model against what it can reach."""
    report = json.loads(Path(REPORT).read_text())
    curves = {curve["name"]: curve for curve in report["curves"]}
    ours = curves["sum"]["bins"][0]["estimates"]
    low, median, high = np.quantile(sums / truth, [0.1587, 0.5, 0.8413])
    expected = (high - low) / 2 / median
    found = ours["sigma_68"]["value"] / ours["median"]["value"]
    error = ours["sigma_68"]["error"] / ours["median"]["value"]
    assert found == pytest.approx(expected, rel=0.03, abs=3 * error)
    model = curves["regressor"]["bins"][0]["estimates"]
    assert model["median"]["value"] == pytest.approx(1, abs=kind.response)
    assert model["sigma_68"]["value"] / model["median"]["value"] < 1.1 * expected + 3 * error
    assert report["context"]["training"]["summary"]["data"]["events"] == len(truth) or "sentinel" in kind.name
