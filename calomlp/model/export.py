"""Export of a model to ONNX: the graph, its contract, and the proof that both say the same as the model.

The graph does all that a regressor does from the matrix of features to energies. It is built by hand, so that any
runtime can read it and every node has a name: opset 13, no operators of other domains, no shapes that are computed.
What a regressor does for one event is written in columns [events, 1]; each member of an ensemble is a chain of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from calomlp.compute import threads
from calomlp.data.rows import open_rows
from calomlp.data.sample import selected
from calomlp.data.sources import Source, Tally
from calomlp.errors import ArtefactError
from calomlp.model.corrections import Closure
from calomlp.model.envelope import Envelope
from calomlp.model.file import Model
from calomlp.model.losses import ENERGY, GAUSSIAN
from calomlp.model.region import Region
from calomlp.model.regressor import SOFTPLUS_ONE, WIDTH_LIMIT, Regressor
from calomlp.provenance import canonical_json, provenance

FEATURES = "features"
"""The one input, float32, shape [events, columns]."""

ANCHOR_OUTPUT, ENERGY_OUTPUT, SIGMA_OUTPUT = "calo_anchor", "calo_energy", "calo_sigma"
BELOW_OUTPUT, ABOVE_OUTPUT = "calo_sigma_below", "calo_sigma_above"

OPSET = 13
"""Of 2020: old enough for every runtime in use, and the first whose operators have the form that they have now."""

_IR_VERSION = 7  # of the file format, which came with this opset
_LARGEST = float(torch.finfo(torch.float32).max)
_GELU_WIDTH = 2**0.5
_LEAKY_SLOPE = 0.01  # that of torch.nn.functional.leaky_relu


class Graph:
    """Nodes and numbers of a graph, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.numbers: list[onnx.TensorProto] = []

    def constant(self, value: Tensor | float | list[int]) -> str:
        """Keep numbers, and return their name; one number has the shape [1], and lists are of whole numbers."""
        kind = torch.int64 if isinstance(value, list) else torch.float32
        tensor = torch.as_tensor(value, dtype=kind).detach().cpu().contiguous()
        name = f"number_{len(self.numbers)}"
        self.numbers.append(numpy_helper.from_array(np.atleast_1d(tensor.numpy()), name))
        return name

    def __call__(
        self, operator: str, *inputs: str | Tensor | float | list[int], name: str | None = None, **attributes: Any
    ) -> str:
        """Add a node, and return the name of its output.

        Args:
            operator: Of the ONNX domain.
            inputs: Names of other outputs, or numbers.
            name: Of the output.
            attributes: Of the operator.
        """
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name, **attributes))
        return name


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda _, x: x,
    "sigmoid": lambda add, x: add("Sigmoid", x),
    "tanh": lambda add, x: add("Tanh", x),
    "relu": lambda add, x: add("Relu", x),
    "leaky-relu": lambda add, x: add("LeakyRelu", x, alpha=_LEAKY_SLOPE),
    "elu": lambda add, x: add("Elu", x, alpha=1.0),
    "selu": lambda add, x: add("Selu", x),
    "gelu": lambda add, x: add("Mul", add("Mul", x, 0.5), add("Add", add("Erf", add("Div", x, _GELU_WIDTH)), 1.0)),
    "silu": lambda add, x: add("Mul", x, add("Sigmoid", x)),
    "softplus": lambda add, x: add("Softplus", x),
}


def build(regressor: Regressor) -> onnx.ModelProto:
    """Return the graph of a regressor.

    Its input is :data:`FEATURES`; its outputs are those that :func:`outputs` names, of shape [events], in GeV.

    Raises:
        ArtefactError: If the activation of the network is not known here.
    """
    activation = regressor.network.activation
    if activation not in _ACTIVATIONS:
        raise ArtefactError(f"the activation {activation!r} has no form in ONNX yet")
    add = Graph()
    anchor = add("MatMul", _energies(add, regressor), regressor.anchor_weights[:, None], name="anchor")
    found = _average(add, regressor, _members(add, regressor, _inputs(add, regressor, anchor)), anchor)
    found[ANCHOR_OUTPUT] = anchor
    names = outputs(regressor)
    for name in names:
        add("Squeeze", found[name], [1], name=name)
    graph = helper.make_graph(
        add.nodes,
        "calomlp",
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["events", regressor.architecture.n_columns])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["events"]) for name in names],
        add.numbers,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="calomlp")
    made.ir_version = _IR_VERSION
    onnx.checker.check_model(made, full_check=True)
    return made


