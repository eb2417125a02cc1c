"""Weights that stay integers in flash, and what C makes of one: two a byte for 4 bits, scales for blocks of them.

Such weights are unpacked one by one, where a plain loop multiplies by them: no memory is needed for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array
from ecm_edge.forms.reference import rounding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.forms.reference.operators import Array as Values

KEPT = "integers"
"""How a layer's weights are stored that are described here."""

_NIBBLE = 4
_BYTE = 8


@dataclass(frozen=True, eq=False)
class KeptIntegers:
    """The constant (values - zeros) * scales.

    Args:
        values: as they are stored; of 4 bits and fewer 0 ... 15.
        bits: of one, in flash: 4, 8, 16 or 32.
        zeros: in as many axes, each of length 1, of that of `values`, or of its blocks.
        scales: float32, in the same shape.
        blocks: entries of each axis of `values` that share a zero and a scale.
    """

    values: NDArray[np.int64]
    bits: int
    zeros: NDArray[np.int64]
    scales: NDArray[np.float32]
    blocks: tuple[int, ...]

    @property
    def arrays(self) -> tuple[Array, ...]:
        """What lies in flash."""
        kept = [_packed(self.values) if self.bits == _NIBBLE else Array("weights", self.values, f"int{self.bits}")]
        if self.zeros.size > 1:
            kept.append(Array("zeros", self.zeros, f"int{max(_BYTE, self.bits)}"))
        if self.scales.size > 1:
            kept.append(Array("scales", self.scales, "float32"))
        return tuple(kept)

    @property
    def note(self) -> str:
        """What a comment says of the weights."""
        blocks = [each for each, length in zip(self.blocks, self.values.shape, strict=True) if 1 < each < length]
        return f"weights of {self.bits} bits" + "".join(f", blocks of {each}" for each in blocks)

    def integer(self, names: Names, indices: Sequence[str]) -> str:
        """C of one integer less its zero; `indices` are C expressions, one an axis."""
        place = _place(indices, self.values.shape)
        weights = names.constant("weights")
        stored = f"ecm_nibble({weights}, {place})" if self.bits == _NIBBLE else f"{weights}[{place}]"
        if self.zeros.size > 1:
            return f"({stored} - {names.constant('zeros')}[{self._shared(indices)}])"
        zero = int(self.zeros.item())
        return f"({stored} - {zero})" if zero else stored

    def real(self, names: Names, indices: Sequence[str]) -> str:
        """C of the value of one, as a float."""
        scale = literals.float_literal(float(self.scales.flat[0]))
        if self.scales.size > 1:
            scale = f"{names.constant('scales')}[{self._shared(indices)}]"
        return f"(float){self.integer(names, indices)} * {scale}"

    def transposed(self, order: Sequence[int]) -> KeptIntegers:
        """The same with its axes in another order."""
        values, zeros = (each.transpose(order) for each in (self.values, self.zeros))
        blocks = tuple(self.blocks[axis] for axis in order)
        return replace(self, values=values, zeros=zeros, scales=self.scales.transpose(order), blocks=blocks)

    def by_rows(self, *, transposed: bool) -> KeptIntegers:
        """A matrix (n, O), or (O, n) if `transposed`, as the weights (O, n, 1) of a convolution of one tap."""
        rows = self if transposed else self.transposed((1, 0))
        values, zeros = (each[:, :, None] for each in (rows.values, rows.zeros))
        return replace(rows, values=values, zeros=zeros, scales=rows.scales[:, :, None], blocks=(*rows.blocks, 1))

    def _shared(self, indices: Sequence[str]) -> str:
        """C of the place of what a block shares."""
        shape = np.broadcast_shapes(self.zeros.shape, self.scales.shape)
        parts = [i if block == 1 else f"{i} / {block}" for i, block in zip(indices, self.blocks, strict=True)]
        return _place(parts, shape)


def kept_integers(q: Values, zero: Values | None, scale: Values, axis: int, block: int) -> KeptIntegers:
    """The weights of a DequantizeLinear of constants; of 2 bits they are kept as those of 4."""
    low, high = rounding.limits(q.dtype)
    bits = max(_NIBBLE, (high - low).bit_length())
    first = low if bits == _NIBBLE else low + 2 ** (bits - 1)  # of what is stored 0, or the sign's middle
    values = q.astype(np.int64) - first
    spread, blocks = _spread(scale, q.ndim, q.shape, axis, block)
    zeros = np.full(1, -first) if zero is None else zero.astype(np.int64) - first
    zeros, _ = _spread(zeros, q.ndim, q.shape, axis, block)
    own = values - _over(zeros, q.shape, blocks)
    limit = 2 ** (bits - 1)
    if bits > _NIBBLE and -limit <= own.min(initial=0) and own.max(initial=0) < limit:
        values, zeros = own, np.zeros((1,) * q.ndim, np.int64)
    elif zeros.size > 1 and (zeros == zeros.flat[0]).all():
        zeros = zeros.reshape(-1)[:1].reshape((1,) * q.ndim)
    return KeptIntegers(values, bits, zeros, spread.astype(np.float32), blocks)


def _spread(
    given: NDArray[Any], rank: int, shape: tuple[int, ...], axis: int, block: int
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """One value a tensor, a channel or a block in `rank` axes, and how many entries of each axis share one."""
    if given.size == 1:
        return given.reshape((1,) * rank), tuple(1 for _ in shape)
    if block:
        return given, tuple(block if each == axis % rank else 1 for each in range(rank))
    return given.reshape([-1 if each == axis % rank else 1 for each in range(rank)]), tuple(1 for _ in shape)


def _over(shared: NDArray[Any], shape: tuple[int, ...], blocks: tuple[int, ...]) -> NDArray[Any]:
    """What blocks share, for every entry."""
    for axis, block in enumerate(blocks):
        if block > 1 and shared.shape[axis] > 1:
            shared = np.repeat(shared, block, axis).take(range(shape[axis]), axis)
    return np.broadcast_to(shared, shape)


def _packed(values: NDArray[np.int64]) -> Array:
    """Two a byte, the first in the lower half."""
    flat = values.reshape(-1)
    even = np.append(flat, 0) if flat.size % 2 else flat
    return Array("weights", even[::2] | even[1::2] << _NIBBLE, "uint8")


def _place(indices: Sequence[str], shape: Sequence[int]) -> str:
    """C of an element's place in a row-major array; axes of length 1 do not count."""
    terms = []
    for axis, (index, length) in enumerate(zip(indices, shape, strict=True)):
        step = prod(shape[axis + 1 :])
        if length > 1:
            terms.append(index if step == 1 else f"{index} * {step}")
    return " + ".join(terms) or "0"
