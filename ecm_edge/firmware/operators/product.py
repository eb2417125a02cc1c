"""MatMul and Gemm in plain loops with broadcasting, where no constant matrix stands on the right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.loops import Axis, at, loop_nest, loops
from ecm_edge.firmware.operators.shape import floats
from ecm_edge.firmware.program import Constant, Done, Program
from ecm_edge.firmware.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.tensors import Indices
    from ecm_edge.forms.reference.node import Node, Step


@dataclass(frozen=True, eq=False)
class Factor:
    """A tensor or a constant (`what` names its array) and the places of its values, in any shape."""

    operand: Tensor | Constant
    index: Indices
    what: str

    def value(self, names: Names, place: str) -> str:
        """The C of one value."""
        if isinstance(self.operand, Tensor):
            return f"{names.pointer(self.operand)}[{place}]"
        stored = f"{names.constant(self.what)}[{place}]"
        return f"ecm_half({stored})" if self.operand.stored == "float16" else stored


def matmul_of_tensors(program: Program, step: Step) -> None:
    """The sum over k of a[..., m, k] * b[..., k, o]; a vector is a row on the left, a column on the right."""
    a, b = (_factor(program, step.op, position) for position in (0, 1))
    left = a.index[None] if a.index.ndim == 1 else a.index
    right = b.index[:, None] if b.index.ndim == 1 else b.index
    axes = [*([-2] if a.index.ndim == 1 else []), *([-1] if b.index.ndim == 1 else [])]
    factors = [replace(a, index=left), replace(b, index=right)]
    _append(program, step, factors, axes, "acc")


def gemm_of_tensors(program: Program, step: Step) -> None:
    """Y = alpha a' b' + beta c with any a, b and c."""
    node = step.op
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    factors = []
    for position, name in ((0, "transA"), (1, "transB")):
        factor = _factor(program, node, position)
        index = factor.index.T if node.attributes.get(name, 0) else factor.index
        factors.append(replace(factor, index=index))
    result = "acc" if alpha == 1.0 else f"{literals.float_literal(alpha)} * acc"
    if len(node.inputs) > 2 and node.inputs[2]:  # noqa: PLR2004 - c
        factors.append(_factor(program, node, 2))
        result += " + v2" if beta == 1.0 else f" + {literals.float_literal(beta)} * v2"
    _append(program, step, factors, [], result)


def _factor(program: Program, node: Node, position: int) -> Factor:
    name = node.inputs[position]
    operand = program.env[name]
    if isinstance(operand, Constant):
        return Factor(operand, np.arange(operand.values.size).reshape(operand.shape), f"factor{position}")
    x = floats(program, name, operand)
    return Factor(x, x.index, f"factor{position}")


def _append(program: Program, step: Step, factors: Sequence[Factor], axes: Sequence[int], result: str) -> None:
    """The layer; `axes` of the product, counted from the back, are not in the output; v2 in `result` is the addend."""
    node, name = step.op, step.outputs[0]
    y = program.output(name, program.shapes[name])
    places = y.index
    for axis in axes:  # -2, the row, comes before -1: both count in the product's rank
        places = np.expand_dims(places, axis if axis == -1 or -1 not in axes else -1)
    left, right = factors[0].index, factors[1].index
    shape = (*places.shape, left.shape[-1])
    spread = [left[..., :, None, :], np.swapaxes(right, -1, -2)[..., None, :, :]]
    spread += [np.broadcast_to(factor.index, places.shape)[..., None] for factor in factors[2:]]
    indices = [np.broadcast_to(index, shape) for index in (*spread, places[..., None])]
    outer = loop_nest(places.shape, range(places.ndim), [index[..., 0] for index in indices])
    steps = [int((index[..., -1] - index[..., 0]).flat[0]) // max(1, shape[-1] - 1) for index in indices[:2]]

    def body(names: Names) -> str:
        return _sums(program, names, factors, outer, y, shape[-1], steps, result)

    arrays = [Array(f.what, f.operand.values, f.operand.stored) for f in factors if isinstance(f.operand, Constant)]
    reads = tuple(factor.operand for factor in factors if isinstance(factor.operand, Tensor))
    layer = Layer(
        node.op, (node.name,), f"{shape}", reads, (y,), body, tuple(arrays), outputs=(name,), macs=prod(shape)
    )
    program.add(Done(layer), y)
    program.env[name] = y


def _sums(
    program: Program,
    names: Names,
    factors: Sequence[Factor],
    outer: Sequence[Axis],
    y: Tensor,
    inner: int,
    steps: Sequence[int],
    result: str,
) -> str:
    """C of one sum for every element; in double where integers depend on it."""
    a, b = (factors[i].value(names, f"{at(outer, i)} + k * {steps[i]}") for i in (0, 1))
    c_type, turn = "float", f"acc = ecm_fmaf({a}, {b}, acc);"
    if program.wide:
        c_type, turn = "double", f"acc += (double){a} * (double){b};"
    lines = [f"{c_type} acc = 0;", f"for (int32_t k = 0; k < {inner}; k++) {{", f"    {turn}", "}"]
    lines += [f"const float v{i} = {factors[i].value(names, at(outer, i))};" for i in range(2, len(factors))]
    lines.append(f"{names.pointer(y)}[{at(outer, len(factors))}] = (float)({result});")
    return loops(outer, "\n".join(lines))
