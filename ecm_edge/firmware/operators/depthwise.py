"""Depthwise convolutions, every channel by itself: in float32 and on integers, along time and over pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Array, Layer, Overlap
from ecm_edge.firmware.operators.calls import Call, Operand, Struct, Tile
from ecm_edge.firmware.operators.sums import Sums, finish
from ecm_edge.firmware.operators.weighted import Weighted, stored
from ecm_edge.firmware.operators.windows import (
    Along,
    Over,
    Windows,
    line_step,
    lines_of,
    overlap_along,
    row_step,
)
from ecm_edge.firmware.tensors import ITEM_BYTES, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Indices
    from ecm_edge.forms.reference.node import Step
    from ecm_edge.targets.kernels import Kernels

DEPTHWISE_ROWS = DEPTHWISE_TAPS = 16  # most of a tile: ECM_DEPTHWISE_ROWS, ECM_DEPTHWISE_TAPS
DEPTHWISE_LINES, DEPTHWISE_REPEATS = 4, 31  # most of the packed kernel: ECM_DEPTHWISE_LINES, ECM_DEPTHWISE_REPEATS
_ROWS = 8  # of a tile of the plain kernels; more would not fit beside taps and samples
_UNROLL = 16
_REGISTERS = 30  # for sums and taps
_BESIDE, _BESIDE_PACKED = 3, 14  # registers for sums and taps besides those of the int8 kernels' sums
_SPAN = 80  # samples under a tile, which are straight code
_OVERHEAD = 8  # instructions a channel costs besides
_LINE = 3  # instructions that a line of taps costs besides
_REQUANTISE = 10  # instructions from a sum on integers to a stored result


@dataclass(frozen=True)
class Way:
    """How a kernel goes through a layer: along rows on one axis, and again for each tap on the other.

    Args:
        along: the axis of the rows, whose taps lie in registers.
        windows: lines of rows of one channel; `time_step` is from one entry of the axis to the next.
        repeats: taps on the other axis behind the first.
        repeat_step: from one of those to the next.
        turned: whether the rows go down a picture.
    """

    along: Along
    windows: Windows
    repeats: int = 0
    repeat_step: int = 0
    turned: bool = False

    @property
    def tap_step(self) -> int:
        """Elements from one tap to the next."""
        return self.along.dilation * self.windows.time_step

    def weights(self, values: NDArray[Any], over: Along | Over) -> NDArray[Any]:
        """Weights (groups, K, multiplier) as the kernels read them: (O, K)."""
        flat = values.transpose(0, 2, 1)  # (groups, multiplier, K)
        if self.turned and isinstance(over, Over):
            shape = (*flat.shape[:2], over.down.taps, over.across.taps)
            flat = flat.reshape(shape).swapaxes(2, 3)
        return flat.reshape(-1, (self.repeats + 1) * self.along.taps)

    def places(self, y: Tensor) -> Indices:
        """Places (L, T, O) of a result."""
        lines = lines_of(y.index)
        return lines.swapaxes(0, 1) if self.turned else lines

    def struct(self, y: Tensor, multiplier: int) -> Struct:
        """The kernels' argument."""
        members = {
            "rows": self.windows.rows,
            "stride": self.along.stride,
            "taps": self.along.taps,
            "dilation": self.along.dilation,
            "time_step": self.windows.time_step,
            "outputs": y.shape[1],
            "multiplier": multiplier,
            "y_step": row_step(self.places(y)[0]),
        }
        again = {"repeats": self.repeats, "repeat_step": self.repeat_step} if self.repeats else {}
        return Struct("channels", members | again)

    def overlap(self, x: Tensor, y: Tensor, tile: Tile, item_bytes: int, together: int = 1) -> Overlap:
        """The kernels go channel by channel: every window is read again and again until its row is done.

        `together` is how many lines are computed together.
        """
        lines, line = self.windows.lines // together, self.windows.line_step
        whole = replace(
            self.windows,
            segments=self.along.taps,
            segment=x.shape[1],
            segment_step=self.tap_step,
            repeats=self.repeats,
            repeat_step=self.repeat_step,
            lines=lines,
            line_step=line * together,
        )
        if together > 1:
            whole = replace(whole, repeats=whole.repeats + (together - 1) * line // self.repeat_step)
        places = self.places(y).reshape(lines, together, self.windows.rows, -1).swapaxes(1, 2)
        rows = places.reshape(lines, self.windows.rows, -1)
        return overlap_along(whole, Tile(tile.rows, 1, 1), rows, 1, item_bytes, reads_again=2)


def ways(over: Along | Over, windows: Windows, x: Tensor) -> list[Way]:
    """How a kernel may go through a layer whose input is x."""
    if isinstance(over, Along):
        return [Way(over, windows)]
    line, step = (x.strides or ())[2:]
    across, down = over.across, over.down
    return [
        Way(across, replace(windows, time_step=step), down.taps - 1, down.dilation * line),
        Way(down, replace(windows.turned, time_step=line), across.taps - 1, across.dilation * step, turned=True),
    ]


@dataclass(frozen=True)
class Kernel:
    """A kernel, ready for a layer; the packed one computes `together` lines at once."""

    function: str
    way: Way
    tile: Tile
    together: int = 1

    def numbers(self, y: Tensor) -> tuple[int, ...]:
        """The arguments of the packed kernel between pointers and structs."""
        if not self.function.endswith("packed"):
            return ()
        return (self.together, self.way.windows.line_step, line_step(self.way.places(y)))

    def call(self, x: Tensor, y: Tensor, operands: tuple[Operand, ...], structs: tuple[Struct, ...]) -> Call:
        """Its call for every line, or for as many as it takes at once."""
        windows, places = self.way.windows, self.way.places(y)
        first = replace(windows.operand(x), line_step=windows.line_step * self.together)
        result = Operand(y, int(places.flat[0]) - y.offset, line_step=line_step(places) * self.together)
        pointers = (first, *operands, result)
        shape, *others = structs
        lines = windows.lines // self.together
        return Call(self.function, pointers, (shape, self.tile, *others), self.numbers(y), lines=lines)


def float_kernel(over: Along | Over, windows: Windows, x: Tensor) -> Kernel | None:
    """ecm_depthwise_f32_once or _lines where rows and taps fit the registers; ecm_depthwise_f32 along time.

    None where neither can do it.
    """
    possible = [(cost, way, rows) for way in ways(over, windows, x) for cost, rows in _at_once(way, _REGISTERS)]
    if possible:
        _, way, rows = min(possible, key=lambda each: each[0])
        name = "ecm_depthwise_f32_lines" if isinstance(over, Over) else "ecm_depthwise_f32_once"
        return Kernel(name, way, Tile(rows, 1, 1))
    return _of_any_length("ecm_depthwise_f32", over, windows, x)


def _of_any_length(function: str, over: Along | Over, windows: Windows, x: Tensor) -> Kernel | None:
    """The kernel for any number of taps, which lie on one axis."""
    along = [way for way in ways(over, windows, x) if not way.repeats]
    return Kernel(function, along[0], _tile(along[0].along)) if along else None


def float_layer(over: Along | Over, kernel: Kernel) -> Callable[[Weighted], Layer]:
    """The layer of a kernel in float32."""

    def emit(layer: Weighted) -> Layer:
        x, y = layer.x, layer.y
        weights = stored(layer, kernel.way.weights(layer.weights, over).astype(np.float32))
        structs = (kernel.way.struct(y, layer.weights.shape[2]), layer.activation.struct)
        call = kernel.call(x, y, (weights.operand, Operand("bias")), structs)
        return Layer(
            op="depthwise",
            origin=(),
            note=f"{x.shape} -> {y.shape}, depthwise, {layer.weights.shape[1]} taps",
            reads=(x,),
            writes=(y,),
            body=replace(call, before=weights.before).body,
            arrays=(weights.array, Array("bias", layer.bias.astype(np.float32), "float32")),
            scratch=weights.scratch,
            overlap={x.buffer: kernel.way.overlap(x, y, kernel.tile, ITEM_BYTES["float32"])},
        )

    return emit


def kernel_i8(kernels: Kernels, over: Along | Over, windows: Windows, x: Tensor, multiplier: int) -> Kernel | None:
    """ecm_depthwise_i8 or _dual along time, _lines or _packed over a picture; None where none can do it."""
    if isinstance(over, Along):
        way, tile = Way(over, windows), _tile(over)
        if kernels.int8 == "dual" and multiplier == 1 and _is_even(way, x):
            rows = min(max(1, kernels.int8_accumulators // 2), over.rows)
            return Kernel("ecm_depthwise_i8_dual", way, replace(tile, rows=rows))
        return Kernel("ecm_depthwise_i8", way, tile)
    several = ways(over, windows, x)
    if kernels.int8 == "packed":
        packed = [each for way in several for each in _packed(way, kernels.int8_accumulators)]
        if packed:
            _, way, rows, together = min(packed, key=lambda each: each[0])
            return Kernel("ecm_depthwise_i8_packed", way, Tile(rows, 1, 1), together)
    registers = kernels.int8_accumulators + _BESIDE
    possible = [(cost, way, rows) for way in several for cost, rows in _at_once(way, registers, 2, _REQUANTISE)]
    if possible:
        _, way, rows = min(possible, key=lambda each: each[0])
        return Kernel("ecm_depthwise_i8_lines", way, Tile(rows, 1, 1))
    return _of_any_length("ecm_depthwise_i8", over, windows, x)


def _is_even(way: Way, x: Tensor) -> bool:
    """Whether channels lie in pairs at even places."""
    windows = way.windows
    return not any(step % 2 for step in (x.shape[1], windows.time_step, windows.first, windows.line_step))


def channel_pairs(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights (O, K) of the dual kernel: [O / 2][K][2]."""
    return weights.reshape(-1, 2, weights.shape[1]).swapaxes(1, 2)


def append_i8(
    program: Program,
    step: Step,
    x: Tensor,
    y: Tensor,
    over: Along | Over,
    kernel: Kernel,
    sums: Sums,
    macs: int,
) -> None:
    """The layer of a kernel on integers."""
    way, is_dual = kernel.way, kernel.function.endswith("dual")
    weights = way.weights(sums.weights, over)
    call = kernel.call(
        x,
        y,
        (Operand("weights"), Operand("bias"), Operand("factor")),
        (way.struct(y, sums.weights.shape[2]), sums.struct),
    )
    layer = Layer(
        op="",
        origin=(),
        note=f"{x.shape} -> {y.shape}, int8, depthwise, {sums.weights.shape[1]} taps",
        reads=(x,),
        writes=(y,),
        body=call.body,
        arrays=sums.arrays(
            Array("weights", channel_pairs(weights), "int16") if is_dual else Array("weights", weights, "int8")
        ),
        overlap={x.buffer: way.overlap(x, y, kernel.tile, program.stored_bytes, kernel.together)},
        macs=macs,
    )
    finish(program, step, layer, y)


def _tile(along: Along) -> Tile:
    unroll = max(u for u in range(1, _UNROLL + 1) if along.taps % u == 0)
    return Tile(min(_ROWS, along.rows), 1, unroll)


def _at_once(way: Way, registers: int, product: int = 1, stored: int = 2) -> list[tuple[int, int]]:
    """(cost, rows) of the tiles of a kernel that loads every sample once, and keeps sums and taps in registers.

    A product takes `product` instructions, and a sum `stored` until it is kept. A last tile that does not fill up
    computes some answers twice. Empty where nothing fits.
    """
    along = way.along

    def cost(rows: int) -> int:
        line = _samples(along, rows) + product * rows * along.taps + along.taps + (_LINE if way.repeats else 0)
        tile = (way.repeats + 1) * line + stored * rows + _OVERHEAD
        return way.windows.lines * -(-along.rows // rows) * tile

    def fits(rows: int) -> bool:
        return rows + along.taps <= registers and _span(along, rows) <= _SPAN

    if not _is_straight(way):
        return []
    return [(cost(rows), rows) for rows in range(1, min(along.rows, DEPTHWISE_ROWS) + 1) if fits(rows)]


def _is_straight(way: Way) -> bool:
    """Whether the taps are few enough for straight code."""
    return way.along.taps <= DEPTHWISE_TAPS and way.repeats <= DEPTHWISE_REPEATS


def _samples(along: Along, rows: int) -> int:
    """Samples under the windows of so many rows."""
    return len({r * along.stride + k * along.dilation for r in range(rows) for k in range(along.taps)})


def _span(along: Along, rows: int) -> int:
    """Entries of an axis from the first of those samples to the last."""
    return (rows - 1) * along.stride + (along.taps - 1) * along.dilation + 1


def _packed(way: Way, accumulators: int) -> list[tuple[int, Way, int, int]]:
    """(cost, way, rows, lines together) of the tiles of ecm_depthwise_i8_packed; empty where nothing fits."""
    along, windows = way.along, way.windows
    if not _is_straight(way):
        return []

    def turns(together: int) -> int:
        """Lines of the input under the windows."""
        return way.repeats + 1 + ((together - 1) * windows.line_step // way.repeat_step if together > 1 else 0)

    def cost(rows: int, together: int) -> int:
        half = (rows + 1) // 2
        words = 4 * _samples(along, half) - (2 * along.stride if rows % 2 else 0)
        products = 2 * together * half * along.taps * (way.repeats + 1)
        taps = (way.repeats + 1) * along.taps
        tile = turns(together) * words + products + taps + _REQUANTISE * rows * together + 3 * half * together
        return windows.lines // together * -(-along.rows // rows) * (tile + _OVERHEAD)

    def fits(rows: int, together: int) -> bool:
        sums, kept = together * (rows + 1) // 2, along.taps * (way.repeats + 1 if together > 1 else 1)
        return sums + kept <= accumulators + _BESIDE_PACKED and _span(along, rows) <= _SPAN

    def may(together: int) -> bool:
        """Whether so many lines share the lines of the input."""
        line = windows.line_step
        shares = together == 1 or (way.repeats > 0 and line % way.repeat_step == 0)
        return shares and windows.lines % together == 0

    return [
        (cost(rows, together), way, rows, together)
        for together in range(1, DEPTHWISE_LINES + 1)
        if may(together)
        for rows in range(1, min(along.rows, DEPTHWISE_ROWS) + 1)
        if fits(rows, together)
    ]
