"""Convolutions over several axes in plain loops, in float32 and on integers: correct for every shape, fast for none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.operators.sums import INT32, finish, input_quant, kept_of, output, sums
from ecm_edge.firmware.program import refused
from ecm_edge.forms.reference.operators.windows import Geometry, geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.operators.kept_integers import KeptIntegers
    from ecm_edge.firmware.operators.weighted import Weighted
    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Tensor
    from ecm_edge.forms.reference.node import Node, Step


@dataclass(frozen=True, eq=False)
class _Nest:
    """A convolution of x (N, C, *S) to y (N, O, *S) by weights (O, C / groups, *K)."""

    x: Tensor
    y: Tensor
    geometry: Geometry
    kernel: tuple[int, ...]
    groups: int

    @property
    def indices(self) -> tuple[str, ...]:
        """C of a weight's place on each of its axes."""
        return ("o1", "c", *(f"k{axis}" for axis in range(len(self.kernel) - 2)))

    def weight(self, names: Names) -> str:
        """C of one weight."""
        _, inputs, *taps = self.kernel
        size = prod(taps)
        place = f"o1 * {inputs * size} + c * {size}{_offsets('k', _row_major(taps))}"
        return f"{names.constant('weights')}[{place}]"

    def sample(self, names: Names) -> str:
        """C of the sample that goes with it."""
        outputs, inputs, *_ = self.kernel
        steps = self.x.strides or ()
        channel = f"(o1 / {outputs // self.groups} * {inputs} + c)"
        return f"{names.pointer(self.x)}[o0 * {steps[0]} + {channel} * {steps[1]}{_offsets('p', steps[2:])}]"

    def result(self, names: Names) -> str:
        """C of the place of one output."""
        return f"{names.pointer(self.y)}[{_offsets('o', self.y.strides or ()).removeprefix(' + ') or '0'}]"

    def loops(self, start: str, step: str, end: str) -> str:
        """Loops over outputs, channels and taps; taps outside of the input add nothing."""
        _, inputs, *taps = self.kernel
        rank, text = len(taps), step
        for axis in range(rank - 1, -1, -1):
            text = _loop(f"k{axis}", taps[axis], "\n".join([*self._position(axis), text]))
        text = f"{start}\n{_loop('c', inputs, text)}\n{end}"
        for axis in (1, *range(rank + 1, 1, -1), 0):
            text = _loop(f"o{axis}", self.y.shape[axis], text)
        return text

    def _position(self, axis: int) -> list[str]:
        """Where a tap lies on an axis of the input."""
        shape = self.geometry
        if not sum(shape.pads[axis]) and not (self.x.strides or ())[axis + 2]:
            return []  # one entry, which every tap reads
        at = f"o{axis + 2} * {shape.strides[axis]} + k{axis} * {shape.dilations[axis]} - {shape.pads[axis][0]}"
        lines = [f"const int32_t p{axis} = {at};"]
        if sum(shape.pads[axis]):
            lines.append(f"if (p{axis} < 0 || p{axis} >= {self.x.shape[axis + 2]}) {{ continue; }}")
        return lines


def float_layer(
    node: Node, x: Tensor, kernel: Sequence[int], kept: KeptIntegers | None = None, *, wide: bool = False
) -> Callable[[Weighted], Layer]:
    """Makes the layer of a float Conv by weights of the shape `kernel`, which may be kept as integers.

    `wide` as in `Program`.
    """
    shape = geometry(node.attributes, tuple(kernel[2:]), x.shape[2:])
    if any(shape.extra):
        raise refused(node, "Conv has no ceil_mode", "one")

    def emit(layer: Weighted) -> Layer:
        nest = _Nest(layer.x, layer.y, shape, tuple(kernel), node.attributes.get("group", 1))
        if kept is not None:
            return _by_integers(nest, layer, kept, (layer.x, layer.y), wide=wide)
        weights = layer.weights[0].T.astype(np.float32)  # (O, C / groups K)

        def body(names: Names) -> str:
            weight = nest.weight(names)
            weight = f"ecm_half({weight})" if layer.stored == "float16" else weight
            start = f"float a = {names.constant('bias')}[o1];"
            step = f"a = ecm_fmaf({nest.sample(names)}, {weight}, a);"
            return nest.loops(start, step, f"{nest.result(names)} = ecm_activate_f32(a, {layer.activation.arguments});")

        arrays = (Array("weights", weights, layer.stored), Array("bias", layer.bias.astype(np.float32), "float32"))
        return Layer("conv", (), f"{layer.x.shape} -> {layer.y.shape}", (layer.x,), (layer.y,), body, arrays)

    return emit


def rows_by_integers(x: Tensor, kept: KeptIntegers, *, wide: bool) -> Callable[[Weighted], Layer]:
    """Makes the layer of rows (…, n) times a matrix that is kept as integers, seen as weights (O, n, 1)."""

    def emit(layer: Weighted) -> Layer:
        views = [replace(each, index=each.index.reshape(-1, each.shape[-1], 1)) for each in (x, layer.y)]
        nest = _Nest(views[0], views[1], geometry({}, (1,), (1,)), kept.values.shape, 1)
        return _by_integers(nest, layer, kept, (x, layer.y), wide=wide)

    return emit


