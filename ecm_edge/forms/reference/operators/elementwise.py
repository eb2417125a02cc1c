"""Operators on one value at a time, and on two or more with broadcasting."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from scipy.special import erf as erf_float64
from scipy.special import expit

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    Operator,
    aligned,
    axis_of,
    constant,
    float32,
    given,
    needed,
    wide,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SQRT_HALF = np.sqrt(0.5)


def unary(function: Callable[[Array], Array]) -> Operator:
    """An operator computed in float64 and rounded once; exact ones (abs, max, sqrt) come out as in float32."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        del attributes
        return [float32(function(wide(needed(inputs, 0))))]

    return apply


def binary(function: Callable[[Array, Array], Array]) -> Operator:
    """An operator on two or more broadcast arrays, in float32 from left to right."""

    def apply(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
        del attributes
        return [reduce(function, aligned([x for x in inputs if x is not None]))]

    return apply


def div(x: Array, y: Array) -> Array:
    """Quotient; of integers, truncated."""
    if x.dtype.kind != "f":
        return np.trunc(x / y).astype(x.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(x / y)


def modulo(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The remainder of a division, with the sign of the dividend (fmod) or of the divisor."""
    remainder = np.fmod if attributes.get("fmod", 0) else np.mod
    with np.errstate(invalid="ignore"):
        return [remainder(*aligned([needed(inputs, 0), needed(inputs, 1)]))]


def power(x: Array, y: Array) -> Array:
    """Power x ** y in the type of x, in float64 and rounded once."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return np.power(wide(x), wide(y)).astype(x.dtype)


def mean(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Mean of several arrays."""
    del attributes
    arrays = aligned([wide(x) for x in inputs if x is not None])
    return [float32(reduce(np.add, arrays) / len(arrays))]


def leaky_relu(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Leaky ReLU: x, or alpha x where x < 0."""
    x = needed(inputs, 0)
    return [np.where(x < 0, x * np.float32(attributes.get("alpha", 0.01)), x)]


def prelu(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Parametric ReLU: x, or slope x where x < 0."""
    del attributes
    x, slope = aligned([needed(inputs, 0), needed(inputs, 1)])
    return [np.where(x < 0, x * slope, x)]


def selu(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Scaled exponential unit: gamma times x, or times alpha (exp(x) - 1) where x < 0."""
    alpha = attributes.get("alpha", 1.67326319217681884765625)
    gamma = attributes.get("gamma", 1.05070102214813232421875)
    x = wide(needed(inputs, 0))
    return [float32(gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x))]


def shrink(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Each x moved by bias towards 0 where it is beyond lambd, else 0."""
    x = needed(inputs, 0)
    limit, bias = (np.float32(attributes.get(name, default)) for name, default in (("lambd", 0.5), ("bias", 0.0)))
    return [np.where(x < -limit, x + bias, np.where(x > limit, x - bias, np.float32(0)))]


def elu(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Exponential unit: x, or alpha (exp(x) - 1) where x < 0."""
    x = wide(needed(inputs, 0))
    return [float32(np.where(x < 0, attributes.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)), x))]


def clip(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Values held between min and max, either of which may be absent."""
    x, low, high = needed(inputs, 0), given(inputs, 1), given(inputs, 2)
    low = np.array([attributes["min"]], x.dtype) if low is None and "min" in attributes else low
    high = np.array([attributes["max"]], x.dtype) if high is None and "max" in attributes else high
    for limit, function in ((low, np.maximum), (high, np.minimum)):
        x = x if limit is None else function(*aligned([x, limit]))
    return [x]


def hard_sigmoid(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The line alpha x + beta, held between 0 and 1, in float32."""
    alpha, beta = np.float32(attributes.get("alpha", 0.2)), np.float32(attributes.get("beta", 0.5))
    return [np.clip(alpha * needed(inputs, 0) + beta, np.float32(0), np.float32(1))]


def hard_swish(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Each x times (x / 6 + 1/2 held between 0 and 1), in float32."""
    del attributes
    x = needed(inputs, 0)
    return [x * hard_sigmoid({"alpha": 1 / 6, "beta": 0.5}, [x])[0]]


def swish(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Each x times sigmoid(alpha x)."""
    x = wide(needed(inputs, 0))
    with np.errstate(invalid="ignore"):  # -inf times 0 is NaN, as of the two operators
        return [float32(x * expit(attributes.get("alpha", 1.0) * x))]


def gelu(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Each x times the normal distribution function of x, or its tanh approximation."""
    x = wide(needed(inputs, 0))
    if attributes.get("approximate", "none") == "tanh":
        return [float32(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))]
    return [float32(0.5 * x * (1 + erf_float64(x * _SQRT_HALF)))]


def softmax(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """exp(x) over its sum along one axis."""
    x = wide(needed(inputs, 0))
    axis = axis_of(x, attributes.get("axis", -1))
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return [float32(e / e.sum(axis=axis, keepdims=True))]


def cast(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Another type of number."""
    return [needed(inputs, 0).astype(tensor_dtype_to_np_dtype(attributes["to"]))]


def cast_like(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The type of another tensor."""
    del attributes
    return [needed(inputs, 0).astype(needed(inputs, 1).dtype)]


def identity(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The same values."""
    del attributes
    return [needed(inputs, 0)]


def dropout(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """The same values, and a mask that keeps all of them."""
    del attributes
    x, training = needed(inputs, 0), given(inputs, 2)
    if training is not None and constant(training, "Dropout's training_mode").any():
        raise ModelError("Dropout is exported for inference", "training_mode = true", "Export in evaluation mode.")
    return [x, np.ones((1, *x.shape[1:]), np.bool_)]


def _quiet(function: Callable[[Array], Array]) -> Operator:
    """`unary` of a function that has poles, overflows or is not defined everywhere."""

    def apply(x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(function(x))

    return unary(apply)


OPERATORS: dict[str, Operator] = {
    "Abs": unary(np.abs),
    "Acos": _quiet(np.arccos),
    "Acosh": _quiet(np.arccosh),
    "Add": binary(np.add),
    "Asin": _quiet(np.arcsin),
    "Asinh": _quiet(np.arcsinh),
    "Atan": _quiet(np.arctan),
    "Atanh": _quiet(np.arctanh),
    "Cast": cast,
    "CastLike": cast_like,
    "Ceil": unary(np.ceil),
    "Clip": clip,
    "Cos": _quiet(np.cos),
    "Cosh": _quiet(np.cosh),
    "Div": binary(div),
    "Dropout": dropout,
    "Elu": elu,
    "Erf": unary(erf_float64),
    "Exp": _quiet(np.exp),
    "Floor": unary(np.floor),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "Log": _quiet(np.log),
    "Max": binary(np.maximum),
    "Mean": mean,
    "Min": binary(np.minimum),
    "Mod": modulo,
    "Mul": binary(np.multiply),
    "Neg": unary(np.negative),
    "PRelu": prelu,
    "Pow": binary(power),
    "Reciprocal": _quiet(lambda x: 1 / x),
    "Relu": unary(lambda x: np.maximum(x, 0)),
    "Round": unary(np.rint),
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": unary(expit),
    "Sign": unary(np.sign),
    "Sin": _quiet(np.sin),
    "Sinh": _quiet(np.sinh),
    "Softmax": softmax,
    "Softplus": unary(lambda x: np.logaddexp(x, 0)),
    "Sqrt": _quiet(np.sqrt),
    "Sub": binary(np.subtract),
    "Sum": binary(np.add),
    "Swish": swish,
    "Tan": _quiet(np.tan),
    "Tanh": unary(np.tanh),
}
