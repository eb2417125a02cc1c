"""What the ONNX standard allows and nobody can answer for, refused by name as soon as a file is read.

`before_inference` looks at the file alone, so that nothing large is allocated and no other file is opened;
`after_inference` looks at a graph whose shapes are known. onnx's own checker runs between them.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import model_sizes
from ecm_edge.forms.onnx_graph import STANDARD, inner_graphs, opset, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.message import Message  # type: ignore[import-untyped]  # ships no types
    from numpy.typing import NDArray

MOST_ELEMENTS = 2**22
"""Elements of one tensor between layers; a board has memory for far fewer."""
MOST_WEIGHTS = 2**26
"""Elements of all constants of a model together."""
MOST_NODES = 2**12
"""Operators of a graph; C is written for each, and a network for a board has some hundreds at most."""
_MOST_CALLED = 2**14
"""Nodes of all functions of a model, written out where they are called."""

CLASSICAL = "ai.onnx.ml"
"""The domain of models that are no networks."""
_LABELLING = frozenset({"ZipMap", "ArrayFeatureExtractor", "LabelEncoder"})  # they make labels of a net's scores

_AGAIN = "Export it again."
_OLD_BROADCAST = 7  # before this version a binary operator had `broadcast` and `axis`
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "And", "Or", "Xor", "Equal", "Greater", "Less"})
_TAKE_INFINITY = frozenset({"Clip", "Min", "Max", "Where", "Pad", "Add", "Sub", "Expand", "Cast", "Identity", "Gather"})
"""Operators of which an infinite constant may be a bound, or the mask of an attention."""
_WINDOWS = frozenset({"pads", "kernel_shape", "strides", "dilations"})
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


def before_inference(proto: onnx.ModelProto, name: str) -> None:
    """Raise ModelError for text that is not UTF-8, operator sets that do not exist, and sizes beyond all boards.

    Args:
        proto: as it was parsed.
        name: of the file, for messages.
    """
    if (count := len(proto.graph.node)) > MOST_NODES:
        hint = "Export a recurrent layer as an LSTM or GRU, not written out step by step."
        raise ModelError(f"a model has at most {MOST_NODES:,} operators", f"{count:,} in {name}", hint)
    _check_text(proto, name)
    version = _checked_opset(proto, name)
    if proto.graph.sparse_initializer:
        sparse = proto.graph.sparse_initializer[0].values.name
        raise ModelError("weights are stored densely", f"the sparse {sparse!r} in {name}", _AGAIN)
    replaced = next((each for each in proto.functions if each.domain in STANDARD), None)
    if replaced is not None:
        raise ModelError("standard operators are not redefined", f"a function {replaced.name!r} in {name}", _AGAIN)
    _check_functions(proto, name)
    inside = [tensor for each in proto.functions for tensor in _tensors_of_nodes(each.node)]
    for place, tensor in (*inside, *_tensors_of_nodes(proto.graph.node)):
        if uses_external_data(tensor):
            raise ModelError(
                "a node's tensor is stored in the model's file", f"one elsewhere, {place} in {name}", _AGAIN
            )
    for index, node in enumerate(proto.graph.node):
        _check_attributes(node, f"{place_of(node, index)} of {name}", version)
    _check_declared(proto.graph, name)


def after_inference(proto: onnx.ModelProto, name: str) -> None:
    """Raise ModelError for attributes, weights and tensors that cannot be answered for; `name` is the file's."""
    _check_values(proto.graph, name)
    inferred = model_sizes.inferred(proto, name)
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        _check_size(value, name)
    model_sizes.check(inferred.graph, name)
    _check_broadcast(inferred.graph, name, opset(proto))


def refuse_classical(nodes: Iterable[onnx.NodeProto]) -> None:
    """Raise ModelError for trees, scalers and other models that are no networks, as scikit-learn's export has them."""
    for index, node in enumerate(nodes):
        if node.domain == CLASSICAL:
            hint = "Train a network instead, for example with PyTorch or Keras, and scale its input beforehand."
            found = f"{place_of(node, index)} of {CLASSICAL}"
            raise ModelError("a model is a network; trees and other classical models are not taken", found, hint)


def refuse_maps(graph: onnx.GraphProto) -> None:
    """Raise ModelError for scores by name of class, as scikit-learn's export ends unless it is told not to."""
    refuse_classical(node for node in graph.node if node.op_type not in _LABELLING)
    place = next((place_of(node, i) for i, node in enumerate(graph.node) if node.op_type == "ZipMap"), None)
    if place is not None:
        hint = 'Export with `options={"zipmap": False}`.'
        raise ModelError("scores are an array of floats, one for each class", f"the maps of {place}", hint)


