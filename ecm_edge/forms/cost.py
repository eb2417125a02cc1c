"""What a network costs, counted on its ONNX graph: parameters, MACs, weight bytes and the arena of its activations.

The arena comes from a liveness plan: a tensor occupies its bytes from the node that makes it to the last node that
reads it, and every tensor is given an offset at which nothing that lives at the same time lies. Reshapes share their
input's bytes. Costs are those of one inference of one segment.

This plan is not the firmware's (`ecm_edge.firmware.plan`): it is an estimate from the ONNX graph alone, for models of
which no C can be made and before any is made, and its figure depends on no choice of the generator. The firmware plans
the buffers of its own layers, after fusing, with outputs over inputs that die.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper, shape_inference

from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Record
from ecm_edge.forms import onnx_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_STRUCTURAL = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split", "Expand", "Tile", "Resize"}
    | {f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}
)
"""Operators whose further inputs say where, not what: a shape, axes, pads."""
_ALIGNMENT_BYTES = 8
_WEIGHT = ".weight"


class LayerCost(Record):
    """One node of the graph; `live_bytes` is what is alive while it runs, its output included."""

    name: str
    op_type: str
    output_shape: list[int]
    parameters: int
    macs: int
    weight_bytes: int
    live_bytes: int


class GraphCost(Record):
    """The cost of a whole graph.

    `parameters` counts the elements of every floating-point or integer weight that a layer reads, batch norm's
    statistics included, since they are flashed as well. `arena_bytes` is the size of the planned arena, the input and
    the scores included; `peak_live_bytes` is its lower bound, the most that is alive at once.
    """

    parameters: int
    macs: int
    weight_bytes: int
    arena_bytes: int
    peak_live_bytes: int
    layers: list[LayerCost]


@dataclass(frozen=True)
class Lifetime:
    """One buffer: its bytes, and the first and last step at which it is alive."""

    name: str
    size: int
    first: int
    last: int


def count(model: onnx.ModelProto) -> GraphCost:
    """The cost of a graph with static shapes, a free batch axis taken as one segment.

    Raises:
        ModelError: a shape that is not static.
    """
    graph = shape_inference.infer_shapes(onnx_model.one_segment(model), strict_mode=True, data_prop=True).graph
    shapes, sizes = _tensor_shapes(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    buffers = lifetimes(graph, sizes)
    offsets = plan(buffers)
    layers = [
        _layer(node, step, shapes, weights, buffers)
        for step, node in enumerate(graph.node)
        if node.op_type != "Constant"
    ]
    return GraphCost(
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        arena_bytes=max((offsets[b.name] + b.size for b in buffers), default=0),
        peak_live_bytes=max((layer.live_bytes for layer in layers), default=0),
        layers=layers,
    )


def lifetimes(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> list[Lifetime]:
    """The life of each activation buffer; views belong to the buffer they look at."""
    first: dict[str, int] = {value.name: 0 for value in graph.input}
    last: dict[str, int] = dict(first)
    owner: dict[str, str] = {name: name for name in first}
    for step, node in enumerate(graph.node):
        for name in node.input:
            if name in owner:
                last[owner[name]] = step
        for name in node.output:
            if name in sizes and node.op_type != "Constant":
                view = node.op_type in _VIEWS and node.input[0] in owner
                owner[name] = owner[node.input[0]] if view else name
                first.setdefault(owner[name], step)
                last[owner[name]] = step
    for value in graph.output:
        last[owner[value.name]] = len(graph.node)
    return [Lifetime(name, _aligned(sizes[name]), first[name], last[name]) for name in first]


def plan(buffers: Iterable[Lifetime]) -> dict[str, int]:
    """An offset for every buffer, largest first, at the lowest place free for the whole of its life."""
    offsets: dict[str, int] = {}
    placed: list[Lifetime] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        offset = 0
        for other in sorted((p for p in placed if _overlap(p, buffer)), key=lambda p: offsets[p.name]):
            if offset + buffer.size <= offsets[other.name]:
                break
            offset = max(offset, offsets[other.name] + other.size)
        offsets[buffer.name] = offset
        placed.append(buffer)
    return offsets


def _overlap(a: Lifetime, b: Lifetime) -> bool:
    return a.first <= b.last and b.first <= a.last


def _aligned(size: int) -> int:
    return math.ceil(size / _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _tensor_shapes(graph: onnx.GraphProto) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Shapes of every tensor, and bytes of those that are activations."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    sizes: dict[str, int] = {}
    weights = set(shapes)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        if any(not dim.HasField("dim_value") for dim in kind.shape.dim):
            raise ModelError(
                "a graph to be counted has static shapes",
                f"a dynamic dimension in {value.name!r}",
                "Export it with batch 1 and a fixed number of samples.",
            )
        shapes[value.name] = [dim.dim_value for dim in kind.shape.dim]
        item_bytes = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        sizes[value.name] = math.prod(shapes[value.name]) * item_bytes
    return shapes, sizes


def _layer(
    node: onnx.NodeProto,
    step: int,
    shapes: Mapping[str, list[int]],
    weights: Mapping[str, onnx.TensorProto],
    buffers: Iterable[Lifetime],
) -> LayerCost:
    own = [weights[name] for name in dict.fromkeys(node.input) if name in weights and _is_weight(node, name)]
    return LayerCost(
        name=layer_name(node),
        op_type=node.op_type,
        output_shape=shapes.get(node.output[0], []),
        parameters=sum(math.prod(tensor.dims) for tensor in own),
        macs=_macs(node, shapes),
        weight_bytes=sum(numpy_helper.to_array(tensor).nbytes for tensor in own),
        live_bytes=sum(b.size for b in buffers if b.first <= step <= b.last),
    )


def layer_name(node: onnx.NodeProto) -> str:
    """A node's name, with the path of its torch module: as the exporter noted it, or as its weight's name tells."""
    owner = next((name.removesuffix(_WEIGHT) for name in node.input if name.endswith(_WEIGHT)), "")
    name, path = node.name or node.output[0], onnx_model.module_path(node) or owner
    return f"{path} ({name})" if path else name


def _is_weight(node: onnx.NodeProto, name: str) -> bool:
    """Whether an initializer is data of the net, not a shape, an axis or a pad."""
    return node.op_type not in _STRUCTURAL or name == node.input[0]


def _macs(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    """Multiply-accumulates of a node; element-wise work is not counted."""
    if node.op_type == "Conv":  # weight (C_out, C_in / groups, K…): each output needs C_in / groups x K
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
    if node.op_type in {"LSTM", "GRU"}:  # every weight of both matrices, at each step of each sequence
        return math.prod(shapes[node.input[0]][:2]) * sum(math.prod(shapes[name]) for name in node.input[1:3])
    return 0
