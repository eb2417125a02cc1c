"""Integer groups and means of integers: rules 3 and 4 of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import InternalError, ModelError
from ecm_edge.forms.reference import rounding
from ecm_edge.forms.reference.operators import Array, correlate, gemm_product, matrix_product
from ecm_edge.forms.reference.operators.reduction import reduction_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.forms.reference.graph import Node, Step

_EXACT_FLOAT32 = 2**24
_EXACT_INT32 = 2**31


def per_channel(parameter: Array, axis: int, rank: int) -> Array:
    """A scale or zero point, one value or one a channel, so that it broadcasts over arrays of `rank` axes."""
    flat = parameter.reshape(-1)
    if flat.size == 1:
        return flat.reshape((1,) * rank)
    shape = [1] * rank
    shape[axis % (rank - 1) + 1] = -1
    return flat.reshape(shape)


def zero_point_of(node: Node, env: Mapping[str, Array], default: Array) -> Array:
    """The zero point, or 0 in the type of `default` where the node has none."""
    return env[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros((1, 1), default.dtype)  # noqa: PLR2004 - the third input


def _centred(source: Node, env: Mapping[str, Array]) -> Array:
    """The difference q - zero_point of a DequantizeLinear's input, (B, *shape) int32."""
    q = env[source.inputs[0]]
    zero_point = zero_point_of(source, env, q)
    return rounding.centred(q, per_channel(zero_point, source.attributes.get("axis", 1), q.ndim))


def run_group(step: Step, env: Mapping[str, Array]) -> Array:
    """The quantised output of Conv, Gemm or MatMul on quantised inputs."""
    if step.quantizer is None:
        raise InternalError(f"{step.op.name!r} is run as an integer group, but has no QuantizeLinear")
    x_source, w_source, *biases = step.sources
    accumulator = _accumulate(step.op, _centred(x_source, env), _centred(w_source, env))
    axis = 1 if step.op.op == "Conv" else accumulator.ndim - 2  # the channels' ONNX axis
    for bias in biases:
        accumulator = accumulator + per_channel(env[bias.inputs[0]], axis, accumulator.ndim)
    if np.abs(accumulator).max(initial=0) >= _EXACT_INT32:
        raise ModelError(
            "accumulators fit int32", f"{np.abs(accumulator).max():g} in {step.op.name}", "Use fewer taps."
        )
    x_scale, w_scale, y_scale = (env[node.inputs[1]] for node in (x_source, w_source, step.quantizer))
    factor = rounding.multiplier(x_scale.reshape(-1), w_scale.reshape(-1), y_scale.reshape(-1))
    zero_point = zero_point_of(step.quantizer, env, np.zeros(0, np.uint8)).reshape((1,) * accumulator.ndim)
    q = rounding.requantize(accumulator.astype(np.int32), per_channel(factor, axis, accumulator.ndim), zero_point)
    return np.maximum(q, zero_point) if step.relu else q


def _accumulate(op: Node, x: Array, w: Array) -> Array:
    """The exact sum of products, as floating point wide enough to hold every partial sum."""
    taps = w[0, 0].size if op.op == "Conv" else x.shape[-1]
    largest = taps * int(np.abs(x).max(initial=0)) * int(np.abs(w).max(initial=0))
    dtype = np.float32 if largest < _EXACT_FLOAT32 else np.float64
    x, w = x.astype(dtype), w.astype(dtype)
    if op.op == "Conv":
        accumulator = correlate(op.attributes, x, w[0])
    else:
        accumulator = gemm_product(op.attributes, x, w) if op.op == "Gemm" else matrix_product(x, w)
    return accumulator.astype(np.float64)


def run_mean(step: Step, env: Mapping[str, Array]) -> Array:
    """float32(sum(q - zero_point)) * float32(scale / n)."""
    (source,) = step.sources
    q = _centred(source, env)
    axes = tuple(range(3, q.ndim))
    keepdims = True
    if step.op.op == "ReduceMean":
        axes = reduction_axes(q, step.op.attributes, [q, *(env[name] for name in step.op.inputs[1:] if name)]) or ()
        keepdims = bool(step.op.attributes.get("keepdims", 1))
    count = int(np.prod([q.shape[axis] for axis in axes]))
    factor = np.float32(env[source.inputs[1]].astype(np.float64).item() / count)
    return np.asarray(q.sum(axis=axes, keepdims=keepdims).astype(np.float32) * factor)
