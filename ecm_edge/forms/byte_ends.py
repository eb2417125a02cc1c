"""A model whose input or output is int8 or uint8, with a QuantizeLinear in front and a DequantizeLinear behind.

Such a model then takes float samples and gives float scores as any other does, and its integers are the same. The scale
and the zero point are those that its own operators state; where none does, nobody can say what an integer stands for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.onnx_graph import inputs_of, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_TYPES: dict[int, np.dtype[Any]] = {TensorProto.INT8: np.dtype(np.int8), TensorProto.UINT8: np.dtype(np.uint8)}
_SAME_MEANING = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
        *("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Slice", "Gather"),
    }
)
"""Operators that give integers of the same scale and zero point as they take."""
_GIVES_AT = {
    "QuantizeLinear": 1,
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), 6),
    "QGemm": 7,
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), 3),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), 3),
    "QLinearConcat": 0,
}
"""Which input of a node that gives integers is their scale; the next one is the zero point."""


@dataclass(frozen=True)
class Meaning:
    """What integers stand for: (integer - zero_point) * scale."""

    scale: np.float32
    zero_point: int

    def real(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """The values that they stand for."""
        real: NDArray[np.float32] = (integers.astype(np.float32) - np.float32(self.zero_point)) * self.scale
        return real

    @property
    def text(self) -> str:
        """In words."""
        return f"scale {self.scale!s}, zero point {self.zero_point}"


def has_byte_ends(proto: onnx.ModelProto) -> bool:
    """Whether the input or an output is int8 or uint8."""
    return any(_kind(value) in _TYPES for value in (*inputs_of(proto.graph), *proto.graph.output))


def with_float_ends(proto: onnx.ModelProto) -> str:
    """Give a checked model a float32 input and float32 outputs, in place; what its ends are, in words.

    An output of integers that stand for nothing known, such as one of labels, stays as it is beside one of floats.

    Raises:
        ModelError: no operator says what the integers of the input, or of the only output, stand for.
    """
    taken = [value for value in inputs_of(proto.graph) if _kind(value) in _TYPES]
    said = [f"{_name_of(value)} input, {_quantise(proto, value)}" for value in taken]
    outputs = list(proto.graph.output)
    for value in outputs:
        if _kind(value) in _TYPES:
            meaning = _meaning_of_output(proto, value)
            if meaning is not None:
                said.append(f"{_name_of(value)} output, {_dequantise(proto, value, meaning)}")
            elif len(outputs) == 1:
                raise _unknown(f"none is stated for the {_name_of(value)} output {value.name!r}", "output")
    return "; ".join(said)


def taken_by(proto: onnx.ModelProto, name: str) -> tuple[np.dtype[Any], Meaning] | None:
    """The integers that the QuantizeLinear makes which alone reads the input `name`; None where there is none."""
    readers = [node for node in proto.graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
        return None
    constants = _constant_values(proto.graph)
    zero = constants.get(readers[0].input[2]) if len(readers[0].input) > 2 else None  # noqa: PLR2004 - the zero point
    dtype = zero.dtype if zero is not None else np.dtype(np.uint8)
    meaning = _meaning(readers[0], 1, constants, dtype)
    return (dtype, meaning) if meaning is not None else None


def _kind(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


def _name_of(value: onnx.ValueInfoProto) -> str:
    return str(_TYPES[_kind(value)])


def _unknown(found: str, end: str) -> ModelError:
    where = "behind the input" if end == "input" else "in front of the output"
    operator = "DequantizeLinear" if end == "input" else "QuantizeLinear"
    return ModelError(
        f"an {end} of integers has one scale and zero point, which its operators state",
        found,
        f"Put one {operator} {where}, or export the model with a float32 {end}.",
    )


def _quantise(proto: onnx.ModelProto, value: onnx.ValueInfoProto) -> str:
    """Put a QuantizeLinear in front of the input; its meaning in words."""
    graph, name = proto.graph, value.name
    found = list(dict.fromkeys(_meanings_of_input(proto, value)))
    meaning = found[0] if len(found) == 1 else None
    if meaning is None:
        readers = ", ".join(place_of(node, i) for i, node in enumerate(graph.node) if name in node.input) or "nothing"
        stated = " and ".join(each.text for each in found if each) or "none is stated"
        raise _unknown(f"{stated}, for the {_name_of(value)} input {name!r}, read by {readers}", "input")
    float_name = _unused(graph, f"{name}_float32")
    scale, zero_point = _constants(graph, name, meaning, _TYPES[_kind(value)])
    node = helper.make_node("QuantizeLinear", [float_name, scale, zero_point], [name], name=f"{name}_quantize")
    graph.node.insert(0, node)
    value.name, value.type.tensor_type.elem_type = float_name, TensorProto.FLOAT
    return meaning.text


def _dequantise(proto: onnx.ModelProto, value: onnx.ValueInfoProto, meaning: Meaning) -> str:
    """Put a DequantizeLinear behind an output; its meaning in words."""
    graph, name = proto.graph, value.name
    float_name = _unused(graph, f"{name}_float32")
    scale, zero_point = _constants(graph, name, meaning, _TYPES[_kind(value)])
    node = helper.make_node("DequantizeLinear", [name, scale, zero_point], [float_name], name=f"{name}_dequantize")
    graph.node.append(node)
    value.name, value.type.tensor_type.elem_type = float_name, TensorProto.FLOAT
    return meaning.text


def _constants(graph: onnx.GraphProto, name: str, meaning: Meaning, dtype: np.dtype[Any]) -> list[str]:
    names = []
    for what, number in (("scale", meaning.scale), ("zero_point", np.array(meaning.zero_point, dtype))):
        names.append(_unused(graph, f"{name}_{what}"))
        graph.initializer.append(numpy_helper.from_array(np.asarray(number), names[-1]))
    return names


def _unused(graph: onnx.GraphProto, name: str) -> str:
    values = (*graph.input, *graph.output, *graph.initializer)
    used = {value.name for value in values} | {each for node in graph.node for each in (*node.input, *node.output)}
    while name in used:
        name += "_"
    return name


def _meanings_of_input(proto: onnx.ModelProto, value: onnx.ValueInfoProto) -> Iterator[Meaning | None]:
    """What each operator that reads the integers says of them; None where it says nothing."""
    constants, dtype = _constant_values(proto.graph), _TYPES[_kind(value)]
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in proto.graph.node:
        for position, given in enumerate(node.input):
            readers[given].append((node, position))
    waiting = [value.name]
    while waiting:
        for node, position in readers.pop(waiting.pop(), []):
            if node.op_type in _SAME_MEANING and position == 0:
                waiting += node.output
            elif node.op_type == "DequantizeLinear" or node.op_type.startswith(("QLinear", "QGemm")):
                yield _meaning(node, position + 1, constants, dtype)
            else:
                yield None


def _meaning_of_output(proto: onnx.ModelProto, value: onnx.ValueInfoProto) -> Meaning | None:
    """What the operator that gives the integers says of them."""
    producers = {output: node for node in proto.graph.node for output in node.output}
    node = producers.get(value.name)
    while node is not None and node.op_type in _SAME_MEANING:
        node = producers.get(node.input[0])
    at = _GIVES_AT.get(node.op_type) if node is not None else None
    if node is None or at is None:
        return None
    return _meaning(node, at, _constant_values(proto.graph), _TYPES[_kind(value)])


def _meaning(
    node: onnx.NodeProto, at: int, constants: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]
) -> Meaning | None:
    """Scale and zero point in the inputs of a node from `at` on; None unless both are one constant each."""
    given = [*node.input, "", ""][at : at + 2]
    scale = constants.get(given[0])
    zero_point = constants.get(given[1]) if given[1] else np.zeros((), dtype)
    if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
        return None
    return Meaning(np.float32(scale.item()), int(zero_point.item()))


def _constant_values(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if not len(tensor.dims) > 1}
    for node in graph.node:
        if node.op_type == "Constant":
            found = [entry.t for entry in node.attribute if entry.name == "value"]
            floats = [entry.f for entry in node.attribute if entry.name == "value_float"]
            arrays = [*map(numpy_helper.to_array, found), *(np.array(number, np.float32) for number in floats)]
            values |= dict.fromkeys(node.output, arrays[0]) if arrays else {}
    return values
