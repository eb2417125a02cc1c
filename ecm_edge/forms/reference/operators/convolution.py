"""Conv: y[n, o] = sum over c, k of x[n, c, t * stride + k * dilation - pad] * w[o, c, k] + b[o]."""

from __future__ import annotations

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.operators._common import Array, Attributes, constant, float32, given, needed, wide
from ecm_edge.forms.reference.operators.windows import Geometry, geometry, windows


def conv(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Conv in float32: the sum and the bias in float64, rounded once."""
    x, w = needed(inputs, 0), constant(needed(inputs, 1), "a convolution's weight")
    y = correlate(attributes, wide(x), wide(w))
    b = given(inputs, 2)
    if b is not None:
        y += wide(constant(b, "a bias")).reshape(-1, *(1,) * (w.ndim - 2))
    return [float32(y)]


def correlate(attributes: Attributes, x: Array, w: Array) -> Array:
    """The sums (B, 1, O, *out) of x (B, 1, C, *S) and w (O, C / groups, *K), in the type of x and w."""
    merged = x.reshape(-1, *x.shape[2:])  # (N, C, *S)
    shape = geometry(attributes, w.shape[2:], merged.shape[2:])
    stated = tuple(attributes.get("kernel_shape", w.shape[2:]))
    if stated != w.shape[2:]:
        raise ModelError("kernel_shape is that of the weights", f"{stated} for {w.shape}", "Export the model again.")
    groups = attributes.get("group", 1)
    if groups < 1 or w.shape[1] * groups != merged.shape[1] or len(w) % groups:
        found = f"{groups} groups of {merged.shape[1]} channels with weights {w.shape}"
        raise ModelError("groups divide a convolution's channels", found, "Export the model again.")
    depthwise = w.shape[1] == 1 and groups == merged.shape[1]
    y = _depthwise(merged, w, shape) if depthwise else _grouped(merged, w, shape, groups)
    return y.reshape(x.shape[0], x.shape[1], *y.shape[1:])


def _depthwise(x: Array, w: Array, shape: Geometry) -> Array:
    """One input channel for each output channel: a sum over taps, without any matrix."""
    repeats = len(w) // x.shape[1]
    view = windows(np.repeat(x, repeats, axis=1) if repeats > 1 else x, shape, 0)  # (N, O, *out, *K)
    spatial = (-1, *(1,) * len(shape.kernel))
    y = np.zeros(view.shape[: x.ndim], x.dtype)
    for tap in np.ndindex(shape.kernel):
        y += view[(..., *tap)] * w[(slice(None), 0, *tap)].reshape(spatial)
    return y


def _grouped(x: Array, w: Array, shape: Geometry, groups: int) -> Array:
    """One product of matrices a group: weights (O, C K) by columns (C K, N out)."""
    view = windows(x, shape, 0)  # (N, C, *out, *K)
    rank, inputs, outputs = len(shape.kernel), w.shape[1], len(w) // groups
    order = (1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))  # (C, *K, N, *out)
    parts = []
    for group in range(groups):
        columns = view[:, group * inputs : (group + 1) * inputs].transpose(order)
        flat = columns.reshape(inputs * int(np.prod(shape.kernel)), -1)
        part = w[group * outputs : (group + 1) * outputs].reshape(outputs, -1) @ flat
        parts.append(part.reshape(outputs, len(x), *columns.shape[2 + rank :]))
    return np.moveaxis(np.concatenate(parts), 1, 0)
