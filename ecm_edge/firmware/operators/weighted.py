"""A layer with constant weights, from the node that makes it to the last node that joins it.

Batch norm, a cheap activation and the addition of a residual become part of the layer before them. A `Weighted` is
never changed: whatever joins it puts a new one in its place in the program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array
from ecm_edge.firmware.operators.calls import Call, Operand, Struct
from ecm_edge.firmware.operators.kept_integers import KEPT
from ecm_edge.firmware.operators.windows import are_lines, line_step, lines_of, row_step
from ecm_edge.firmware.program import Constant
from ecm_edge.firmware.tensors import Buffer, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Layer
    from ecm_edge.firmware.program import Program
    from ecm_edge.forms.reference.node import Step


@dataclass(frozen=True)
class Activation:
    """What is applied before a value is stored: ECM_NONE, ECM_RELU, ECM_CLIP or ECM_LEAKY, with its two numbers."""

    kind: str = "ECM_NONE"
    low: float = 0.0
    high: float = 0.0

    @property
    def arguments(self) -> str:
        """The last arguments of ecm_activate_f32."""
        return f"{self.kind}, {literals.float_literal(self.low)}, {literals.float_literal(self.high)}"

    @property
    def struct(self) -> Struct:
        """The kernels' argument."""
        low, high = literals.float_literal(self.low), literals.float_literal(self.high)
        return Struct("activation", {"kind": self.kind, "low": low, "high": high})


@dataclass(frozen=True, eq=False)
class Weighted:
    """A convolution or product that later nodes may still join.

    Args:
        step: the node that it comes from.
        x: its input.
        y: its output, which is that of the last node that joined.
        weights: (groups, n, O / groups), a group's rows in the order in which a window lies in memory.
        bias: (O,).
        stored: how weights are kept, "float32", "float16" or KEPT.
        emit: makes the layer, once nothing joins any more.
        name: the ONNX name of `y`.
        activation: applied to each value before it is stored.
        origin: names of the nodes that joined.
        ops: operators of the nodes that joined.
        macs: multiply-accumulates.
        order: of the output's axes in memory; None for time-major.
        adds: whether `emit` can add a residual.
        added: a residual, added behind the activation.
    """

    step: Step
    x: Tensor
    y: Tensor
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    stored: str
    emit: Callable[[Weighted], Layer]
    name: str
    activation: Activation = Activation()
    origin: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    macs: int = 0
    order: tuple[int, ...] | None = None
    adds: bool = False
    added: Tensor | None = None

    def close(self, program: Program) -> Layer | None:
        """The layer, with its constants and everything that was folded into it; None where nothing reads it."""
        if program.uses[self.name] == 0:
            return None
        joined = "_".join((self.step.op.op, *self.ops))
        origin = (self.step.op.name, *self.origin)
        return replace(self.emit(self), op=joined, origin=origin, outputs=(self.name,), macs=self.macs)


@dataclass(frozen=True, eq=False)
class Stored:
    """Weights as a layer keeps them, and as its kernel reads them: float16 ones are expanded first, into scratch."""

    array: Array
    operand: Operand
    before: Call | None = None
    scratch: tuple[Buffer, ...] = ()


def stored(layer: Weighted, values: NDArray[np.float32], group_step: int = 0) -> Stored:
    """The weights of a layer in the order in which its kernel reads them."""
    array = Array("weights", values, layer.stored)
    if layer.stored != "float16":
        return Stored(array, Operand("weights", 0, group_step))
    floats = Buffer(values.size, "float32")
    before = Call("ecm_halves", (Operand("weights"), Operand(floats)), numbers=(values.size,))
    return Stored(array, Operand(floats, 0, group_step), before, (floats,))


def add(
    program: Program,
    step: Step,
    x: Tensor,
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
    stored: str,
    emit: Callable[[Weighted], Layer],
    macs: int,
    order: tuple[int, ...] | None = None,
    *,
    adds: bool = False,
) -> None:
    """Append a layer that later nodes may join."""
    name = step.outputs[0]
    y = program.output(name, program.shapes[name], order=order)
    program.env[name] = y
    program.add(Weighted(step, x, y, weights, bias, stored, emit, name, macs=macs, order=order, adds=adds), y)


