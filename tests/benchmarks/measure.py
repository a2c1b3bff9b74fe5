"""What BENCHMARKS.md beside the training says: `python -m tests.benchmarks.measure > FILE`, in twenty minutes."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from calomlp.compute import threads
from calomlp.data.dataset import Data
from calomlp.data.sample import Sample, Side
from calomlp.model.regressor import Regressor
from calomlp.run import Run
from calomlp.training.loop import State, run
from calomlp.training.prepare import close, design, prepare
from calomlp.training.train import arrange
from calomlp.training.training_settings import TrainingSettings
from tests.benchmarks import rivals
from tests.benchmarks.rivals import Array
from tests.benchmarks.showers import CRYSTAL, ELECTRONS, PION_HITS, PIONS, SHASHLIK, Beam
from tests.conftest import ROOM, fitted, read, together

EVENTS = 200_000
MARGIN = 1.01
"""A resolution that is not worse than this times another's reaches it."""

ROUNDS = 3
SEEDS = (1, 2, 3, 4, 5)
SMALL = (500, 2000, 10_000)
COMPARED = (ELECTRONS, CRYSTAL, SHASHLIK, PIONS, PION_HITS)
FEW = 60_000  # events with hits, which take longer to simulate


@dataclass(frozen=True)
class Timed:
    """A training, or that of a rival.

    Attributes:
        name: What was trained.
        seconds: How long that took: the fit, apart from imports and reading.
        width: Relative width of the response, the geometric mean over the inner bins.
        epochs: Passes over the events, of the regressor.
    """

    name: str
    seconds: float
    width: float
    epochs: int = 0


def time_to_a_resolution(beam: Beam, folder: Path) -> Iterator[tuple[Timed, Timed]]:
    """Fit every rival; yield each with the shortest training of the regressor that resolves as well within 1 %."""
    data, sample, test = _events(beam, folder)
    ours = [_trained(beam, data, sample, test, epochs) for epochs in range(1, 7)]
    train, validation = (_of_side(data, side) for side in (Side.TRAIN, Side.VALIDATION))
    for name, (fit, _) in rivals.RIVALS.items():
        fitted_ = rivals.timed(fit, train, validation)
        theirs = Timed(name, fitted_.seconds, _mean_width(beam, test, fitted_.predict(test.features)))
        reaching = [one for one in ours if one.width < MARGIN * theirs.width]
        yield theirs, min(reaching or ours, key=lambda one: one.seconds)


def _trained(beam: Beam, data: Data, sample: Sample, test: Sample, epochs: int) -> Timed:
    """Train with the settings as they are, but for the epochs; the median time of some."""
    settings = TrainingSettings(epochs=epochs, threads=1)
    seconds = []
    for _ in range(ROUNDS):
        with threads(1), threadpool_limits(1):
            start = time.process_time()
            regressor = _fit(data, sample, settings)
            seconds.append(time.process_time() - start)
    width = _mean_width(beam, test, regressor.energies(test.features))
    return Timed("calomlp", float(np.median(seconds)), width, epochs)


def _fit(
    data: Data, sample: Sample, settings: TrainingSettings, after_step: Callable[[State], None] = lambda _: None
) -> Regressor:
    """Do all that a training does between reading and writing."""
    task = design(data, sample, settings, torch.device("cpu"), ROOM.folder)
    prepared = prepare(task)
    run(prepared.state, prepared.train, prepared.validation, settings, task.plan, after_step=after_step)
    close(prepared)
    return prepared.state.regressor


def bins(beam: Beam, folder: Path) -> tuple[list[float], dict[str, list[tuple[float, float]]]]:
    """Return the centres of the inner bins [GeV], and the relative widths and errors of regressor, line, sum, trees."""
    events = FEW if beam.hits else EVENTS
    model = fitted(beam.simulated(folder, events, 1), TrainingSettings())
    data = read([beam.simulated(folder, events, 1)], model.recipe)
    test = together(read([beam.simulated(folder, events, 2)], model.recipe))
    trees = rivals.tuned_trees(_of_side(data, Side.TRAIN), _of_side(data, Side.VALIDATION))
    found = model.regressor.estimates(test.features)
    curves = {"regressor": found.regressor.numpy(), "line": found.anchor.numpy(), "sum": found.sum.numpy()}
    return rivals.widths(test, curves | {"trees": trees(test.features)}, beam.low, beam.high)


