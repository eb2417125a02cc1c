"""How far float32 C may be from the reference, tensor by tensor: a running error bound.

Every layer is judged on the C's own inputs: what the C has written (its traced tensors) replaces the reference's values
before the next node, with error 0; between two traced tensors, where nodes were fused, the bound is carried on.

With u = 2^-24 and gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, 3.1):

    sums of products     gamma(n + 6) * sum |w| |x| + |b|: n fused multiply-adds, the reference's one rounding, and four
                         roundings of weights and bias where batch norm is folded into them; plus sum |w| err(x).
                         A constant that is added behind, or a batch norm's shift, is a part of b where it is folded
    means, other sums    gamma(n + 2) * sum |x|, plus sum err(x)
    +, -, *              the operands' errors as in a derivative, and a rounding: u |y|
    elementary functions the operand's error times the largest slope, and the ULP that ecm_math.h states
    everything else      moves values, and their errors with them
"""

import numpy as np

from ecm_edge.forms.reference.operators import OPERATORS, correlate
from ecm_edge.forms.reference.operators.product import gemm_product, matrix_product
from ecm_edge.forms.reference.operators.reduction import reduction_axes

U = 2.0**-24
TINY = 2.0**-120
"""What underflow may add, generously."""

SLOPES = {  # the largest slope, ULP of the result, further error in 2^-24 |x|
    "Relu": (1, 0, 0),
    "Clip": (1, 0, 0),
    "Sigmoid": (0.25, 6, 0),
    "Tanh": (1, 4, 0),
    "HardSwish": (1.5, 4, 2),
    "HardSigmoid": (0.2, 4, 1),
    "Gelu": (1.13, 6, 2.2),
    "Elu": (1, 4, 0),
}


def gamma(n):
    """The bound of n roundings one after the other."""
    return n * U / (1 - n * U)


def bounds(graph, given, traced):
    """For every tensor that the C has shown the largest difference allowed, and the reference's value of it.

    Args:
        graph: a float graph of the reference.
        given: every tensor as the reference computes it from the C's own inputs.
        traced: the tensors that the C has shown, name -> values.
    """
    errors, found, products = {}, {}, {}
    for step in graph.steps:
        node = step.op
        x = [np.zeros((1, 0)) if not n else traced.get(n, given[n]) for n in node.inputs]
        err = [
            np.zeros(np.shape(value)) if n not in errors else errors[n] for n, value in zip(node.inputs, x, strict=True)
        ]
        folded = next((i for i, n in enumerate(node.inputs) if n in products and n not in traced), None)
        more = 0.0
        if node.op in _PRODUCTS:
            products[step.outputs[0]] = _PRODUCTS[node.op](x)
        elif folded is not None and node.op in {"Add", "BatchNormalization"}:
            products[step.outputs[0]] = products[node.inputs[folded]]
            more = gamma(products[step.outputs[0]] + 6) * _shift(node, x, folded)
        for name, error in zip(step.outputs, _errors(node, x, err, given), strict=True):
            found[name] = error + more + TINY
            errors[name] = np.zeros_like(found[name]) if name in traced else error + more
    return {name: found[name] for name in traced if name in found}


_PRODUCTS = {
    "Conv": lambda x: x[1][0, 0].size,
    "Gemm": lambda x: x[0].shape[-1],
    "MatMul": lambda x: x[0].shape[-1],
}
"""How many products one of their sums has."""


def _shift(node, x, folded):
    """How large the constant is that a node adds to its input `folded`; 0 where it adds another tensor."""
    if node.op == "Add":
        other = x[1 - folded]
        return np.abs(other.astype(np.float64)) if len(other) < len(x[folded]) else 0.0
    scale, bias, mean, variance = (np.abs(each.astype(np.float64)) for each in _norm_lines(x))
    return bias + scale / np.sqrt(variance) * mean


