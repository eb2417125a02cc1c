"""The one rounding rule: to nearest, ties to even, then saturation. C code has to follow it to the bit."""

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


def requantize(accumulator: NDArray[np.int64], factor: Floats, zero_point: NDArray[Any]) -> NDArray[Any]:
    """An exact sum in the output's scale: saturate(round(float32(accumulator) * factor) + zero_point)."""
    return saturate(round_half_even(accumulator.astype(np.float32) * factor), zero_point, zero_point.dtype)
