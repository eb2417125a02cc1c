"""What the operators share: types, constant arguments, axes behind the extra one, and rounding once to float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.model_rules import bounded

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Operator = Callable[[Attributes, list[Array | None]], list[Array]]
"""Attributes and inputs, each (B, *ONNX shape) with B = N or 1, None where absent; gives all outputs."""


def float32(x: Array) -> Array:
    """Float64 rounded once to float32; integers stay what they are."""
    return x.astype(np.float32) if x.dtype.kind == "f" else x


def wide(x: Array) -> Array:
    """Float32 in float64, for sums and functions that are rounded once at their end."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def joined_in_order(function: np.ufunc, x: Array, axes: tuple[int, ...]) -> Array:
    """Values along axes joined in float32, one after the other in the order of the ONNX tensor; the axes go.

    Args:
        function: np.add or np.multiply.
        x: floats or integers; integers are joined as such.
        axes: those to join along, as axes of an array with the extra one in front.
    """
    axes = tuple(sorted(axis % x.ndim for axis in axes))
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    rows = x.transpose(*others, *axes).reshape(*(x.shape[axis] for axis in others), -1)
    joined: Array = function.accumulate(rows, axis=-1, dtype=x.dtype)[..., -1] + x.dtype.type(0)
    return joined  # a sum that begins with 0, as this one in C, is never -0


def constant(x: Array | None, what: str) -> Array:
    """An argument that has to be the same for all segments, without the extra axis."""
    if x is None or len(x) != 1:
        raise ModelError(f"{what} is a constant", "one that depends on the input", "Export with fixed shapes.")
    fixed: Array = x[0]
    return fixed


def given(inputs: list[Array | None], index: int) -> Array | None:
    """An optional input."""
    return inputs[index] if index < len(inputs) else None


def needed(inputs: list[Array | None], index: int) -> Array:
    """An input that has to be there."""
    x = given(inputs, index)
    if x is None:
        raise ModelError("an operator has all its inputs", f"input {index} missing", "Export the model again.")
    return x


def axis_of(x: Array, axis: int) -> int:
    """An ONNX axis, negative or not, as an axis of an array with the extra one in front."""
    return axis % (x.ndim - 1) + 1


def axes_of(x: Array, attributes: Attributes, inputs: list[Array | None], index: int = 1) -> tuple[int, ...] | None:
    """Axes from the attribute of old opsets or the input of new ones; None where neither says."""
    argument = given(inputs, index)
    axes = attributes.get("axes") if argument is None else constant(argument, "axes").ravel().tolist()
    return None if axes is None else tuple(axis_of(x, axis) for axis in axes)


def aligned(arrays: list[Array]) -> list[Array]:
    """Arrays to be broadcast, of equal rank; what they broadcast to is bounded."""
    bounded(np.broadcast_shapes(*(x.shape[1:] for x in arrays)))
    return same_rank(arrays)


def same_rank(arrays: list[Array]) -> list[Array]:
    """Arrays of equal rank: ONNX broadcasts from the last axis, so ones go in behind the extra axis."""
    rank = max(x.ndim for x in arrays)
    return [x.reshape(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in arrays]


def same_batch(arrays: list[Array]) -> list[Array]:
    """Arrays with the same first axis, constants repeated."""
    batch = max(len(x) for x in arrays)
    return [np.broadcast_to(x, (batch, *x.shape[1:])) for x in arrays]
