"""Integer groups and means of integers: rules 3 and 4 of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto
from onnx.helper import np_dtype_to_tensor_dtype, tensor_dtype_to_np_dtype

from ecm_edge.base.errors import InternalError, ModelError
from ecm_edge.forms.reference import rounding
from ecm_edge.forms.reference.operators import Array, aligned, correlate, gemm_product, matrix_product
from ecm_edge.forms.reference.operators.reduction import reduction_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference.node import Node, Step

_AGAIN = "Export the model again."
_EXACT_FLOAT32 = 2**24
_EXACT_INT32 = 2**31
_EXACT_FLOAT64 = 2**53
_EIGHT_BITS = 8
PAIR_OPS = frozenset({"Add", "Mul"})
"""Operators of two activations that may be an integer group."""
_TERM_BITS = 21
_MOST_TERM_SHIFT = 30


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


def quantised_type(node: Node) -> np.dtype[Any]:
    """The integers that a QuantizeLinear without a zero point gives."""
    return np.dtype(tensor_dtype_to_np_dtype(node.attributes.get("output_dtype", 0) or TensorProto.UINT8))


def quantisation(node: Node, env: Mapping[str, Array]) -> tuple[Array, Array]:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear, so that they broadcast over its input.

    Raises:
        ModelError: a scale that is not finite and positive, or not one a tensor, a channel or a block; integers that
            are floats of 8 or 4 bits.
    """
    x = env[node.inputs[0]]
    quantizes = node.op == "QuantizeLinear"
    zero_point = zero_point_of(node, env, np.zeros(0, quantised_type(node)) if quantizes else x)
    for dtype in (zero_point.dtype, *(() if quantizes else (x.dtype,))):
        if not dtype.name.removeprefix("u").startswith("int"):
            raise ModelError("quantised tensors are of integers of 2 to 32 bits", f"{dtype}", "Quantise to integers.")
    kinds = {"precision": (TensorProto.FLOAT,), "output_dtype": (TensorProto.FLOAT,)}
    if quantizes:
        kinds["output_dtype"] = (np_dtype_to_tensor_dtype(zero_point.dtype),)
    for name, known in kinds.items():
        if node.attributes.get(name, 0) not in {0, *known}:
            found = f"{name} = {node.attributes[name]} for {zero_point.dtype}"
            raise ModelError("integers have the type of their zero point, and real values are float32", found, _AGAIN)
    scale = checked_scale(node, env)
    return _spread(scale, node, x), _spread(zero_point, node, x)


def checked_scale(node: Node, env: Mapping[str, Array]) -> Array:
    """The scale of a QuantizeLinear or DequantizeLinear.

    Raises:
        ModelError: one that is not constant, finite, positive and float32.
    """
    scale = env[node.inputs[1]]
    if len(scale) != 1:
        found = f"{node.inputs[1]!r}, which depends on the input"
        raise ModelError("scales are constant", found, "Quantise the model again, with static scales.")
    if scale.dtype != np.float32 or not np.isfinite(scale).all() or not (scale > 0).all():
        wrong = scale[~(np.isfinite(scale) & (scale > 0))]
        found = f"{wrong[0] if wrong.size else scale.dtype} in {node.inputs[1]!r}"
        raise ModelError("scales are finite and positive float32", found, "Quantise the model again.")
    return scale


