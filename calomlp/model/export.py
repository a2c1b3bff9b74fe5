"""Export of a model to ONNX: the graph, its contract, and the proof that both say the same as the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from calomlp.compute import threads
from calomlp.data.rows import open_rows
from calomlp.data.sample import selected
from calomlp.data.sources import Source, Tally
from calomlp.errors import ArtefactError
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.graph import (
    ABOVE_OUTPUT,
    ANCHOR_OUTPUT,
    BELOW_OUTPUT,
    ENERGY_OUTPUT,
    FEATURES,
    OPSET,
    SIGMA_OUTPUT,
    build,
    outputs,
)
from calomlp.model.regressor import Regressor
from calomlp.provenance import canonical_json, provenance

ONNX_SCHEMA = "calomlp.onnx/1"
PREFIX = "calomlp."
"""What the keys of the metadata begin with."""

MAX_EVENTS = 100_000
"""So many events, evenly from all files, are enough for the comparison."""

SIGMA_ALLOWANCE = 10.0
"""An uncertainty may deviate by so many tolerances: of an ensemble, it is made of differences of energies."""

_PART = 8_192
_BEYOND = 0.5

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Export:
    """An exported model."""

    content: bytes  # the ONNX file
    contract: Mapping[str, Any]  # what has to be known to use it, and what was verified, as its metadata have it


def export(model: Model, features: Matrix, origin: str, tolerance: float) -> Export:
    """Make an ONNX file of a model, and compare it with the model.

    Args:
        model: The model.
        features: Events to compare on, shape [events, columns].
        origin: What events these are.
        tolerance: Largest deviation, as :func:`deviations` measures it, of an energy.

    Raises:
        ArtefactError: If they deviate by more, or there is no form of the model in ONNX.
    """
    graph = build(model.regressor)
    found = deviations(model.regressor, graph.SerializeToString(), features)
    for name, deviation in found.items():
        allowed = tolerance if name in (ENERGY_OUTPUT, ANCHOR_OUTPUT) else SIGMA_ALLOWANCE * tolerance
        if not deviation <= allowed:
            raise ArtefactError(
                f"{name} of the graph deviates from the model by {deviation:.2g} on {len(features)} {origin}, more "
                f"than {allowed:.2g}: nothing was written; --tolerance allows more"
            )
    verification = {
        "events": len(features),
        "origin": origin,
        "tolerance": tolerance,
        "deviations": found,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }
    contract = {**_contract(model), "verification": verification, "provenance": provenance()}
    for key, value in contract.items():
        graph.metadata_props.add(key=PREFIX + key, value=value if isinstance(value, str) else canonical_json(value))
    graph.doc_string = "Energies of showers from features, made by calomlp export; the metadata name the features."
    return Export(graph.SerializeToString(deterministic=True), contract)


def _contract(model: Model) -> dict[str, Any]:
    """Return what has to be known to use the graph."""
    recipe, envelope = model.recipe, model.envelope
    expressions = [feature for feature in recipe.features for _ in range(feature.width)]
    columns = [
        {"name": name, "expression": feature.expression, "energy": feature.energy}
        for name, feature in zip(recipe.features.columns, expressions, strict=True)
    ]
    for column, known in zip(columns, envelope.features, strict=True):
        column |= {"low": known.low, "median": known.median, "high": known.high}
    return {
        "schema": ONNX_SCHEMA,
        "opset": OPSET,
        "model": model.weights_mark(),
        "input": {"name": FEATURES, "type": "float32", "shape": ["events", len(columns)]},
        "columns": columns,
        "units": "those of the training files: the range of each column, 0.1 to 99.9 % of the training events, tells",
        "outputs": [{"name": name, "unit": "GeV", "is": text} for name, text in outputs(model.regressor).items()],
        "selection": {
            "cut": recipe.cut.text if recipe.cut else None,
            "layout": asdict(recipe.layout),
            "missing": recipe.missing,
            "on_bad": recipe.on_bad,
        },
        "range": {"energy_min": envelope.energy_min, "energy_max": envelope.energy_max, "unit": "GeV"},
    }


def deviations(regressor: Regressor, content: bytes, features: Matrix) -> dict[str, float]:
    """Return the largest deviation of each output of a graph from the regressor.

    Deviations are relative to the value; for energies at least to the floor below which the regressor does not tell
    energies apart, half of the lowest in training, and to the spread of the true energies where the network gives the
    energy itself, of which it is a sum.

    Args:
        regressor: The regressor.
        content: The graph.
        features: Shape [events, columns].
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several would round differently from run to run
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    floor = float(regressor.floor)
    if regressor.region is not None:
        floor = max(floor, float(regressor.region.least))
    if regressor.architecture.target == "direct":
        floor = max(floor, float(regressor.output_scale))
    found = dict.fromkeys(names, 0.0)
    with threads(1):
        for start in range(0, len(features), _PART):
            part = features[start : start + _PART]
            values = dict(zip(names, session.run(names, {FEATURES: part}), strict=True))
            for name, wanted in _wanted(regressor, part).items():
                least = floor if name in (ENERGY_OUTPUT, ANCHOR_OUTPUT) else 0.0
                found[name] = max(found[name], _deviation(values[name], wanted, least))
    return found


