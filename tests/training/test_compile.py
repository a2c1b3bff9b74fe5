"""Compiled networks give the same model, nearly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from calomlp.data.sources import Source
from calomlp.errors import ExitCode, MissingDependencyError
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import Run, fitted, linear_showers

Make = Callable[..., Source]
CPU = torch.device("cpu")
SETTINGS = TrainingSettings(features=("layer_energy",), epochs=3, regress="direct", ensemble=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of what the compiler says of itself
def test_a_compiled_network_learns_the_same(make_root: Make) -> None:
    source = make_root(linear_showers(5000))
    plain, compiled = (fitted(source, replace(SETTINGS, compile=flag)) for flag in (False, True))
    losses = [[epoch["train_loss"] for epoch in model.history] for model in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_what_the_compiler_needs_is_said(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: object, **__: object) -> Callable[..., object]:
        def call(*_: object) -> object:
            raise ImportError("no g++")

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(MissingDependencyError, match=r"a C\+\+ compiler is needed: no g\+\+"):
        fitted(make_root(linear_showers(500)), replace(SETTINGS, compile=True))


@pytest.mark.landing
def test_without_a_compiler_the_error_says_so(calomlp_process: Run, electrons: Path, tmp_path: Path) -> None:
    nowhere = {"CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = calomlp_process("train", electrons, "--compile", "-o", "m.safetensors", env=nowhere)
    assert done.returncode == ExitCode.DEPENDENCY
    assert b"--compile does not work here; a C++ compiler is needed" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "m.safetensors").exists()
