"""Pooling over windows and reductions along axes.

MaxPool, ReduceMax, …   on stored integers where the tensor is quantised: scales are positive, so that order is kept
AveragePool, ReduceMean …   sums in float32; in quantised graphs in the reference's order (rule 5)
mean of a quantised tensor  float((sum of q - zero_point)) * (scale / n), the sum exact (rule 4 of the reference)
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Layer, Overlap
from ecm_edge.firmware.operators import elementwise
from ecm_edge.firmware.operators.loops import at, indent, loop_nest, loops
from ecm_edge.firmware.operators.shape import floats
from ecm_edge.firmware.operators.statements import Kind
from ecm_edge.firmware.operators.sums import INT32, dequantised
from ecm_edge.firmware.program import Done, Program, distance_below, refused
from ecm_edge.firmware.tensors import ITEM_BYTES, Tensor, order_of
from ecm_edge.forms.reference.operators.reduction import reduction_axes
from ecm_edge.forms.reference.operators.windows import Geometry, geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names, Pointer
    from ecm_edge.firmware.tensors import DType
    from ecm_edge.forms.reference.node import Step

_ALONG = 3  # axes of a tensor that has time: batch, channels, time


def _largest(x: Tensor) -> Kind:
    lowest = "-3.402823466e+38f" if x.buffer.dtype == "float32" else "-32768"
    return Kind(_c_type(x), lowest, "{a} = {v} > {a} ? {v} : {a};")


def _smallest(x: Tensor) -> Kind:
    highest = "3.402823466e+38f" if x.buffer.dtype == "float32" else "32767"
    return Kind(_c_type(x), highest, "{a} = {v} < {a} ? {v} : {a};")


def _c_type(x: Tensor) -> str:
    return "float" if x.buffer.dtype == "float32" else "int32_t"


def _sum(step: str = "{a} += {v};", result: str = "{a}") -> Kind:
    return Kind("float", "0.0f", step, result)


def reduce_(program: Program, step: Step) -> None:
    """ReduceMean, ReduceMax, ReduceMin, ReduceSum, ReduceProd, GlobalAveragePool and GlobalMaxPool."""
    node = step.op
    x = dequantised(program, step.sources[0]) if step.sources else program.tensor(node.inputs[0], node)
    axes = _axes(program, step, x)
    count = prod(x.shape[axis] for axis in axes)
    if node.op in {"ReduceMax", "GlobalMaxPool"}:
        _reduced(program, step, x, axes, _largest(x))
    elif node.op == "ReduceMin":
        _reduced(program, step, x, axes, _smallest(x))
    elif node.op == "ReduceProd":
        kind = replace(_sum("{a} *= {v};"), start="1.0f")
        _reduced(program, step, floats(program, node.inputs[0], x), axes, kind)
    elif step.sources and x.quant is not None:  # the reference takes the mean of the integers
        factor = float(np.float64(np.float32(x.quant.scale)) / count)  # its literal is rounded to float32
        result = f"(float){{a}} * {literals.float_literal(factor)}"
        c_type = "int32_t" if count * x.quant.most < INT32 else "int64_t"
        kind = Kind(c_type, "0", f"{{a}} += {{v}} - {x.quant.zero_point};", result)
        _reduced(program, step, x, axes, kind, "float32")
    else:
        result = "{a}" if node.op == "ReduceSum" else f"{{a}} / {literals.float_literal(count)}"
        _reduced(program, step, floats(program, node.inputs[0], x), axes, _sum(result=result))


def _axes(program: Program, step: Step, x: Tensor) -> tuple[int, ...]:
    """The ONNX axes that go."""
    node = step.op
    if node.op.startswith("Global"):
        return tuple(range(2, len(x.shape)))
    inputs: list[NDArray[Any] | None] = [
        x.index[None],
        *(program.constant(name, node).values[None] for name in node.inputs[1:] if name),
    ]
    axes = reduction_axes(x.index[None], node.attributes, inputs)
    return tuple(axis - 1 for axis in axes or ())


def _reduced(
    program: Program, step: Step, x: Tensor, axes: tuple[int, ...], kind: Kind, dtype: DType | None = None
) -> None:
    """Have the reduction done and make its output known, quantised where it is made of the input's integers."""
    name = step.outputs[0]
    keeps = dtype or x.buffer.dtype
    quant, shift = (x.quant, x.shift) if keeps == x.buffer.dtype else (None, 0)
    y = program.output(name, program.shapes[name], keeps, shift=shift, fill=quant.zero_point if quant else 0)
    elementwise.reduce_(program, step, x, axes, kind, replace(y, quant=quant))


