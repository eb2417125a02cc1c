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
from math import prod
from typing import TYPE_CHECKING, TypeVar

from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Record
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.macs import by_part
from ecm_edge.forms.onnx_graph import inputs_of
from ecm_edge.forms.weights import weights_by_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
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
    statistics included, since they are flashed as well; scales and zero points of quantisation are in `weight_bytes`
    alone, so that every form of a network has as many parameters. `arena_bytes` is the size of the planned arena, the
    input and the scores included; `peak_live_bytes` is its lower bound, the most that is alive at once.
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
    """The cost of a graph of one input with a static shape, a free batch axis taken as one segment.

    Raises:
        ModelError: a shape that is not static, or an operator of which nothing is known: it would count as nothing.
    """
    bound = onnx_model.one_segment(model)
    written = reference.written(bound, *_input(bound))
    graph, steps = bound.graph, len(written.parts)
    shapes = {name: list(value.shape[1:]) for name, value in written.values.items() if name}
    sizes = {
        name: prod(shapes[name]) * written.values[name].dtype.itemsize
        for name in (*(value.name for value in graph.input), *(name for node in graph.node for name in node.output))
        if name in shapes
    }
    buffers = lifetimes(graph, sizes)
    offsets = plan(buffers)
    alive, macs, weights = _live_bytes(buffers, steps), by_part(written), weights_by_part(written)
    layers = [
        LayerCost(
            name=layer_name(node),
            op_type=node.op_type,
            output_shape=next((shapes[name] for name in node.output if name in shapes), []),
            parameters=weights[step].elements,
            macs=macs[step],
            weight_bytes=weights[step].size_bytes,
            live_bytes=alive[step],
        )
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


def _input(model: onnx.ModelProto) -> tuple[str, tuple[int, ...]]:
    """The name and the shape of the one input."""
    inputs = inputs_of(model.graph)
    if len(inputs) != 1 or 0 in onnx_model.lengths(inputs[0]):
        names = ", ".join(repr(value.name) for value in inputs)
        found = f"a dynamic dimension in {names}" if len(inputs) == 1 else f"{len(inputs)}: {names}"
        raise ModelError(
            "a graph to be counted has one input, of static shapes",
            found,
            "Export it with batch 1 and a fixed number of samples.",
        )
    return inputs[0].name, tuple(onnx_model.lengths(inputs[0]))


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


def layer_name(node: onnx.NodeProto) -> str:
    """A node's name, with the path of its torch module: as the exporter noted it, or as its weight's name tells."""
    owner = next((name.removesuffix(_WEIGHT) for name in node.input if name.endswith(_WEIGHT)), "")
    name, path = node.name or node.output[0], onnx_model.module_path(node) or owner
    return f"{path} ({name})" if path else name
