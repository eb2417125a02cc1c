"""An ONNX graph made ready for the reference: nodes, constants, and steps in which integer groups are one step each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ecm_edge.forms import onnx_model
from ecm_edge.forms.onnx_graph import needed_nodes, opset
from ecm_edge.forms.reference.integers import PAIR_OPS
from ecm_edge.forms.reference.node import Node, Step, node_of
from ecm_edge.forms.reference.rewriting import Written, is_computed, rewritten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Array = NDArray[Any]

INTEGER_OPS = frozenset({"Conv", "Gemm", "MatMul"})
MEAN_OPS = frozenset({"ReduceMean", "GlobalAveragePool"})
_BYTES = (np.int8, np.uint8)
_SOFTMAX_BY_AXIS = 13
_FLATTENED = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


@dataclass(frozen=True)
class Graph:
    """A classifier for the reference; constants have the extra first axis of length 1."""

    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    constants: Mapping[str, Array]
    steps: tuple[Step, ...]

    def up_to(self, name: str) -> Graph:
        """The graph that ends in one of its tensors."""
        return replace(self, output_name=name, steps=_needed([*self.steps], {name}))

    @property
    def quantised_layers(self) -> list[tuple[Step, Node]]:
        """Every step that gives an integer tensor, in order, with the node whose result that is.

        That node is the group's own, or the one before the QuantizeLinear, or itself behind the graph's input.
        """
        producers = {name: step.op for step in self.steps for name in step.outputs}
        ends = [step for step in self.steps if step.quantizer is not None or step.op.op == "QuantizeLinear"]
        return [(s, s.op if s.quantizer else producers.get(s.op.inputs[0], s.op)) for s in ends]

    @property
    def quantised(self) -> list[str]:
        """Names of all integer tensors that QuantizeLinear gives, in order."""
        return [step.outputs[0] for step, _ in self.quantised_layers]


def load(proto: onnx.ModelProto) -> Graph:
    """The graph of a checked classifier.

    Raises:
        ModelError: it is not a classifier of one input, or has an operator that the reference does not know.
    """
    classifier = onnx_model.classifier_of(proto)
    return graph_of(proto, classifier.input_name, classifier.input_shape, classifier.output_name)


def graph_of(proto: onnx.ModelProto, input_name: str, input_shape: tuple[int, ...], output_name: str) -> Graph:
    """Any graph from one input to one of its outputs, whatever their shapes.

    Raises:
        ModelError: an operator that the reference does not know.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor)[None] for tensor in proto.graph.initializer}
    nodes = [node for _, nodes in _parts(proto, [output_name]) for node in nodes]
    if not all(map(is_computed, nodes)):
        nodes = rewritten(nodes, constants, input_name, input_shape, opset(proto)).nodes
    kept = {output_name}
    steps = _needed(_steps(nodes, constants, kept), kept)
    if any(step.quantizer or step.op.op == "QuantizeLinear" for step in steps):
        steps = tuple(replace(step, in_order=True) for step in steps)
    return Graph(input_name, input_shape, output_name, constants, steps)


