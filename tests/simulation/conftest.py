"""Fixtures of simulated showers."""

from __future__ import annotations

import pytest


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of a few events: simulating 30 costs as little as it looks."""
    size = 32
    for module in ("generate", "request"):
        monkeypatch.setattr(f"calomlp.simulation.{module}.BLOCK", size)
    return size
