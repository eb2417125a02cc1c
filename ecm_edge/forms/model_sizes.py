"""How much a model may hold and multiply, by the shapes that inference finds, before anything is computed of it.

Whatever a board can run is far below. What inference cannot see, such as the inside of an operator that is written as
others, is bounded where it is computed.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.onnx_graph import inner_graphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx import TensorProto

MOST_TOGETHER = 2**25
"""Elements of all tensors between layers together."""
MOST_MACS = 2**30
"""Multiply-accumulates of one segment."""
MOST_STEPS = 2**16
"""Time steps of a recurrence, which are computed one after the other."""

REFUSALS = (
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
    *(ValueError, IndexError, RuntimeError, MemoryError),
)
"""What onnx's checker and its inference of shapes raise where a model is at fault; for calls of onnx alone."""

_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_SMALLER = "Make the net or its input smaller."
_RANGE_INPUTS = 3

Shape = tuple[int, ...]


def check(graph: onnx.GraphProto, name: str) -> None:
    """Raise ModelError for a graph, its shapes inferred, that is beyond all boards; `name` is the file's."""
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    made = [output for node in graph.node for output in node.output if output in shapes]
    together = sum(prod(shapes[output]) for output in made)
    if together > MOST_TOGETHER:
        _refuse(f"all tensors of a model have at most {MOST_TOGETHER:,} elements", f"{together:,}", name)
    macs = 0
    for node in graph.node:
        macs += _macs(node, shapes)
        if macs > MOST_MACS:
            place = f"more, up to {node.op_type} {node.name or node.output[0]!r},"
            _refuse(f"a model has at most {MOST_MACS:,} MACs", place, name)
        steps = max(shapes.get(node.input[0], (0,))[:2], default=0) if node.op_type in _RECURRENT else 0
        if steps > MOST_STEPS:
            found = f"{steps:,} in {node.op_type} {node.name or node.output[0]!r}"
            _refuse(f"a recurrence has at most {MOST_STEPS:,} steps", found, name)


def _refuse(rule: str, found: str, name: str) -> None:
    raise ModelError(rule, f"{found} in {name}", _SMALLER)


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Roughly the MACs of a node; 0 where it has none, or where nothing is known of its shapes."""
    output = prod(shapes.get(node.output[0], (0,)))
    read = [shapes.get(given, ()) for given in node.input]
    if node.op_type in _RECURRENT:
        return prod(read[0][:2]) * sum(prod(shape) for shape in read[1:3])
    if "Conv" in node.op_type:
        weight = 3 if node.op_type.startswith("QLinear") else 1
        return output * prod(read[weight][1:]) if len(read) > weight else 0
    if "MatMul" in node.op_type or "Gemm" in node.op_type or node.op_type == "Einsum":
        return output * max(read[0], default=1)
    return 0


def inferred(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with the shapes that onnx infers, from the values of constants too where no Range is made of them.

    To follow values, onnx makes every number of a Range.

    Raises:
        ModelError: shapes that do not fit; `name` is the file's.
    """
    follows = not any(_makes_many(graph) for graph in _graphs(proto))
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=follows)
    except REFUSALS as problem:
        found = f"{str(problem).strip()[:200]!r} in {name}"
        raise ModelError("the shapes of a model can be inferred", found, "Export it again.") from None


def _graphs(proto: onnx.ModelProto) -> Iterable[onnx.GraphProto]:
    """The main graph and every branch in it."""
    waiting = [proto.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in inner_graphs(node)]


def _makes_many(graph: onnx.GraphProto) -> bool:
    ranges = [node for node in graph.node if node.op_type == "Range" and len(node.input) == _RANGE_INPUTS]
    if not ranges:
        return False
    constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    made = [(node.output[0], entry) for node in graph.node if node.op_type == "Constant" for entry in node.attribute]
    constants |= {output: entry.t for output, entry in made if entry.name == "value"}
    return any(_numbers(node, constants) > MOST_STEPS for node in ranges)


def _numbers(node: onnx.NodeProto, constants: Mapping[str, TensorProto]) -> float:
    """How many numbers a Range makes; infinite where that is not known, or has no end."""
    bounds = [constants.get(name) for name in node.input]
    if any(bound is None or prod(bound.dims) != 1 for bound in bounds):
        return float("inf")
    start, limit, step = (float(numpy_helper.to_array(bound).item()) for bound in bounds if bound is not None)
    return (limit - start) / step if step else float("inf")
