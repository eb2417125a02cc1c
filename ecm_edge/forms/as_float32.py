"""A model that computes in float64 or float16, converted to float32, which is what firmware computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.onnx_graph import inner_graphs, inputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = {onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.FLOAT16: "float16"}


def as_float32(proto: onnx.ModelProto) -> str:
    """Convert a model whose input or output is float64 or float16, in place; which it was, empty if neither.

    Float16 weights of a model that takes and gives float32 stay as they are.

    Raises:
        ModelError: a weight that float32 cannot hold.
    """
    ends = [*inputs_of(proto.graph), *proto.graph.output]
    found = sorted({_NAMES[kind] for value in ends if (kind := value.type.tensor_type.elem_type) in _NAMES})
    if found:
        _convert(proto.graph)
    return " and ".join(found)


def _convert(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _NAMES:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for tensor in (*graph.initializer, *_attributes(graph)):
        if tensor.data_type in _NAMES:
            tensor.CopyFrom(_rounded(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in {"to", "dtype", "output_dtype"} and attribute.i in _NAMES:
                attribute.i = onnx.TensorProto.FLOAT
        for inner in inner_graphs(node):
            _convert(inner)


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


def _rounded(tensor: onnx.TensorProto) -> onnx.TensorProto:
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError):
        return tensor  # the checker says what is wrong with it
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if np.isinf(rounded).any() and np.isfinite(values).all():
        largest = f"{np.abs(values).max():g} in {tensor.name!r}"
        raise ModelError("weights lie within what float32 can hold", largest, "Train or export it in float32.")
    return numpy_helper.from_array(rounded, tensor.name)