def _done(step: Step, x: Tensor, y: Tensor, body: Callable[[Names], str]) -> Done:
    node = step.op
    return Done(Layer(node.op, (node.name,), f"{x.shape} -> {y.shape}", (x,), (y,), body, outputs=(step.outputs[0],)))


def pool(program: Program, step: Step) -> None:
    """MaxPool and AveragePool over windows of any number of axes."""
    node = step.op
    x = program.tensor(node.inputs[0], node)
    attributes = node.attributes
    if attributes.get("storage_order", 0) or (len(step.outputs) > 1 and program.uses[step.outputs[1]]):
        raise refused(node, "MaxPool gives values", "indices or columns first")
    window = geometry(attributes, tuple(attributes["kernel_shape"]), x.shape[2:])
    largest = node.op == "MaxPool"
    x = x if largest else floats(program, node.inputs[0], x)
    name = step.outputs[0]
    fill = x.quant.zero_point if x.quant else 0
    y = program.output(name, program.shapes[name], x.buffer.dtype, shift=x.shift, fill=fill)
    y = replace(y, quant=x.quant)
    kind = _largest(x) if largest else _sum("{a} += {v}; n++;", "{a} / (float)n")
    counted = bool(attributes.get("count_include_pad", 0))

    def body(names: Names) -> str:
        pointer = names.pointer
        return _window_loops(x, y, window, kind, pointer, counted=counted)

    done = _done(step, x, y, body)
    if len(x.shape) > _ALONG and min(x.shape[2:]) > 1 and min(x.strides or (-1,)) >= 0:
        done = Done(replace(done.layer, overlap={x.buffer: _overlap(x, y, window)}))
    program.add(done, y)
    program.env[name] = y


def _loop_order(channels: int, rank: int) -> list[int]:
    """The axes of an output as the loops go through them, the outermost first."""
    return [0, *range(2, 2 + rank), 1] if channels > 1 else list(range(2 + rank))


def _overlap(x: Tensor, y: Tensor, window: Geometry) -> Overlap:
    """How the output may lie over its input, which is read window by window."""
    steps = x.strides or ()
    starts = np.zeros(y.shape, np.int64) + x.offset
    for axis, step in enumerate(steps):
        entries = np.arange(y.shape[axis])
        if axis > 1:
            entries = np.maximum(entries * window.strides[axis - 2] - window.pads[axis - 2][0], 0)
        starts = starts + (entries * step).reshape(-1, *(1,) * (y.index.ndim - axis - 1))
    order = _loop_order(x.shape[1], len(window.kernel))
    item = ITEM_BYTES[y.buffer.dtype]
    writes, reads = (each.transpose(order).ravel() * item for each in (y.index, starts))
    return Overlap(distance_below(writes + item, reads))


