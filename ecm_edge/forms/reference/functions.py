"""Operators that the standard defines by others: the nodes that the `onnx` package says stand for one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.node import Node, node_of, renamed_graph, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.forms.reference.operators import Array

DEFINED = frozenset(
    {
        *("Attention", "BlackmanWindow", "CausalConvWithState", "Celu", "CenterCropPad", "HammingWindow", "HannWindow"),
        *("LinearAttention", "MeanVarianceNormalization", "Mish", "NegativeLogLikelihoodLoss", "RotaryEmbedding"),
        *("SoftmaxCrossEntropyLoss", "Softsign", "SwiGLU", "ThresholdedRelu"),
    }
)
"""Operators that are computed by the standard's definition of them."""


def written_out(node: Node, version: int, values: Mapping[str, Array]) -> list[Node] | None:
    """The nodes by which the standard defines a node, named after it; None where there is no definition.

    Args:
        node: one of the standard's operators.
        version: of the operator set.
        values: every tensor that the node reads, as the reference computes it: their types and shapes count.

    Raises:
        ModelError: the definition does not fit the node.
    """
    if "." in node.op or not onnx.defs.has(node.op, version):
        return None
    schema: Any = onnx.defs.get_schema(node.op, version)
    defaults = {a.name: value_of(a.default_value) for a in schema.attributes.values() if a.default_value.type}
    attributes = {**defaults, **node.attributes}
    body = _body(schema, node, attributes, version, values)
    if body is None:
        return None
    actual = {formal: name for formal, name in zip(body.output, node.outputs, strict=False) if name}
    actual |= dict(itertools.zip_longest(body.input, node.inputs[: len(body.input)], fillvalue=""))
    base = next(name for name in node.outputs if name)
    return [_inner(node, base, inner, actual, attributes) for inner in body.node]


def _inner(
    node: Node, base: str, inner: onnx.NodeProto, actual: Mapping[str, str], attributes: Mapping[str, Any]
) -> Node:
    """A node of a definition, its tensors and attributes replaced by those of the call."""
    own = node_of(0, inner)

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(actual.get(name, f"{base}.{node.op}.{name}") if name else "" for name in names)

    referred = {entry.name: entry.ref_attr_name for entry in inner.attribute if entry.ref_attr_name in attributes}
    given = {name: attributes[source] for name, source in referred.items()}
    inner_graphs = {
        name: renamed_graph(value, lambda n: renamed((n,))[0])
        for name, value in own.attributes.items()
        if isinstance(value, onnx.GraphProto)
    }
    every = {**own.attributes, **given, **inner_graphs}
    title = f"{node.name} ({node.op})"
    return Node(title, own.op, renamed(own.inputs), renamed(own.outputs), every, node.named, node.place)


def _body(
    schema: Any,  # noqa: ANN401 - onnx's stubs know little of it
    node: Node,
    attributes: Mapping[str, Any],
    version: int,
    values: Mapping[str, Array],
) -> onnx.FunctionProto | None:
    """The standard's definition of a node; None where it has none."""
    body = onnx.FunctionProto()
    if schema.has_function:
        body.CopyFrom(schema.function_body)
        return body
    if not schema.has_context_dependent_function:
        return None
    types = [onnx.TypeProto() if not name else _type(values[name]) for name in node.inputs]
    proto = helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)
    versions = [each for each in schema.context_dependent_function_opset_versions if each <= version]
    content = schema.get_context_dependent_function_with_opset_version(
        max(versions, default=schema.since_version), proto.SerializeToString(), [t.SerializeToString() for t in types]
    )
    if not content:
        found = node.place
        raise ModelError("the standard's definition of an operator fits the node", found, "Use other operators.")
    body.ParseFromString(content)
    return body


def _type(value: Array) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape[1:])