def outputs(regressor: Regressor) -> Mapping[str, str]:
    """Return what the outputs mean, by their names; all are energies in GeV."""
    meanings = {ENERGY_OUTPUT: "energy of the regressor", ANCHOR_OUTPUT: "linear anchor, the calibration without it"}
    if regressor.architecture.head == ENERGY:
        return meanings
    meanings[SIGMA_OUTPUT] = "predicted uncertainty of the energy"
    if regressor.architecture.head != GAUSSIAN:
        meanings[SIGMA_OUTPUT] += ", half of the interval that holds 68 %"
        meanings[BELOW_OUTPUT] = "distance down to the 15.87 % quantile"
        meanings[ABOVE_OUTPUT] = "distance up to the 84.13 % quantile"
    return meanings


def _energies(add: Graph, regressor: Regressor) -> str:
    return _columns(add, regressor, list(regressor.architecture.energy_columns))


def _columns(add: Graph, regressor: Regressor, columns: list[int]) -> str:
    if columns == list(range(regressor.architecture.n_columns)):
        return FEATURES
    return add("Gather", FEATURES, columns, axis=1)


def _inputs(add: Graph, regressor: Regressor, anchor: str) -> str:
    """Add what the network sees, shape [events, inputs]."""
    seen, logarithm = FEATURES, ""
    architecture = regressor.architecture
    if architecture.target == "ratio":
        size = _size(add, regressor, anchor)
        others = [column for column in range(architecture.n_columns) if column not in architecture.energy_columns]
        parts = [_columns(add, regressor, others)] if others else []
        logarithm = add("Log", size)
        parts.append(logarithm)
        if architecture.shares:
            parts.insert(0, add("Mul", _energies(add, regressor), add("Div", regressor.sum_scale, size)))
        seen = add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    if regressor.region is not None:
        seen = _in_region(add, regressor.region, seen, logarithm)
    centred = add("Sub", seen, regressor.input_mean)
    scale = regressor.input_scale.clamp(max=_LARGEST)  # infinite where nothing varied, which not all runtimes can read
    standardised = add("Div", centred, scale, name="inputs")
    if regressor.region is None:
        return standardised
    low, high = regressor.region.limits.clamp(-_LARGEST, _LARGEST)
    return add("Min", add("Max", standardised, low), high, name="seen")


def _size(add: Graph, regressor: Regressor, anchor: str) -> str:
    """Add what stands for an anchor that may be zero or negative, shape [events, 1]."""
    size = add("Sqrt", add("Add", add("Mul", anchor, anchor), regressor.floor**2))
    return size if regressor.region is None else add("Max", size, regressor.region.least)


def _in_region(add: Graph, region: Region, inputs: str, logarithm: str) -> str:
    """Add the inputs as they would be in the region of the training, shape [events, inputs]."""
    below = add("Min", add("Sub", logarithm, region.knots[:1]), 0.0)
    above = add("Relu", add("Sub", logarithm, region.knots))
    change = add("MatMul", add("Concat", below, above, axis=1), region.slopes)
    inputs = add("Sub", inputs, add("Mul", change, 1 - region.power))
    start = torch.exp(region.power * region.start)
    return add("Sub", inputs, add("Mul", add("Sub", add("Exp", add("Mul", change, region.power)), 1.0), start))


def _members(add: Graph, regressor: Regressor, inputs: str) -> list[str]:
    """Add the networks; return the outputs of each, shape [events, outputs]."""
    network = regressor.network
    activate = _ACTIVATIONS[network.activation]
    found = []
    for member in range(regressor.architecture.members):
        x = inputs
        for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            x = activate(add, x) if layer else x
            x = add("Gemm", x, weight[member], bias[member, 0], transB=1)
        found.append(x)
    return found


