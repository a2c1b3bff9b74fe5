"""Full simulation without any flag: `pytest -m slow -s tests/zoo/test_full_simulation.py` prints the table of results.

The samples are Geant4 showers of four detectors that are not part of the repository: the variable CALOMLP_GEANT4 names
their folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp import cli

FULL = Path(os.environ.get("CALOMLP_GEANT4", Path(__file__).parents[3] / "shared" / "geant4"))
ELECTRONS, PIONS = "1.3,3,7,16,38,87", "3,5,8,14,24,40,65"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FULL.is_dir(), reason="the full-simulation samples are not there"),
]


def widths(curve: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return sigma_68 over median, divided by the local slope of the median, and its error [%], shape [bins]."""
    bins = [bin_ for bin_ in curve["bins"] if "sigma_68" in bin_["estimates"]]
    energy = np.array([bin_["energy"] for bin_ in bins])
    median, width, error = (
        np.array([bin_["estimates"][name][part] for bin_ in bins])
        for name, part in (("median", "value"), ("sigma_68", "value"), ("sigma_68", "error"))
    )
    slope = np.gradient(energy * median, energy)
    return 100 * width / slope, 100 * error / slope


@pytest.mark.parametrize(
    ("name", "bins", "readout", "sums"),
    [
        ("pbsci_e", ELECTRONS, {"layer_e"}, [5.5, 3.5, 2.3, 1.59, 1.05]),
        ("siw_e", ELECTRONS, {"layer_e", "hit_e", "hit_x", "hit_y"}, [10.6, 7.3, 5.7, 4.6, 4.2]),
        ("pbwo4_e", ELECTRONS, {"crystal_e"}, [0.68, 0.44, 0.34, 0.26, 0.23]),
        ("fesci_pi", PIONS, {"layer_e", "hit_e", "hit_ix", "hit_iy"}, [22.8, 18.2, 13.8, 12.2, 10.0, 9.8]),
    ],
)
def test_nothing_is_asked_for(
    name: str, bins: str, readout: set[str], sums: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = str(FULL / f"{name}_log.root")
    options = ["--split", "0.45,0.1,0.45", "--quiet"]  # events enough in every bin of the small samples
    assert cli.run(["train", data, "-t", "e_true", "-o", "m.safetensors", *options]) == 0
    assert cli.run(["evaluate", "m.safetensors", "-o", "r.json", "--bins", bins, "--quiet"]) == 0
    report = json.loads(Path("r.json").read_text())
    curves = {curve["name"]: curve for curve in report["curves"]}
    found = {curve: widths(curves[curve]) for curve in ("sum", "anchor", "regressor")}
    for curve, (width, error) in found.items():
        print(f"{name:9} {curve:10}", *(f"{w:6.2f} +- {e:4.2f}" for w, e in zip(width, error, strict=True)))  # noqa: T201
    width, error = found["sum"]
    assert width == pytest.approx(np.array(sums), abs=float((3 * error).max()), rel=0.12)
    mean = {curve: np.exp(np.log(width).mean()) for curve, (width, _) in found.items()}
    assert mean["regressor"] < 1.03 * min(mean["anchor"], mean["sum"])
    columns = {feature["name"] for feature in report["context"]["envelope"]["features"]}
    assert all(any(branch in column for branch in readout) for column in columns)
    assert not report["context"]["training"]["summary"]["warnings"]