def _by_integers(
    nest: _Nest, layer: Weighted, kept: KeptIntegers, tensors: tuple[Tensor, Tensor], *, wide: bool
) -> Layer:
    """A float layer whose weights are made of integers one by one.

    With a scale of 1 all products may be whole numbers: their sum is taken in double, which is exact.
    """
    x, y = tensors
    exact = wide or bool((kept.scales == 1).all())

    def body(names: Names) -> str:
        weight = kept.real(names, nest.indices)
        start = f"{'double' if exact else 'float'} a = {names.constant('bias')}[o1];"
        step = f"a = ecm_fmaf({nest.sample(names)}, {weight}, a);"
        if exact:
            step = f"a += (double){nest.sample(names)} * (double)({weight});"
        result = f"ecm_activate_f32({'(float)' if exact else ''}a, {layer.activation.arguments})"
        return nest.loops(start, step, f"{nest.result(names)} = {result};")

    arrays = (*kept.arrays, Array("bias", layer.bias.astype(np.float32), "float32"))
    return Layer("conv", (), f"{x.shape} -> {y.shape}, {kept.note}", (x,), (y,), body, arrays)


def append_i8(program: Program, step: Step, x: Tensor, w: NDArray[np.int64], macs: int) -> None:
    """The layer of a Conv on integers by centred weights w (O, C / groups, *K)."""
    y = output(program, step)
    _append_i8(program, step, (x, y), (x, y), w, kept_of(program, step.sources[1]), step.op.attributes, macs)


def append_rows_i8(program: Program, step: Step, x: Tensor, w: NDArray[np.int64]) -> None:
    """The layer of rows (…, n) on integers times centred weights w (n, O), as a Conv of one tap."""
    y = output(program, step, tuple(range(len(program.shapes[step.outputs[0]]))))
    views = tuple(replace(each, index=each.index.reshape(-1, each.shape[-1], 1)) for each in (x, y))
    macs = prod(x.shape[:-1]) * w.size
    transposed = step.op.op == "Gemm" and bool(step.op.attributes.get("transB", 0))
    kept = kept_of(program, step.sources[1]).by_rows(transposed=transposed)
    _append_i8(program, step, (x, y), (views[0], views[1]), w.T[:, :, None], kept, {}, macs)


def _append_i8(
    program: Program,
    step: Step,
    tensors: tuple[Tensor, Tensor],
    views: tuple[Tensor, Tensor],
    w: NDArray[np.int64],
    kept: KeptIntegers,
    attributes: Mapping[str, Any],
    macs: int,
) -> None:
    """The layer from the first of two tensors to the second, which are seen as (N, C, *S).

    A sum has 32 bits where no input of the layer's types can leave them (`Sums.bound`), else 64.
    """
    (x, y), (of_x, of_y) = tensors, views
    flat = w.reshape(1, len(w), -1).transpose(0, 2, 1)
    integers = sums(program, step, x, flat)
    zero = input_quant(program, step, x).zero_point
    without_zero = zero * flat.sum(1).reshape(-1)  # padding adds nothing: the loops take the zero point off each sample
    shape = geometry(attributes, w.shape[2:], of_x.shape[2:])
    nest = _Nest(of_x, of_y, shape, w.shape, attributes.get("group", 1))
    c_type, cast = ("int32_t", "") if integers.bound < INT32 else ("int64_t", "(int64_t)")

    def body(names: Names) -> str:
        factor = f"{names.constant('factor')}[o1 * {integers.factor_step}]"
        start = f"{c_type} a = {names.constant('bias')}[o1];"
        turn = f"a += {cast}({nest.sample(names)} - {zero}) * {kept.integer(names, nest.indices)};"
        result = f"({literals.C_TYPES[y.buffer.dtype]}){integers.stored('a', factor)}"
        return nest.loops(start, turn, f"{nest.result(names)} = {result};")

    biases = replace(integers, bias=integers.bias + without_zero).arrays(kept.arrays[0])[1:]
    note = f"{x.shape} -> {y.shape}, {kept.note}, sums of {c_type[3:5]} bits"
    layer = Layer("", (), note, (x,), (y,), body, (*kept.arrays, *biases), macs=macs)
    finish(program, step, layer, y, "integers")


def _loop(variable: str, count: int, body: str) -> str:
    return f"for (int32_t {variable} = 0; {variable} < {count}; {variable}++) {{\n{indent(body)}\n}}"


def _offsets(letter: str, steps: tuple[int, ...] | list[int]) -> str:
    return "".join(f" + {letter}{axis} * {step}" for axis, step in enumerate(steps) if step)


def _row_major(lengths: list[int]) -> list[int]:
    return [prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
