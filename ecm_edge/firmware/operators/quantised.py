"""QuantizeLinear, DequantizeLinear and integer groups (rules 2 and 3 of the reference).

Integers are stored as int8: a uint8 tensor is kept 128 lower, its zero point too, which changes no real value.
DequantizeLinear computes nothing: the tensor is read as real values by whoever reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.errors import ModelError
from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators import elementwise
from ecm_edge.firmware.operators.convolution import row_order, windowed
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.operators.shape import contiguous
from ecm_edge.firmware.operators.windows import (
    Rows,
    Tile,
    along_time,
    best_tile,
    blocks,
    overlap_along,
    rows_of,
    time_by_channels,
)
from ecm_edge.firmware.program import Constant, Done, Program, refused
from ecm_edge.firmware.tensors import Buffer, Quant, Tensor
from ecm_edge.reference import rounding
from ecm_edge.reference.operators.windows import geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names, Pointer
    from ecm_edge.reference.graph import Node, Step

_SHIFT = {"int8": 0, "uint8": 128}
_LOW, _HIGH = -128, 127
_DEPTHWISE_SUMS = 8
_DEPTHWISE_UNROLL = 16
_INT32 = 2**31


def _quant(program: Program, node: Node, dtype: str) -> Quant:
    """The one scale and zero point of an activation, in stored integers."""
    scale = program.constant(node.inputs[1], node)
    zero = program.optional(node, 2)
    if scale.values.size != 1 or scale.values.dtype != np.float32:
        raise refused(node, "activations have one float32 scale a tensor", f"{scale.values.size} of {scale.values.dtype}")
    return Quant(float(scale.values.item()), (int(zero.values.item()) if zero else 0) - _SHIFT[dtype])


def _integer_type(program: Program, node: Node) -> str:
    """The integers that a QuantizeLinear gives: those of its zero point, uint8 without one."""
    zero = program.optional(node, 2)
    dtype = str(zero.values.dtype) if zero else "uint8"
    if dtype not in _SHIFT:
        raise refused(node, "activations are int8 or uint8", dtype)
    return dtype


def dequantize(program: Program, step: Step) -> None:
    """DequantizeLinear: the same memory, read as real values."""
    node = step.op
    x = program.tensor(node.inputs[0], node)
    program.env[step.outputs[0]] = replace(x, quant=_quant(program, node, "uint8" if x.shift else "int8"))


def quantize(program: Program, step: Step) -> None:
    """QuantizeLinear: in the loop of whatever computes its input; nothing at all where integers come back."""
    node = step.op
    name = step.outputs[0]
    x = program.tensor(node.inputs[0], node)
    dtype = _integer_type(program, node)
    quant = _quant(program, node, dtype)
    if x.quant == quant and x.shift == _SHIFT[dtype]:
        program.env[name] = replace(x, quant=None)
        return
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    value = loop.read(node.inputs[0], x)
    scale = literals.float_literal(quant.scale)
    loop.assign(name, f"ecm_quantize({value}, {scale}, {quant.zero_point}, {_LOW}, {_HIGH})", "int32_t")
    y = program.output(name, loop.shape, "int8", order=loop.order, shift=_SHIFT[dtype], fill=quant.zero_point)
    elementwise.store(program, loop, step, y)


@dataclass(frozen=True, eq=False)
class Sums:
    """The integers of a group: weights (groups, n, O / groups), bias with the input's zero point in it, factors."""

    weights: NDArray[np.int64]
    bias: NDArray[np.int64]  # (O,)
    factor: NDArray[np.float32]  # (O,) or (1,)
    minimum: int
    zero_point: int

    def arguments(self) -> str:
        """The kernels' last arguments."""
        return f"{self.zero_point}, {self.minimum}, {_HIGH}"


def group(program: Program, step: Step) -> None:
    """Conv, Gemm or MatMul on integers, with the Relu and the rounding behind it."""
    node, quantizer = step.op, step.quantizer
    if quantizer is None:
        raise ValueError(step)
    x_name = step.sources[0].inputs[0]
    x = program.tensor(x_name, node)
    w = _centred(program, step.sources[1])
    if node.op == "Conv":
        _conv(program, step, x_name, x, w)
        return
    if len(w.shape) != 2:  # noqa: PLR2004 - a matrix
        raise refused(node, "weights of a product are a matrix", f"{w.shape}")
    matrix = w.T if node.op == "Gemm" and node.attributes.get("transB", 0) else w
    x, lines, order = row_order(program, x_name, x)
    sums = _sums(program, step, x, matrix[order][None])
    x_step = int(lines[1, 0] - lines[0, 0]) if len(lines) > 1 else lines.shape[1]
    rows = Rows(int(lines[:, order][0, 0]), len(lines), x_step, 1, lines.shape[1], lines.shape[1])
    y = _output(program, step, program.shapes[step.outputs[0]])
    _append(program, step, x, y, rows, sums, y.index.reshape(len(lines), -1), lines.size * matrix.shape[1])


