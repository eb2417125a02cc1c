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
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Record
from ecm_edge.forms import model_rules, onnx_model

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
_MOST_PAIRS = 2**21

T = TypeVar("T")


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
        ModelError: a shape that is not static, or not known.
    """
    bound = onnx_model.one_segment(model)
    try:
        graph = shape_inference.infer_shapes(bound, strict_mode=True, data_prop=True).graph
    except model_rules.REFUSALS as problem:
        foreign = [f"{node.domain}.{node.op_type} {node.name!r}" for node in model.graph.node if node.domain]
        found = ", ".join(foreign) or str(problem).strip().replace("\n", " ")[:300]
        raise ModelError("a graph to be counted has known shapes", found, "Use ONNX's standard operators.") from None
    _see_shapes(graph, bound)
    shapes, sizes = _tensor_shapes(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    buffers = lifetimes(graph, sizes)
    offsets = plan(buffers)
    alive = _live_bytes(buffers, len(graph.node))
    layers = [
        _layer(node, shapes, weights, alive[step]) for step, node in enumerate(graph.node) if node.op_type != "Constant"
    ]
    return GraphCost(
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        arena_bytes=max((offsets[b.name] + b.size for b in buffers), default=0),
        peak_live_bytes=max((layer.live_bytes for layer in layers), default=0),
        layers=layers,
    )


def _see_shapes(graph: onnx.GraphProto, model: onnx.ModelProto) -> None:
    """Fill in the shapes that inference could not find, from a run on one segment of zeros in onnxruntime."""
    unknown = [value for value in (*graph.value_info, *graph.output) if 0 in onnx_model.lengths(value)]
    if not unknown or any(0 in onnx_model.lengths(value) for value in model.graph.input):
        return
    names = [value.name for value in unknown]
    classifier = onnx_model.classifier_of(model)
    session = onnx_model.open_session(onnx_model.with_outputs(model, names))
    zeros = np.zeros((1, classifier.samples_per_segment), np.float32)
    seen = onnx_model.run_session(session, classifier, zeros, names)
    for value, tensor in zip(unknown, seen, strict=True):
        for dim, length in zip(value.type.tensor_type.shape.dim, tensor.shape[1:], strict=True):
            dim.dim_value = length


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
    by_name = {buffer.name: buffer for buffer in buffers}
    rivals = alive_together({name: (buffer.first, buffer.last) for name, buffer in by_name.items()})
    offsets: dict[str, int] = {}
    for buffer in sorted(by_name.values(), key=lambda b: (-b.size, b.first, b.name)):
        offset = 0
        for other in sorted((name for name in rivals[buffer.name] if name in offsets), key=offsets.__getitem__):
            if offset + buffer.size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + by_name[other].size)
        offsets[buffer.name] = offset
    return offsets


def alive_together(lives: Mapping[T, tuple[int, int]]) -> dict[T, list[T]]:
    """For every buffer, by its first and last step, those that are alive at one of its steps.

    Raises:
        ModelError: so many are alive together that no plan is found in reasonable time.
    """
    rivals: dict[T, list[T]] = {buffer: [] for buffer in lives}
    alive: list[T] = []
    pairs = 0
    for buffer in sorted(lives, key=lambda b: lives[b][0]):
        alive = [other for other in alive if lives[other][1] >= lives[buffer][0]]
        pairs += len(alive)
        if pairs > _MOST_PAIRS:
            found = f"{len(alive):,} of {len(lives):,} at step {lives[buffer][0]:,}"
            raise ModelError("few tensors are alive at the same time", found, "Make the net smaller.")
        for other in alive:
            rivals[other].append(buffer)
        rivals[buffer] += alive
        alive.append(buffer)
    return rivals


def _live_bytes(buffers: Iterable[Lifetime], steps: int) -> list[int]:
    """Bytes that are alive at each step."""
    change = [0] * (steps + 2)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        change[buffer.last + 1] -= buffer.size
    return list(accumulate(change))


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
    node: onnx.NodeProto, shapes: Mapping[str, list[int]], weights: Mapping[str, onnx.TensorProto], live_bytes: int
) -> LayerCost:
    own = [weights[name] for name in dict.fromkeys(node.input) if name in weights and _is_weight(node, name)]
    return LayerCost(
        name=layer_name(node),
        op_type=node.op_type,
        output_shape=shapes.get(node.output[0], []),
        parameters=sum(math.prod(tensor.dims) for tensor in own),
        macs=_macs(node, shapes),
        weight_bytes=sum(numpy_helper.to_array(tensor).nbytes for tensor in own),
        live_bytes=live_bytes,
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