def written(proto: onnx.ModelProto, input_name: str, input_shape: tuple[int, ...]) -> Written:
    """What stands for each node of a graph, and the tensors of two segments of noise; constants are among them.

    Raises:
        ModelError: an operator that the reference does not know.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor)[None] for tensor in proto.graph.initializer}
    parts = _parts(proto, [value.name for value in proto.graph.output])
    nodes = [node for _, nodes in parts for node in nodes]
    whole = rewritten(nodes, constants, input_name, input_shape, opset(proto))
    made = iter(whole.parts)
    together = [(author, [node for _ in nodes for node in next(made)[1]]) for author, nodes in parts]
    return Written(together, whole.values)


def _parts(proto: onnx.ModelProto, outputs: Iterable[str]) -> list[tuple[Node, list[Node]]]:
    """Each node and how the reference reads it: as several of an old Softmax, as none where no output needs it."""
    needed = needed_nodes(proto.graph, outputs)
    old = opset(proto) < _SOFTMAX_BY_AXIS
    parts: list[tuple[Node, list[Node]]] = []
    for index, each in enumerate(proto.graph.node):
        node = node_of(index, each)
        part = _along_one_axis(node) if old and node.op in _FLATTENED else [node]
        parts.append((node, part if index in needed else []))
    return parts


def _along_one_axis(node: Node) -> list[Node]:
    """Softmax and its like as before version 13: along rows, into which the input is flattened."""
    (y,) = node.outputs
    rows, result, shape = (f"{y}.{part}" for part in ("rows", "flat", "shape"))
    flat = {"axis": node.attributes.get("axis", 1)}
    return [
        replace(node, op="Flatten", outputs=(rows,), attributes=flat),
        replace(node, inputs=(rows,), outputs=(result,), attributes={"axis": -1}),
        replace(node, op="Shape", outputs=(shape,), attributes={}),
        replace(node, op="Reshape", inputs=(result, shape), attributes={}),
    ]


def _steps(nodes: list[Node], constants: Mapping[str, Array], kept: set[str]) -> list[Step]:
    """One step a node; a QuantizeLinear that ends an integer group stands for the group, whose nodes fall out later."""
    producers = {name: node for node in nodes for name in node.outputs}
    uses = Counter(name for node in nodes for name in node.inputs) + Counter(kept)
    return [
        _group(node, producers, uses, constants) or _mean(node, producers, constants) or Step(node, node.outputs)
        for node in nodes
    ]


def _mean(node: Node, producers: Mapping[str, Node], constants: Mapping[str, Array]) -> Step | None:
    """A mean of a dequantised tensor (rule 4 of the package)."""
    source = _dequantizer(node.inputs[0], producers) if node.op in MEAN_OPS else None
    return Step(node, node.outputs, (source,)) if source and _is_single(source, constants) else None


def _group(
    node: Node, producers: Mapping[str, Node], uses: Counter[str], constants: Mapping[str, Array]
) -> Step | None:
    """The integer group that ends in this QuantizeLinear, if one does (rule 3 of the package)."""
    if node.op != "QuantizeLinear":
        return None
    op, relu = producers.get(node.inputs[0]), False
    if op is not None and op.op == "Relu" and uses[node.inputs[0]] == 1:
        op, relu = producers.get(op.inputs[0]), True
    if op is None or op.op not in INTEGER_OPS | PAIR_OPS or uses[op.outputs[0]] != 1 or uses[node.inputs[0]] != 1:
        return None
    sources = [_dequantizer(name, producers) for name in op.inputs if name]
    known = tuple(source for source in sources if source is not None)
    if len(known) != len(sources) or not _is_single(node, constants):
        return None
    if not (_are_bytes(known, constants) if op.op in PAIR_OPS else _is_integer(op, known, constants)):
        return None
    return Step(op, node.outputs, known, node, relu)


def _are_bytes(sources: tuple[Node, ...], constants: Mapping[str, Array]) -> bool:
    """Whether what is added or multiplied are two activations of at most 8 bits, each with one scale."""
    if any(node.inputs[0] in constants or not _is_single(node, constants) for node in sources):
        return False
    zero_points = [constants[name] for node in sources for name in node.inputs[2:] if name]
    return len(zero_points) == len(sources) and all(each.dtype in _BYTES for each in zero_points)


def _dequantizer(name: str, producers: Mapping[str, Node]) -> Node | None:
    node = producers.get(name)
    return node if node is not None and node.op == "DequantizeLinear" else None


def _is_integer(op: Node, sources: tuple[Node, ...], constants: Mapping[str, Array]) -> bool:
    """Whether x, w and bias are quantised so that the sum can be taken on integers."""
    given = [name for source in sources for name in source.inputs[1:] if name]
    if any(name not in constants for name in given) or any(each.attributes.get("block_size", 0) for each in sources):
        return False
    x, w, *bias = sources
    if op.op == "MatMul" and (w.inputs[0] not in constants or constants[w.inputs[0]].ndim != 3):  # noqa: PLR2004 - a matrix
        return False
    if op.op == "Gemm" and (op.attributes.get("alpha", 1.0), op.attributes.get("beta", 1.0)) != (1.0, 1.0):
        return False
    x_scale, w_scale = constants[x.inputs[1]], constants[w.inputs[1]]
    channel = 1 if op.op == "MatMul" or (op.op == "Gemm" and not op.attributes.get("transB", 0)) else 0
    if x_scale.size != 1 or (w_scale.size != 1 and w.attributes.get("axis", 1) != channel):
        return False
    if op.attributes.get("transA", 0):
        return False
    return all(_is_bias(node, x_scale, w_scale, constants) for node in bias)


def _is_single(node: Node, constants: Mapping[str, Array]) -> bool:
    """Whether a QuantizeLinear or DequantizeLinear has one scale, and that a constant."""
    return all(name in constants and constants[name].size == 1 for name in node.inputs[1:] if name)


def _is_bias(node: Node, x_scale: Array, w_scale: Array, constants: Mapping[str, Array]) -> bool:
    """Whether a bias is int32 at scale x_scale * w_scale, float32's rounding allowed, and zero point 0."""
    stored, scale = constants.get(node.inputs[0]), constants[node.inputs[1]]
    centred = len(node.inputs) < 3 or not constants[node.inputs[2]].any()  # noqa: PLR2004 - the third input is the zero point
    wanted = (x_scale * w_scale).ravel()
    same = scale.size in {1, wanted.size} and np.allclose(scale.ravel(), wanted, rtol=1e-6, atol=0)
    return stored is not None and stored.dtype == np.int32 and centred and bool(same)


def _needed(steps: list[Step], wanted: set[str]) -> tuple[Step, ...]:
    """The steps without which no wanted tensor can be computed, in order."""
    needed, kept = set(wanted), []
    for step in reversed(steps):
        if needed & set(step.outputs):
            needed |= set(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))
