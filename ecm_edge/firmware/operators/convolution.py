"""Conv, Gemm and MatMul with constant weights, in float32.

    y[t][o] = act(b[o] + sum over k, c of x[t * stride + k * dilation][c] * w[o][c][k])

Along one axis they are one kernel (ecm_conv_f32.h, ecm_depthwise_f32.h): a fully connected layer is one row with one
window. Convolutions over several axes are plain loops. Batch norm is folded into the weights, cheap activations and the
addition of a residual into the store.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.plain import conv_over_axes
from ecm_edge.firmware.operators.product import gemm_of_tensors, matmul_of_tensors
from ecm_edge.firmware.operators.shape import contiguous, floats
from ecm_edge.firmware.operators.weighted import Weighted, add
from ecm_edge.firmware.operators.windows import (
    Rows,
    Tile,
    along_time,
    best_tile,
    blocks,
    overlap_along,
    row_step,
    rows_of,
    time_by_channels,
    vectors_of,
    wide_tile,
    windows_said,
)
from ecm_edge.firmware.program import Constant, Program, Room
from ecm_edge.firmware.tensors import Buffer, Tensor
from ecm_edge.forms.reference.operators.windows import geometry
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.operators.windows import Along
    from ecm_edge.forms.reference.graph import Node, Step

_F32 = 4
_DEPTHWISE_SUMS = 8  # rows of a depthwise tile; more would not fit beside taps and samples
_DEPTHWISE_UNROLL = 16
_DEPTHWISE_ROWS = 16  # ECM_DEPTHWISE_ROWS
_DEPTHWISE_REGISTERS = 30  # for sums and taps
_DEPTHWISE_SPAN = 80  # samples under a tile, which are straight code
_DEPTHWISE_OVERHEAD = 8  # instructions a channel costs besides


def conv(program: Program, step: Step) -> None:
    """Conv of any number of spatial axes, groups, strides, dilations and pads."""
    node = step.op
    x = program.tensor(node.inputs[0], node)
    w = program.constant(node.inputs[1], node)
    b = program.optional(node, 2)
    weights = w.values.astype(np.float64)
    bias = b.values.astype(np.float64) if b is not None else np.zeros(len(weights))
    along = along_time(node.attributes, w.shape[2:], x.shape)
    shape = program.shapes[node.outputs[0]]
    macs = prod(shape) * prod(w.shape[1:])
    if along is None:
        flat = weights.reshape(1, len(weights), -1).transpose(0, 2, 1)  # (1, C / groups K, O)
        add(program, step, x, flat, bias, w.stored, _over_axes(node, x, w.shape), macs)
        return
    x = windowed(program, node.inputs[0], floats(program, node.inputs[0], x), along)
    groups = node.attributes.get("group", 1)
    taps = weights.reshape(groups, len(weights) // groups, w.shape[1], along.taps)  # (groups, O, C, K)
    ordered = taps.transpose(0, 3, 2, 1).reshape(groups, -1, len(weights) // groups)  # (groups, K C, O)
    emit = _depthwise(along) if groups > 1 and w.shape[1] == 1 else _rows(program, along, groups)
    add(program, step, x, ordered, bias, w.stored, emit, macs, adds=along.axis if groups == 1 < along.rows else None)


def windowed(program: Program, name: str, x: Tensor, along: Along, *, room: Room | None = None) -> Tensor:
    """The tensor with channels side by side and the room that a convolution along time wants, copied if need be."""
    wanted = room or along.margin
    rows = rows_of(x, along)
    even = rows is None or not (room and room.even) or rows.step % 2 == 0
    return x if rows is not None and even and program.has_room(x, wanted) else contiguous(program, name, x, wanted)


def gemm(program: Program, step: Step) -> None:
    """Gemm with constant B and C: alpha A' B' + beta C."""
    node = step.op
    attributes = node.attributes
    a, w, b = (program.env[name] if name else None for name in (*node.inputs, "")[:3])
    if attributes.get("transA", 0) or not isinstance(a, Tensor) or not isinstance(w, Constant) or isinstance(b, Tensor):
        gemm_of_tensors(program, step)
        return
    weights = w.values.astype(np.float64).T if attributes.get("transB", 0) else w.values.astype(np.float64)
    scaled = weights * np.float64(np.float32(attributes.get("alpha", 1.0)))
    bias = np.zeros(weights.shape[1])
    if b is not None:
        shape = program.shapes[node.outputs[0]]
        spread = np.broadcast_to(b.values.astype(np.float64), shape)
        if not (spread == spread[:1]).all():
            gemm_of_tensors(program, step)
            return
        bias = spread[0] * np.float64(np.float32(attributes.get("beta", 1.0)))
    _product(program, step, scaled, bias, w.stored if attributes.get("alpha", 1.0) == 1.0 else "float32")


def matmul(program: Program, step: Step) -> None:
    """MatMul of a tensor with constant weights (K, O); of two tensors that depend on the segment, plain loops."""
    node = step.op
    b = program.env[node.inputs[1]]
    a = program.env[node.inputs[0]]
    if isinstance(b, Constant) and isinstance(a, Tensor) and len(b.shape) == 2 and len(a.shape) > 1:  # noqa: PLR2004 - a matrix
        _product(program, step, b.values.astype(np.float64), np.zeros(b.shape[1]), b.stored)
        return
    matmul_of_tensors(program, step)


def _product(
    program: Program, step: Step, weights: NDArray[np.float64], bias: NDArray[np.float64], stored: str
) -> None:
    """Rows (…, n) times weights (n, O); the sums of a row lie side by side."""
    name = step.op.inputs[0]
    x = floats(program, name, program.tensor(name, step.op))
    x, lines, order = row_order(program, name, x)
    emit = _lines(program, lines[:, order])
    rows_first = tuple(range(len(program.shapes[step.outputs[0]])))
    add(program, step, x, weights[order][None], bias, stored, emit, lines.size * weights.shape[1], rows_first)


def row_order(program: Program, name: str, x: Tensor) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64]]:
    """A tensor (…, n) whose rows lie side by side, its indices (rows, n), and the order of a row's elements in memory.

    The elements may lie in any order, for weights can be put in the same one; where they are spread out, they are
    copied.
    """
    lines = x.index.reshape(-1, x.shape[-1])
    order = np.argsort(lines[0])
    span = lines[0][order]
    if np.array_equal(span, span[0] + np.arange(len(span))) and _regular_rows(lines, order):
        return x, lines, order
    x = contiguous(program, name, x)
    return x, x.index.reshape(-1, x.shape[-1]), np.arange(x.shape[-1])


def _regular_rows(lines: NDArray[np.int64], order: NDArray[np.int64]) -> bool:
    """Whether all rows lie in the same order, one behind the other at one distance."""
    first = lines[:, order][:, :1]
    same = np.array_equal(lines[:, order] - first, np.broadcast_to(lines[0, order] - first[0], lines.shape))
    gaps = np.diff(first[:, 0])
    return same and (len(gaps) == 0 or bool((gaps == gaps[0]).all()))


def _lines(program: Program, lines: NDArray[np.int64]) -> Callable[[Weighted], Layer]:
    """The layer of a product of rows that lie side by side in memory."""
    step = row_step(lines)
    rows = Rows(int(lines[0, 0]), len(lines), step, 1, lines.shape[1], lines.shape[1], step)

    def emit(layer: Weighted) -> Layer:
        return _conv_layer(program, layer, rows, 1, layer.y.index.reshape(len(lines), -1))

    return emit


def _rows(program: Program, along: Along, groups: int) -> Callable[[Weighted], Layer]:
    """The layer of a convolution along time."""

    def emit(layer: Weighted) -> Layer:
        rows = rows_of(layer.x, along)
        assert rows is not None  # noqa: S101 - `windowed` saw to it
        if groups > 1:
            channels = layer.x.shape[1] // groups
            segment_step = along.dilation * rows.step
            rows = Rows(rows.first, rows.rows, rows.x_step, along.taps, channels, segment_step, rows.step)
        return _conv_layer(program, layer, rows, groups, time_by_channels(layer.y.index, along.axis))

    return emit


def _conv_layer(program: Program, layer: Weighted, rows: Rows, groups: int, outputs: NDArray[np.int64]) -> Layer:
    """ecm_conv_f32 or ecm_conv_f32_wide for every group; `outputs` (T, O) are the places of the results."""
    if rows.rows == groups == 1 and layer.stored == "float16":
        return _dense_half(program, layer, rows, outputs)
    per_group = layer.weights.shape[2]
    products = rows.segments * rows.segment
    y_step = row_step(outputs)
    if not np.array_equal(
        outputs, outputs[0, 0] + np.arange(len(outputs))[:, None] * y_step + np.arange(outputs.shape[1])
    ):
        raise ValueError(outputs)
    tile, function, order = _kernel(program.kernels, rows, per_group)
    packed = np.stack([order(w) for w in layer.weights]).astype(np.float32)
    biases = np.stack([order(b) for b in layer.bias.reshape(groups, -1)]).astype(np.float32)
    arrays = (Array("weights", packed, layer.stored), Array("bias", biases, "float32"))
    halves = layer.stored == "float16"
    scratch: tuple[Buffer, ...] = (Buffer(packed.size, "float32"),) if halves else ()

    added = layer.added
    if added is not None:
        function = f"{function}_add"

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        residual = f"{pointer(added)}, {row_step(time_by_channels(added.index, layer.adds or 0))}, " if added else ""
        w = pointer(scratch[0]) if halves else constant("weights")
        calls = [f"ecm_halves({constant('weights')}, {w}, {packed.size});"] if halves else []
        for group in range(groups):
            x_at = plus(rows.first - layer.x.offset + group * rows.segment)
            y_at = plus(int(outputs[0, 0]) - layer.y.offset + group * per_group)
            calls.append(
                f"{function}({residual}{pointer(layer.x)}{x_at}, {w}{plus(group * packed[0].size)}, "
                f"{constant('bias')}{plus(group * biases[0].size)}, {pointer(layer.y)}{y_at},\n"
                f"{windows_said(rows, per_group, y_step)}"
                f"    {_tile_arguments(tile, program.kernels)}, {int(names.backward)}, /* tile, backward */\n"
                f"    {layer.activation.arguments});"
            )
        return "\n".join(calls)

    overlap = overlap_along(rows, tile, outputs, per_group, _F32)
    return Layer(
        op="conv",
        origin=(),
        note=f"{_shapes(layer)}, {rows.rows} rows of {products} products, tile {tile.rows} x {tile.outputs}",
        reads=(layer.x,) if added is None else (layer.x, added),
        writes=(layer.y,),
        body=body,
        arrays=arrays,
        scratch=scratch,
        overlap={layer.x.buffer: overlap} if groups == 1 and (added is None or added.buffer != layer.x.buffer) else {},
    )


def _dense_half(program: Program, layer: Weighted, rows: Rows, outputs: NDArray[np.int64]) -> Layer:
    """ecm_dense_half: weights that are used once are not expanded first."""
    count, total = layer.weights.shape[1:]
    tile = best_tile(Kernels(), 1, total, count, count, program.kernels.accumulators)
    packed = blocks(layer.weights[0], tile.outputs)
    arrays = (
        Array("weights", packed.astype(np.float32), "float16"),
        Array("bias", blocks(layer.bias, tile.outputs).astype(np.float32), "float32"),
    )

    def body(names: Names) -> str:
        x = f"{names.pointer(layer.x)}{plus(rows.first - layer.x.offset)}"
        y = f"{names.pointer(layer.y)}{plus(int(outputs[0, 0]) - layer.y.offset)}"
        return (
            f"ecm_dense_half({x}, {names.constant('weights')}, {names.constant('bias')}, {y}, {count}, {total}, "
            f"{tile.outputs},\n    {layer.activation.arguments});"
        )

    overlap = {layer.x.buffer: overlap_along(rows, tile, outputs, total, _F32)}
    return Layer(
        "dense", (), f"{_shapes(layer)}, {count} products", (layer.x,), (layer.y,), body, arrays, overlap=overlap
    )


def _kernel(kernels: Kernels, rows: Rows, outputs: int) -> tuple[Tile, str, Callable[[NDArray[Any]], NDArray[Any]]]:
    """The tile, the function, and how it wants its weights (…, O)."""
    if kernels.outputs > 1:
        tile = wide_tile(kernels, rows.rows, outputs)
        return tile, "ecm_conv_f32_wide", lambda w: vectors_of(w, tile.outputs)
    products = rows.segments * rows.segment
    tile = best_tile(kernels, rows.rows, outputs, products, rows.segment, kernels.accumulators, ordered=True)
    return tile, "ecm_conv_f32", lambda w: blocks(w, tile.outputs)


def _tile_arguments(tile: Tile, kernels: Kernels) -> str:
    if kernels.outputs > 1:
        return f"{tile.rows}, {tile.outputs // kernels.outputs}"
    return f"{tile.rows}, {tile.outputs}, {tile.unroll}"


def _rows_at_once(along: Along) -> int:
    """Rows of a tile of ecm_depthwise_f32_once with the fewest instructions; 0 where another kernel has to do.

    Sums and taps lie in registers beside one sample. A last tile that does not fill up computes some answers twice.
    """

    def samples(rows: int) -> int:
        return len({r * along.stride + k * along.dilation for r in range(rows) for k in range(along.taps)})

    def cost(rows: int) -> int:
        return -(-along.rows // rows) * (samples(rows) + rows * (along.taps + 2) + along.taps + _DEPTHWISE_OVERHEAD)

    def fits(rows: int) -> bool:
        span = (rows - 1) * along.stride + (along.taps - 1) * along.dilation + 1
        return rows + along.taps <= _DEPTHWISE_REGISTERS and span <= _DEPTHWISE_SPAN

    possible = [rows for rows in range(1, min(along.rows, _DEPTHWISE_ROWS) + 1) if fits(rows)]
    return min(possible, key=cost) if possible and along.taps <= _DEPTHWISE_UNROLL else 0


def _depthwise(along: Along) -> Callable[[Weighted], Layer]:
    """ecm_depthwise_f32."""

    def emit(layer: Weighted) -> Layer:
        rows = rows_of(layer.x, along)
        assert rows is not None  # noqa: S101 - `windowed` saw to it
        channels, multiplier = len(layer.weights), layer.weights.shape[2]
        weights = layer.weights.transpose(0, 2, 1).reshape(-1, along.taps).astype(np.float32)  # (O, K)
        outputs = time_by_channels(layer.y.index, along.axis)
        y_step = row_step(outputs)
        once = _rows_at_once(along)
        tile_rows = once or min(_DEPTHWISE_SUMS, rows.rows)
        unroll = max(u for u in range(1, _DEPTHWISE_UNROLL + 1) if along.taps % u == 0)
        tap_step = along.dilation * rows.step
        windows = (
            f"    {rows.rows}, {along.stride}, {along.taps}, {along.dilation}, {rows.step}, "
            "/* rows, stride, taps, dilation, x_step */\n"
            if once
            else f"    {rows.rows}, {rows.x_step}, {along.taps}, {tap_step}, /* rows, x_step, taps, tap_step */\n"
        )
        tile = f"{tile_rows}, " if once else f"{tile_rows}, {unroll}, "
        halves = layer.stored == "float16"
        scratch: tuple[Buffer, ...] = (Buffer(weights.size, "float32"),) if halves else ()

        def body(names: Names) -> str:
            pointer, constant = names.pointer, names.constant
            w = pointer(scratch[0]) if halves else constant("weights")
            expand = f"ecm_halves({constant('weights')}, {w}, {weights.size});\n" if halves else ""
            function = "ecm_depthwise_f32_once" if once else "ecm_depthwise_f32"
            return (
                f"{expand}{function}({pointer(layer.x)}{plus(rows.first - layer.x.offset)}, {w}, "
                f"{constant('bias')}, {pointer(layer.y)},\n"
                f"{windows}"
                f"    {channels * multiplier}, {multiplier}, {y_step}, /* outputs, multiplier, y_step */\n"
                f"    {tile}{int(names.backward)}, /* tile, backward */\n"
                f"    {layer.activation.arguments});"
            )

        window = Rows(rows.first, rows.rows, rows.x_step, along.taps, channels, tap_step, rows.step)
        overlap = overlap_along(window, Tile(tile_rows, 1, 1), outputs, 1, _F32, reads_again=2)  # channel by channel
        return Layer(
            op="depthwise",
            origin=(),
            note=f"{_shapes(layer)}, depthwise, {along.taps} taps",
            reads=(layer.x,),
            writes=(layer.y,),
            body=body,
            arrays=(Array("weights", weights, layer.stored), Array("bias", layer.bias.astype(np.float32), "float32")),
            scratch=scratch,
            overlap={layer.x.buffer: overlap},
        )

    return emit


def _over_axes(node: Node, x: Tensor, kernel: Sequence[int]) -> Callable[[Weighted], Layer]:
    """A convolution over several axes, in plain loops."""
    return conv_over_axes(node, geometry(node.attributes, tuple(kernel[2:]), x.shape[2:]), tuple(kernel))


def plus(offset: int) -> str:
    """What is added to a pointer; nothing for 0."""
    return f" + {offset}" if offset > 0 else f" - {-offset}" if offset else ""


def _shapes(layer: Weighted) -> str:
    return f"{layer.x.shape} -> {layer.y.shape}"


__all__ = ["conv", "gemm", "matmul", "plus", "row_order", "windowed"]