def fold(
    program: Program,
    source: str,
    step: Step,
    *,
    scale: NDArray[Any] | None = None,
    shift: NDArray[Any] | None = None,
    activation: Activation | None = None,
) -> bool:
    """Fold a line per channel or an activation into the layer that writes `source`; False where that cannot be.

    It can if nothing else reads `source`, and nothing was folded behind an activation. The outputs of a product are its
    last axis, those of a line per channel axis 1.
    """
    number, layer = _maker(program, source)
    if layer is None or layer.added is not None or layer.activation != Activation():
        return False
    if scale is not None and (layer.order not in {None, (0, 1)} or layer.stored == KEPT):
        return False
    if scale is not None and shift is not None:
        weights = layer.weights * scale.reshape(len(layer.weights), 1, -1)
        layer = replace(layer, weights=weights, bias=layer.bias * scale + shift, stored="float32")
    if activation is not None:
        layer = replace(layer, activation=activation)
    _join(program, number, layer, step)
    return True


def fold_bias(program: Program, step: Step) -> bool:
    """Have a constant per output added by the layer that alone gives the other term; False where that cannot be.

    In a quantised graph sums stay as they are, for integers depend on their last bit.
    """
    names = step.op.inputs
    if program.wide or len(names) != 2:  # noqa: PLR2004 - two terms
        return False
    return any(_add_bias(program, step, names[i], names[1 - i]) for i in (0, 1))


def _add_bias(program: Program, step: Step, source: str, other: str) -> bool:
    number, layer = _maker(program, source)
    constant = program.env.get(other)
    if layer is None or layer.added is not None or layer.activation != Activation():
        return False
    shape = program.shapes[step.outputs[0]]
    if not isinstance(constant, Constant) or layer.y.shape != shape:
        return False
    axis = 1 if layer.order is None else len(shape) - 1  # a product's outputs are its last axis
    by_output = np.moveaxis(np.broadcast_to(constant.values.astype(np.float64), shape), axis, -1)
    shift = by_output.reshape(-1, shape[axis])
    if not (shift == shift[:1]).all():
        return False
    _join(program, number, replace(layer, bias=layer.bias + shift[0]), step)
    return True


def fold_residual(program: Program, step: Step) -> bool:
    """Have the sum of two tensors made by the convolution that alone gives one of them; False where that cannot be.

    The other tensor has to be there before the convolution, in floats, its channels side by side.
    """
    names = step.op.inputs
    if program.kernels.outputs > 1 or len(names) != 2 or len(set(names)) == 1:  # noqa: PLR2004 - two terms
        return False
    return any(_add_residual(program, step, names[i], names[1 - i]) for i in (1, 0))


def _add_residual(program: Program, step: Step, source: str, other: str) -> bool:
    number, layer = _maker(program, source)
    added = program.env.get(other)
    if layer is None or not layer.adds or layer.added is not None or not isinstance(added, Tensor):
        return False
    if layer.y.shape != added.shape or program.made_by.get(added.buffer, -1) >= number:
        return False
    if added.quant is not None or added.buffer.dtype != "float32" or not _side_by_side(added):
        return False
    _join(program, number, replace(layer, added=added), step)
    return True


def _maker(program: Program, source: str) -> tuple[int, Weighted | None]:
    """The layer that writes `source` and its number; None where it is of another kind, or its output is read twice."""
    x = program.env.get(source)
    number = program.made_by.get(x.buffer, -1) if isinstance(x, Tensor) else -1
    layer = program.layers[number] if number >= 0 else None
    if not isinstance(layer, Weighted) or layer.name != source or program.uses[source] != 1:
        return number, None
    return number, layer


def _join(program: Program, number: int, layer: Weighted, step: Step) -> None:
    """What a step gives is the layer's output now; under the new name, margins and place may differ."""
    name = step.outputs[0]
    y = program.output(name, layer.y.shape, order=layer.order)
    origin, ops = (*layer.origin, step.op.name), (*layer.ops, step.op.op)
    program.layers[number] = replace(layer, y=y, name=name, origin=origin, ops=ops)
    program.env[name] = y
    program.made_by[y.buffer] = number


def _side_by_side(x: Tensor) -> bool:
    """Whether rows lie at one distance, one behind the other, channels side by side, and so do a picture's lines."""
    places = lines_of(x.index)
    return are_lines(places) and line_step(places) >= 0 < row_step(places[0])
