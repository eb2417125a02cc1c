"""QuantizeLinear and DequantizeLinear between floats and stored integers, and groups of nodes on integers.

A group is a Conv, Gemm or MatMul between quantised tensors, with the Relu and the rounding behind it. DequantizeLinear
computes nothing: the tensor is read as real values by whoever reads it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from ecm_edge.firmware import literals
from ecm_edge.firmware.operators import axes, convolution_i8, depthwise, elementwise
from ecm_edge.firmware.operators.convolution import in_window_order
from ecm_edge.firmware.operators.shape import contiguous
from ecm_edge.firmware.operators.sums import (
    HIGH,
    LOW,
    SHIFT,
    centred,
    dequantised,
    fits_int8,
    input_quant,
    integer_type,
    output,
    quant_of,
    sums,
)
from ecm_edge.firmware.operators.windows import lines_of, product_windows, windowed, windows_in
from ecm_edge.firmware.program import refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Tensor
    from ecm_edge.forms.reference.node import Step


def dequantize(program: Program, step: Step) -> None:
    """DequantizeLinear: the same memory, read as real values."""
    program.env[step.outputs[0]] = dequantised(program, step.op)


def quantize(program: Program, step: Step) -> None:
    """QuantizeLinear: in the loop of whatever computes its input; nothing at all where integers come back."""
    node = step.op
    name = step.outputs[0]
    x = program.tensor(node.inputs[0], node)
    dtype = integer_type(program, node)
    quant = quant_of(program, node, dtype)
    if x.quant == quant and x.shift == SHIFT[dtype]:
        program.env[name] = replace(x, quant=None)
        return
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    value = loop.read(node.inputs[0], x)
    scale = literals.float_literal(quant.scale)
    loop.assign(name, f"ecm_quantize({{0}}, {scale}, {quant.zero_point}, {LOW}, {HIGH})", [value], "int32_t")
    y = program.output(name, loop.shape, program.stored, order=loop.order, shift=SHIFT[dtype], fill=quant.zero_point)
    elementwise.store(program, loop, step, y)


def group(program: Program, step: Step) -> None:
    """Conv, Gemm or MatMul on integers, with the Relu and the rounding behind it."""
    x_name = step.sources[0].inputs[0]
    x = program.tensor(x_name, step.op)
    w = centred(program, step.sources[1])
    make = _conv if step.op.op == "Conv" else _product
    make(program, step, x_name, x, w)


def _product(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    """Rows (…, n) times a matrix."""
    node = step.op
    if len(w.shape) != 2:  # noqa: PLR2004 - a matrix
        raise refused(node, "weights of a product are a matrix", f"{w.shape}")
    matrix = w.T if node.op == "Gemm" and node.attributes.get("transB", 0) else w
    if not fits_int8(w):
        axes.append_rows_i8(program, step, contiguous(program, x_name, x), matrix)
        return
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
    kernel = depthwise.kernel_i8(program.kernels, window, windows, x) if alone else None
    if kernel is not None:
        depthwise.append_i8(program, step, x, y, window, kernel, integers, macs)
        return
    convolution_i8.append(program, step, x, y, windows, integers, lines_of(y.index), macs)
