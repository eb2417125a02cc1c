"""Windows along time, as the fast kernels see them: rows, segments and steps; and how large a tile should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Overlap
from ecm_edge.firmware.program import Room, distance_above, distance_below
from ecm_edge.forms.reference.operators.windows import geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.tensors import Indices, Tensor
    from ecm_edge.targets.kernels import Kernels

_MOST = 16  # rows or outputs of a tile: ECM_TILE
_SUMS_IN_FLIGHT = 8  # two multiply-adds a cycle, each ready after four
_MOST_VECTORS = 3  # ECM_WIDE_VECTORS
_MOST_WIDE_ROWS = 12  # ECM_WIDE_ROWS
_MOST_PACKED = 24  # outputs of a packed tile
_REQUANTISE = 11  # instructions from a sum to a stored result
_STRAIGHT_PRODUCTS = 8  # of so few the compiler makes no loop,
_STRAIGHT_SUMS = 16  # and then more sums than these leave no registers for weights
_TILE_OVERHEAD = 30  # instructions a tile costs besides its sums
_UNROLLED_PRODUCTS = 100  # a loop body of so many products hides what the loop costs
_ORDERED_PRODUCTS = 400  # straight code pays where a kernel keeps its loads in order


@dataclass(frozen=True)
class Along:
    """A convolution or pooling along one axis: kernel K, stride, dilation, padding, and which spatial axis it is."""

    axis: int
    taps: int
    stride: int
    dilation: int
    margin: Room
    rows: int

    def room(self, channels: int, groups: int, *, dual: bool) -> Room:
        """What a layer of it wants of its input; the dual kernel's windows and taps have to begin at even elements."""
        odd = channels % 2 == 1 and (self.stride % 2 == 1 or self.dilation > 1)
        return replace(self.margin, even=dual and groups == 1 and odd)


def along_time(attributes: Mapping[str, Any], kernel: Sequence[int], shape: Sequence[int]) -> Along | None:
    """The one spatial axis (N, C, *S) that a window runs along; None where there are several.

    Other spatial axes may be there if they are of length 1 and the kernel leaves them so, and the batch is one.
    """
    if shape[0] != 1:
        return None
    found = geometry(attributes, tuple(kernel), tuple(shape[2:]))
    lengths = shape[2:]
    several = [
        axis
        for axis, (length, taps, pads) in enumerate(zip(lengths, found.kernel, found.pads, strict=True))
        if (length, taps, pads) != (1, 1, (0, 0))
    ]
    if len(several) > 1 or any(found.extra):
        return None
    axis = several[0] if several else 0
    before, after = found.pads[axis]
    reach = (found.kernel[axis] - 1) * found.dilations[axis] + 1
    rows = (lengths[axis] + before + after - reach) // found.strides[axis] + 1
    return Along(axis + 2, found.kernel[axis], found.strides[axis], found.dilations[axis], Room(before, after), rows)


@dataclass(frozen=True)
class Rows:
    """What a kernel is told of its input: where the first window begins and how to go on, in elements.

    `step` is from one time step to the next.
    """

    first: int
    rows: int
    x_step: int
    segments: int
    segment: int
    segment_step: int
    step: int


def rows_of(x: Tensor, along: Along) -> Rows | None:
    """The windows of a channels-last tensor with its margin; None where channels do not lie side by side."""
    line = time_by_channels(x.index, along.axis)
    steps, channels = line.shape
    stride = int(line[1, 0] - line[0, 0]) if steps > 1 else channels
    grid = line[0, 0] + np.arange(steps)[:, None] * stride + np.arange(channels)
    if not np.array_equal(grid, line):
        return None
    first = int(line[0, 0]) - along.margin.before * stride
    whole = stride == channels and along.dilation == 1
    segments, segment = (1, along.taps * channels) if whole else (along.taps, channels)
    return Rows(first, along.rows, along.stride * stride, segments, segment, along.dilation * stride, stride)


def row_step(places: Indices) -> int:
    """Elements from one row to the next of places (T, O); of one row, how many it has."""
    return int(places[1, 0] - places[0, 0]) if len(places) > 1 else places.shape[1]


def windows_said(rows: Rows, outputs: int, y_step: int) -> str:
    """The arguments that every kernel along time takes first, a line each with their names."""
    return (
        f"    {rows.rows}, {rows.x_step}, /* rows, x_step */\n"
        f"    {rows.segments}, {rows.segment}, {rows.segment_step}, /* segments, segment, segment_step */\n"
        f"    {outputs}, {y_step}, /* outputs, y_step */\n"
    )


def time_by_channels(index: Indices, axis: int) -> Indices:
    """Indices (T, C) of a tensor (1, C, *S) whose spatial axes but `axis` have length 1."""
    return np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)


@dataclass(frozen=True)
class Tile:
    """Rows and outputs computed together, and products of a sum that one turn of the loop takes."""

    rows: int
    outputs: int
    unroll: int