def _centred(program: Program, source: Node) -> NDArray[np.int64]:
    """Weights minus their zero points, which have to fit int8."""
    stored = program.constant(source.inputs[0], source).values.astype(np.int64)
    zero = program.optional(source, 2)
    if zero is not None:
        axis = source.attributes.get("axis", 1) % max(1, stored.ndim)
        flat = zero.values.astype(np.int64).reshape(-1)
        stored = stored - (flat.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]) if flat.size > 1 else flat)
    if stored.size and (stored.min() < _LOW or stored.max() > _HIGH):
        found = f"{stored.min()} … {stored.max()}"
        raise refused(source, "weights less their zero point fit int8", found, "Quantise weights symmetrically.")
    return stored


def _sums(program: Program, step: Step, x: Tensor, weights: NDArray[np.int64]) -> Sums:
    """Everything that the kernels need beside the input."""
    node, quantizer = step.op, step.quantizer
    if quantizer is None:
        raise ValueError(step)
    outputs = weights.shape[0] * weights.shape[2]
    x_quant = _quant(program, step.sources[0], "uint8" if x.shift else "int8")
    bias = np.zeros(outputs, np.int64)
    for source in step.sources[2:]:
        bias = bias + program.constant(source.inputs[0], source).values.astype(np.int64).reshape(-1)
    totals = weights.sum(1).reshape(-1)  # (O,)
    bound = np.abs(weights).sum(1).reshape(-1) * 255 + np.abs(bias)
    if bound.max(initial=0) >= _INT32:
        raise refused(node, "accumulators fit int32", f"up to {bound.max():,}", "Use fewer taps.")
    dtype = _integer_type(program, quantizer)
    y_quant = _quant(program, quantizer, dtype)
    scales = [program.constant(n.inputs[1], n).values.reshape(-1) for n in (*step.sources[:2], quantizer)]
    factor = rounding.multiplier(*scales)
    minimum = max(_LOW, y_quant.zero_point) if step.relu else _LOW
    return Sums(weights, bias - x_quant.zero_point * totals, factor, minimum, y_quant.zero_point)


def _output(program: Program, step: Step, shape: tuple[int, ...]) -> Tensor:
    quantizer = step.quantizer
    if quantizer is None:
        raise ValueError(step)
    dtype = _integer_type(program, quantizer)
    fill = _quant(program, quantizer, dtype).zero_point
    return program.output(step.outputs[0], shape, "int8", shift=_SHIFT[dtype], fill=fill)


