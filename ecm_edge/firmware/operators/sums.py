"""The integers of a Conv, Gemm or MatMul between quantised tensors (rules 2 and 3 of the reference).

Integers of up to 8 bits are stored as int8, those of 16 bits as int16. A uint8 tensor is kept 128 lower, its zero point
too, which changes no real value; a uint16 one 32,768 lower.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge.base.errors import InternalError
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.calls import Struct
from ecm_edge.firmware.operators.kept_integers import KeptIntegers, kept_integers
from ecm_edge.firmware.program import Done, Program, refused
from ecm_edge.firmware.tensors import Quant, Tensor
from ecm_edge.forms.reference import rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.firmware.tensors import DType
    from ecm_edge.forms.reference.node import Node, Step

SHIFT = {"int8": 0, "uint8": 128, "int16": 0, "uint16": 1 << 15, "int4": 0, "uint4": 0, "int2": 0, "uint2": 0}
"""What is taken off the integers of each type to store them."""

LOW, HIGH = -128, 127
_NIBBLE = 15
INT32 = 2**31
"""What a sum of 32 bits stays below."""
_INT53 = 2**53


@dataclass(frozen=True, eq=False)
class Sums:
    """What a group of nodes needs beside its input.

    Args:
        weights: (groups, n, O / groups), centred.
        bias: (O,), with the input's zero point in it.
        factor: (O,) or (1,), from a sum to the output's scale: integers 2^shift as large.
        shift: 1 to 62; None where a sum may have more than 32 bits, whose factors are float32.
        minimum: of the output, its zero point behind a Relu.
        zero_point: of the output.
        maximum: of the output.
        bound: what no sum and no part of one exceeds, whatever its sign and whatever the input.
    """

    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    factor: NDArray[np.int64] | NDArray[np.float32]
    shift: int | None
    minimum: int
    zero_point: int
    maximum: int
    bound: int

    @property
    def factor_step(self) -> int:
        """1 where every output has a factor, 0 where one is for all."""
        return int(self.factor.size > 1)

    def stored(self, total: str, factor: str) -> str:
        """C of what is stored of a sum, in plain loops."""
        limits = f"{self.zero_point}, {self.minimum}, {self.maximum}"
        if self.shift is None:
            return f"ecm_round((float){total} * {factor}, {limits})"
        return f"ecm_requantize({total}, {factor}, {self.shift}, {limits})"

    @property
    def struct(self) -> Struct:
        """The kernels' argument."""
        if self.shift is None:
            raise InternalError("the kernels take sums of 32 bits")
        limits = {"zero_point": self.zero_point, "minimum": self.minimum, "maximum": self.maximum}
        return Struct("quant", {"factor_step": self.factor_step, "shift": self.shift, **limits})

    def arrays(self, weights: Array) -> tuple[Array, ...]:
        """A layer's constants, with its weights as its kernel reads them."""
        kind: Literal["float32", "int32"] = "float32" if self.shift is None else "int32"
        return (weights, Array("bias", self.bias, "int32"), Array("factor", self.factor, kind))


def sums(program: Program, step: Step, x: Tensor, weights: NDArray[np.int64]) -> Sums:
    """The integers of a group of nodes with centred weights (groups, n, O / groups)."""
    quantizer = quantizer_of(step)
    bias = np.zeros(weights.shape[0] * weights.shape[2], np.int64)
    for source in step.sources[2:]:
        bias = bias + program.constant(source.inputs[0], source).values.astype(np.int64).reshape(-1)
    read, given = input_quant(program, step, x), quant_of(program, quantizer, integer_type(program, quantizer))
    bound = int((np.abs(weights).sum(1).reshape(-1) * read.most + np.abs(bias)).max(initial=0))
    are_wide = _are_wide(program, step)
    if bound >= (_INT53 if are_wide else INT32):
        limit = "53 bits" if are_wide else "int32"
        raise refused(step.op, f"accumulators fit {limit}", f"up to {bound:,}", "Use fewer taps.")
    scales = [program.constant(n.inputs[1], n).values.reshape(-1) for n in (*step.sources[:2], quantizer)]
    factors = rounding.multiplier(*scales)
    factor, shift = (factors, None) if are_wide else rounding.fixed_point(factors)
    totals = weights.sum(1).reshape(-1)  # (O,)
    return Sums(
        weights=weights,
        bias=bias - read.zero_point * totals,
        factor=factor,
        shift=shift,
        minimum=max(given.low, given.zero_point) if step.relu else given.low,
        zero_point=given.zero_point,
        maximum=given.high,
        bound=bound,
    )