def best_tile(
    kernels: Kernels, rows: int, outputs: int, products: int, segment: int, accumulators: int, *, ordered: bool = False
) -> Tile:
    """The tile with the fewest instructions: a sum's products, the loads they share, and what a tile costs besides.

    A last tile that does not fill up is moved back and computes some answers twice, which counts. `ordered` is a kernel
    whose loads the compiler may not move, so that straight code needs no more registers than a loop.
    """
    width = kernels.outputs if outputs >= kernels.outputs else 1
    most = _ORDERED_PRODUCTS if ordered else _UNROLLED_PRODUCTS
    straight = 0 if ordered else _STRAIGHT_PRODUCTS

    def cost(size: tuple[int, int]) -> float:
        r, c = size
        vectors = -(-c // width)
        tiles = -(-rows // r) * -(-outputs // c)
        turns = products * (r * vectors + r + vectors) + 3 * products / _unroll(segment, r * vectors, most)
        spilled = r * vectors * products / 4 if products <= straight and r * vectors > _STRAIGHT_SUMS else 0
        return tiles * (turns + spilled + 3 * r * vectors + _TILE_OVERHEAD)

    sizes = [
        (r, c)
        for r in range(1, min(rows, _MOST) + 1)
        for c in range(width, min(outputs, _MOST) + 1, width)
        if r * -(-c // width) <= accumulators
    ]
    r, c = min(sizes, key=cost)
    return Tile(r, c, _unroll(segment, r * -(-c // width), most))


def packed_tile(rows: int, outputs: int, products: int, segment: int, accumulators: int, lanes: int) -> Tile:
    """The tile of the kernel with `lanes` sums in a word; a last word that does not fill up is padded."""

    def cost(size: tuple[int, int]) -> float:
        r, vectors = size
        blocks_ = -(-outputs // (vectors * lanes))
        turns = products * (2 * r * vectors + r + vectors) + 3 * products / _unroll(segment, 2 * r * vectors)
        stored = _REQUANTISE * r * outputs / blocks_
        return -(-rows // r) * blocks_ * (turns + stored + _TILE_OVERHEAD)

    most = -(-outputs // lanes)
    sizes = [
        (r, v)
        for r in range(1, min(rows, _MOST) + 1)
        for v in range(1, min(most, _MOST_PACKED // lanes) + 1)
        if r * v <= accumulators
    ]
    r, v = min(sizes, key=cost)
    return Tile(r, v * lanes, _unroll(segment, 2 * r * v))


def wide_tile(kernels: Kernels, rows: int, outputs: int) -> Tile:
    """The tile of the kernel with vectors of outputs: as many vectors as there are outputs for, then as many rows."""
    vectors = min(_MOST_VECTORS, -(-outputs // kernels.outputs))
    most = max(1, min(rows, kernels.accumulators // vectors, _MOST_WIDE_ROWS))

    def slots(r: int) -> int:
        """Issue slots of one product of every sum: multiply-adds, loads, or what hides the multiply-add's latency."""
        return -(-rows // r) * max(r * vectors, r + vectors, _SUMS_IN_FLIGHT)

    return Tile(min(range(1, most + 1), key=lambda r: (slots(r), -r)), vectors * kernels.outputs, 1)


def vectors_of(weights: NDArray[Any], outputs: int) -> NDArray[Any]:
    """Weights (…, O) as the wide kernel reads them: [block][…][outputs], 0 where there is no output.

    >>> vectors_of(np.arange(1, 7).reshape(2, 3), 2).tolist()
    [[[1, 2], [4, 5]], [[3, 0], [6, 0]]]
    """
    total = weights.shape[-1]
    padded = np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, -total % outputs)])
    return np.stack(np.split(padded, padded.shape[-1] // outputs, axis=-1))


def _unroll(segment: int, sums: int, products: int = _UNROLLED_PRODUCTS) -> int:
    """The largest divisor of a segment that keeps the loop's body below so many products; at least 1."""
    most = max(1, products // sums)
    return max(divisor for divisor in range(1, min(segment, most) + 1) if segment % divisor == 0)


def blocks(weights: NDArray[Any], outputs: int) -> NDArray[Any]:
    """Weights (n, O) as the kernels read them: [block][n][outputs]; the last block ends at the last output.

    >>> blocks(np.arange(6).reshape(2, 3), 2).tolist()
    [[[0, 1], [3, 4]], [[1, 2], [4, 5]]]
    """
    total = weights.shape[-1]
    starts = [min(start, total - outputs) for start in range(0, total, outputs)]
    return np.stack([weights[..., start : start + outputs] for start in starts])


def overlap_along(
    rows: Rows, tile: Tile, outputs: Indices, per_group: int, item_bytes: int, reads_again: int = 1
) -> Overlap:
    """How the output of a kernel along time may lie over its input.

    Args:
        rows: the windows.
        tile: what the kernel computes together.
        outputs: (T, O) places of the results in their buffer.
        per_group: outputs of one group; a tile's blocks of outputs follow each other.
        item_bytes: of an element of both.
        reads_again: how often at least a tile's input is read before it is done with.
    """
    times = max(reads_again, -(-per_group // tile.outputs))
    forward = np.repeat([min(row, rows.rows - tile.rows) for row in range(0, rows.rows, tile.rows)], times)
    backward = rows.rows - tile.rows - forward  # as ecm_tile_row takes them
    width = (rows.segments - 1) * rows.segment_step + rows.segment
    last = (tile.rows - 1) * rows.x_step + width
    below = distance_below(
        (outputs[forward + tile.rows - 1].max(1) + 1) * item_bytes, (rows.first + forward * rows.x_step) * item_bytes
    )
    above = distance_above(
        outputs[backward].min(1) * item_bytes, (rows.first + backward * rows.x_step + last) * item_bytes
    )
    return Overlap(below, above)
