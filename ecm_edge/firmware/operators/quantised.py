"""QuantizeLinear and DequantizeLinear between floats and stored integers, and groups of nodes on integers.

A group is a Conv, Gemm or MatMul between quantised tensors, with the Relu and the rounding behind it. DequantizeLinear
computes nothing: the tensor is read as real values by whoever reads it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.operators import axes, convolution_i8, depthwise, elementwise
from ecm_edge.firmware.operators.convolution import in_window_order
from ecm_edge.firmware.operators.shape import contiguous
from ecm_edge.firmware.operators.sums import (
    SHIFT,
    centred,
    dequantised,
    fits_int8,
    input_quant,
    integer_type,
    output,
    quant_of,
    quantizer_of,
    read_type,
    stored_as,
    sums,
    takes_kernels,
)
from ecm_edge.firmware.operators.windows import lines_of, product_windows, windowed, windows_in
from ecm_edge.firmware.program import Constant, refused
from ecm_edge.forms.reference import rounding
from ecm_edge.forms.reference.integers import PAIR_OPS, pair_factors, quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Tensor
    from ecm_edge.forms.reference.node import Node, Step


def dequantize(program: Program, step: Step) -> None:
    """DequantizeLinear: the same memory, read as real values; with several scales, a loop."""
    node, name = step.op, step.outputs[0]
    if program.constant(node.inputs[1], node).values.size == 1:
        program.env[name] = dequantised(program, node)
        return
    x = program.tensor(node.inputs[0], node)
    scale, zero = _several(program, node, x.shift)
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    values = [loop.read(node.inputs[0], x), loop.read(f"{name}:scale", scale), loop.read(f"{name}:zero", zero)]
    loop.assign(name, "(float)({0} - (int32_t){2}) * {1}", values)
    elementwise.store(program, loop, step, program.output(name, loop.shape, order=loop.order))


def _several(program: Program, node: Node, shift: int) -> tuple[Constant, Constant]:
    """Scales and stored zero points of channels or blocks, as constants that broadcast over the node's input."""
    x = node.inputs[0]
    env = {name: program.constant(name, node).values[None] for name in node.inputs[1:] if name}
    env[x] = np.zeros((1, *program.shapes[x]), program.kinds[x])
    scale, zero = quantisation(node, env)
    return Constant(scale[0]), Constant(zero[0].astype(np.float32) - np.float32(shift))


def quantize(program: Program, step: Step) -> None:
    """QuantizeLinear: in the loop of whatever computes its input; nothing at all where integers come back."""
    node = step.op
    name = step.outputs[0]
    x = program.tensor(node.inputs[0], node)
    dtype = integer_type(program, node)
    if program.constant(node.inputs[1], node).values.size > 1:
        _quantize_by_several(program, step, x, dtype)
        return
    quant = quant_of(program, node, dtype)
    if x.quant == quant and x.shift == SHIFT[dtype] and x.buffer.dtype == stored_as(program, dtype):
        program.env[name] = replace(x, quant=None)
        return
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    value = loop.read(node.inputs[0], x)
    scale = literals.float_literal(quant.scale)
    line = f"ecm_quantize({{0}}, {scale}, {quant.zero_point}, {quant.low}, {quant.high})"
    loop.assign(name, line, [value], "int32_t")
    kept = stored_as(program, dtype)
    y = program.output(name, loop.shape, kept, order=loop.order, shift=SHIFT[dtype], fill=quant.zero_point)
    elementwise.store(program, loop, step, y)


def _quantize_by_several(program: Program, step: Step, x: Tensor, dtype: str) -> None:
    node, name = step.op, step.outputs[0]
    scale, zero = _several(program, node, SHIFT[dtype])
    low, high = (limit - SHIFT[dtype] for limit in rounding.limits(dtype))
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    values = [loop.read(node.inputs[0], x), loop.read(f"{name}:scale", scale), loop.read(f"{name}:zero", zero)]
    loop.assign(name, f"ecm_quantize({{0}}, {{1}}, (int32_t){{2}}, {low}, {high})", values, "int32_t")
    kept = stored_as(program, dtype)
    y = program.output(name, loop.shape, kept, order=loop.order, shift=SHIFT[dtype])
    elementwise.store(program, loop, step, y)