def _are_wide(program: Program, step: Step) -> bool:
    """Whether products are of integers of more than 8 bits, as the reference asks."""
    x, w = step.sources[:2]
    limits = rounding.limits(read_type(program, x)), rounding.limits(program.constant(w.inputs[0], w).values.dtype)
    return any(high - low > HIGH - LOW for low, high in limits)


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


def kept_of(program: Program, source: Node) -> KeptIntegers:
    """Weights as they lie in flash; their scales are in the factors of the sums."""
    stored = program.constant(source.inputs[0], source).values
    zero = program.optional(source, 2)
    given = zero.values.reshape(-1) if zero is not None else None
    return kept_integers(stored, given, np.ones(1, np.float32), source.attributes.get("axis", 1), 0)


def takes_kernels(program: Program, step: Step) -> bool:
    """Whether a group is one of the int8 kernels': weights of 8 bits between activations of 8 bits."""
    source = step.sources[1]
    if _are_wide(program, step) or integer_type(program, quantizer_of(step)) in {"int16", "uint16"}:
        return False
    low, high = rounding.limits(program.constant(source.inputs[0], source).values.dtype)
    return high - low > _NIBBLE and fits_int8(centred(program, source))


def fits_int8(weights: NDArray[np.int64]) -> bool:
    """Whether centred weights fit int8, as the kernels want them; others are kept as int16, in plain loops."""
    return bool(weights.min(initial=0) >= LOW and weights.max(initial=0) <= HIGH)


def quant_of(program: Program, node: Node, dtype: str, shift: int | None = None) -> Quant:
    """The one scale and zero point of an activation of an ONNX type, in stored integers; `shift` as in `Tensor`."""
    taken = SHIFT[dtype] if shift is None else shift
    scale = program.constant(node.inputs[1], node)
    zero = program.optional(node, 2)
    if scale.values.size != 1 or scale.values.dtype != np.float32:
        raise refused(
            node, "activations have one float32 scale a tensor", f"{scale.values.size} of {scale.values.dtype}"
        )
    low, high = (limit - taken for limit in rounding.limits(dtype))
    return Quant(float(scale.values.item()), (int(zero.values.item()) if zero else 0) - taken, low, high)


def dequantised(program: Program, node: Node) -> Tensor:
    """The output of a DequantizeLinear whose input depends on the segment."""
    x = program.tensor(node.inputs[0], node)
    return replace(x, quant=quant_of(program, node, read_type(program, node), x.shift))


def input_quant(program: Program, step: Step, x: Tensor) -> Quant:
    """What the stored integers of a group's input stand for."""
    return quant_of(program, step.sources[0], read_type(program, step.sources[0]), x.shift)


def read_type(program: Program, node: Node) -> str:
    """The integers that a DequantizeLinear takes, by NumPy's name."""
    return _known_type(node, program.kinds[node.inputs[0]])


def integer_type(program: Program, node: Node) -> str:
    """The integers that a QuantizeLinear gives, by NumPy's name: those of its zero point, uint8 without one."""
    return _known_type(node, program.kinds[node.outputs[0]])


def _known_type(node: Node, dtype: str) -> str:
    if dtype not in SHIFT:
        raise refused(node, "activations are integers of 2, 4, 8 or 16 bits", dtype)
    return dtype


def stored_as(program: Program, dtype: str) -> DType:
    """How integers of a type are kept between layers."""
    return "int16" if dtype in {"int16", "uint16"} else program.stored


def quantizer_of(step: Step) -> Node:
    """The QuantizeLinear that ends a group of nodes."""
    assert step.quantizer is not None  # noqa: S101 - it makes a step a group
    return step.quantizer


def output(program: Program, step: Step, order: tuple[int, ...] | None = None) -> Tensor:
    """New memory for what a group gives."""
    quantizer, name = quantizer_of(step), step.outputs[0]
    dtype = integer_type(program, quantizer)
    fill, kept = quant_of(program, quantizer, dtype).zero_point, stored_as(program, dtype)
    return program.output(name, program.shapes[name], kept, order=order, shift=SHIFT[dtype], fill=fill)


def finish(program: Program, step: Step, layer: Layer, y: Tensor, suffix: str = "i8") -> None:
    """Append a group's layer and make its output known; `suffix` of its name says its integers."""
    name = step.outputs[0]
    op = "_".join([step.op.op, *(["relu"] if step.relu else []), suffix])
    program.add(Done(replace(layer, op=op, origin=(step.op.name,), outputs=(name,))), y)
    program.env[name] = y
