"""A regressor as an ONNX graph: all that it does from the matrix of features to energies, in plain operators.

The graph is built by hand, so that any runtime can read it and every node has a name: opset 13, no operators of other
domains, no shapes that are computed. What a regressor does for one event is written in columns [events, 1]; each member
of an ensemble is a chain of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from calomlp.errors import ArtefactError
from calomlp.model.closure import Closure
from calomlp.model.losses import ENERGY, GAUSSIAN
from calomlp.model.region import Region
from calomlp.model.regressor import SOFTPLUS_ONE, WIDTH_LIMIT, Regressor

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
        for name in found.keys() - {ENERGY_OUTPUT}:
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
