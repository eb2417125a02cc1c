"""How many rows and outputs a kernel computes together, and the order in which it then reads its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.operators.calls import Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.targets.kernels import Kernels

TILE = 16  # most rows or outputs of a tile: ECM_TILE, ECM_TILE_I8
TILE_PACKED = 24  # most outputs of a packed tile: ECM_TILE_PACKED
WIDE_ROWS, WIDE_VECTORS = 12, 3  # most of a wide tile: ECM_WIDE_ROWS, ECM_WIDE_VECTORS
_SUMS_IN_FLIGHT = 8  # two multiply-adds a cycle, each ready after four
_REQUANTISE = 11  # instructions from a sum to a stored result
_STRAIGHT_PRODUCTS = 8  # of so few the compiler makes no loop,
_STRAIGHT_SUMS = 16  # and then more sums than these leave no registers for weights
_TILE_OVERHEAD = 30  # instructions a tile costs besides its sums
_UNROLLED_PRODUCTS = 100  # a loop body of so many products hides what the loop costs
_ROW_OF_WEIGHTS = 6  # registers for weights beside as many sums as a core's accumulators
_ORDERED_PRODUCTS = 400  # straight code pays where a kernel keeps its loads in order


def best_tile(
    kernels: Kernels, rows: int, outputs: int, products: int, segment: int, accumulators: int, *, ordered: bool = False
) -> Tile:
    """The tile with the fewest instructions: a sum's products, the loads they share, and what a tile costs besides.

    A last tile that does not fill up is moved back and computes some answers twice, which counts. `ordered` is a kernel
    whose loads the compiler may not move, so that straight code needs no more registers than a loop: sums, the weights
    that its rows share, and one sample.
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

    def fits(r: int, c: int) -> bool:
        vectors = -(-c // width)
        shared = vectors if ordered and r > 1 else 0
        return r * vectors <= accumulators and r * vectors + shared <= accumulators + _ROW_OF_WEIGHTS

    sizes = [
        (r, c) for r in range(1, min(rows, TILE) + 1) for c in range(width, min(outputs, TILE) + 1, width) if fits(r, c)
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
        for r in range(1, min(rows, TILE) + 1)
        for v in range(1, min(most, TILE_PACKED // lanes) + 1)
        if r * v <= accumulators
    ]
    r, v = min(sizes, key=cost)
    return Tile(r, v * lanes, _unroll(segment, 2 * r * v))


def wide_tile(kernels: Kernels, rows: int, outputs: int) -> Tile:
    """The tile of the kernel with vectors of outputs: as many vectors as there are outputs for, then as many rows."""
    vectors = min(WIDE_VECTORS, -(-outputs // kernels.outputs))
    most = max(1, min(rows, kernels.accumulators // vectors, WIDE_ROWS))

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