def group(program: Program, step: Step) -> None:
    """Conv, Gemm, MatMul, Add or Mul on integers, with the Relu and the rounding behind it."""
    if step.op.op in PAIR_OPS:
        _pair(program, step)
        return
    x_name = step.sources[0].inputs[0]
    x = program.tensor(x_name, step.op)
    w = centred(program, step.sources[1])
    make = _conv if step.op.op == "Conv" else _product
    if not takes_kernels(program, step):
        make = _plain
    make(program, step, x_name, x, w)


def _pair(program: Program, step: Step) -> None:
    """The sum or product of two activations, value by value."""
    quantizer, name = quantizer_of(step), step.outputs[0]
    keys = [f"{source.inputs[0]}:stored" for source in step.sources]  # their integers, and not what a loop computed
    operands = {
        key: replace(program.tensor(source.inputs[0], source), quant=None)
        for key, source in zip(keys, step.sources, strict=True)
    }
    a, b = (
        quant_of(program, source, read_type(program, source), operands[key].shift)
        for key, source in zip(keys, step.sources, strict=True)
    )
    dtype = integer_type(program, quantizer)
    y = quant_of(program, quantizer, dtype)
    scales = [np.array([quant.scale], np.float32) for quant in (a, b, y)]
    factors, shift = pair_factors(step.op.op, scales)
    loop = elementwise.join(program, step, operands)
    limits = f"{shift}, {y.zero_point}, {max(y.low, y.zero_point) if step.relu else y.low}, {y.high}"
    if step.op.op == "Mul":
        line = f"ecm_requantize(({{0}} - {a.zero_point}) * ({{1}} - {b.zero_point}), {factors.item()}, {limits})"
    else:
        rest = -a.zero_point * factors[0] - b.zero_point * factors[1]
        line = f"ecm_shifted({{0}} * {factors[0]} + {{1}} * {factors[1]} + {rest}, {limits})"
    loop.assign(name, line, [loop.read(key, operands[key]) for key in keys], "int32_t")
    kept = stored_as(program, dtype)
    result = program.output(name, loop.shape, kept, order=loop.order, shift=SHIFT[dtype], fill=y.zero_point)
    elementwise.store(program, loop, step, result)


def _plain(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    """Integers of every width, in plain loops."""
    if step.op.op == "Conv":
        axes.append_i8(program, step, x, w, prod(program.shapes[step.outputs[0]]) * prod(w.shape[1:]))
        return
    transposed = step.op.op == "Gemm" and step.op.attributes.get("transB", 0)
    axes.append_rows_i8(program, step, contiguous(program, x_name, x), w.T if transposed else w)


def _product(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    """Rows (…, n) times a matrix."""
    node = step.op
    if len(w.shape) != 2:  # noqa: PLR2004 - a matrix
        raise refused(node, "weights of a product are a matrix", f"{w.shape}")
    matrix = w.T if node.op == "Gemm" and node.attributes.get("transB", 0) else w
    x, windows, order = product_windows(program, x_name, x)
    integers = sums(program, step, x, matrix[order][None])
    y = output(program, step, tuple(range(len(program.shapes[step.outputs[0]]))))
    places = y.index.reshape(windows.rows, -1)
    convolution_i8.append(program, step, x, y, windows, integers, places, windows.rows * matrix.size)


def _conv(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    attributes = step.op.attributes
    groups = attributes.get("group", 1)
    macs = prod(program.shapes[step.outputs[0]]) * prod(w.shape[1:])
    window = windows_in(attributes, w.shape[2:], x.shape)
    if window is None or not fits_int8(w):
        axes.append_i8(program, step, x, w, macs)
        return
    x = replace(x, quant=input_quant(program, step, x))
    room = window.room(x.shape[1], groups, dual=program.kernels.int8 == "dual")
    x, windows = windowed(program, x_name, x, window, groups, room)
    integers = sums(program, step, x, in_window_order(w, groups))
    y = output(program, step)
    alone = groups > 1 and w.shape[1] == 1
    kernel = depthwise.kernel_i8(program.kernels, window, windows, x, w.shape[0] // groups) if alone else None
    if kernel is not None:
        depthwise.append_i8(program, step, x, y, window, kernel, integers, macs)
        return
    convolution_i8.append(program, step, x, y, windows, integers, lines_of(y.index), macs)