def _conv(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    node = step.op
    along = along_time(node.attributes, w.shape[2:], x.shape)
    shape = program.shapes[step.outputs[0]]
    groups = node.attributes.get("group", 1)
    macs = prod(shape) * prod(w.shape[1:])
    if along is None:
        _conv_over_axes(program, step, x, w, macs)
        return
    x = windowed(program, x_name, replace(x, quant=_quant(program, step.sources[0], "uint8" if x.shift else "int8")), along)
    taps = w.reshape(groups, len(w) // groups, w.shape[1], along.taps)
    ordered = taps.transpose(0, 3, 2, 1).reshape(groups, -1, len(w) // groups)
    sums = _sums(program, step, x, ordered)
    y = _output(program, step, shape)
    rows = rows_of(x, along)
    if rows is None:
        raise ValueError(x)
    outputs = time_by_channels(y.index, along.axis)
    if groups > 1 and w.shape[1] == 1:
        tap_step = along.dilation * (rows.x_step // along.stride)
        _depthwise(program, step, x, y, replace(rows, segments=along.taps, segment=1, segment_step=tap_step), sums, outputs, macs)
        return
    if groups > 1:
        channels = x.shape[1] // groups
        rows = Rows(rows.first, rows.rows, rows.x_step, along.taps, channels, along.dilation * (rows.x_step // along.stride))
    _append(program, step, x, y, rows, sums, outputs, macs)


def _append(
    program: Program,
    step: Step,
    x: Tensor,
    y: Tensor,
    rows: Rows,
    sums: Sums,
    outputs: NDArray[np.int64],
    macs: int,
) -> None:
    """ecm_conv_i8 for every group, paired where the core has it; `outputs` (T, O) are the places of the results."""
    groups, products, per_group = sums.weights.shape
    paired = program.kernels.int8 == "paired" and per_group > 1 and rows.rows > 1
    kernels = program.kernels.model_copy(update={"outputs": 2}) if paired else program.kernels
    limit = program.kernels.int8_accumulators
    tile = best_tile(kernels, rows.rows, per_group - per_group % 2 if paired else per_group, products, rows.segment, limit)
    y_step = int(outputs[1, 0] - outputs[0, 0]) if len(outputs) > 1 else outputs.shape[1]
    packed = np.stack([blocks(w, tile.outputs) for w in sums.weights])
    factor_step = int(sums.factor.size > 1)
    arrays = (
        Array("weights", packed, "int8"),
        Array("bias", sums.bias, "int32"),
        Array("factor", sums.factor, "float32"),
    )
    scratch = (Buffer(packed[0].size, "float32"),) if paired else ()  # 8 bytes a pair of weights

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        calls = []
        for number in range(groups):
            w = f"{constant('weights')} + {number * packed[0].size}" if number else constant("weights")
            if paired:
                pairs = f"(int64_t *)(void *){pointer(scratch[0])}"
                calls.append(f"ecm_pair_weights({w}, {pairs}, {packed[0].size // 2});")
                w = pairs
            shared = (
                f"{constant('bias')} + {number * per_group}, {constant('factor')} + {number * per_group * factor_step}, "
                f"{factor_step}, {pointer(y)} + {int(outputs[0, 0]) - y.offset + number * per_group},\n"
                f"    {rows.rows}, {rows.x_step}, {rows.segments}, {rows.segment}, {rows.segment_step}, {per_group}, {y_step}, "
                f"{tile.rows}, {tile.outputs}, {tile.unroll}, {int(names.backward)}, {sums.arguments()});"
            )
            x_at = f"{pointer(x)} + {rows.first - x.offset + number * rows.segment * int(groups > 1)}"
            calls.append(f"ecm_conv_i8{'_paired' if paired else ''}({x_at}, {w}, {shared}")
        return "\n".join(calls)

    over = overlap_along(rows, tile, outputs, per_group, 1)
    note = f"{x.shape} -> {y.shape}, int8, {rows.rows} rows of {products} products, tile {tile.rows} x {tile.outputs}"
    overlap = {x.buffer: over} if groups == 1 else {}
    _finish(program, step, Layer("conv_i8", (), note, (x,), (y,), body, arrays, scratch, overlap, macs), y)


def _finish(program: Program, step: Step, layer: Layer, y: Tensor) -> None:
    name = step.outputs[0]
    op = "_".join([step.op.op, *(["relu"] if step.relu else []), "i8"])
    program.add(Done(replace(layer, op=op, origin=(step.op.name,), outputs=(name,))), y)
    program.env[name] = y


def _depthwise(
    program: Program,
    step: Step,
    x: Tensor,
    y: Tensor,
    rows: Rows,
    sums: Sums,
    outputs: NDArray[np.int64],
    macs: int,
) -> None:
    """ecm_depthwise_i8."""
    taps, multiplier = rows.segments, sums.weights.shape[2]
    weights = sums.weights.transpose(0, 2, 1).reshape(-1, taps)  # (O, K)
    factor_step = int(sums.factor.size > 1)
    y_step = int(outputs[1, 0] - outputs[0, 0]) if len(outputs) > 1 else outputs.shape[1]
    tile_rows = min(_DEPTHWISE_SUMS, rows.rows)
    unroll = max(u for u in range(1, _DEPTHWISE_UNROLL + 1) if taps % u == 0)
    arrays = (
        Array("weights", weights, "int8"),
        Array("bias", sums.bias, "int32"),
        Array("factor", sums.factor, "float32"),
    )

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        return (
            f"ecm_depthwise_i8({pointer(x)} + {rows.first - x.offset}, {constant('weights')}, {constant('bias')}, "
            f"{constant('factor')}, {factor_step}, {pointer(y)},\n"
            f"    {rows.rows}, {rows.x_step}, {taps}, {rows.segment_step}, {len(weights)}, {multiplier}, {y_step}, "
            f"{tile_rows}, {unroll}, {int(names.backward)}, {sums.arguments()});"
        )

    window = replace(rows, segment=x.shape[1])
    over = overlap_along(window, Tile(tile_rows, 1, 1), outputs, 1, 1, reads_again=2)  # channel by channel
    note = f"{x.shape} -> {y.shape}, int8, depthwise, {taps} taps"
    _finish(program, step, Layer("", (), note, (x,), (y,), body, arrays, (), {x.buffer: over}, macs), y)


def _conv_over_axes(program: Program, step: Step, x: Tensor, w: NDArray[np.int64], macs: int) -> None:
    """An int8 convolution over several axes, in plain loops; padding adds nothing."""
    from ecm_edge.firmware.operators.plain import integer_conv_loops

    node = step.op
    flat = w.reshape(1, len(w), -1).transpose(0, 2, 1)
    sums = _sums(program, step, x, flat)
    zero = _quant(program, step.sources[0], "uint8" if x.shift else "int8").zero_point
    bias = sums.bias + zero * flat.sum(1).reshape(-1)  # as it was: the loops take the zero point off each sample
    y = _output(program, step, program.shapes[step.outputs[0]])
    found = geometry(node.attributes, w.shape[2:], x.shape[2:])
    groups = node.attributes.get("group", 1)
    arrays = (
        Array("weights", w.reshape(len(w), -1), "int8"),
        Array("bias", bias, "int32"),
        Array("factor", sums.factor, "float32"),
    )
    factor_step = int(sums.factor.size > 1)

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        result = (
            f"(int8_t)ecm_requantize(a, {constant('factor')}[o1 * {factor_step}], {sums.arguments()})"
        )
        return integer_conv_loops(x, y, found, w.shape, groups, zero, result, pointer, constant)

    note = f"{x.shape} -> {y.shape}, int8"
    _finish(program, step, Layer("", (), note, (x,), (y,), body, arrays, macs=macs), y)