def _errors(node, x, err, given):
    y = np.abs(given[node.outputs[0]].astype(np.float64))
    wide = [np.abs(value.astype(np.float64)) if value.dtype.kind == "f" else value for value in x]
    rule = _RULES.get(node.op)
    if rule is not None:
        return [rule(node, wide, err, y)]
    if node.op in SLOPES:
        slope, ulp, share = SLOPES[node.op]
        return [slope * err[0] + U * (2 * ulp * y + share * wide[0])]
    if err[0].ndim == wide[0].ndim and node.op in _MOVES:
        moved = [e if v.dtype.kind == "f" else v for e, v in zip(err, x, strict=True)]
        return OPERATORS[node.op]({**node.attributes, "value": 0.0}, moved[:2] if node.op == "Pad" else moved)
    raise NotImplementedError(f"no rule here bounds the error of {node.op}: write one")


_MOVES = frozenset(
    {
        "Concat",
        "Flatten",
        "GlobalMaxPool",
        "MaxPool",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "Transpose",
        "Unsqueeze",
    }
)


def _conv(node, x, err, _y):
    n = x[1][0, 0].size
    sums = correlate(node.attributes, x[0], x[1][0]) + _bias(x)
    return gamma(n + 6) * sums + correlate(node.attributes, err[0], x[1][0])


def _bias(x):
    return 0.0 if len(x) < 3 else x[2].reshape(1, 1, -1, *(1,) * (x[0].ndim - 3))


def _gemm(node, x, err, _y):
    n = x[0].shape[-1]
    c = x[2][0] if len(x) > 2 else 0.0
    return gamma(n + 6) * (gemm_product(node.attributes, x[0], x[1]) + c) + gemm_product(node.attributes, err[0], x[1])


def _matmul(_node, x, err, _y):
    return gamma(x[0].shape[-1] + 6) * matrix_product(x[0], x[1]) + matrix_product(err[0], x[1])


def _norm_lines(x):
    """Scale, bias, mean and variance of a batch norm, each of them as it is spread over its input."""
    return [value.reshape(1, 1, -1, *(1,) * (x[0].ndim - 3)) for value in x[1:5]]


def _norm(node, x, err, _y):
    scale, bias, mean, variance = _norm_lines(x)
    a = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return a * err[0] + 4 * U * (a * x[0] + bias + a * mean)


def _sum(node, x, err, _y):
    axes = reduction_axes(x[0], node.attributes, x) if node.op != "GlobalAveragePool" else tuple(range(3, x[0].ndim))
    keep = bool(node.attributes.get("keepdims", 1))
    n = int(np.prod([x[0].shape[axis] for axis in axes]))
    total = gamma(n + 2) * x[0].sum(axis=axes, keepdims=keep) + err[0].sum(axis=axes, keepdims=keep)
    return total if node.op == "ReduceSum" else total / n


def _average(node, x, err, _y):
    n = int(np.prod(node.attributes["kernel_shape"]))
    return OPERATORS["AveragePool"](node.attributes, [gamma(n + 2) * x[0] + err[0]])[0]


def _mul(_node, x, err, y):
    return x[0] * err[1] + x[1] * err[0] + err[0] * err[1] + 8 * U * y  # as silu it is within 6.7 ULP


def _add(_node, _x, err, y):
    return err[0] + err[1] + U * y


def _slopes(_node, x, err, y):
    """LeakyRelu and PRelu."""
    return np.maximum(1.0, x[1] if len(x) > 1 else 1.0) * err[0] + U * y


def _softmax(node, x, err, y):
    axis = node.attributes.get("axis", -1) % (x[0].ndim - 1) + 1
    spread = err[0].max(axis=axis, keepdims=True) + U * x[0].max(axis=axis, keepdims=True) * 2
    return y * (2 * spread + gamma(x[0].shape[axis] + 8))


_RULES = {
    "Add": _add,
    "AveragePool": _average,
    "BatchNormalization": _norm,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _sum,
    "LeakyRelu": _slopes,
    "MatMul": _matmul,
    "Mul": _mul,
    "PRelu": _slopes,
    "ReduceMean": _sum,
    "ReduceSum": _sum,
    "Softmax": _softmax,
}
