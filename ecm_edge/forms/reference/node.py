"""One node of a graph, read from the file, and one step of its computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper, numpy_helper

from ecm_edge.forms.onnx_graph import STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Node:
    """One ONNX node; attributes are Python values, with text as str.

    named:  whether its author gave it its name.
    author: the place of the node in the file that it stands for, where that was written as others; else empty.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    named: bool = True
    author: str = ""

    @property
    def place(self) -> str:
        """The node in a message, by what its author sees of it."""
        own = f"{self.op} {self.name!r}" if self.named else f"{self.op} (which gives {self.gives!r})"
        return self.author or own

    @property
    def gives(self) -> str:
        """The name of its first output that has one."""
        return next((name for name in self.outputs if name), "nothing")


@dataclass(frozen=True)
class Step:
    """What is computed at once: a node, or an integer group, or a mean of integers (`op` says which node it is).

    `sources` are the DequantizeLinear nodes of a group's or mean's inputs; `quantizer` is a group's QuantizeLinear;
    `in_order` says that sums along axes follow rule 5's order, as they do in a graph with a QuantizeLinear.
    """

    op: Node
    outputs: tuple[str, ...]
    sources: tuple[Node, ...] = ()
    quantizer: Node | None = None
    relu: bool = False
    in_order: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all tensors that have to be there before the step."""
        if not self.sources:
            return self.op.inputs
        others = self.quantizer.inputs[1:] if self.quantizer else self.op.inputs[1:]
        return (*(name for source in self.sources for name in source.inputs), *others)


def node_of(index: int, node: onnx.NodeProto) -> Node:
    """A node of a graph; `index` names one that has no name."""
    attributes = {entry.name: value_of(entry) for entry in node.attribute if not entry.ref_attr_name}
    if node.op_type == "Split":  # before opset 18 the number of equal parts is that of the outputs
        attributes = {"num_outputs": len(node.output), **attributes}
    standard = node.domain in STANDARD or node.op_type in {"QuantizeLinear", "DequantizeLinear"}
    op = node.op_type if standard else f"{node.domain}.{node.op_type}"
    name = node.name or f"{node.op_type}_{index}"
    return Node(name, op, tuple(node.input), tuple(node.output), attributes, bool(node.name))


def value_of(attribute: onnx.AttributeProto) -> Any:  # noqa: ANN401 - whatever an attribute can hold
    """An attribute as a Python value."""
    return _value(helper.get_attribute_value(attribute))


def _value(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_value(each) for each in value]
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def renamed_graph(graph: onnx.GraphProto, renamed: Callable[[str], str]) -> onnx.GraphProto:
    """A copy of an inner graph with every tensor of it, and of the graphs in it, under another name."""
    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    for value in (*copy.input, *copy.output, *copy.initializer):
        value.name = renamed(value.name)
    for node in copy.node:
        for names in (node.input, node.output):
            names[:] = [renamed(name) if name else "" for name in names]
        for entry in node.attribute:
            if entry.HasField("g"):
                entry.g.CopyFrom(renamed_graph(entry.g, renamed))
    return copy
