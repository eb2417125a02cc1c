"""Operators on integers, as QLinearConv, written as those on floats between DequantizeLinear and QuantizeLinear.

The reference then makes groups on integers of them.

Of MatMulInteger and ConvInteger the sums are taken in floats, rounded once as the Cast behind them does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_ONLY_OURS = ("channels_last",)


def _real(site: Site, position: int, axis: int = 1) -> str:
    """The real values of an input that is followed by its scale and zero point."""
    return site.add("DequantizeLinear", *site.node.inputs[position : position + 3], axis=axis)


def _bias(site: Site, position: int, scales: tuple[int, int], factor: float = 1.0) -> str:
    """The real values of an int32 bias, whose scale is the product of those of the factors."""
    x_scale, w_scale = (site.needed(i, "a scale") for i in scales)
    scale = np.float32(factor) * x_scale.reshape(-1) * w_scale.reshape(-1)
    rank = len(site.shape(site.input(position)))
    return site.add("DequantizeLinear", site.input(position), site.constant(scale), axis=rank - 1)


def _stored(site: Site, x: str, position: int) -> None:
    """The node's output: x in the scale and zero point from an input on."""
    site.add("QuantizeLinear", x, *site.node.inputs[position : position + 2], output=site.output(0))


def _attributes(site: Site) -> dict[str, Any]:
    if site.attribute("channels_last", 0):
        raise site.refused("channels come before the spatial axes", "channels_last = 1")
    return {name: value for name, value in site.node.attributes.items() if name not in _ONLY_OURS}


def convolution(site: Site) -> None:
    """QLinearConv."""
    inputs = [_real(site, 0), _real(site, 3, axis=0)]
    inputs += [_bias(site, 8, (1, 4))] if site.input(8) else []
    _stored(site, site.add("Conv", *inputs, **_attributes(site)), 6)


def product(site: Site) -> None:
    """QLinearMatMul."""
    rank = len(site.shape(site.input(3)))
    _stored(site, site.add("MatMul", _real(site, 0), _real(site, 3, axis=max(0, rank - 1))), 6)


def gemm(site: Site) -> None:
    """QGemm: to integers, or to floats where it has no output scale."""
    column = 0 if site.attribute("transB", 0) else 1
    inputs = [_real(site, 0), _real(site, 3, axis=column)]
    inputs += [_bias(site, 6, (1, 4), site.attribute("alpha", 1.0))] if site.input(6) else []
    if not site.input(7):
        site.add("Gemm", *inputs, output=site.output(0), **_attributes(site))
        return
    _stored(site, site.add("Gemm", *inputs, **_attributes(site)), 7)


def _unary(op: str) -> Rule:
    def rule(site: Site) -> None:
        attributes = {name: value for name, value in _attributes(site).items() if name != "opset"}
        _stored(site, site.add(op, _real(site, 0), **attributes), 3)

    return rule


def _binary(op: str) -> Rule:
    def rule(site: Site) -> None:
        _stored(site, site.add(op, _real(site, 0), _real(site, 3)), 6)

    return rule


def concat(site: Site) -> None:
    """QLinearConcat: the output's scale and zero point come first."""
    parts = [_real(site, position) for position in range(2, len(site.node.inputs), 3)]
    joined = site.add("Concat", *parts, axis=site.attribute("axis", 0))
    site.add("QuantizeLinear", joined, *site.node.inputs[:2], output=site.output(0))


def _weights(site: Site, axis: int, shape: tuple[int, ...]) -> str:
    """The second input less its zero point: a constant is dequantised by a scale of 1, so that it stays integers."""
    if len(site.values[site.input(1)]) > 1:
        return _centred(site, 1, 3, shape)
    zero = (site.input(3),) if site.input(3) else ()
    count = site.values[zero[0]].size if zero else 1
    scale = site.constant(np.ones(count if count > 1 else ()))
    return site.add("DequantizeLinear", site.input(1), scale, *zero, axis=axis)


def _centred(site: Site, position: int, zero: int, shape: tuple[int, ...] = ()) -> str:
    """An input less its zero point, as floats."""
    x = site.add("Cast", site.input(position), to=1)
    if not site.input(zero):
        return x
    zero_point = site.add("Cast", site.input(zero), to=1)
    return site.add("Sub", x, site.add("Reshape", zero_point, site.constant(shape, np.int64)) if shape else zero_point)


def matmul_integer(site: Site) -> None:
    """MatMulInteger: zero points one for all, or one for each row of A and each column of B."""
    columns = max(0, len(site.shape(site.input(1))) - 1)
    rows = (-1, 1) if len(site.shape(site.input(2) or "")) == 1 and site.input(2) else ()
    site.add("MatMul", _centred(site, 0, 2, rows), _weights(site, columns, ()), output=site.output(0))


def conv_integer(site: Site) -> None:
    """ConvInteger: a zero point of the weights may be one for each output."""
    rank = len(site.shape(site.input(1)))
    per_output = (-1, *(1,) * (rank - 1)) if site.input(3) and len(site.shape(site.input(3))) == 1 else ()
    x, w = _centred(site, 0, 2), _weights(site, 0, per_output)
    site.add("Conv", x, w, output=site.output(0), **site.node.attributes)


def dynamic(site: Site) -> None:
    """DynamicQuantizeLinear to uint8, kept as floats: the range of the values, 0 in it, in 255 steps."""
    x, zero = site.input(0), site.constant(0)
    low = site.add("Min", site.add("ReduceMin", x, keepdims=0), zero)
    high = site.add("Max", site.add("ReduceMax", x, keepdims=0), zero)
    steps = site.add("Div", site.add("Sub", high, low), site.constant(255))
    flat = site.add("Equal", steps, zero)
    scale = site.add("Where", flat, site.constant(1), steps, output=site.output(1))
    limits = (site.constant(0), site.constant(255))
    first = site.add("Round", site.add("Div", site.add("Sub", zero, low), scale))
    zero_point = site.add("Clip", first, *limits, output=site.output(2))
    moved = site.add("Add", site.add("Round", site.add("Div", x, scale)), zero_point)
    site.add("Clip", moved, *limits, output=site.output(0))


def dequantised(site: Site) -> None:
    """DequantizeLinear of what DynamicQuantizeLinear gave, which is kept as floats."""
    if site.values[site.input(1)][0].size != 1:
        raise site.refused("integers that the samples make have one scale", f"{list(site.shape(site.input(1)))}")
    site.add("Mul", _centred(site, 0, 2), site.input(1), output=site.output(0))


RULES: dict[str, Rule] = {
    "ConvInteger": conv_integer,
    "DequantizeLinear": dequantised,
    "DynamicQuantizeLinear": dynamic,
    "MatMulInteger": matmul_integer,
    "QLinearConv": convolution,
    "QLinearMatMul": product,
    "com.microsoft.QGemm": gemm,
    "com.microsoft.QLinearAdd": _binary("Add"),
    "com.microsoft.QLinearAveragePool": _unary("AveragePool"),
    "com.microsoft.QLinearConcat": concat,
    "com.microsoft.QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "com.microsoft.QLinearLeakyRelu": _unary("LeakyRelu"),
    "com.microsoft.QLinearMul": _binary("Mul"),
    "com.microsoft.QLinearSigmoid": _unary("Sigmoid"),
    "com.microsoft.QLinearSoftmax": _unary("Softmax"),
}
