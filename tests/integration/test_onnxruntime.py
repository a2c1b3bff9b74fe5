"""The C++ of the documentation, compiled and run.

It needs the headers of ONNX Runtime, `apt install libonnxruntime-dev` of Debian 13, or those of a release in the folder
that CALO_ONNXRUNTIME_INCLUDE names; the library is that of the Python package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calomlp.model.file import read_model
from tests.cli.test_export import exported
from tests.conftest import ROOT

onnxruntime: Any = pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
HEADERS = Path(os.environ.get("CALO_ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))
COMPILER = shutil.which("c++")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(
        not (HEADERS / "onnxruntime_cxx_api.h").exists(), reason="no headers: apt install libonnxruntime-dev"
    ),
]


def test_the_cpp_of_the_documentation_gives_the_energies_of_the_model(tmp_path: Path) -> None:
    exported(tmp_path)
    text = (ROOT / "calomlp/model/README.md").read_text()
    (snippet,) = re.findall(r"```cpp\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "energies.cpp").write_text(snippet)
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)  # the name that programs look for
    warnings = ["-Wall", "-Wextra", "-Werror", "-isystem", str(HEADERS)]
    command = [str(COMPILER), "-std=c++17", *warnings, "energies.cpp", "libonnxruntime.so.1", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([*command, "-o", "energies"], cwd=tmp_path, check=True)
    model = read_model(str(tmp_path / "model.safetensors"), "model")
    low, high = np.array([(column.low, column.high) for column in model.envelope.features], np.float32).T
    features = np.random.default_rng(1).uniform(low, high, (20, len(low))).astype(np.float32)
    events = "\n".join(" ".join(f"{value:.9g}" for value in event) for event in features)
    done = subprocess.run(
        [str(tmp_path / "energies")], input=events, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = np.array([line.split() for line in done.stdout.splitlines()], np.float64)
    estimates = model.regressor.estimates(features)
    assert found[:, 0] == pytest.approx(estimates.regressor.numpy(), rel=2e-5)  # which prints six digits
    assert found[:, 1] == pytest.approx(estimates.anchor.numpy(), rel=2e-5)