def few_events(beam: Beam, folder: Path, events: int) -> list[float]:
    """Return the width of the regressor over that of the line, both from a few events, for some samples of them."""
    ratios = []
    for seed in SEEDS:
        model = fitted(beam.simulated(folder, events, 100 + seed), TrainingSettings())
        test = together(read([beam.simulated(folder, EVENTS // 2, 3)], model.recipe))
        found = model.regressor.estimates(test.features)
        ours, line = (_mean_width(beam, test, values.numpy()) for values in (found.regressor, found.anchor))
        ratios.append(ours / line)
    return ratios


def arithmetic_rate(folder: Path, hidden: Sequence[int], batch_size: int) -> float:
    """Return the seconds of the bare matrix products of a training step over those of the step, on one thread.

    The products are those with the weights, forwards, and with the gradients: towards the weights, and towards the
    inputs of every layer but the first. The step is all that there is between one and the next: batch, loss, gradients,
    optimiser.
    """
    settings = TrainingSettings(hidden=",".join(map(str, hidden)), batch_size=batch_size, epochs=2, threads=1)
    data, sample, _ = _events(ELECTRONS, folder, settings)
    ends: list[float] = []
    with threads(1):
        regressor = _fit(data, sample, settings, lambda _: ends.append(time.perf_counter()))
        shapes = list(pairwise([regressor.architecture.n_inputs, *hidden, 1]))
        operands = [(torch.randn(batch_size, a), torch.randn(b, a), torch.randn(batch_size, b)) for a, b in shapes]
        bare = [_seconds_of_products(operands) for _ in ends]
    return float(np.median(bare) / np.median(np.diff(ends)))


def _seconds_of_products(operands: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> float:
    start = time.perf_counter()
    for number, (x, weight, gradient) in enumerate(operands):
        _ = x @ weight.T, gradient.T @ x
        if number:
            _ = gradient @ weight
    return time.perf_counter() - start


def _events(beam: Beam, folder: Path, settings: TrainingSettings | None = None) -> tuple[Data, Sample, Sample]:
    """Return what a training reads, the events that its anchor is determined with, and test events."""
    source = beam.simulated(folder, EVENTS, 1)
    task = arrange([source], settings or TrainingSettings(), Run())
    test = read([beam.simulated(folder, EVENTS, 2)], task.data.recipe)
    return task.data, task.sample, together(test)


def _of_side(data: Data, side: Side) -> Sample:
    return together(data)[data.side == side]


def _mean_width(beam: Beam, events: Sample, energies: Array) -> float:
    """Return the geometric mean of the relative width in the inner bins."""
    _, curves = rivals.widths(events, {"": energies}, beam.low, beam.high)
    return float(np.exp(np.mean([math.log(width) for width, _ in curves[""]])))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sections(folder: Path) -> Iterator[str]:
    """Yield the parts of BENCHMARKS.md."""
    yield HEAD
    rows: list[tuple[str, ...]] = []
    for beam in (ELECTRONS, PIONS):
        for theirs, ours in time_to_a_resolution(beam, folder):
            factor = theirs.seconds / ours.seconds
            numbers = (f"{100 * theirs.width:.2f}", f"{100 * ours.width:.2f}", str(ours.epochs), f"{factor:.0f}")
            rows.append((str(beam), theirs.name, *numbers))
    yield TIME
    yield table(("events", "rival", "its width [%]", "calomlp's [%]", "epochs", "times as fast"), rows)
    yield ARITHMETIC
    shapes = [((128, 128), 4096), ((128, 128, 128), 4096), ((64, 64), 1024)]
    rates = [(hidden, batch, arithmetic_rate(folder, hidden, batch)) for hidden, batch in shapes]
    yield table(
        ("hidden", "batch", "rate [%]"),
        [(",".join(map(str, hidden)), str(batch), f"{100 * rate:.0f}") for hidden, batch, rate in rates],
    )
    yield WIDTHS
    for beam in COMPARED:
        energies, curves = bins(beam, folder)
        rows = [
            (f"{energy:.1f}", *(f"{100 * width:.2f}" for width, _ in widths), f"{100 * widths[0][1]:.2f}")
            for energy, *widths in zip(energies, *curves.values(), strict=True)
        ]
        yield f"### {beam}"
        yield table(("E [GeV]", *curves, "error"), rows)
    yield SMALL_SAMPLES
    rows = []
    for beam in COMPARED[:-1]:
        ratios = [few_events(beam, folder, events) for events in SMALL]
        rows.append((str(beam), *(f"{np.mean(some):.3f} ({min(some):.3f} to {max(some):.3f})" for some in ratios)))
    yield table(("events", *map(str, SMALL)), rows)


HEAD = """# Benchmarks of the training

Generated by `python -m tests.benchmarks.measure` (`pip install --group benchmark`); the same numbers are tested by
`pytest -m benchmark -s tests/benchmarks/test_training.py tests/benchmarks/test_resolution.py`. All times are of one
thread, and of the processor, which other programs do not change much; ratios of times are of one run. Widths are those
of the core of the response at fixed true energy, over the energy and the slope of the response, on events that no
training has seen."""

TIME = f"""## Time to a resolution

{EVENTS} simulated events of 1 to 100 GeV (pions from 4 GeV), 70 % of them for training, and for everybody the features
that calomlp chooses. Times are those of the fit, without imports and reading. The rivals: a loop over a DataLoader with
batches of 256, Adam, standardised inputs, {rivals.EPOCHS} epochs; scikit-learn's network, as many epochs or until it
says that it has converged; {rivals.TREES} trees. calomlp trains as few epochs as it takes to resolve as well within
1 %, with anchor, scaling, validation and closure correction; everything else is as by default. Widths are means over
the bins."""

ARITHMETIC = """## Arithmetic rate

The time of a training step's bare matrix products over that of the whole step: batch, activations, loss, gradients,
optimiser."""

WIDTHS = f"""## Resolution in bins of energy

The regressor with default settings; the line (its anchor) and the calibrated sum; and LightGBM, the best of twelve
tunings (logarithm of the energy or of the factor on a line; 7, 15 or 31 leaves; 20 or 100 events in a leaf; at most
3000 trees, stopped by the validation events). {EVENTS} events, {FEW} with hits; in per cent, with the regressor's
statistical error; the curves share their events, so they differ by less than their errors by chance."""

SMALL_SAMPLES = f"""## Few events

Width of the regressor over that of the line, both from a few events: mean, and the least and the largest of
{len(SEEDS)} samples."""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.writelines(f"{part}\n\n" for part in sections(Path(name)))
