"""Training time beside rivals, on the same events in one run, and beside bare matrix products."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.showers import ELECTRONS, PIONS, Beam

measure = pytest.importorskip("tests.benchmarks.measure", exc_type=ImportError)
pytestmark = pytest.mark.benchmark

RATE = 0.6


@pytest.mark.parametrize("beam", [ELECTRONS, PIONS], ids=str)
def test_time_to_a_resolution(beam: Beam, events_folder: Path) -> None:
    for theirs, ours in measure.time_to_a_resolution(beam, events_folder):
        factor = theirs.seconds / ours.seconds
        print(
            f"\n{beam}: {theirs.name} {100 * theirs.width:.2f} %, calomlp {100 * ours.width:.2f} % with {ours.epochs} "
        )
        print(f"epochs, {factor:.1f} times as fast", end="")
        assert ours.width < measure.MARGIN * theirs.width
        assert factor > measure.rivals.RIVALS[theirs.name][1]


@pytest.mark.parametrize("hidden", [(128, 128), (128, 128, 128)])
def test_a_step_is_mostly_matrix_products(hidden: tuple[int, ...], events_folder: Path) -> None:
    rate = measure.arithmetic_rate(events_folder, hidden, 4096)
    print(f"\nhidden {hidden}, batch 4096: the bare products take {100 * rate:.0f} % of the step", end="")
    assert rate > RATE
