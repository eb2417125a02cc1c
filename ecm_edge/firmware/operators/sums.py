"""The integers of a Conv, Gemm or MatMul between quantised tensors (rules 2 and 3 of the reference).

Integers are stored as int8: a uint8 tensor is kept 128 lower, its zero point too, which changes no real value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.calls import Struct
from ecm_edge.firmware.program import Done, Program, refused
from ecm_edge.firmware.tensors import Quant, Tensor
from ecm_edge.forms.reference import rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.forms.reference.node import Node, Step

SHIFT = {"int8": 0, "uint8": 128}
"""What is taken off the integers of each type to store them."""

LOW, HIGH = -128, 127
_INT32 = 2**31


@dataclass(frozen=True, eq=False)
class Sums:
    """What a group of nodes needs beside its input.

    Args:
        weights: (groups, n, O / groups), centred.
        bias: (O,), with the input's zero point in it.
        factor: (O,) or (1,), from a sum to the output's scale.
        minimum: of the output, its zero point behind a Relu.
        zero_point: of the output.
    """

    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    factor: NDArray[np.float32]
    minimum: int
    zero_point: int

    @property
    def factor_step(self) -> int:
        """1 where every output has a factor, 0 where one is for all."""
        return int(self.factor.size > 1)

    @property
    def arguments(self) -> str:
        """The last arguments of ecm_requantize."""
        return f"{self.zero_point}, {self.minimum}, {HIGH}"

    @property
    def struct(self) -> Struct:
        """The kernels' argument."""
        limits = {"zero_point": self.zero_point, "minimum": self.minimum, "maximum": HIGH}
        return Struct("quant", {"factor_step": self.factor_step, **limits})

    def arrays(self, weights: Array) -> tuple[Array, ...]:
        """A layer's constants, with its weights as its kernel reads them."""
        return (weights, Array("bias", self.bias, "int32"), Array("factor", self.factor, "float32"))


def sums(program: Program, step: Step, x: Tensor, weights: NDArray[np.int64]) -> Sums:
    """The integers of a group of nodes with centred weights (groups, n, O / groups)."""
    quantizer = quantizer_of(step)
    bias = np.zeros(weights.shape[0] * weights.shape[2], np.int64)
    for source in step.sources[2:]:
        bias = bias + program.constant(source.inputs[0], source).values.astype(np.int64).reshape(-1)
    bound = np.abs(weights).sum(1).reshape(-1) * 255 + np.abs(bias)
    if bound.max(initial=0) >= _INT32:
        raise refused(step.op, "accumulators fit int32", f"up to {bound.max():,}", "Use fewer taps.")
    zero_point = quant_of(program, quantizer, integer_type(program, quantizer)).zero_point
    scales = [program.constant(n.inputs[1], n).values.reshape(-1) for n in (*step.sources[:2], quantizer)]
    totals = weights.sum(1).reshape(-1)  # (O,)
    return Sums(
        weights=weights,
        bias=bias - input_quant(program, step, x).zero_point * totals,
        factor=rounding.multiplier(*scales),
        minimum=max(LOW, zero_point) if step.relu else LOW,
        zero_point=zero_point,
    )


def centred(program: Program, source: Node) -> NDArray[np.int64]:
    """Weights minus their zero points."""
    stored = program.constant(source.inputs[0], source).values.astype(np.int64)
    zero = program.optional(source, 2)
    if zero is not None:
        axis = source.attributes.get("axis", 1) % max(1, stored.ndim)
        flat = zero.values.astype(np.int64).reshape(-1)
        stored = stored - (
            flat.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]) if flat.size > 1 else flat
        )
    return stored


def fits_int8(weights: NDArray[np.int64]) -> bool:
    """Whether centred weights fit int8, as the kernels want them; others are kept as int16, in plain loops."""
    return bool(weights.min(initial=0) >= LOW and weights.max(initial=0) <= HIGH)


def quant_of(program: Program, node: Node, dtype: str) -> Quant:
    """The one scale and zero point of an activation, in stored integers."""
    scale = program.constant(node.inputs[1], node)
    zero = program.optional(node, 2)
    if scale.values.size != 1 or scale.values.dtype != np.float32:
        raise refused(
            node, "activations have one float32 scale a tensor", f"{scale.values.size} of {scale.values.dtype}"
        )
    return Quant(float(scale.values.item()), (int(zero.values.item()) if zero else 0) - SHIFT[dtype])


def dequantised(program: Program, node: Node) -> Tensor:
    """The output of a DequantizeLinear whose input depends on the segment."""
    x = program.tensor(node.inputs[0], node)
    return replace(x, quant=quant_of(program, node, "uint8" if x.shift else "int8"))


def input_quant(program: Program, step: Step, x: Tensor) -> Quant:
    """What the stored integers of a group's input stand for."""
    return quant_of(program, step.sources[0], "uint8" if x.shift else "int8")


def integer_type(program: Program, node: Node) -> str:
    """The integers that a QuantizeLinear gives: those of its zero point, uint8 without one."""
    zero = program.optional(node, 2)
    dtype = str(zero.values.dtype) if zero else "uint8"
    if dtype not in SHIFT:
        raise refused(node, "activations are int8 or uint8", dtype)
    return dtype


def quantizer_of(step: Step) -> Node:
    """The QuantizeLinear that ends a group of nodes."""
    assert step.quantizer is not None  # noqa: S101 - it makes a step a group
    return step.quantizer


def output(program: Program, step: Step, order: tuple[int, ...] | None = None) -> Tensor:
    """New memory for what a group gives."""
    quantizer, name = quantizer_of(step), step.outputs[0]
    dtype = integer_type(program, quantizer)
    fill = quant_of(program, quantizer, dtype).zero_point
    return program.output(name, program.shapes[name], program.stored, order=order, shift=SHIFT[dtype], fill=fill)


def finish(program: Program, step: Step, layer: Layer, y: Tensor) -> None:
    """Append a group's layer and make its output known."""
    name = step.outputs[0]
    op = "_".join([step.op.op, *(["relu"] if step.relu else []), "i8"])
    program.add(Done(replace(layer, op=op, origin=(step.op.name,), outputs=(name,))), y)
    program.env[name] = y
