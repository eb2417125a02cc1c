"""What is asked of an ONNX graph in many places: its inputs, graphs within it, needed nodes, where a node stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

STANDARD = ("", "ai.onnx")
"""Names of the domain of the standard operators."""

_SQUASHED = frozenset({"Sigmoid", "HardSigmoid"})
_SAME_VALUES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Cast"})
_QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operator set that a model imports."""
    return next(int(entry.version) for entry in proto.opset_import if entry.domain in STANDARD)


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that no initializer gives."""
    held = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in held]


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node, such as the branches of an If; not those within them."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def place_of(node: onnx.NodeProto, index: int) -> str:
    """A node as its author sees it: by its name, or without one by what it gives."""
    if node.name:
        return f"{node.op_type} {node.name!r}"
    gives = next((output for output in node.output if output), "nothing")
    return f"{node.op_type} (node {index}, which gives {gives!r})"


def needed_nodes(graph: onnx.GraphProto, outputs: Iterable[str]) -> set[int]:
    """The positions of the nodes without which outputs cannot be computed; what others do need not be known."""
    wanted, needed = set(outputs), set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if wanted.intersection(node.output):
            needed.add(index)
            wanted.update(_read_by(node))
    return needed


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors that a node reads, or a graph in it."""
    read = set(node.input)
    for inner in inner_graphs(node):
        read |= {value.name for value in inner.output}.union(*map(_read_by, inner.node))
    return read


def is_squashed(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a tensor is what a sigmoid gave, perhaps reshaped or quantised since."""
    producers = {output: node for node in graph.node for output in node.output}
    while (node := producers.get(name)) is not None and node.op_type in _SAME_VALUES | _QUANTISERS:
        name = node.input[0]
    return node is not None and node.op_type in _SQUASHED
