"""Operators that only say where values lie: views where memory allows, copies where it does not.

A view is made by giving the tensor's index array to the reference's own operator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import InternalError
from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.margins import Room
from ecm_edge.firmware.operators.gathering import gathered
from ecm_edge.firmware.operators.loops import at, loop_nest, loops
from ecm_edge.firmware.operators.sums import integer_type, quant_of, takes_kernels
from ecm_edge.firmware.program import Constant, Done, Program, refused
from ecm_edge.firmware.tensors import Tensor, channels_last, order_of, strides_of
from ecm_edge.forms.reference.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecm_edge.firmware.layers import Names, Pointer
    from ecm_edge.firmware.tensors import Indices, Quant
    from ecm_edge.forms.reference.node import Node, Step

_PRODUCTS = frozenset({"Gemm", "MatMul"})
_REPEATS = frozenset({"Gather", "GatherElements", "GatherND", "Tile"})  # irregular views of any memory


def view(program: Program, step: Step) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Slice, Split, Expand, Identity and their like.

    A view that is not regular is copied: before, where that makes it regular, else behind.
    """
    node = step.op
    x = program.tensor(node.inputs[0], node)
    parts = _views(program, node, x)
    if node.op not in _REPEATS and not all(_is_readable(program, name, part) for name, part in parts):
        parts = _views(program, node, contiguous(program, node.inputs[0], x))
    for name, part in parts:
        readable = _is_readable(program, name, part)
        if not readable and part.size == 0:
            raise refused(node, "a tensor that is read has elements", f"none in {name!r} {part.shape}")
        program.env[name] = part if readable else gathered(program, node.name, name, part)


def _views(program: Program, node: Node, x: Tensor) -> list[tuple[str, Tensor]]:
    parameters = [program.optional(node, i) for i in range(1, len(node.inputs))]
    inputs = [x.index[None], *(None if p is None else p.values[None] for p in parameters)]
    outputs = OPERATORS[node.op](node.attributes, inputs)
    named = zip(node.outputs, outputs, strict=False)
    moved = [(name, index) for name, index in named if name and not isinstance(program.env.get(name), Constant)]
    return [(name, replace(x, index=index[0].astype(np.int64))) for name, index in moved]


def _is_readable(program: Program, name: str, tensor: Tensor) -> bool:
    """Whether whoever reads the view can: a regular one can be read by all, a shuffled row by products."""
    if tensor.size == 0:  # a Concat leaves it out
        readers = program.readers.get(name, ())
        return program.uses[name] == len(readers) and all(reader.op.op == "Concat" for reader in readers)
    if strides_of(tensor.index) is not None:
        return True
    row = np.sort(tensor.index.reshape(-1, tensor.shape[-1])[0])
    side_by_side = np.array_equal(row, row[0] + np.arange(len(row)))
    floats_ = tensor.quant is None and tensor.buffer.dtype == "float32"
    return side_by_side and _takes_shuffled(program, name, tensor.quant, floats_=floats_)


def _takes_shuffled(program: Program, name: str, quant: Quant | None, *, floats_: bool) -> bool:
    """Whether everything that reads a tensor is a product, which takes the elements of a row in any order.

    A QuantizeLinear or DequantizeLinear between them is passed through if it changes nothing that is stored.
    """
    readers = program.readers.get(name, ())
    if not readers or name == program.graph.output_name:
        return False
    return all(_takes(program, reader, name, quant, floats_=floats_) for reader in readers)


def _takes(program: Program, step: Step, name: str, quant: Quant | None, *, floats_: bool) -> bool:
    node = step.op
    if step.quantizer is not None:
        return node.op in _PRODUCTS and step.sources[0].inputs[0] == name and takes_kernels(program, step)
    if node.op in {"QuantizeLinear", "DequantizeLinear"}:
        single = program.constant(node.inputs[1], node).values.size == 1
        keeps = single and (node.op == "DequantizeLinear" or _quantised_alike(program, node, quant))
        return keeps and _takes_shuffled(program, step.outputs[0], quant, floats_=False)
    return floats_ and node.op in _PRODUCTS and node.inputs[0] == name and _has_weights(program, node)