def _check_text(proto: onnx.ModelProto, name: str) -> None:
    for message, field, value in _fields(proto):
        texts = [value] if isinstance(value, str | bytes) else value
        try:
            for text in texts:
                if isinstance(text, bytes):  # the parser gives bytes where text is not UTF-8
                    text.decode()
        except UnicodeDecodeError as problem:
            kind = type(message).__name__
            raise ModelError(
                "text in a model is UTF-8", f"{problem.object!r} as {field} of a {kind} in {name}", _AGAIN
            ) from None


def _fields(message: Message) -> Iterator[tuple[Message, str, Any]]:
    """Every text of a message and of all messages in it, with the name of its field."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        is_text = isinstance(message, AttributeProto)  # its bytes are text; a tensor's are numbers
        for field, value in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting += value if field.is_repeated else [value]
            elif field.type == field.TYPE_STRING or (is_text and field.type == field.TYPE_BYTES):
                yield message, field.name, value


def _checked_opset(proto: onnx.ModelProto, name: str) -> int:
    """The version of the standard operator set."""
    versions = {int(entry.version) for entry in proto.opset_import if entry.domain in STANDARD}
    if not versions:
        domains = ", ".join(repr(entry.domain) for entry in proto.opset_import) or "no import at all"
        raise ModelError("a model imports ONNX's standard operators", f"{domains} in {name}", _AGAIN)
    newest = onnx.defs.onnx_opset_version()
    if len(versions) > 1 or not 1 <= min(versions) <= newest:
        found = f"{' and '.join(map(str, sorted(versions)))} in {name}"
        raise ModelError(f"a model imports one operator set of version 1 to {newest}", found, "Export with opset 17.")
    return versions.pop()


def _check_functions(proto: onnx.ModelProto, name: str) -> None:
    """Refuse functions that call each other so often that onnx's checker, which writes them out, would not end."""
    bodies = {(each.domain, each.name): list(_all_nodes(each.node)) for each in proto.functions}
    if not bodies:
        return
    waiting, count = list(_all_nodes(proto.graph.node)), 0
    while waiting:
        node = waiting.pop()
        body = bodies.get((node.domain, node.op_type), [])
        count += len(body)
        if count > _MOST_CALLED:
            found = f"more, of {node.domain}.{node.op_type} and others in {name}"
            raise ModelError(f"functions have at most {_MOST_CALLED:,} nodes where they are called", found, _AGAIN)
        waiting += body


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the graphs in them."""
    for node in nodes:
        yield node
        for entry in node.attribute:
            for inner in (*([entry.g] if entry.HasField("g") else []), *entry.graphs):
                yield from _all_nodes(inner.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[tuple[str, TensorProto]]:
    """Every tensor that is not an initializer of the main graph, wherever it stands, with its place."""
    for index, node in enumerate(nodes):
        place = place_of(node, index)
        for entry in node.attribute:
            sparse = [entry.sparse_tensor, *entry.sparse_tensors]
            found = [entry.t, *entry.tensors, *(part for each in sparse for part in (each.values, each.indices))]
            yield from ((place, tensor) for tensor in found)
        for inner in inner_graphs(node):
            yield from ((place, tensor) for tensor in inner.initializer)
            yield from _tensors_of_nodes(inner.node)


def _check_declared(graph: onnx.GraphProto, name: str) -> None:
    for value in (*graph.input, *graph.value_info, *graph.output):
        _check_size(value, name)
    weights = sum(prod(max(0, size) for size in tensor.dims) for tensor in graph.initializer)
    if weights > MOST_WEIGHTS:
        found = f"{weights:,} in {name}"
        raise ModelError(
            f"all constants of a model have at most {MOST_WEIGHTS:,} elements", found, "Make the net smaller."
        )


def _check_size(value: onnx.ValueInfoProto, name: str) -> None:
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
    bounded(sizes, f"{value.name!r} {sizes} in {name}")


def bounded(shape: Iterable[int], found: str = "") -> None:
    """Raise ModelError before a tensor of one segment is made that is too large; `found` says which one."""
    sizes = [int(size) for size in shape]
    if any(size < 0 for size in sizes) or prod(sizes) > MOST_ELEMENTS:
        hint = "Make the net or its input smaller."
        raise ModelError(f"a tensor has at most {MOST_ELEMENTS:,} elements", found or f"one of {sizes}", hint)


def _check_attributes(node: onnx.NodeProto, place: str, version: int) -> None:
    if node.domain not in STANDARD or not onnx.defs.has(node.op_type, version, ""):
        return  # onnx's checker refuses the second
    known = onnx.defs.get_schema(node.op_type, version, "").attributes
    given = {entry.name: entry for entry in node.attribute}
    strange = next((entry for entry in given if entry not in known), None)
    if strange is not None:
        raise ModelError("an operator has the attributes of its definition", f"{strange!r} in {place}", _AGAIN)
    for entry in given.values():
        _check_numbers(entry, node, place)
    parts = given["num_outputs"].i if "num_outputs" in given else len(node.output)
    sizes = len(given["split"].ints) if "split" in given else parts
    if node.op_type == "Split" and not parts == sizes == len(node.output):  # onnx's inference crashes
        found = f"{parts} parts, {sizes} sizes and {len(node.output)} outputs of {place}"
        raise ModelError("Split has an output for each part", found, _AGAIN)
    _check_mode(node, given, place, version)


def _check_numbers(entry: AttributeProto, node: onnx.NodeProto, place: str) -> None:
    numbers = np.array([entry.f, *entry.floats])
    large = max(map(abs, entry.ints), default=0)
    if entry.name in _WINDOWS and large > MOST_ELEMENTS:
        raise ModelError(
            f"windows reach over at most {MOST_ELEMENTS:,} elements", f"{entry.name} of {large:,} in {place}", _AGAIN
        )
    limit = node.op_type in {"Clip", "Pad", "Constant"}
    if np.isnan(numbers).any() or (np.isinf(numbers).any() and not limit):
        raise ModelError("attributes are finite numbers", f"{entry.name} that is not, in {place}", _AGAIN)


def _check_mode(node: onnx.NodeProto, given: Mapping[str, AttributeProto], place: str, version: int) -> None:
    """Refuse what changes a node's meaning: training, statistics by sample, an axis to broadcast along."""
    trains = node.op_type in {"BatchNormalization", "Dropout"}
    old = version < _OLD_BROADCAST
    batch_norm = node.op_type == "BatchNormalization"
    if trains and old and not (given["is_test"].i if "is_test" in given else 0):
        raise ModelError(
            f"{node.op_type} is exported for inference", f"is_test = 0 in {place}", "Export in evaluation mode."
        )
    if batch_norm and "training_mode" in given and given["training_mode"].i:
        raise ModelError(
            "batch norm is exported for inference", f"training_mode = 1 in {place}", "Export in evaluation mode."
        )
    if batch_norm and sum(map(bool, node.output)) > 1:
        raise ModelError(
            "batch norm is exported for inference", f"statistics as outputs of {place}", "Export in evaluation mode."
        )
    if batch_norm and "spatial" in given and not given["spatial"].i:
        raise ModelError(
            "batch norm has one mean a channel", f"spatial = 0 in {place}", "Export with opset 9 or later."
        )


