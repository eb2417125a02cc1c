"""QuantizeLinear, DequantizeLinear and integer groups (rules 2 and 3 of the reference).

Integers are stored as int8: a uint8 tensor is kept 128 lower, its zero point too, which changes no real value.
DequantizeLinear computes nothing: the tensor is read as real values by whoever reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators import elementwise
from ecm_edge.firmware.operators.convolution import plus, row_order, windowed
from ecm_edge.firmware.operators.plain import integer_conv_loops
from ecm_edge.firmware.operators.windows import (
    Rows,
    Tile,
    along_time,
    best_tile,
    blocks,
    overlap_along,
    packed_tile,
    row_step,
    rows_of,
    time_by_channels,
    vectors_of,
    windows_said,
)
from ecm_edge.firmware.program import Done, Program, refused
from ecm_edge.firmware.tensors import Buffer, Quant, Tensor
from ecm_edge.forms.reference import rounding
from ecm_edge.forms.reference.operators.windows import geometry
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.forms.reference.graph import Node, Step

_SHIFT = {"int8": 0, "uint8": 128}
_LOW, _HIGH = -128, 127
_DEPTHWISE_SUMS = 8
_DEPTHWISE_UNROLL = 16
_INT32 = 2**31
_THREE_LANES = 2**20


def _quant(program: Program, node: Node, dtype: str) -> Quant:
    """The one scale and zero point of an activation, in stored integers."""
    scale = program.constant(node.inputs[1], node)
    zero = program.optional(node, 2)
    if scale.values.size != 1 or scale.values.dtype != np.float32:
        raise refused(
            node, "activations have one float32 scale a tensor", f"{scale.values.size} of {scale.values.dtype}"
        )
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
    program.env[step.outputs[0]] = dequantised(program, step.op)


def dequantised(program: Program, node: Node) -> Tensor:
    """The output of a DequantizeLinear whose input depends on the segment."""
    x = program.tensor(node.inputs[0], node)
    return replace(x, quant=_quant(program, node, "uint8" if x.shift else "int8"))


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
    loop.assign(name, f"ecm_quantize({{0}}, {scale}, {quant.zero_point}, {_LOW}, {_HIGH})", [value], "int32_t")
    y = program.output(name, loop.shape, program.stored, order=loop.order, shift=_SHIFT[dtype], fill=quant.zero_point)
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
    x_step = row_step(lines)
    rows = Rows(int(lines[:, order][0, 0]), len(lines), x_step, 1, lines.shape[1], lines.shape[1], x_step)
    shape = program.shapes[step.outputs[0]]
    y = _output(program, step, shape, tuple(range(len(shape))))
    _append(program, step, x, y, rows, sums, y.index.reshape(len(lines), -1), lines.size * matrix.shape[1])


def _centred(program: Program, source: Node) -> NDArray[np.int64]:
    """Weights minus their zero points, which have to fit int8."""
    stored = program.constant(source.inputs[0], source).values.astype(np.int64)
    zero = program.optional(source, 2)
    if zero is not None:
        axis = source.attributes.get("axis", 1) % max(1, stored.ndim)
        flat = zero.values.astype(np.int64).reshape(-1)
        stored = stored - (
            flat.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]) if flat.size > 1 else flat
        )
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


def _output(program: Program, step: Step, shape: tuple[int, ...], order: tuple[int, ...] | None = None) -> Tensor:
    quantizer = step.quantizer
    if quantizer is None:
        raise ValueError(step)
    dtype = _integer_type(program, quantizer)
    fill = _quant(program, quantizer, dtype).zero_point
    return program.output(step.outputs[0], shape, program.stored, order=order, shift=_SHIFT[dtype], fill=fill)


def _conv(program: Program, step: Step, x_name: str, x: Tensor, w: NDArray[np.int64]) -> None:
    node = step.op
    along = along_time(node.attributes, w.shape[2:], x.shape)
    shape = program.shapes[step.outputs[0]]
    groups = node.attributes.get("group", 1)
    macs = prod(shape) * prod(w.shape[1:])
    if along is None:
        _conv_over_axes(program, step, x, w, macs)
        return
    x = replace(x, quant=_quant(program, step.sources[0], "uint8" if x.shift else "int8"))
    room = along.room(x.shape[1], groups, dual=program.kernels.int8 == "dual")
    x = windowed(program, x_name, x, along, room=room)
    taps = w.reshape(groups, len(w) // groups, w.shape[1], along.taps)
    ordered = taps.transpose(0, 3, 2, 1).reshape(groups, -1, len(w) // groups)
    sums = _sums(program, step, x, ordered)
    y = _output(program, step, shape)
    rows = rows_of(x, along)
    if rows is None:
        raise ValueError(x)
    outputs = time_by_channels(y.index, along.axis)
    if groups > 1 and w.shape[1] == 1:
        tap_step = along.dilation * rows.step
        _depthwise(
            program,
            step,
            x,
            y,
            replace(rows, segments=along.taps, segment=1, segment_step=tap_step),
            sums,
            outputs,
            macs,
        )
        return
    if groups > 1:
        channels = x.shape[1] // groups
        rows = Rows(rows.first, rows.rows, rows.x_step, along.taps, channels, along.dilation * rows.step, rows.step)
    _append(program, step, x, y, rows, sums, outputs, macs)


@dataclass(frozen=True, eq=False)
class Kernel:
    """One of the int8 kernels, ready for a layer.

    Args:
        name: its C function.
        weights: as they are stored.
        tile: its arguments that say how large a tile is.
        scratch: memory that it needs besides.
        before: C that comes before the first group.
        operands: its first arguments, window and weights, for a group.
    """

    name: str
    weights: Array
    tile: str
    scratch: tuple[Buffer, ...] = ()
    before: Callable[[Names], str] = lambda _: ""
    operands: Callable[[Names, int], str] = lambda _names, _group: ""


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
    """The layer of a group along time; `outputs` (T, O) are the places of the results."""
    groups, products, per_group = sums.weights.shape
    make = _dual if program.kernels.int8 == "dual" else _packed if _packs(program, rows, per_group) else _plain
    limit = program.kernels.int8_accumulators
    if make is _packed:
        tile = packed_tile(rows.rows, per_group, products, rows.segment, limit, _lanes(sums))
    else:
        tile = best_tile(Kernels(), rows.rows, per_group, products, rows.segment, limit)
    kernel, rows, unroll = make(x, rows, sums, tile)
    y_step = row_step(outputs)
    factor_step = int(sums.factor.size > 1)
    arrays = (kernel.weights, Array("bias", sums.bias, "int32"), Array("factor", sums.factor, "float32"))

    def body(names: Names) -> str:
        calls = [kernel.before(names)] if kernel.scratch else []
        for number in range(groups):
            y_at = int(outputs[0, 0]) - y.offset + number * per_group
            calls.append(
                f"{kernel.name}({kernel.operands(names, number)}, {names.constant('bias')}{plus(number * per_group)}, "
                f"{names.constant('factor')}{plus(number * per_group * factor_step)}, {factor_step}, "
                f"{names.pointer(y)}{plus(y_at)},\n"
                f"{windows_said(rows, per_group, y_step)}"
                f"    {kernel.tile}, {unroll}, {int(names.backward)}, /* tile, backward */\n"
                f"    {sums.arguments()}); /* zero_point, minimum, maximum */"
            )
        return "\n".join(calls)

    over = {x.buffer: overlap_along(rows, tile, outputs, per_group, program.stored_bytes)} if groups == 1 else {}
    note = f"{x.shape} -> {y.shape}, int8, {rows.rows} rows of {products} products, tile {tile.rows} x {tile.outputs}"
    _finish(program, step, Layer("", (), note, (x,), (y,), body, arrays, kernel.scratch, over, macs), y)


def _packs(program: Program, rows: Rows, per_group: int) -> bool:
    """Whether packing pays: there are two outputs, and the words are used more than once."""
    return program.kernels.int8 == "packed" and per_group > 1 and rows.rows > 1


def _plain(x: Tensor, rows: Rows, sums: Sums, tile: Tile) -> tuple[Kernel, Rows, int]:
    """ecm_conv_i8."""
    packed = np.stack([blocks(w, tile.outputs) for w in sums.weights])

    def operands(names: Names, group: int) -> str:
        return (
            f"{_window(names, x, rows, group, len(packed))}, {names.constant('weights')}{plus(group * packed[0].size)}"
        )

    kernel = Kernel("ecm_conv_i8", Array("weights", packed, "int8"), f"{tile.rows}, {tile.outputs}", operands=operands)
    return kernel, rows, tile.unroll


def _window(names: Names, x: Tensor, rows: Rows, group: int, groups: int) -> str:
    return f"{names.pointer(x)}{plus(rows.first - x.offset + group * rows.segment * int(groups > 1))}"


def _packed(x: Tensor, rows: Rows, sums: Sums, tile: Tile) -> tuple[Kernel, Rows, int]:
    """ecm_conv_i8_packed: the weights of all groups are packed before the first."""
    lanes = _lanes(sums)
    packed = np.stack([vectors_of(w, tile.outputs) for w in sums.weights])
    scratch = Buffer(packed.size // lanes * 2, "float32")  # 8 bytes a word

    def words(names: Names) -> str:
        return f"(uint64_t *)(void *){names.pointer(scratch)}"

    def before(names: Names) -> str:
        return f"ecm_pack_weights({names.constant('weights')}, {words(names)}, {packed.size // lanes}, {lanes});"

    def operands(names: Names, group: int) -> str:
        return f"{_window(names, x, rows, group, len(packed))}, {words(names)}{plus(group * packed[0].size // lanes)}"

    tile_said = f"{tile.rows}, {tile.outputs // lanes}, {lanes}"
    weights = Array("weights", packed, "int8")
    kernel = Kernel("ecm_conv_i8_packed", weights, tile_said, (scratch,), before, operands)
    return kernel, rows, tile.unroll


def _lanes(sums: Sums) -> int:
    """How many sums a 64-bit word holds: three where none can leave 21 bits, else two."""
    largest = int(np.abs(sums.weights).sum(1).max(initial=0)) * -_LOW
    return 3 if largest < _THREE_LANES else 2


def _dual(x: Tensor, rows: Rows, sums: Sums, tile: Tile) -> tuple[Kernel, Rows, int]:
    """ecm_conv_i8_dual; ecm_conv_i8 where windows do not begin at even elements.

    Segments are made even by a weight of 0; steps longer than their channels get one for what lies between.
    """
    groups = len(sums.weights)
    spread, weights = _even(rows, sums.weights)
    steps = (spread.x_step if rows.rows > 1 else 0, spread.segment_step if rows.segments > 1 else 0, spread.first)
    if any(step % 2 for step in steps) or (groups > 1 and rows.segment % 2):
        return _plain(x, rows, sums, tile)
    packed = np.stack([_twos(blocks(w, tile.outputs)) for w in weights])
    unroll = max(u for u in range(1, 5) if spread.segment // 2 % u == 0)

    def operands(names: Names, group: int) -> str:
        return f"{_window(names, x, rows, group, groups)}, {names.constant('weights')}{plus(group * packed[0].size)}"

    weights_array = Array("weights", packed, "int16")
    return Kernel("ecm_conv_i8_dual", weights_array, f"{tile.rows}, {tile.outputs}", operands=operands), spread, unroll


def _even(rows: Rows, weights: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
    """The same windows with segments of even length, and the weights (groups, n, O) that go with them."""
    more = rows.segment % 2
    split = weights.reshape(len(weights), rows.segments, rows.segment, -1)
    padded = np.pad(split, ((0, 0), (0, 0), (0, more), (0, 0))).reshape(len(weights), -1, weights.shape[2])
    even = replace(rows, segment=rows.segment + more)
    if even.segment == even.segment_step:  # the segments follow each other
        even = replace(even, segments=1, segment=even.segment * even.segments)
    return even, padded


def _twos(packed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Weights [block][n][outputs] in pairs along n: [block][n / 2][outputs][2]."""
    count, products, outputs = packed.shape
    return packed.reshape(count, products // 2, 2, outputs).transpose(0, 1, 3, 2)


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
    y_step = row_step(outputs)
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
            f"ecm_depthwise_i8({pointer(x)}{plus(rows.first - x.offset)}, {constant('weights')}, {constant('bias')}, "
            f"{constant('factor')}, {factor_step}, {pointer(y)},\n"
            f"    {rows.rows}, {rows.x_step}, {taps}, {rows.segment_step}, /* rows, x_step, taps, tap_step */\n"
            f"    {len(weights)}, {multiplier}, {y_step}, /* outputs, multiplier, y_step */\n"
            f"    {tile_rows}, {unroll}, {int(names.backward)}, /* tile, backward */\n"
            f"    {sums.arguments()}); /* zero_point, minimum, maximum */"
        )

    window = replace(rows, segment=x.shape[1])
    over = overlap_along(
        window, Tile(tile_rows, 1, 1), outputs, 1, program.stored_bytes, reads_again=2
    )  # channel by channel
    note = f"{x.shape} -> {y.shape}, int8, depthwise, {taps} taps"
    _finish(program, step, Layer("", (), note, (x,), (y,), body, arrays, (), {x.buffer: over}, macs), y)


def _conv_over_axes(program: Program, step: Step, x: Tensor, w: NDArray[np.int64], macs: int) -> None:
    """An int8 convolution over several axes, in plain loops; padding adds nothing."""
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
        result = f"(ecm_stored)ecm_requantize(a, {constant('factor')}[o1 * {factor_step}], {sums.arguments()})"
        return integer_conv_loops(x, y, found, w.shape, groups, zero, result, pointer, constant)

    note = f"{x.shape} -> {y.shape}, int8"
    _finish(program, step, Layer("", (), note, (x,), (y,), body, arrays, macs=macs), y)