def _has_weights(program: Program, node: Node) -> bool:
    """Whether a product is one by a constant matrix, and not a loop over two tensors that has no use for any order."""
    w, *more = (program.env.get(each) for each in node.inputs[1:] if each)
    if not isinstance(w, Constant) or w.kept is not None or len(w.shape) != 2 or node.attributes.get("transA", 0):  # noqa: PLR2004 - a matrix
        return False
    return all(isinstance(c, Constant) and (len(c.shape) < 2 or c.shape[0] == 1) for c in more)  # noqa: PLR2004 - rows


def _quantised_alike(program: Program, node: Node, quant: Quant | None) -> bool:
    """Whether a QuantizeLinear gives back the integers that its input was dequantised from."""
    scale = program.env.get(node.inputs[1])
    if quant is None or not isinstance(scale, Constant) or scale.values.size != 1:
        return False
    return quant == quant_of(program, node, integer_type(program, node))


def contiguous(program: Program, name: str, x: Tensor, room: Room | None = None) -> Tensor:
    """A copy of a tensor in new memory: time-major with that room, or, without any, in the order of its ONNX axes.

    Integers stay integers. `name` is the ONNX tensor's, for the comment.
    """
    if strides_of(x.index) is None:
        if room is not None:
            raise InternalError(f"{name} is to be copied, but no strides describe it; such a view is never handed on")
        return gathered(program, name, name, x)
    order = tuple(range(len(x.shape))) if room is None else channels_last(len(x.shape))
    wanted = room or Room()
    fill = x.quant.zero_point if x.quant else 0
    y = program.allocate(x.shape, x.buffer.dtype, order, wanted, fill)
    y = replace(y, quant=x.quant, shift=x.shift)
    program.add(Done(copy_layer("copy", (name,), [(x, y)], y)), y)
    return y


def copy_layer(
    op: str,
    origin: tuple[str, ...],
    pairs: Sequence[tuple[Tensor | Constant, Tensor]],
    y: Tensor,
    outputs: tuple[str, ...] = (),
    before: Callable[[Pointer], str] | None = None,
) -> Layer:
    """A layer that copies tensors and constants to the parts of `y` beside them.

    Integers that go to floats are dequantised on the way. `before` gives C statements that come first.
    """

    def body(names: Names) -> str:
        lines = [before(names.pointer)] if before else []
        for number, (x, part) in enumerate(pairs):
            index = x.index if isinstance(x, Tensor) else np.arange(x.values.size).reshape(x.shape)
            axes = loop_nest(part.shape, _memory_order(part), [index, part.index])
            base = names.pointer(x) if isinstance(x, Tensor) else names.constant(f"part{number}")
            value = _value(x, part, f"{base}[{at(axes, 0)}]")
            lines.append(loops(axes, f"{names.pointer(part)}[{at(axes, 1)}] = {value};", unroll=True))
        return "\n".join(lines)

    constants = [(f"part{number}", x) for number, (x, _) in enumerate(pairs) if isinstance(x, Constant)]
    return Layer(
        op=op,
        origin=origin,
        note=", ".join(f"{x.shape}" for x, _ in pairs),
        reads=tuple(x for x, _ in pairs if isinstance(x, Tensor)),
        writes=(y,),
        body=body,
        arrays=tuple(_part(what, x, y) for what, x in constants),
        outputs=outputs,
    )


def _part(what: str, x: Constant, y: Tensor) -> Array:
    """A constant as it is kept to be copied: float16 or float32, or in the integers of `y`."""
    if y.buffer.dtype == "float32":
        return Array(what, x.values, x.stored)
    return Array(what, x.values.astype(np.int64) - y.shift, y.buffer.dtype)


def _value(x: Tensor | Constant, y: Tensor, place: str) -> str:
    if isinstance(x, Constant):
        return f"ecm_half({place})" if y.buffer.dtype == "float32" and x.stored == "float16" else place
    if x.quant is not None and y.buffer.dtype == "float32":
        return f"ecm_dequantize({place}, {literals.float_literal(x.quant.scale)}, {x.quant.zero_point})"
    return place


def _memory_order(y: Tensor) -> Sequence[int]:
    return order_of(y) or tuple(range(len(y.shape)))


