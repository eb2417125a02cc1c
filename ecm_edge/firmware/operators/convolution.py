"""Conv with constant weights, in float32.

    y[t][o] = act(b[o] + sum over k, c of x[t * stride + k * dilation][c] * w[o][c][k])

Along one axis it is a kernel (ecm_conv_f32.h, ecm_depthwise_f32.h); over several axes it is plain loops. A fully
connected layer is a row with one window. Batch norm is folded into the weights, cheap activations and the addition of a
residual into the store.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators import axes, depthwise
from ecm_edge.firmware.operators.calls import Call, Operand, Tile
from ecm_edge.firmware.operators.kept_integers import KEPT
from ecm_edge.firmware.operators.shape import floats
from ecm_edge.firmware.operators.tiles import best_tile, blocks, vectors_of, wide_tile
from ecm_edge.firmware.operators.weighted import Weighted, add, stored
from ecm_edge.firmware.operators.windows import (
    Windows,
    along_time,
    is_grid,
    overlap_along,
    row_step,
    time_by_channels,
    windowed,
)
from ecm_edge.firmware.tensors import ITEM_BYTES
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Indices
    from ecm_edge.forms.reference.node import Step


def conv(program: Program, step: Step) -> None:
    """Conv of any number of spatial axes, groups, strides, dilations and pads."""
    node = step.op
    x = program.tensor(node.inputs[0], node)
    w = program.constant(node.inputs[1], node)
    b = program.optional(node, 2)
    weights = w.values.astype(np.float64)
    bias = b.values.astype(np.float64) if b is not None else np.zeros(len(weights))
    along = along_time(node.attributes, w.shape[2:], x.shape)
    macs = prod(program.shapes[node.outputs[0]]) * prod(w.shape[1:])
    if along is None or w.kept is not None:
        x = floats(program, node.inputs[0], x)
        flat = weights.reshape(1, len(weights), -1).transpose(0, 2, 1)  # (1, C / groups K, O)
        emit_plain = axes.float_layer(node, x, w.shape, w.kept, wide=program.wide)
        add(program, step, x, flat, bias, w.stored if w.kept is None else KEPT, emit_plain, macs)
        return
    groups = node.attributes.get("group", 1)
    x, windows = windowed(program, node.inputs[0], floats(program, node.inputs[0], x), along, groups)
    taps = weights.reshape(groups, len(weights) // groups, w.shape[1], along.taps)  # (groups, O, C, K)
    ordered = taps.transpose(0, 3, 2, 1).reshape(groups, -1, len(weights) // groups)  # (groups, K C, O)
    if groups > 1 and w.shape[1] == 1:
        add(program, step, x, ordered, bias, w.stored, depthwise.float_layer(along, windows), macs)
        return

    def emit(layer: Weighted) -> Layer:
        return layer_of_rows(program.kernels, layer, windows, time_by_channels(layer.y.index, along.axis))

    add(program, step, x, ordered, bias, w.stored, emit, macs, adds=along.axis if groups == 1 < along.rows else None)


def layer_of_rows(kernels: Kernels, layer: Weighted, windows: Windows, outputs: Indices) -> Layer:
    """ecm_conv_f32 or ecm_conv_f32_wide for every group; `outputs` (T, O) are the places of the results."""
    assert is_grid(outputs)  # noqa: S101 - they are new memory
    if windows.rows == len(layer.weights) == 1 and layer.stored == "float16":
        return _half_layer(kernels, layer, windows, outputs)
    x, y, added = layer.x, layer.y, layer.added
    groups, _, per_group = layer.weights.shape
    tile, function, order = _kernel(kernels, windows, per_group)
    packed = np.stack([order(w) for w in layer.weights]).astype(np.float32)
    biases = np.stack([order(b) for b in layer.bias.reshape(groups, -1)]).astype(np.float32)
    weights = stored(layer, packed, packed[0].size)
    operands = [
        windows.operand(x, windows.segment),
        weights.operand,
        Operand("bias", 0, biases[0].size),
        Operand(y, int(outputs[0, 0]) - y.offset, per_group),
    ]
    numbers: tuple[int, ...] = ()
    if added is not None:
        function = f"{function}_add"
        operands.append(Operand(added))
        numbers = (row_step(time_by_channels(added.index, layer.adds or 0)),)
    structs = (windows.struct(per_group, row_step(outputs)), tile, layer.activation.struct)
    apart = groups == 1 and (added is None or added.buffer != x.buffer)
    overlap = overlap_along(windows, tile, outputs, per_group, ITEM_BYTES["float32"])
    size = f"{windows.rows} rows of {windows.products} products, tile {tile.rows} x {tile.outputs}"
    return Layer(
        op="conv",
        origin=(),
        note=f"{x.shape} -> {y.shape}, {size}",
        reads=(x,) if added is None else (x, added),
        writes=(y,),
        body=Call(function, tuple(operands), structs, numbers, groups, weights.before).body,
        arrays=(weights.array, Array("bias", biases, "float32")),
        scratch=weights.scratch,
        overlap={x.buffer: overlap} if apart else {},
    )


def _kernel(
    kernels: Kernels, windows: Windows, outputs: int
) -> tuple[Tile, str, Callable[[NDArray[Any]], NDArray[Any]]]:
    """The tile, the function, and how it wants its weights (…, O)."""
    if kernels.outputs > 1:
        tile = wide_tile(kernels, windows.rows, outputs)
        return tile, "ecm_conv_f32_wide", lambda w: vectors_of(w, tile.outputs)
    sizes = (windows.rows, outputs, windows.products, windows.segment)
    tile = best_tile(kernels, *sizes, kernels.accumulators, ordered=True)
    return tile, "ecm_conv_f32", lambda w: blocks(w, tile.outputs)


def _half_layer(kernels: Kernels, layer: Weighted, windows: Windows, outputs: Indices) -> Layer:
    """ecm_dense_half: weights that are used once are not expanded first."""
    x, y = layer.x, layer.y
    count, total = layer.weights.shape[1:]
    tile = best_tile(Kernels(), 1, total, count, count, kernels.accumulators)
    packed = blocks(layer.weights[0], tile.outputs).astype(np.float32)
    biases = blocks(layer.bias, tile.outputs).astype(np.float32)

    operands = (
        windows.operand(x),
        Operand("weights"),
        Operand("bias"),
        Operand(y, int(outputs[0, 0]) - y.offset),
    )
    call = Call("ecm_dense_half", operands, (layer.activation.struct,), (count, total, tile.outputs))
    return Layer(
        op="dense",
        origin=(),
        note=f"{x.shape} -> {y.shape}, {count} products",
        reads=(x,),
        writes=(y,),
        body=call.body,
        arrays=(Array("weights", packed, "float16"), Array("bias", biases, "float32")),
        overlap={x.buffer: overlap_along(windows, tile, outputs, total, ITEM_BYTES["float32"])},
    )
