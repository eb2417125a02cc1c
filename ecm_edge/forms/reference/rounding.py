"""The two rounding rules, both to the nearest and then saturation. C code has to follow them to the bit.

Floats become integers with ties to even. Integers in another scale are multiplied by an integer and shifted, ties up:
that needs no floating point, and is the same on every core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ecm_edge.forms.onnx_model import Floats


def limits(dtype: DTypeLike) -> tuple[int, int]:
    """The smallest and the largest value of an integer type of 2, 4, 8, 16 or 32 bits.

    >>> limits(np.uint16), limits(np.int8)
    ((0, 65535), (-128, 127))

    Raises:
        ModelError: another type, as the floats of 8 bits.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if not name.lstrip("u").startswith("int"):
        raise ModelError("numbers are quantised to integers", name, "Quantise the model to int8.")
    bits = int(name.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def round_half_even(x: Floats) -> Floats:
    """The nearest integer as float32; a tie goes to the even one.

    >>> round_half_even(np.float32([-1.5, -0.5, 0.5, 1.5, 2.5])).tolist()
    [-2.0, -0.0, 0.0, 2.0, 2.0]
    """
    return np.rint(x)


def saturate(x: Floats, zero_point: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Rounded x (float32) plus `zero_point`, held within `dtype`'s range.

    Raises:
        ModelError: x holds a NaN.
    """
    if np.isnan(x).any():
        found = f"NaN in {int(np.isnan(x).sum())} of {x.size} values"
        raise ModelError("only numbers can be quantised", found, "Check the weights and the input.")
    low, high = (np.float32(limit - zero_point.astype(np.float32)) for limit in limits(dtype))
    return (np.clip(x, low, high).astype(np.int32) + zero_point.astype(np.int32)).astype(dtype)


def quantize(x: Floats, scale: Floats, zero_point: NDArray[Any]) -> NDArray[Any]:
    """QuantizeLinear, to the zero point's type: saturate(round(x / scale) + zero_point)."""
    return saturate(round_half_even(x / scale), zero_point, zero_point.dtype)


def dequantize(q: NDArray[Any], scale: Floats, zero_point: NDArray[Any]) -> Floats:
    """DequantizeLinear: float32(q - zero_point) * scale."""
    return centred(q, zero_point).astype(np.float32) * scale


def centred(q: NDArray[Any], zero_point: NDArray[Any]) -> NDArray[np.int32]:
    """The difference q - zero_point in int32.

    Raises:
        ModelError: integers of 32 bits whose difference has more.
    """
    difference = q.astype(np.int32) - zero_point.astype(np.int32)
    if q.dtype == np.int32 and (difference != q.astype(np.int64) - zero_point).any():
        raise ModelError("integers less their zero point fit int32", "larger ones", "Quantise the model again.")
    return difference


def multiplier(x_scale: Floats, w_scale: Floats, y_scale: Floats) -> Floats:
    """x_scale * w_scale / y_scale in float32, in that order."""
    factor: Floats = x_scale * w_scale / y_scale
    return factor


def fixed_point(
    factor: NDArray[np.floating[Any]], bits: int = 31, most_shift: int = 62
) -> tuple[NDArray[np.int64], int]:
    """Factors as integers of so many bits and a shift: factor = integer / 2^shift, as near as can be.

    The shift, 1 to `most_shift`, is the same for all factors of a layer, and lets the largest of them have all bits.

    >>> fixed_point(np.float32([0.5, 0.001]))
    (array([1073741824,    2147484]), 31)
    """
    most = (1 << bits) - 1
    shift = min(max(bits - int(np.frexp(np.float64(factor.max()))[1]), 1), most_shift)
    integers = np.minimum(np.rint(factor.astype(np.float64) * 2.0**shift), most).astype(np.int64)
    return integers, shift


def shifted(total: NDArray[np.int64], shift: int, zero_point: NDArray[Any]) -> NDArray[Any]:
    """saturate(round(total / 2^shift) + zero_point), a tie rounded up."""
    rounded = (total + (1 << (shift - 1))) >> shift
    low, high = limits(zero_point.dtype)
    saturated: NDArray[Any] = np.clip(rounded + zero_point.astype(np.int64), low, high).astype(zero_point.dtype)
    return saturated


def requantize(accumulator: NDArray[np.int64], factor: Floats, zero_point: NDArray[Any]) -> NDArray[Any]:
    """An exact sum of 32 bits in the output's scale: `factor` as `fixed_point` has it, then `shifted`."""
    integers, shift = fixed_point(factor)
    return shifted(accumulator * integers, shift, zero_point)


def requantize_wide(accumulator: NDArray[np.int64], factor: Floats, zero_point: NDArray[Any]) -> NDArray[Any]:
    """The same of more bits: saturate(round(float32(accumulator) * factor) + zero_point)."""
    return saturate(round_half_even(accumulator.astype(np.float32) * factor), zero_point, zero_point.dtype)
