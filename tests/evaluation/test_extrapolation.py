"""Beyond the training range a network that stands for the energy itself saturates; a corrected line does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run


@pytest.mark.slow
@pytest.mark.physics
def test_trained_up_to_50_gev_and_asked_at_100(calomlp: Run, tmp_path: Path) -> None:
    def run(*arguments: str) -> None:
        done = calomlp(*arguments)
        assert done.returncode == 0, done.stderr

    def at_100(name: str, *options: str) -> dict[str, float]:
        run("train", "to50.root", *options, "-o", f"{name}.safetensors")
        run("evaluate", f"{name}.safetensors", "at100.root", "-o", f"{name}.json")
        report = json.loads((tmp_path / f"{name}.json").read_text())
        assert any(note.startswith("100.0% of the events are unlike") for note in report["notes"])
        return {key: found["value"] for key, found in report["curves"][0]["bins"][0]["estimates"].items()}

    run("simulate", "siw-ecal", "-E", "1:50", "-n", "100k", "-o", "to50.root")
    run("simulate", "siw-ecal", "-E", "100", "-n", "10k", "-o", "at100.root")
    anchored = at_100("anchored")
    assert anchored["median"] == pytest.approx(1, abs=0.01)
    assert anchored["resolution"] < 0.021  # that of the line is 0.019
    assert at_100("direct", "--regress", "direct", "--activation", "tanh")["median"] < 0.7
    unbounded = at_100("unbounded", "--regress", "direct")
    assert unbounded["resolution"] > 1.1 * anchored["resolution"]
