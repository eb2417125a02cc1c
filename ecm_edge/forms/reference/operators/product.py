"""Gemm: y = alpha a' b' + beta c, with a' = a or its transpose; MatMul: y = a b, batches broadcast."""

from __future__ import annotations

import numpy as np

from ecm_edge.forms.model_rules import bounded
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    aligned,
    float32,
    given,
    needed,
    same_rank,
    wide,
)


def gemm(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Gemm in float32: the sum and the bias in float64, rounded once."""
    y = attributes.get("alpha", 1.0) * gemm_product(attributes, wide(needed(inputs, 0)), wide(needed(inputs, 1)))
    c = given(inputs, 2)
    if c is not None:
        y, c = aligned([y, wide(c)])
        y = y + attributes.get("beta", 1.0) * c
    return [float32(y)]


def gemm_product(attributes: Attributes, a: Array, b: Array) -> Array:
    """The product a' b' (B, M, O) of a (B, M, K) and b (B, K, O), or their transposes, in their own type."""
    left = a.swapaxes(1, 2) if attributes.get("transA", 0) else a
    right = b.swapaxes(1, 2) if attributes.get("transB", 0) else b
    return matrix_product(left, right)


def matmul(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """MatMul in float32: the sum in float64, rounded once."""
    del attributes
    return [float32(matrix_product(wide(needed(inputs, 0)), wide(needed(inputs, 1))))]


def matrix_product(a: Array, b: Array) -> Array:
    """The product a b, batches broadcast; a vector is a row on the left, a column on the right, as in numpy.matmul."""
    if a.ndim == 2 or b.ndim == 2:  # noqa: PLR2004 - the extra axis and a vector's own
        row, column = a.ndim == 2, b.ndim == 2  # noqa: PLR2004 - as above
        product = matrix_product(a[:, None] if row else a, b[..., None] if column else b)
        axes = (*((-2,) if row else ()), *((-1,) if column else ()))
        return np.squeeze(product, axes)
    bounded((*np.broadcast_shapes(a.shape[1:-2], b.shape[1:-2]), a.shape[-2], b.shape[-1]))
    if a.ndim == b.ndim == 3 and len(b) == 1:  # noqa: PLR2004 - all rows by one matrix: one call instead of N
        flat: Array = a.reshape(a.shape[0] * a.shape[1], a.shape[2]) @ b[0]
        return flat.reshape(*a.shape[:2], b.shape[2])
    left, right = same_rank([a, b])
    return np.asarray(left @ right)