def _check_broadcast(graph: onnx.GraphProto, name: str, version: int) -> None:
    """Refuse an old operator that broadcasts along another axis than the last ones, as numpy and newer ones do."""
    if version >= _OLD_BROADCAST:
        return
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info)}
    ranks |= {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), None)
        if node.op_type not in _BINARY or axis is None:
            continue
        left, right = (ranks.get(given, -1) for given in node.input[:2])
        if min(left, right) < 0 or axis % max(left, 1) + right != left:
            found = f"axis = {axis} in {place_of(node, index)} of {name}, of opset {version}"
            raise ModelError("tensors are broadcast from the last axis", found, "Export with opset 7 or later.")


def _check_values(graph: onnx.GraphProto, name: str) -> None:
    """Refuse weights that are not numbers; infinity is taken where it is a bound."""
    suspects: dict[str, str] = {}
    constants = [(tensor.name, tensor) for tensor in graph.initializer]
    constants += [
        (node.output[0], entry.t)
        for node in graph.node
        if node.op_type == "Constant"
        for entry in node.attribute
        if entry.name == "value"
    ]
    for given, tensor in constants:
        values = _array(tensor, given, name)
        if tensor.data_type in _FLOATS and not np.isfinite(values).all():
            if np.isnan(values).any():
                raise ModelError("weights are finite numbers", f"NaN in {given!r} of {name}", "Train it again.")
            suspects[given] = "an infinite value"
    for index, node in enumerate(graph.node if suspects else ()):
        found = next((given for given in node.input if given in suspects), None)
        if found is not None and node.op_type not in _TAKE_INFINITY:
            place = f"{suspects[found]} in {found!r} of {place_of(node, index)} of {name}"
            raise ModelError("weights are finite numbers", place, "Train it again.")


def _array(tensor: TensorProto, given: str, name: str) -> NDArray[Any]:
    try:
        values: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as problem:
        found = f"{problem} for {given!r} {list(tensor.dims)} in {name}"
        raise ModelError("an initializer has the bytes of its shape", found, _AGAIN) from None
    return values