def concat(program: Program, step: Step) -> None:
    """Concat: every part is copied to its place. Integers of one scale stay integers."""
    node = step.op
    name = node.outputs[0]
    shape = program.shapes[name]
    axis = node.attributes["axis"] % len(shape)
    parts = [program.env[n] for n in node.inputs]
    y = _joined(program, name, parts)
    ends = np.cumsum([part.shape[axis] for part in parts])
    places = [y.index.take(range(end - p.shape[axis], end), axis) for p, end in zip(parts, ends, strict=True)]
    pairs = [(part, replace(y, index=place)) for part, place in zip(parts, places, strict=True) if place.size]
    program.add(Done(copy_layer("concat", (node.name,), pairs, y, (name,))), y)
    program.env[name] = y


def _joined(program: Program, name: str, parts: Sequence[Tensor | Constant]) -> Tensor:
    """Memory for joined parts: integers where all are integers of one meaning, else floats."""
    kinds = {(p.buffer.dtype, p.quant, p.shift) for p in parts if isinstance(p, Tensor) and p.size}
    dtype, quant, shift = next(iter(kinds))
    floating = any(isinstance(p, Constant) and p.values.dtype.kind == "f" for p in parts)
    if len(kinds) > 1 or floating or dtype == "float32":
        return program.output(name, program.shapes[name])
    fill = quant.zero_point if quant else 0
    return replace(program.output(name, program.shapes[name], dtype, shift=shift, fill=fill), quant=quant)


def pad(program: Program, step: Step) -> None:
    """Pad: a constant or the edge's or a reflected value around a tensor; what a pad takes away is a view."""
    node = step.op
    x, name = program.tensor(node.inputs[0], node), node.outputs[0]
    shape = program.shapes[name]
    parameters = [program.optional(node, i) for i in range(1, len(node.inputs))]
    given = [None if p is None else p.values[None] for p in parameters]
    value = parameters[1] if len(parameters) > 1 else None
    fill = value.values.item() if value is not None else node.attributes.get("value", 0.0)
    if len(given) > 1:
        given[1] = np.array([-1])
    attributes = {**node.attributes, "value": -1}
    numbers = np.arange(x.size).reshape(x.shape)
    source = OPERATORS["Pad"](attributes, [numbers[None], *given])[0][0]  # which element of x, -1 for the constant
    x = floats(program, node.inputs[0], x)
    y = program.output(name, shape, x.buffer.dtype, shift=x.shift)
    pairs = _boxes(x, y, source)
    stored = literals.float_literal(fill) if y.buffer.dtype == "float32" else str(int(fill) - y.shift)

    def before(pointer: Pointer) -> str:
        if (source >= 0).all():
            return ""
        axes = loop_nest(y.shape, _memory_order(y), [y.index])
        return loops(axes, f"{pointer(y)}[{at(axes, 0)}] = {stored};")

    program.add(Done(copy_layer("pad", (node.name,), pairs, y, (name,), before)), y)
    program.env[name] = y


def _boxes(x: Tensor, y: Tensor, source: Indices) -> list[tuple[Tensor, Tensor]]:
    """Pairs of regular views that copy x to where `source` wants its elements."""
    keep = source >= 0
    if keep.all() and strides_of(x.index.ravel()[source]) is not None:
        return [(replace(x, index=x.index.ravel()[source]), y)]
    inside = np.argwhere(keep)
    if not len(inside):
        return []
    low, high = inside.min(0), inside.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    if keep[box].all() and strides_of(x.index.ravel()[source[box]]) is not None:
        return [(replace(x, index=x.index.ravel()[source[box]]), replace(y, index=y.index[box]))]
    axis = int(np.argmax(np.array(source.shape) > 1))  # one entry of the first axis after the other
    pairs = []
    for entry in range(source.shape[axis]):
        piece = (slice(None),) * axis + (slice(entry, entry + 1),)
        pairs += _boxes(x, replace(y, index=y.index[piece]), source[piece])
    return pairs


def floats(program: Program, name: str, x: Tensor) -> Tensor:
    """A quantised tensor as floats in new memory; a float one as it is."""
    if x.quant is None:
        return x
    y = program.allocate(x.shape, "float32", _memory_order(x), Room(), 0)
    program.add(Done(copy_layer("dequantize", (name,), [(x, y)], y)), y)
    return y
