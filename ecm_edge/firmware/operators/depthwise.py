"""Depthwise convolutions along time, every channel by itself: in float32 and on integers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Array, Layer, Overlap
from ecm_edge.firmware.operators.calls import Call, Operand, Struct, Tile
from ecm_edge.firmware.operators.sums import Sums, finish
from ecm_edge.firmware.operators.weighted import Weighted, stored
from ecm_edge.firmware.operators.windows import Along, Windows, overlap_along, row_step, time_by_channels
from ecm_edge.firmware.tensors import ITEM_BYTES, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.program import Program
    from ecm_edge.forms.reference.node import Step

DEPTHWISE_ROWS = DEPTHWISE_TAPS = 16  # most of a tile: ECM_DEPTHWISE_ROWS, ECM_DEPTHWISE_TAPS
_ROWS = 8  # of a tile of the plain kernels; more would not fit beside taps and samples
_UNROLL = 16
_REGISTERS = 30  # for sums and taps
_SPAN = 80  # samples under a tile, which are straight code
_OVERHEAD = 8  # instructions a channel costs besides


def float_layer(along: Along, windows: Windows) -> Callable[[Weighted], Layer]:
    """ecm_depthwise_f32, or ecm_depthwise_f32_once where rows and taps fit the registers."""
    once = _rows_at_once(along)
    tile = Tile(once, 1, 1) if once else _tile(along)
    function = "ecm_depthwise_f32_once" if once else "ecm_depthwise_f32"

    def emit(layer: Weighted) -> Layer:
        x, y = layer.x, layer.y
        values = layer.weights.transpose(0, 2, 1).reshape(-1, along.taps).astype(np.float32)  # (O, K)
        weights = stored(layer, values)
        operands = (windows.operand(x), weights.operand, Operand("bias"), Operand(y))
        structs = (_channels(along, windows, y, layer.weights.shape[2]), tile, layer.activation.struct)
        return Layer(
            op="depthwise",
            origin=(),
            note=f"{x.shape} -> {y.shape}, depthwise, {along.taps} taps",
            reads=(x,),
            writes=(y,),
            body=Call(function, operands, structs, before=weights.before).body,
            arrays=(weights.array, Array("bias", layer.bias.astype(np.float32), "float32")),
            scratch=weights.scratch,
            overlap={x.buffer: _overlap(along, windows, x, y, tile, ITEM_BYTES["float32"])},
        )

    return emit


def append_i8(
    program: Program, step: Step, x: Tensor, y: Tensor, along: Along, windows: Windows, sums: Sums, macs: int
) -> None:
    """The layer of ecm_depthwise_i8."""
    tile = _tile(along)
    weights = sums.weights.transpose(0, 2, 1).reshape(-1, along.taps)  # (O, K)

    operands = (windows.operand(x), Operand("weights"), Operand("bias"), Operand("factor"), Operand(y))
    structs = (_channels(along, windows, y, sums.weights.shape[2]), tile, sums.struct)
    layer = Layer(
        op="",
        origin=(),
        note=f"{x.shape} -> {y.shape}, int8, depthwise, {along.taps} taps",
        reads=(x,),
        writes=(y,),
        body=Call("ecm_depthwise_i8", operands, structs).body,
        arrays=sums.arrays(Array("weights", weights, "int8")),
        overlap={x.buffer: _overlap(along, windows, x, y, tile, program.stored_bytes)},
        macs=macs,
    )
    finish(program, step, layer, y)


def _channels(along: Along, windows: Windows, y: Tensor, multiplier: int) -> Struct:
    """The kernels' argument."""
    members = {
        "rows": windows.rows,
        "stride": along.stride,
        "taps": along.taps,
        "dilation": along.dilation,
        "time_step": windows.time_step,
        "outputs": y.shape[1],
        "multiplier": multiplier,
        "y_step": row_step(time_by_channels(y.index, along.axis)),
    }
    return Struct("channels", members)


def _tile(along: Along) -> Tile:
    unroll = max(u for u in range(1, _UNROLL + 1) if along.taps % u == 0)
    return Tile(min(_ROWS, along.rows), 1, unroll)


def _overlap(along: Along, windows: Windows, x: Tensor, y: Tensor, tile: Tile, item_bytes: int) -> Overlap:
    """The kernels go channel by channel: every window is read again and again until its row is done."""
    tap_step = along.dilation * windows.time_step
    whole = replace(windows, segments=along.taps, segment=x.shape[1], segment_step=tap_step)
    outputs = time_by_channels(y.index, along.axis)
    return overlap_along(whole, Tile(tile.rows, 1, 1), outputs, 1, item_bytes, reads_again=2)


def _rows_at_once(along: Along) -> int:
    """Rows of a tile of ecm_depthwise_f32_once with the fewest instructions; 0 where another kernel has to do.

    Sums and taps lie in registers beside one sample. A last tile that does not fill up computes some answers twice.
    """

    def samples(rows: int) -> int:
        return len({r * along.stride + k * along.dilation for r in range(rows) for k in range(along.taps)})

    def cost(rows: int) -> int:
        return -(-along.rows // rows) * (samples(rows) + rows * (along.taps + 2) + along.taps + _OVERHEAD)

    def fits(rows: int) -> bool:
        span = (rows - 1) * along.stride + (along.taps - 1) * along.dilation + 1
        return rows + along.taps <= _REGISTERS and span <= _SPAN

    possible = [rows for rows in range(1, min(along.rows, DEPTHWISE_ROWS) + 1) if fits(rows)]
    return min(possible, key=cost) if possible and along.taps <= DEPTHWISE_TAPS else 0
