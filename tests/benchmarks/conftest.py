from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from calomlp.data.sources import Source
from calomlp.interrupt import Interrupt
from calomlp.progress import Progress
from calomlp.simulation.dataset import write_dataset
from calomlp.simulation.detector_file import load_detector
from calomlp.simulation.request import Request, Spectrum


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Source]:
    """Simulate a data set and return it as a source."""
    folder = tmp_path_factory.mktemp("simulated")

    def make(detector: str, particle: str, energies: str, events: int, seed: int) -> Source:
        path: Path = folder / f"{detector}-{particle}-{seed}.root"
        if not path.exists():
            request = Request(load_detector(detector), ((particle, 1.0),), Spectrum.parse(energies), events, seed)
            write_dataset(request, path, "ttree", {}, progress=Progress(), interrupt=Interrupt())
        return Source(str(path), None, path.name)

    return make