def _average(add: Graph, regressor: Regressor, members: list[str], anchor: str) -> dict[str, str]:
    """Add what all members say together, as the regressor does; what they disagree about adds to the spread."""
    sigma = _expected(add, regressor, anchor)
    mean = add("Mean", *members) if len(members) > 1 else members[0]
    found = _predict(add, regressor, mean, anchor, sigma)
    if len(members) > 1 and regressor.architecture.head != ENERGY:
        each = [_predict(add, regressor, member, anchor, sigma) for member in members]
        energies = [one[ENERGY_OUTPUT] for one in each]
        middle = add("Mean", *energies)
        distances = [add("Sub", energy, middle) for energy in energies]
        disagreement = add("Mean", *(add("Mul", distance, distance) for distance in distances))
        for name in [name for name in found if name != ENERGY_OUTPUT]:
            squares = add("Mean", *(add("Mul", one[name], one[name]) for one in each))
            found[name] = add("Sqrt", add("Add", squares, disagreement))
    if regressor.closure is not None:
        factor = _closure(add, regressor.closure, found[ENERGY_OUTPUT])
        found = {name: add("Mul", value, factor) for name, value in found.items()}
    if BELOW_OUTPUT in found:
        found[SIGMA_OUTPUT] = add("Mean", found[BELOW_OUTPUT], found[ABOVE_OUTPUT])
    return found


def _expected(add: Graph, regressor: Regressor, anchor: str) -> str:
    """Add the spread [GeV] that is expected at the anchor, shape [events, 1]."""
    if regressor.architecture.head == ENERGY:
        return ""  # nobody asks for it
    linear, offset, quadratic = regressor.spread.unbind()
    size = add("Abs", anchor)
    below = add("Add", add("Mul", linear, size), offset)
    return add("Sqrt", add("Add", below, add("Mul", add("Mul", quadratic, size), size)), name="expected_sigma")


def _predict(add: Graph, regressor: Regressor, output: str, anchor: str, sigma: str) -> dict[str, str]:
    """Add what the outputs of a network say, by the name of the output of the graph, shape [events, 1] each."""
    architecture = regressor.architecture
    first, *others = (
        add("Gather", output, [number], axis=1) if architecture.n_outputs > 1 else output
        for number in range(architecture.n_outputs)
    )
    match architecture.target:
        case "ratio":
            if regressor.region is not None and regressor.region.growth:
                logarithm = add("Log", _size(add, regressor, anchor))
                below = add("Min", add("Sub", logarithm, regressor.region.lowest), 0.0)
                first = add("Mul", first, add("Exp", add("Mul", below, regressor.region.growth)))
            energy = add("Mul", anchor, add("Exp", first))
        case "log":
            energy = add("Exp", _scaled(add, regressor, first))
        case _:
            energy = _scaled(add, regressor, first)
    if architecture.head == ENERGY:
        return {ENERGY_OUTPUT: energy}
    if architecture.head == GAUSSIAN:
        logarithm = add("Min", add("Max", others[0], -WIDTH_LIMIT), WIDTH_LIMIT)
        return {ENERGY_OUTPUT: energy, SIGMA_OUTPUT: add("Mul", sigma, add("Exp", logarithm))}
    widths = (add("Mul", sigma, add("Softplus", add("Add", other, SOFTPLUS_ONE))) for other in others)
    return {ENERGY_OUTPUT: energy, **dict(zip((BELOW_OUTPUT, ABOVE_OUTPUT), widths, strict=True))}


def _scaled(add: Graph, regressor: Regressor, output: str) -> str:
    return add("Add", regressor.output_mean, add("Mul", regressor.output_scale, output))


def _closure(add: Graph, closure: Closure, energy: str) -> str:
    """Add the factors of the closure correction, shape [events, 1]."""
    logarithm = add("Log", add("Max", energy, closure.knots[0].exp()))
    ramps = add("Relu", add("Sub", logarithm, closure.knots))  # [events, knots]
    return add("Exp", add("Gemm", ramps, closure.slopes[:, None], closure.start), name="closure")


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