def _spread(parameter: Array, node: Node, x: Array) -> Array:
    """One value a tensor, a channel or a block, so that it broadcasts over x."""
    axis, rank = node.attributes.get("axis", 1), x.ndim - 1
    if parameter.size == 1:
        return parameter.reshape((1,) * x.ndim)
    own, block = parameter.shape[1:], node.attributes.get("block_size", 0)
    wanted = list(x.shape[1:])
    if -rank <= axis < rank:
        if block:
            wanted[axis] = -(-wanted[axis] // block)
        if own == tuple(wanted if block else wanted[axis : axis + 1 or None]):
            blocks = np.repeat(parameter, block, axis % rank + 1) if block else per_channel(parameter, axis, x.ndim)
            return blocks.take(range(x.shape[axis % rank + 1]), axis % rank + 1)
    found = f"{own} for {x.shape[1:]}, axis {axis}, blocks of {block}"
    raise ModelError("there is a scale for each tensor, channel or block", found, "Quantise the model again.")


def _centred(source: Node, env: Mapping[str, Array]) -> Array:
    """The difference q - zero_point of a DequantizeLinear's input, (B, *shape) int32."""
    q = env[source.inputs[0]]
    zero_point = zero_point_of(source, env, q)
    return rounding.centred(q, per_channel(zero_point, source.attributes.get("axis", 1), q.ndim))


def run_group(step: Step, env: Mapping[str, Array]) -> Array:
    """The quantised output of Conv, Gemm, MatMul, Add or Mul on quantised inputs."""
    if step.quantizer is None:
        raise InternalError(f"{step.op.name!r} is run as an integer group, but has no QuantizeLinear")
    default = np.zeros(0, quantised_type(step.quantizer))
    q, zero_point = (_pair if step.op.op in PAIR_OPS else _sums)(step, step.quantizer, default, env)
    return np.maximum(q, zero_point) if step.relu else q


def pair_factors(op: str, scales: Sequence[Floats]) -> tuple[NDArray[np.int64], int]:
    """The integers of an Add's two terms, or of a Mul's product, and their shift; `scales` are a's, b's and y's.

    Two terms of 9 bits with integers of 21 bits leave a sum of 32 bits room for its half and its zero point.
    """
    a, b, y = scales
    if op == "Mul":
        return rounding.fixed_point(_finite(rounding.multiplier(a, b, y)))
    return rounding.fixed_point(_finite(np.concatenate([a / y, b / y])), _TERM_BITS, _MOST_TERM_SHIFT)


def _pair(step: Step, quantizer: Node, default: Array, env: Mapping[str, Array]) -> tuple[Array, Array]:
    """The sum or the product of two activations, and the output's zero point."""
    a, b = aligned([_centred(source, env).astype(np.int64) for source in step.sources])
    scales = [checked_scale(node, env).reshape(-1) for node in (*step.sources, quantizer)]
    with np.errstate(over="ignore"):
        factors, shift = pair_factors(step.op.op, scales)
    total = a * b * factors if step.op.op == "Mul" else a * factors[0] + b * factors[1]
    zero_point = zero_point_of(quantizer, env, default).reshape((1,) * total.ndim)
    return rounding.shifted(total, shift, zero_point), zero_point


def _sums(step: Step, quantizer: Node, default: Array, env: Mapping[str, Array]) -> tuple[Array, Array]:
    """The sums of products of a Conv, Gemm or MatMul, and the output's zero point."""
    x_source, w_source, *biases = step.sources
    accumulator = _accumulate(step.op, _centred(x_source, env), _centred(w_source, env))
    axis = 1 if step.op.op == "Conv" else accumulator.ndim - 2  # the channels' ONNX axis
    for bias in biases:
        accumulator = accumulator + per_channel(env[bias.inputs[0]], axis, accumulator.ndim)
    are_wide = _are_wide([env[source.inputs[0]] for source in (x_source, w_source)])
    _check_sums(accumulator, are_wide=are_wide)
    x_scale, w_scale, y_scale = (checked_scale(node, env) for node in (x_source, w_source, quantizer))
    with np.errstate(over="ignore"):
        factor = _finite(rounding.multiplier(x_scale.reshape(-1), w_scale.reshape(-1), y_scale.reshape(-1)))
    zero_point = zero_point_of(quantizer, env, default).reshape((1,) * accumulator.ndim)
    requantize = rounding.requantize_wide if are_wide else rounding.requantize
    factor = per_channel(factor, axis, accumulator.ndim)
    return requantize(accumulator.astype(np.int64), factor, zero_point), zero_point


def _finite(factor: Floats) -> Floats:
    """Factors from a result to what it is stored in, if they are numbers."""
    if not np.isfinite(factor).all():
        found = f"a ratio of {factor.max():g}"
        raise ModelError("the scales of a sum and of what it is stored in have a finite ratio", found, _AGAIN)
    return factor


def _are_wide(factors: list[Array]) -> bool:
    """Whether products are of integers of more than 8 bits."""
    return any(np.diff(rounding.limits(factor.dtype)) >= 1 << _EIGHT_BITS for factor in factors)


def _check_sums(accumulator: Array, *, are_wide: bool) -> None:
    """Sums of 8-bit integers fit int32; those of wider ones are exact in float64, and so in int64."""
    limit = _EXACT_FLOAT64 if are_wide else _EXACT_INT32
    largest = np.abs(accumulator).max(initial=0)
    if largest >= limit:
        raise ModelError(f"accumulators fit {'53 bits' if are_wide else 'int32'}", f"{largest:g}", "Use fewer taps.")


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
    factor = np.float32(checked_scale(source, env).astype(np.float64).item() / count)
    return np.asarray(q.sum(axis=axes, keepdims=keepdims).astype(np.float32) * factor)
