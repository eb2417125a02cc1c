"""Conv with constant weights, in float32.

    y[t][o] = act(b[o] + sum over k, c of x[t * stride + k * dilation][c] * w[o][c][k])

Along one axis and over pictures it is a kernel (ecm_conv_f32.h, ecm_depthwise_f32.h), called for each row of a picture;
over more axes it is plain loops. A fully connected layer is a row with one window. Batch norm is folded into the
weights, cheap activations and the addition of a residual into the store.
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
    are_lines,
    best_lines,
    line_step,
    lines_of,
    overlap_along,
    row_step,
    windowed,
    windows_in,
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
    window = windows_in(node.attributes, w.shape[2:], x.shape)
    macs = prod(program.shapes[node.outputs[0]]) * prod(w.shape[1:])
    if window is None or w.kept is not None:
        x = floats(program, node.inputs[0], x)
        flat = weights.reshape(1, len(weights), -1).transpose(0, 2, 1)  # (1, C / groups K, O)
        emit_plain = axes.float_layer(node, x, w.shape, w.kept, wide=program.wide)
        add(program, step, x, flat, bias, w.stored if w.kept is None else KEPT, emit_plain, macs)
        return
    groups = node.attributes.get("group", 1)
    x, windows = windowed(program, node.inputs[0], floats(program, node.inputs[0], x), window, groups)
    ordered = in_window_order(weights, groups)
    alone = depthwise.float_kernel(window, windows, x) if groups > 1 and w.shape[1] == 1 else None
    if alone is not None:
        add(program, step, x, ordered, bias, w.stored, depthwise.float_layer(window, alone), macs)
        return

    def emit(layer: Weighted) -> Layer:
        return layer_of_rows(program.kernels, layer, windows, lines_of(layer.y.index))

    adds = windows.lines * windows.rows > 1 == groups
    add(program, step, x, ordered, bias, w.stored, emit, macs, adds=adds)


def in_window_order(weights: NDArray[Any], groups: int) -> NDArray[Any]:
    """Weights (O, C / groups, *K) as (groups, n, O / groups): tap by tap, the channels of each side by side."""
    taps = weights.reshape(groups, len(weights) // groups, weights.shape[1], -1)  # (groups, O, C, K)
    return taps.transpose(0, 3, 2, 1).reshape(groups, -1, len(weights) // groups)


def layer_of_rows(kernels: Kernels, layer: Weighted, windows: Windows, outputs: Indices) -> Layer:
    """ecm_conv_f32 or ecm_conv_f32_wide for every group and line.

    `outputs` (T, O) or (L, T, O) are the places of the results.
    """
    x, y, added = layer.x, layer.y, layer.added
    others = [] if added is None else [lines_of(added.index)]
    windows, (outputs, *others) = best_lines(windows, [outputs, *others])
    assert are_lines(outputs)  # noqa: S101 - they are new memory
    is_row = windows.lines == windows.rows == len(layer.weights) == 1 and windows.products == windows.segment
    if is_row and layer.stored == "float16":
        return _half_layer(kernels, layer, windows, outputs)
    groups, _, per_group = layer.weights.shape
    tile, function, order = _kernel(kernels, windows, per_group)
    packed = np.stack([order(w) for w in layer.weights]).astype(np.float32)
    biases = np.stack([order(b) for b in layer.bias.reshape(groups, -1)]).astype(np.float32)
    weights = stored(layer, packed, packed[0].size)
    operands = [
        windows.operand(x, windows.segment),
        weights.operand,
        Operand("bias", 0, biases[0].size),
        Operand(y, int(outputs.flat[0]) - y.offset, per_group, line_step=line_step(outputs)),
    ]
    numbers: tuple[int, ...] = ()
    if added is not None:
        function = f"{function}_add"
        operands.append(Operand(added, line_step=line_step(others[0])))
        numbers = (row_step(others[0][0]),)
    structs = (windows.struct(per_group, row_step(outputs[0])), tile, layer.activation.struct)
    apart = groups == 1 and (added is None or added.buffer != x.buffer)
    overlap = overlap_along(windows, tile, outputs, per_group, ITEM_BYTES["float32"])
    return Layer(
        op="conv",
        origin=(),
        note=f"{x.shape} -> {y.shape}, {windows.size}, tile {tile.rows} x {tile.outputs}",
        reads=(x,) if added is None else (x, added),
        writes=(y,),
        body=Call(function, tuple(operands), structs, numbers, groups, weights.before, windows.lines).body,
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
        Operand(y, int(outputs.flat[0]) - y.offset),
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
