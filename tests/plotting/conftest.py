"""Reports of toy calorimeters whose terms are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest

from calomlp.evaluation.accumulator import Accumulator
from calomlp.evaluation.bins import LOGARITHMIC, POINTS, EnergyBins
from calomlp.evaluation.importance import ImportanceStatistics, Moments
from calomlp.evaluation.options import Options
from calomlp.evaluation.report import Bin, Context, Ratio, Report
from calomlp.evaluation.slices import SliceStatistics, Slicing
from calomlp.evaluation.statistics import IN_DOMAIN, Statistics
from calomlp.evaluation.summary import summarise
from calomlp.evaluation.uncertainty import UncertaintyStatistics
from calomlp.model.envelope import Envelope
from calomlp.model.spread import Spread
from calomlp.plotting import paper
from calomlp.plotting.figures import REPORT_CHARTS
from calomlp.plotting.style import Style
from calomlp.plotting.view import View
from tests.conftest import replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    from calomlp.plotting.chart import Chart
    from calomlp.plotting.view import Reference

LABELS = {"regressor": "MLP regressor", "anchor": "linear anchor", "sum": "calibrated sum"}
FEATURES = [f"layer_energy[{i}]" for i in range(28)]
FEATURES += [f"spectrum(hit_energy, 0.024, 0.048, 0.096, 0.168, 0.288, 0.48, 0.96)[{i}]" for i in range(4)]
HISTORY = [
    {
        "epoch": epoch,
        "train_loss": 0.1 + np.exp(-epoch / 5),
        "validation_loss": 0.12 + np.exp(-epoch / 5),
        "validation_resolution": 0.05 + 0.1 * np.exp(-epoch / 4),
        "learning_rate": 1e-3 * 0.5 ** (epoch // 10),
    }
    for epoch in range(1, 41)
]


Piece = TypeVar("Piece", Bin, Ratio)


@dataclass(frozen=True)
class Toy:
    """A toy calorimeter: terms of its resolution, and its response at energies [GeV]."""

    a: float = 0.166
    n: float = 0.0
    c: float = 0.01
    response: Callable[[np.ndarray], np.ndarray] = np.ones_like
    tail: float = 0.0

    def estimates(self, energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = np.sqrt(self.a**2 / energy + self.n**2 / energy**2 + self.c**2)
        low = rng.exponential(3 * sigma) * (rng.random(len(energy)) < self.tail)
        estimate: np.ndarray = energy * self.response(energy) * (1 + sigma * rng.standard_normal(len(energy)) - low)
        return estimate


ECAL = {"regressor": Toy(), "anchor": Toy(a=0.18, n=0.05), "sum": Toy(a=0.19, n=0.1, c=0.02)}


def make_report(
    toys: Mapping[str, Toy] = ECAL,
    *,
    energies: Sequence[float] = (),
    n_bins: int = 8,
    per_bin: int = 400,
    energy_range: tuple[float, float] = (1.0, 100.0),
    seed: int = 1,
    more: Mapping[str, Any] | None = None,
) -> Report:
    """Return a report; with energies, of a beam of these energies, otherwise of a spectrum flat in ln E.

    ``more`` are further statistics.
    """
    rng = np.random.default_rng(seed)
    low, high = energy_range
    if energies:
        bins, true = EnergyBins(POINTS), np.repeat(np.array(energies, dtype=float), per_bin)
    else:
        bins = EnergyBins(LOGARITHMIC, low, np.log(high / low) / n_bins)
        true = low * (high / low) ** rng.random(n_bins * per_bin)
    accumulator = Accumulator(tuple(toys))
    estimates = {name: toy.estimates(true, rng) for name, toy in toys.items()}
    accumulator.fill(bins.keys(true), true, estimates, compare=True)
    labels = {name: LABELS.get(name, f"variant {name}") for name in toys}
    context = Context(
        files=(),
        cut="",
        use_all=False,
        envelope=Envelope(low, high, 10 * len(true), len(true), len(true), ()),
        spread=None if energies else Spread(0.01, 0, 0),  # so that the first bin and the last are at an edge
        training={"history": HISTORY, "summary": {"best_epoch": 31}},
        settings={},
        provenance={"calomlp": "0.1.0", "command": ["calomlp", "evaluate", "model.safetensors"]},
    )
    models = {next(iter(toys)): "weights"}
    return summarise(replace(Statistics(bins, labels, models, accumulator), **(more or {})), context, Options())


def everything() -> Report:
    """Return a report that has all that a report may have."""
    rng = np.random.default_rng(3)
    true = np.exp(rng.uniform(0, np.log(100), 4000))
    sigma = 0.166 * np.sqrt(true)
    energy = true + sigma * rng.standard_normal(len(true))
    angle = rng.uniform(0, 0.5, len(true))
    curves = {"regressor": energy, "anchor": energy * (1 + 0.1 * angle), "sum": energy * 0.97}
    particle = np.where(rng.random(len(true)) < 0.5, 11.0, 22.0)
    slicings = [(Slicing("true_theta", (0.1, 0.2, 0.3, 0.4)), angle), (Slicing("pdg_id"), particle)]
    slicings.append((Slicing(IN_DOMAIN), (rng.random(len(true)) < 0.9).astype(float)))
    keys = np.zeros(len(true), dtype=np.int64)
    more = {
        "slices": {slicing.text: SliceStatistics.of(slicing, values, true, curves) for slicing, values in slicings},
        "uncertainty": UncertaintyStatistics.of(keys, true, energy, sigma, sigma),
        "importance": ImportanceStatistics(
            1000, 800.0, {name: Moments(100.0 * i, 400.0 * i**2) for i, name in enumerate(FEATURES)}
        ),
        "outside": {name: 3 * i + 1 for i, name in enumerate(FEATURES)},
    }
    report = make_report(n_bins=6, more=more)
    curve = [{"events": n, "loss": 1 + 10 / n, "pull": 1.0, "resolution": 0.1 + 1 / n} for n in (500, 1000, 2000, 4000)]
    region = replace(report.context.envelope, energy_min=2.0, energy_max=50.0) if report.context.envelope else None
    said = "no sign of overtraining: the residuals of test events, in units of what is expected, are wider by (+0.4 %)"
    sides = {name: {"events": 900, "resolution": 0.052} for name in ("training", "validation", "test")}
    summary = {"best_epoch": 31, "learning_curve": curve, "overtraining": said, "sides": sides}
    training = {"history": HISTORY, "summary": summary}
    return with_context(report, training=training, envelope=region)


def chart(kind: str, report: Report, references: Sequence[Reference] = ()) -> Chart:
    """Return a chart of a report."""
    return REPORT_CHARTS[kind](View.of(report, references))


def figure(kind: str, report: Report, references: Sequence[Reference] = (), **style: Any) -> Figure:
    """Return a figure of a report, in some style."""
    return paper.draw(chart(kind, report, references), Style(**style))


def with_context(report: Report, **changes: Any) -> Report:
    """Return the same numbers from elsewhere."""
    return replace(report, context=replace(report.context, **changes))


@pytest.fixture(scope="session")
def report() -> Report:
    """An ordinary report: three curves, eight bins, the first and the last at an edge."""
    return make_report()


@pytest.fixture(scope="session")
@replicas(30)
def reports(report: Report) -> dict[str, Report]:
    """Reports of every shape that figures must survive."""
    names = [
        "regressor",
        "anchor",
        "sum",
        "dnn",
        "gnn",
        "cnn",
        "tower sum",
        "a name that is much too long for a legend",
    ]
    pions = {
        "regressor": Toy(0.55, 0, 0.03, tail=0.05),
        "anchor": Toy(0.6, 0.1, 0.05, tail=0.05),
        "sum": Toy(0.65, 0.1, 0.08, response=lambda e: 0.9 + 0.14 * np.log(e) / np.log(100), tail=0.1),
    }
    off = {"regressor": Toy(), "sum": Toy(response=lambda e: np.full_like(e, 0.3))}
    return {
        "normal": report,
        "everything": everything(),
        "pions": make_report(pions, n_bins=6),
        "one energy": make_report(energies=[10]),
        "no fit": make_report(energies=[10, 20, 50]),
        "no estimates": make_report(per_bin=20),
        "alone": make_report({"regressor": Toy()}, n_bins=6),
        "many curves": make_report({name: Toy(0.15 + 0.01 * i, 0.05 * i) for i, name in enumerate(names)}),
        "beam energies": make_report(energies=[10, 20, 30, 50, 80, 120, 180]),
        "wrong scale": make_report(off, n_bins=6),
        "wide range": make_report(energy_range=(0.01, 10_000), n_bins=9),
        "thousand bins": _repeated(make_report(n_bins=20, per_bin=1100), 50),
    }


def _repeated(report: Report, times: int) -> Report:
    """Return a report with every bin cut in many: as many points as a figure may meet, without their bootstraps."""

    def cut(bin_: Piece) -> list[Piece]:
        edges = np.geomspace(bin_.energy_low, bin_.energy_high, times + 1)
        return [
            replace(bin_, energy_low=low, energy_high=high, energy=(low * high) ** 0.5)
            for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ]

    curves = [replace(curve, bins=tuple(part for bin_ in curve.bins for part in cut(bin_))) for curve in report.curves]
    comparisons = [
        replace(item, ratios=tuple(part for ratio in item.ratios for part in cut(ratio))) for item in report.comparisons
    ]
    return replace(report, curves=tuple(curves), comparisons=tuple(comparisons))
