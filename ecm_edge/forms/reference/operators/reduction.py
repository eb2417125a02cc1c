"""Reductions along axes, and batch norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    Operator,
    axes_of,
    axis_of,
    constant,
    float32,
    given,
    joined_in_order,
    needed,
    wide,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def reduction_axes(x: Array, attributes: Attributes, inputs: list[Array | None]) -> tuple[int, ...] | None:
    """The axes to reduce, shifted by the extra one; None where nothing is to be reduced."""
    axes = axes_of(x, attributes, inputs)
    if axes:
        return axes
    return None if attributes.get("noop_with_empty_axes", 0) else tuple(range(1, x.ndim))


def reduction(function: Callable[..., Any]) -> Operator:
    """A reduction computed in float64 and rounded once."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        x = needed(inputs, 0)
        axes = reduction_axes(x, attributes, inputs)
        if axes is None:
            return [x]
        return [float32(np.asarray(function(wide(x), axis=axes, keepdims=bool(attributes.get("keepdims", 1)))))]

    return apply


def reduction_in_order(function: np.ufunc, *, mean: bool = False) -> Operator:
    """A sum, product or mean whose values are joined in float32 and in order; a mean is divided in float32."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        x = needed(inputs, 0)
        axes = reduction_axes(x, attributes, inputs)
        if axes is None:
            return [x]
        y = joined_in_order(function, x, axes)
        if mean:
            y = y / np.float32(x.size / y.size)
        return [np.expand_dims(y, axes) if attributes.get("keepdims", 1) else y]

    return apply


def cumulated_in_order(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """CumSum, in float32."""
    return [_cumulated(needed(inputs, 0), attributes, inputs)]


def arg(function: Callable[..., Any]) -> Operator:
    """The position of the largest or the smallest value along one axis: of equal ones the first, or the last."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        x = needed(inputs, 0)
        axis = axis_of(x, attributes.get("axis", 0))
        last = bool(attributes.get("select_last_index", 0))
        found = function(np.flip(x, axis) if last else x, axis=axis).astype(np.int64)
        found = x.shape[axis] - 1 - found if last else found
        return [np.expand_dims(found, axis) if attributes.get("keepdims", 1) else found]

    return apply


def top_k(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """TopK: the K largest or smallest values along an axis in order, of equal ones the first, and their positions."""
    x, count = needed(inputs, 0), int(constant(given(inputs, 1), "K").item())
    axis = axis_of(x, attributes.get("axis", -1))
    if not 1 <= count <= x.shape[axis]:
        raise ModelError("TopK takes 1 to all values", f"{count} of {x.shape[axis]}", "Export the model again.")
    largest = bool(attributes.get("largest", 1))
    order = np.argsort(np.flip(x, axis) if largest else x, axis=axis, kind="stable")
    order = x.shape[axis] - 1 - np.flip(order, axis) if largest else order  # of equal ones the first comes first
    positions = order.take(range(count), axis)
    return [np.take_along_axis(x, positions, axis), positions]


def cumulated(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """CumSum: the sum of all values up to each, from either end, itself included unless exclusive; in float64."""
    x = needed(inputs, 0)
    return [_cumulated(wide(x), attributes, inputs).astype(x.dtype)]


def _cumulated(x: Array, attributes: Attributes, inputs: list[Array | None]) -> Array:
    axis = axis_of(x, int(constant(given(inputs, 1), "an axis").item()))
    turned = np.flip(x, axis) if attributes.get("reverse", 0) else x
    sums = np.cumsum(turned, axis=axis, dtype=turned.dtype)
    if attributes.get("exclusive", 0):
        sums = sums - turned
    return np.flip(sums, axis) if attributes.get("reverse", 0) else sums


def batch_norm(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The line x a + b per channel in float32, with a and b computed in float64 and rounded."""
    if attributes.get("training_mode", 0):
        raise ModelError("batch norm is exported for inference", "training_mode = 1", "Export in evaluation mode.")
    x = needed(inputs, 0)
    scale, bias, mean, variance = (wide(constant(given(inputs, i), "a parameter of batch norm")) for i in range(1, 5))
    a = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    b = bias - a * mean
    per_channel = (-1, *(1,) * (x.ndim - 3))
    return [x * float32(a).reshape(per_channel) + float32(b).reshape(per_channel)]


OPERATORS: dict[str, Operator] = {
    "ArgMax": arg(np.argmax),
    "ArgMin": arg(np.argmin),
    "BatchNormalization": batch_norm,
    "CumSum": cumulated,
    "ReduceMax": reduction(np.max),
    "ReduceMean": reduction(np.mean),
    "ReduceMin": reduction(np.min),
    "ReduceProd": reduction(np.prod),
    "ReduceSum": reduction(np.sum),
    "TopK": top_k,
}

IN_ORDER: dict[str, Operator] = {
    "CumSum": cumulated_in_order,
    "ReduceMean": reduction_in_order(np.add, mean=True),
    "ReduceProd": reduction_in_order(np.multiply),
    "ReduceSum": reduction_in_order(np.add),
}