def _wanted(regressor: Regressor, features: Matrix) -> dict[str, Matrix]:
    """Return the outputs as the regressor gives them."""
    estimates = regressor.estimates(features)
    found = {ENERGY_OUTPUT: estimates.regressor, ANCHOR_OUTPUT: estimates.anchor}
    if estimates.below is not None and estimates.above is not None:
        found[SIGMA_OUTPUT] = (estimates.below + estimates.above) / 2
        if BELOW_OUTPUT in outputs(regressor):
            found |= {BELOW_OUTPUT: estimates.below, ABOVE_OUTPUT: estimates.above}
    return {name: value.cpu().numpy() for name, value in found.items()}


def _deviation(value: Matrix, wanted: Matrix, floor: float) -> float:
    """Return the largest relative deviation; infinite if one is a finite number and the other is not."""
    same = (value == wanted) | (np.isnan(value) & np.isnan(wanted))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.maximum(np.abs(wanted.astype(np.float64)), floor)
        apart = np.abs(value.astype(np.float64) - wanted) / size
    return float(np.max(np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf)), initial=0.0))


def read_features(model: Model, sources: Sequence[Source], limit: int = MAX_EVENTS) -> Matrix:
    """Return features of events from files, as many of each; those with values that are not finite are left out.

    Args:
        model: Says what the features are.
        sources: The files; they need not have a true energy.
        limit: So many events at most, but one of each file.

    Raises:
        ArtefactError: If a file lacks a branch of the model.
        InputError: If a file cannot be read.
    """
    parts = [part for source in sources for part in _read(model, source, max(1, limit // len(sources)))]
    return np.concatenate([np.empty((0, len(model.recipe.features.columns)), np.float32), *parts])


def _read(model: Model, source: Source, limit: int) -> Iterator[Matrix]:
    recipe = replace(model.recipe, cut=None)  # which may need the truth
    needed = recipe.features.branches
    with open_rows(source, recipe.layout, needed) as rows:
        recipe.check(rows, needed)
        for some in selected(rows, recipe, needed, Tally()):
            matrix = recipe.features.matrix(some.branches)
            matrix = matrix[np.isfinite(matrix).all(axis=1)][:limit]
            yield matrix
            limit -= len(matrix)
            if limit <= 0:
                return


def synthetic_features(envelope: Envelope, events: int = 2 * _PART) -> Matrix:
    """Return events that nobody has measured: half inside the range of each column, half as far as half of it beyond.

    Args:
        envelope: Has the ranges.
        events: Number of events.

    Returns:
        Shape [events, columns]; the same for the same envelope.
    """
    low, high = np.array([(column.low, column.high) for column in envelope.features]).T
    place = np.random.default_rng(1).uniform(size=(events, len(low)))
    place[events // 2 :] = place[events // 2 :] * (1 + 2 * _BEYOND) - _BEYOND
    drawn: Matrix = (low + place * (high - low)).astype(np.float32)
    return drawn
