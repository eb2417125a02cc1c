"""Convolutions and products on integers: the plain kernel, or one for what the core is good at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.calls import Call, Operand, Tile
from ecm_edge.firmware.operators.sums import LOW, Sums, finish
from ecm_edge.firmware.operators.tiles import best_tile, blocks, packed_tile, vectors_of
from ecm_edge.firmware.operators.windows import Windows, best_lines, line_step, overlap_along, row_step
from ecm_edge.firmware.tensors import Buffer
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Indices, Tensor
    from ecm_edge.forms.reference.node import Step

_THREE_LANES = 2**20  # a sum below it fits one of three lanes
_MOST_PAIRS = 4  # that one turn of the dual kernel's loop takes


@dataclass(frozen=True, eq=False)
class Kernel:
    """One of the kernels, ready for a layer.

    Args:
        function: its C name.
        windows: as it reads them.
        tile: as it computes them.
        weights: (groups, …) as they are stored.
        dtype: their type.
        lanes: sums in a 64-bit word; 0 where weights are read as they are stored.
        words: memory for the weights in such words.
    """

    function: str
    windows: Windows
    tile: Tile
    weights: NDArray[np.int64]
    dtype: str = "int8"
    lanes: int = 0
    words: Buffer | None = None

    @property
    def operand(self) -> Operand:
        """Where the kernel reads its weights."""
        if self.words is None:
            return Operand("weights", 0, self.weights[0].size)
        return Operand(self.words, 0, self.weights[0].size // self.lanes, "uint64_t *")

    @property
    def before(self) -> Call | None:
        """The weights of all groups are packed before the first."""
        if self.words is None:
            return None
        words = Operand(self.words, cast="uint64_t *")
        numbers = (self.weights.size // self.lanes, self.lanes)
        return Call("ecm_pack_weights", (Operand("weights"), words), numbers=numbers)


def append(
    program: Program,
    step: Step,
    x: Tensor,
    y: Tensor,
    windows: Windows,
    sums: Sums,
    outputs: Indices,
    macs: int,
) -> None:
    """The layer of a group of nodes; `outputs` (T, O) or (L, T, O) are the places of the results."""
    # Above 40 lines: it is the description of one layer, a field a line.
    groups, _, per_group = sums.weights.shape
    windows, (outputs,) = best_lines(windows, [outputs])
    kernel = _kernel(program.kernels, windows, sums)
    tile = kernel.tile
    call = Call(
        function=kernel.function,
        operands=(
            kernel.windows.operand(x, kernel.windows.segment),
            kernel.operand,
            Operand("bias", 0, per_group),
            Operand("factor", 0, per_group * sums.factor_step),
            Operand(y, int(outputs.flat[0]) - y.offset, per_group, line_step=line_step(outputs)),
        ),
        structs=(kernel.windows.struct(per_group, row_step(outputs[0])), tile, sums.struct),
        numbers=(kernel.lanes,) if kernel.lanes else (),
        groups=groups,
        before=kernel.before,
        lines=windows.lines,
    )
    over = {}
    if groups == 1:
        over = {x.buffer: overlap_along(kernel.windows, tile, outputs, per_group, program.stored_bytes)}
    layer = Layer(
        op="",
        origin=(),
        note=f"{x.shape} -> {y.shape}, int8, {windows.size}, tile {tile.rows} x {tile.outputs}",
        reads=(x,),
        writes=(y,),
        body=call.body,
        arrays=sums.arrays(Array("weights", kernel.weights, kernel.dtype)),
        scratch=(kernel.words,) if kernel.words else (),
        overlap=over,
        macs=macs,
    )
    finish(program, step, layer, y)


def _kernel(kernels: Kernels, windows: Windows, sums: Sums) -> Kernel:
    _, products, per_group = sums.weights.shape
    limit = kernels.int8_accumulators
    again = windows.lines * windows.rows > 1  # whether the packed words are used more than once
    if kernels.int8 == "packed" and per_group > 1 and again:
        lanes = _lanes(sums)
        tile = packed_tile(windows.rows, per_group, products, windows.segment, limit, lanes)
        return _packed(windows, sums, tile, lanes)
    tile = best_tile(Kernels(), windows.rows, per_group, products, windows.segment, limit)
    dual = _dual(windows, sums, tile) if kernels.int8 == "dual" else None
    return dual or _plain(windows, sums, tile)


def _plain(windows: Windows, sums: Sums, tile: Tile) -> Kernel:
    return Kernel("ecm_conv_i8", windows, tile, np.stack([blocks(w, tile.outputs) for w in sums.weights]))


def _packed(windows: Windows, sums: Sums, tile: Tile, lanes: int) -> Kernel:
    packed = np.stack([vectors_of(w, tile.outputs) for w in sums.weights])
    words = Buffer(packed.size // lanes * 2, "float32")  # 8 bytes a word
    return Kernel("ecm_conv_i8_packed", windows, tile, packed, lanes=lanes, words=words)


def _lanes(sums: Sums) -> int:
    """How many sums a 64-bit word holds: three where none can leave 21 bits, else two."""
    largest = int(np.abs(sums.weights).sum(1).max(initial=0)) * -LOW
    return 3 if largest < _THREE_LANES else 2


def _dual(windows: Windows, sums: Sums, tile: Tile) -> Kernel | None:
    """ecm_conv_i8_dual; None where windows do not begin at even elements.

    Segments are made even by a weight of 0; steps longer than their channels get one for what lies between.
    """
    even, weights = _even(windows, sums.weights)
    steps = (
        even.x_step if even.rows > 1 else 0,
        even.segment_step if even.segments > 1 else 0,
        *(even.repeat_step, even.line_step, even.first),
    )
    if any(step % 2 for step in steps) or (len(weights) > 1 and windows.segment % 2):
        return None
    packed = np.stack([pairs(blocks(w, tile.outputs)) for w in weights])
    unroll = max(u for u in range(1, _MOST_PAIRS + 1) if even.segment // 2 % u == 0)
    return Kernel("ecm_conv_i8_dual", even, replace(tile, unroll=unroll), packed, "int16")


def _even(windows: Windows, weights: NDArray[np.int64]) -> tuple[Windows, NDArray[np.int64]]:
    """The same windows with segments of even length, and the weights (groups, n, O) that go with them."""
    more = windows.segment % 2
    split = weights.reshape(len(weights), -1, windows.segment, weights.shape[2])
    padded = np.pad(split, ((0, 0), (0, 0), (0, more), (0, 0))).reshape(len(weights), -1, weights.shape[2])
    even = replace(windows, segment=windows.segment + more)
    if even.segment == even.segment_step:  # the segments follow each other
        even = replace(even, segments=1, segment=even.segment * even.segments)
    return even, padded


def pairs(packed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Weights [block][n][outputs] in pairs along n: [block][n / 2][outputs][2]."""
    count, products, outputs = packed.shape
    return packed.reshape(count, products // 2, 2, outputs).transpose(0, 1, 3, 2)
