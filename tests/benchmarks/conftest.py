from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def events_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where simulated events are kept."""
    return tmp_path_factory.mktemp("simulated")
