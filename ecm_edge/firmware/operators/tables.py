"""Every operator that C can be made of, by ONNX name: one table, made of the families' own."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.operators import (
    along_axis,
    convolution,
    dense,
    elementwise,
    pooling,
    quantised,
    recurrent,
    shape,
)
from ecm_edge.firmware.operators.weighted import Activation, fold, fold_bias, fold_residual
from ecm_edge.firmware.program import Constant, refused
from ecm_edge.firmware.tensors import Quant
from ecm_edge.forms.reference import rounding

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.program import Program
    from ecm_edge.forms.reference.node import Step

_FEW = 8  # powers up to this one are products


def _function(template: str) -> Callable[[Program, Step], None]:
    """An operator of one C expression, in which {0}, {1} … are its inputs."""

    def lower(program: Program, step: Step) -> None:
        elementwise.lower(program, step, template)

    return lower


def _holds(condition: str) -> Callable[[Program, Step], None]:
    """An operator whose result is 1 where a C condition of its inputs holds, else 0."""
    return _function(f"{condition} ? 1.0f : 0.0f")


def _left_to_right(template: str) -> Callable[[Program, Step], None]:
    """An operator on one or more broadcast inputs; the template joins two, and is applied from left to right."""

    def lower(program: Program, step: Step) -> None:
        inputs = [f"{{{position}}}" for position in range(len(step.op.inputs))]
        elementwise.lower(program, step, functools.reduce(template.format, inputs))

    return lower


def _add(program: Program, step: Step) -> None:
    """Add: in the bias or the store of the layer before it, or in a loop."""
    if not fold_bias(program, step) and not fold_residual(program, step):
        elementwise.lower(program, step, "{0} + {1}")


def _attribute(step: Step, name: str, default: float) -> str:
    return literals.float_literal(step.op.attributes.get(name, default))


def _relu(program: Program, step: Step) -> None:
    if not fold(program, step.op.inputs[0], step, activation=Activation("ECM_RELU")):
        elementwise.lower(program, step, "ecm_relu_f32({0})")


def _leaky_relu(program: Program, step: Step) -> None:
    alpha = float(np.float32(step.op.attributes.get("alpha", 0.01)))
    if not fold(program, step.op.inputs[0], step, activation=Activation("ECM_LEAKY", alpha)):
        slope = literals.float_literal(alpha)
        elementwise.lower(program, step, f"ecm_activate_f32({{0}}, ECM_LEAKY, {slope}, 0.0f)")


def _clip(program: Program, step: Step) -> None:
    """Clip by attributes (old) or by constant inputs; a limit that is absent does not hold."""
    node = step.op
    limits = []
    for position, name in ((1, "min"), (2, "max")):
        given = program.optional(node, position)
        limits.append(float(given.values.item()) if given else node.attributes.get(name))
    low = -np.inf if limits[0] is None else limits[0]
    high = np.inf if limits[1] is None else limits[1]
    largest = float(np.finfo(np.float32).max)
    bounds = Activation("ECM_CLIP", max(low, -largest), min(high, largest))
    if fold(program, node.inputs[0], step, activation=bounds):
        return
    _only_first(program, step, f"ecm_activate_f32({{0}}, {bounds.arguments})")


def _only_first(program: Program, step: Step, operation: str) -> None:
    """An elementwise operator whose other inputs are parameters; `operation` is a C expression of the first, {0}."""
    name = step.op.inputs[0]
    x = program.tensor(name, step.op)
    loop = elementwise.join(program, step, {name: x})
    loop.assign(step.outputs[0], operation, [loop.read(name, x)])
    elementwise.store(program, loop, step, program.output(step.outputs[0], loop.shape, order=loop.order))


def _prelu(program: Program, step: Step) -> None:
    elementwise.lower(program, step, "{0} < 0.0f ? {0} * {1} : {0}")


def _gelu(program: Program, step: Step) -> None:
    tanh = step.op.attributes.get("approximate", "none") == "tanh"
    name = "ecm_gelu_tanhf" if tanh else "ecm_geluf"
    elementwise.lower(program, step, f"{name}({{0}})")


def _hard_sigmoid(program: Program, step: Step) -> None:
    line = f"{_attribute(step, 'alpha', 0.2)}, {_attribute(step, 'beta', 0.5)}"
    elementwise.lower(program, step, f"ecm_hardsigmoidf({{0}}, {line})")


def _elu(program: Program, step: Step) -> None:
    alpha = _attribute(step, "alpha", 1.0)
    elementwise.lower(program, step, f"ecm_eluf({{0}}, {alpha})")


def _swish(program: Program, step: Step) -> None:
    alpha = step.op.attributes.get("alpha", 1.0)
    if alpha == 1.0:
        elementwise.lower(program, step, "ecm_siluf({0})")
        return
    slope = literals.float_literal(alpha)
    elementwise.lower(program, step, f"{{0}} * ecm_sigmoidf({slope} * {{0}})")


def _mul(program: Program, step: Step) -> None:
    """Mul; x * sigmoid(x) is one function."""
    names = step.op.inputs
    if len(names) == 2 and all(n in program.env and not isinstance(program.env[n], Constant) for n in names):  # noqa: PLR2004 - two factors
        loop = elementwise.join(program, step, {n: program.env[n] for n in names})
        a, b = (loop.read(n, program.env[n]) for n in names)
        gated = next((x for x, y in ((a, b), (b, a)) if loop.is_made_by(y, "ecm_sigmoidf({0})", x)), None)
        loop.assign(step.outputs[0], *(("{0} * {1}", [a, b]) if gated is None else ("ecm_siluf({0})", [gated])))
        elementwise.store(program, loop, step, program.output(step.outputs[0], loop.shape, order=loop.order))
        return
    elementwise.lower(program, step, "{0} * {1}")


def _pow(program: Program, step: Step) -> None:
    """Powers by small whole exponents are products, the square root is one; the rest is ecm_powf."""
    exponent = program.env.get(step.op.inputs[1])
    if not isinstance(exponent, Constant) or exponent.values.size != 1:
        elementwise.lower(program, step, "ecm_powf({0}, {1})")
        return
    value = float(exponent.values.item())
    if value == 0.5:  # noqa: PLR2004 - the square root
        _only_first(program, step, "ecm_sqrtf({0})")
    elif value.is_integer() and 1 <= value <= _FEW:
        _only_first(program, step, " * ".join(["{0}"] * int(value)))
    else:
        _only_first(program, step, f"ecm_powf({{0}}, {literals.float_literal(value)})")


def _mean(program: Program, step: Step) -> None:
    """Mean of several tensors."""
    count = len(step.op.inputs)
    total = " + ".join(f"{{{position}}}" for position in range(count))
    elementwise.lower(program, step, f"({total}) / {count}.0f")


def _batch_norm(program: Program, step: Step) -> None:
    """X a + b per channel: in the weights of the layer before it, or in a loop."""
    node = step.op
    scale, bias, mean, variance = (program.constant(n, node).values.astype(np.float64) for n in node.inputs[1:5])
    with np.errstate(all="ignore"):  # a variance below 0 gives a NaN, which whoever judges scores refuses
        a = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    b = bias - a * mean
    if fold(program, node.inputs[0], step, scale=a, shift=b):
        return
    rank = len(program.shapes[node.inputs[0]])
    spread = [1, -1, *[1] * (rank - 2)] if rank > 1 else [-1]
    x = program.tensor(node.inputs[0], node)
    loop = elementwise.join(program, step, {node.inputs[0]: x})
    value = loop.read(node.inputs[0], x)
    line = [
        loop.read(f"{step.outputs[0]}:{what}", Constant(v.astype(np.float32).reshape(spread)))
        for what, v in (("a", a), ("b", b))
    ]
    loop.assign(step.outputs[0], "{0} * {1} + {2}", [value, *line])
    elementwise.store(program, loop, step, program.output(step.outputs[0], loop.shape, order=loop.order))


def _cast(program: Program, step: Step) -> None:
    """Cast and CastLike: booleans and whole numbers are kept as floats, so that most are the same memory."""
    name, source = step.outputs[0], step.op.inputs[0]
    x, kind, before = program.tensor(source, step.op), program.kinds[name], program.kinds[source]
    if kind not in {"float32", "bool", "int32", "int64"}:
        hint = "Leave it out: firmware computes in float32."
        raise refused(step.op, "an activation is cast to float32, bool, int32 or int64", kind, hint)
    if x.quant is None and x.buffer.dtype != "float32":  # integers as they are: a scale of 1
        low, high = (limit - x.shift for limit in rounding.limits(before))
        x = replace(x, quant=Quant(1.0, -x.shift, low, high))
    if kind == "bool" != before:
        program.env[source] = x
        elementwise.lower(program, step, "{0} != 0.0f ? 1.0f : 0.0f")
    elif kind in {"int32", "int64"} and before == "float32":
        elementwise.lower(program, step, "ecm_truncf({0})")
    else:
        program.env[name] = x


def _mod(program: Program, step: Step) -> None:
    function = "ecm_fmodf" if step.op.attributes.get("fmod", 0) else "ecm_modulof"
    elementwise.lower(program, step, f"{function}({{0}}, {{1}})")


def _selu(program: Program, step: Step) -> None:
    alpha = _attribute(step, "alpha", 1.67326319217681884765625)
    gamma = _attribute(step, "gamma", 1.05070102214813232421875)
    elementwise.lower(program, step, f"{gamma} * ecm_eluf({{0}}, {alpha})")


def _shrink(program: Program, step: Step) -> None:
    limit, bias = step.op.attributes.get("lambd", 0.5), _attribute(step, "bias", 0.0)
    low, high = (literals.float_literal(sign * limit) for sign in (-1, 1))
    elementwise.lower(program, step, f"{{0}} < {low} ? {{0}} + {bias} : {{0}} > {high} ? {{0}} - {bias} : 0.0f")


def _is_infinite(program: Program, step: Step) -> None:
    signs = [("detect_positive", "{0} > 3.40282347e+38f"), ("detect_negative", "{0} < -3.40282347e+38f")]
    tests = [test for name, test in signs if step.op.attributes.get(name, 1)]
    condition = " || ".join(tests) or "{0} != {0} && {0} == {0}"  # that never holds
    elementwise.lower(program, step, f"{condition} ? 1.0f : 0.0f")


OPERATORS: dict[str, Callable[[Program, Step], None]] = {
    "Abs": _function("ecm_absf({0})"),
    "Acos": _function("ecm_acosf({0})"),
    "Acosh": _function("ecm_acoshf({0})"),
    "Add": _add,
    "And": _holds("{0} != 0.0f && {1} != 0.0f"),
    "ArgMax": along_axis.arg,
    "ArgMin": along_axis.arg,
    "Asin": _function("ecm_asinf({0})"),
    "Asinh": _function("ecm_asinhf({0})"),
    "Atan": _function("ecm_atanf({0})"),
    "Atanh": _function("ecm_atanhf({0})"),
    "AveragePool": pooling.pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "CastLike": _cast,
    "Ceil": _function("ecm_ceilf({0})"),
    "Clip": _clip,
    "Concat": shape.concat,
    "Conv": convolution.conv,
    "Cos": _function("ecm_cosf({0})"),
    "Cosh": _function("ecm_coshf({0})"),
    "CumSum": along_axis.cumulated,
    "DequantizeLinear": quantised.dequantize,
    "Div": _function("{0} / {1}"),
    "Dropout": shape.view,
    "Elu": _elu,
    "Equal": _holds("{0} == {1}"),
    "Erf": _function("ecm_erff({0})"),
    "Exp": _function("ecm_expf({0})"),
    "Expand": shape.view,
    "Flatten": shape.view,
    "Floor": _function("ecm_floorf({0})"),
    "GRU": recurrent.recurrent,
    "Gather": shape.view,
    "GatherElements": shape.view,
    "GatherND": shape.view,
    "Gelu": _gelu,
    "Gemm": dense.gemm,
    "GlobalAveragePool": pooling.reduce_,
    "GlobalMaxPool": pooling.reduce_,
    "Greater": _holds("{0} > {1}"),
    "GreaterOrEqual": _holds("{0} >= {1}"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _function("ecm_hardswishf({0})"),
    "Identity": shape.view,
    "IsInf": _is_infinite,
    "IsNaN": _holds("{0} != {0}"),
    "LSTM": recurrent.recurrent,
    "LeakyRelu": _leaky_relu,
    "Less": _holds("{0} < {1}"),
    "LessOrEqual": _holds("{0} <= {1}"),
    "Log": _function("ecm_logf({0})"),
    "MatMul": dense.matmul,
    "Max": _left_to_right("ecm_larger_f32({0}, {1})"),
    "MaxPool": pooling.pool,
    "Mean": _mean,
    "Min": _left_to_right("ecm_smaller_f32({0}, {1})"),
    "Mod": _mod,
    "Mul": _mul,
    "Neg": _function("-{0}"),
    "Not": _holds("{0} == 0.0f"),
    "Or": _holds("{0} != 0.0f || {1} != 0.0f"),
    "PRelu": _prelu,
    "Pad": shape.pad,
    "Pow": _pow,
    "QuantizeLinear": quantised.quantize,
    "RNN": recurrent.recurrent,
    "Reciprocal": _function("1.0f / {0}"),
    "ReduceMax": pooling.reduce_,
    "ReduceMean": pooling.reduce_,
    "ReduceMin": pooling.reduce_,
    "ReduceProd": pooling.reduce_,
    "ReduceSum": pooling.reduce_,
    "Relu": _relu,
    "Reshape": shape.view,
    "Round": _function("ecm_rint_even({0})"),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _function("ecm_sigmoidf({0})"),
    "Sign": _function("ecm_signf({0})"),
    "Sin": _function("ecm_sinf({0})"),
    "Sinh": _function("ecm_sinhf({0})"),
    "Slice": shape.view,
    "Softmax": pooling.softmax,
    "Softplus": _function("ecm_softplusf({0})"),
    "Split": shape.view,
    "Sqrt": _function("ecm_sqrtf({0})"),
    "Squeeze": shape.view,
    "Sub": _function("{0} - {1}"),
    "Sum": _left_to_right("{0} + {1}"),
    "Swish": _swish,
    "Tan": _function("ecm_tanf({0})"),
    "Tanh": _function("ecm_tanhf({0})"),
    "Tile": shape.view,
    "TopK": along_axis.top_k,
    "Transpose": shape.view,
    "Unsqueeze": shape.view,
    "Where": _function("{0} != 0.0f ? {1} : {2}"),
    "Xor": _holds("({0} != 0.0f) != ({1} != 0.0f)"),
}
