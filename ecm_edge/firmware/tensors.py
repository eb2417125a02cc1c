"""Tensors as generated code sees them: a view of a buffer, by the place of every element.

N = 1 throughout: one segment. A view holds, in the shape of the ONNX tensor, the index of each element in its buffer.
Transpose, Slice, Reshape and their like then change the view and move nothing, and a layout (time-major here) is just
another order of indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Place = Literal["arena", "samples", "scores"]
DType = Literal["float32", "int8", "uint8", "int16"]
"""How elements lie in a buffer; uint8 only in a caller's own bytes."""
Indices = NDArray[np.int64]

ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4}


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of `size` elements; in the arena, or the caller's samples or scores."""

    size: int
    dtype: DType
    place: Place = "arena"

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return self.size * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Quant:
    """The value of a stored integer q: (q - zero_point) * scale, in float32; q lies within low ... high."""

    scale: float
    zero_point: int
    low: int = -128
    high: int = 127

    @property
    def fits_int8(self) -> bool:
        """Whether the integers are kept as those of 8 bits are."""
        return self.low >= -128 and self.high <= 127  # noqa: PLR2004 - the range of int8

    @property
    def most(self) -> int:
        """What q - zero_point is at most, whatever its sign."""
        return self.high - self.low


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view: `index` has the ONNX shape. With `quant` the stored integers stand for real values.

    `shift` is what was taken off the ONNX integers to store them: 128 for uint8, which is kept as int8, and 32,768 for
    uint16, which is kept as int16.
    """

    buffer: Buffer
    index: Indices
    quant: Quant | None = None
    shift: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape of one segment."""
        return self.index.shape

    @property
    def size(self) -> int:
        """How many elements."""
        return self.index.size

    @cached_property
    def strides(self) -> tuple[int, ...] | None:
        """Elements from one entry of each axis to the next (0 for axes of 1); None where the view is not regular."""
        return strides_of(self.index)

    @property
    def offset(self) -> int:
        """The first element's index."""
        return int(self.index.flat[0])


def strides_of(index: Indices) -> tuple[int, ...] | None:
    """The strides of an index array, or None where no strides describe it."""
    origin = index.flat[0]
    strides = [
        int(index.take(1, axis).flat[0] - origin) if length > 1 else 0 for axis, length in enumerate(index.shape)
    ]
    grid = np.full(index.shape, origin)
    for axis, (length, stride) in enumerate(zip(index.shape, strides, strict=True)):
        grid = grid + (np.arange(length) * stride).reshape(-1, *(1,) * (index.ndim - axis - 1))
    return tuple(strides) if np.array_equal(grid, index) else None


def dense(shape: Sequence[int], order: Sequence[int] | None = None, multiple: int = 1) -> Indices:
    """Indices of a new buffer whose axes vary in `order`, the last one fastest and rounded up to `multiple` entries.

    >>> dense((1, 2, 3), (0, 2, 1)).tolist()
    [[[0, 2, 4], [1, 3, 5]]]
    """
    axes = tuple(order) if order is not None else tuple(range(len(shape)))
    lengths = [shape[axis] for axis in axes]
    if lengths:
        lengths[-1] = -(-lengths[-1] // multiple) * multiple
    flat = np.arange(prod(lengths)).reshape(lengths)
    if lengths:
        flat = flat[..., : shape[axes[-1]]]
    return flat.transpose(np.argsort(axes)).astype(np.int64)


def channels_last(rank: int) -> tuple[int, ...]:
    """Batch, the spatial axes, then channels: time-major. Of two axes and fewer the order stays."""
    return tuple(range(rank)) if rank < 3 else (0, *range(2, rank), 1)  # noqa: PLR2004 - batch, channels, one spatial axis


def order_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The order of the axes of a regular view, slowest first; None for an irregular one."""
    if tensor.strides is None:
        return None
    spans = [stride if length > 1 else None for stride, length in zip(tensor.strides, tensor.shape, strict=True)]
    if any(span is not None and span <= 0 for span in spans):
        return None
    loose = [axis for axis, span in enumerate(spans) if span is None]
    tied = sorted((axis for axis, span in enumerate(spans) if span is not None), key=lambda axis: -(spans[axis] or 0))
    return (*loose, *tied)


def extent(index: Indices) -> int:
    """Elements of the buffer that a view needs."""
    return int(index.max(initial=-1)) + 1