def _window_loops(x: Tensor, y: Tensor, window: Geometry, kind: Kind, pointer: Pointer, *, counted: bool) -> str:
    """Every output's window in plain loops; what lies outside is passed over."""
    rank = len(window.kernel)
    x_steps, y_steps = x.strides or (), y.strides or ()
    lines = [kind.c_type + f" a = {kind.start};"]
    if "n++" in kind.step and counted and any(window.extra[1:]):  # a padded row's cells are not all counted
        kind, counted = replace(kind, step=kind.step.replace(" n++;", "")), False
        lines += ["int32_t n = 1;", *(_counted(axis, window, x.shape[2 + axis]) for axis in range(rank))]
    elif "n++" in kind.step:
        lines.append("int32_t n = 0;")
    place = _terms(["o0", "o1"], x_steps[:2]) + "".join(f" + p{i} * {x_steps[2 + i]}" for i in range(rank))
    inner = f"const {_c_type(x)} v = {pointer(x)}[{place}];\n{kind.joined('a', 'v')}"
    for axis in range(rank - 1, -1, -1):
        before, after = window.pads[axis]
        inner = _window_axis(axis, inner, window, x.shape[2 + axis], before, after, counted=counted)
    lines.append(inner)
    result = f"({literals.C_TYPES[y.buffer.dtype]})({kind.stored('a')})"
    lines.append(f"{pointer(y)}[{_terms([f'o{i}' for i in range(2 + rank)], y_steps)}] = {result};")
    text = "\n".join(lines)
    for axis in reversed(_loop_order(x.shape[1], rank)):
        text = f"for (int32_t o{axis} = 0; o{axis} < {y.shape[axis]}; o{axis}++) {{\n{indent(text)}\n}}"
    return text


def _counted(axis: int, window: Geometry, length: int) -> str:
    """C that multiplies n by the window's cells along an axis, those in the padding included, ceil_mode's own not."""
    step, taps = window.dilations[axis], window.kernel[axis]
    inside = f"({length + sum(window.pads[axis]) + step - 1} - o{axis + 2} * {window.strides[axis]}) / {step}"
    return f"n *= {inside} < {taps} ? {inside} : {taps};"


def _window_axis(
    axis: int, inner: str, window: Geometry, length: int, before: int, after: int, *, counted: bool
) -> str:
    place = (
        f"const int32_t p{axis} = o{axis + 2} * {window.strides[axis]} + k{axis} * {window.dilations[axis]} - {before};"
    )
    outside = before > 0 or after > 0 or window.extra[axis] > 0
    lines = [place]
    if outside and counted and "n++" in inner:
        lines.append(f"if (p{axis} < {-before} || p{axis} >= {length + after}) {{ continue; }}")
        lines.append(f"if (p{axis} < 0 || p{axis} >= {length}) {{ n += {_cells(window, axis)}; continue; }}")
    elif outside:
        lines.append(f"if (p{axis} < 0 || p{axis} >= {length}) {{ continue; }}")
    text = indent("\n".join([*lines, inner]))
    return f"for (int32_t k{axis} = 0; k{axis} < {window.kernel[axis]}; k{axis}++) {{\n{text}\n}}"


def _cells(window: Geometry, axis: int) -> int:
    """Cells of the window behind one entry of an axis: what a padded row counts."""
    return prod(window.kernel[axis + 1 :])


def _terms(names: Sequence[str], steps: Sequence[int]) -> str:
    terms = [f"{name} * {step}" for name, step in zip(names, steps, strict=True) if step]
    return " + ".join(terms) or "0"


def softmax(program: Program, step: Step) -> None:
    """exp(x - max) over its sum, along one axis."""
    node = step.op
    x = floats(program, node.inputs[0], program.tensor(node.inputs[0], node))
    axis = node.attributes.get("axis", -1) % len(x.shape)
    name = step.outputs[0]
    y = program.output(name, x.shape, order=order_of(x))
    others = tuple(i for i in range(len(x.shape)) if i != axis)
    first = tuple(slice(0, 1) if i == axis else slice(None) for i in range(len(x.shape)))
    outer = loop_nest(x.index[first].shape, (*others, axis), [x.index[first], y.index[first]])
    x_step, y_step = (t.strides[axis] if t.strides else 0 for t in (x, y))
    length = x.shape[axis]

    def body(names: Names) -> str:
        source = f"{names.pointer(x)} + {at(outer, 0)}, {x_step}"
        result = f"{names.pointer(y)} + {at(outer, 1)}, {y_step}"
        return loops(outer, f"ecm_softmax_f32({source}, {result}, {length});")

    program.add(_done(step, x, y, body), y)
    program.env[name] = y
