"""Pooling over windows and over all of the spatial axes; x is (B, 1, C, *S)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    Operator,
    float32,
    joined_in_order,
    needed,
    wide,
)
from ecm_edge.forms.reference.operators.windows import Geometry, geometry, windows

if TYPE_CHECKING:
    from collections.abc import Callable


def _merged(attributes: Attributes, x: Array) -> tuple[Array, Geometry]:
    """The input as (N, C, *S), and the windows' geometry."""
    merged = x.reshape(-1, *x.shape[2:])
    shape = geometry(attributes, tuple(attributes["kernel_shape"]), merged.shape[2:])
    if attributes.get("auto_pad", "NOTSET").startswith("SAME") and _is_disputed(shape, merged.shape[2:]):
        found = f"auto_pad with dilations, or strides beyond the kernel, {attributes['kernel_shape']}"
        raise ModelError("a pool has the padding that all runtimes give it", found, "Export it with pads.")
    return merged, shape


def _is_disputed(shape: Geometry, spatial: tuple[int, ...]) -> bool:
    """Whether runtimes differ in what SAME means: they take no account of dilations, or of a stride beyond a window."""
    axes = zip(spatial, shape.kernel, shape.strides, shape.dilations, strict=True)
    return any(
        taps > 1 < dilation or (-(-length // stride) - 1) * stride + taps < length
        for length, taps, stride, dilation in axes
    )


def _over_windows(x: Array, shape: Geometry) -> tuple[int, ...]:
    return tuple(range(x.ndim, x.ndim + len(shape.kernel)))


def _cells(inside: Array, shape: Geometry) -> Array:
    """How many cells of each window count, of `inside` (1, 1, *S), which is 1 where one does."""
    cells = windows(inside, shape, 0).sum(axis=_over_windows(inside, shape))
    if not cells.all():
        raise ModelError("a pool's windows hold a value each", "one of padding alone", "Export it with less padding.")
    return np.asarray(cells)


def max_pool(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The largest value of each window; padding never wins."""
    if attributes.get("storage_order", 0):
        raise ModelError("MaxPool stores rows first", "storage_order = 1", "Export the model again.")
    x = needed(inputs, 0)
    merged, shape = _merged(attributes, x)
    _cells(np.ones((1, 1, *merged.shape[2:])), shape)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = windows(merged, shape, lowest).max(axis=_over_windows(merged, shape))
    return [y.reshape(*x.shape[:2], *y.shape[1:])]


def average_pool(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The mean of each window, padding counted only with count_include_pad, ceil_mode's own never."""
    return _averaged(attributes, needed(inputs, 0), lambda cells, axes: np.asarray(wide(cells).sum(axis=axes)))


def average_pool_in_order(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The same, with sums in float32 and in order; windows are views, and cell by cell they stay so."""

    def summed(cells: Array, axes: tuple[int, ...]) -> Array:
        total = np.zeros(cells.shape[: axes[0]], cells.dtype)
        for place in np.ndindex(cells.shape[axes[0] :]):
            total += cells[(..., *place)]
        return total

    return _averaged(attributes, needed(inputs, 0), summed)


def _averaged(attributes: Attributes, x: Array, summed: Callable[[Array, tuple[int, ...]], Array]) -> list[Array]:
    merged, shape = _merged(attributes, x)
    sums = summed(windows(merged, shape, 0), _over_windows(merged, shape))
    inside = np.ones((1, 1, *merged.shape[2:]))
    if attributes.get("count_include_pad", 0):
        inside = np.pad(inside, [(0, 0), (0, 0), *shape.pads], constant_values=1)
        shape = Geometry(shape.kernel, shape.strides, shape.dilations, ((0, 0),) * len(shape.kernel), shape.extra)
    y = float32(sums / _cells(inside, shape).astype(sums.dtype))
    return [y.reshape(*x.shape[:2], *y.shape[1:])]


def global_max_pool(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The largest value of each channel."""
    del attributes
    x = needed(inputs, 0)
    return [x.max(axis=tuple(range(3, x.ndim)), keepdims=True)]


def global_average_pool(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The mean of each channel."""
    del attributes
    x = wide(needed(inputs, 0))
    return [float32(x.mean(axis=tuple(range(3, x.ndim)), keepdims=True))]


def global_average_pool_in_order(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The same, with sums in float32 and in order."""
    del attributes
    x = needed(inputs, 0)
    axes = tuple(range(3, x.ndim))
    y = joined_in_order(np.add, x, axes)
    return [np.expand_dims(y / np.float32(x.size / y.size), axes)]


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}

IN_ORDER: dict[str, Operator] = {
    "AveragePool": average_pool_in_order,
    "GlobalAveragePool": global_average_pool_in_order,
}
