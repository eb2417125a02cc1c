"""Convolutions over several axes, in plain loops: correct for every shape, fast for none."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.program import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.layers import Names, Pointer
    from ecm_edge.firmware.operators.weighted import Weighted
    from ecm_edge.firmware.tensors import Tensor
    from ecm_edge.forms.reference.graph import Node
    from ecm_edge.forms.reference.operators.windows import Geometry


def conv_over_axes(node: Node, found: Geometry, kernel: tuple[int, ...]) -> Callable[[Weighted], Layer]:
    """The layer of Conv (N, C, *S) with weights (O, C / groups, *K)."""
    groups = node.attributes.get("group", 1)
    if any(found.extra):
        raise refused(node, "Conv has no ceil_mode", "one")

    def emit(layer: Weighted) -> Layer:
        weights = layer.weights[0].T.astype(np.float32)  # (O, C / groups K)
        arrays = (Array("weights", weights, layer.stored), Array("bias", layer.bias.astype(np.float32), "float32"))

        def body(names: Names) -> str:
            pointer, constant = names.pointer, names.constant
            return _loops(layer, found, kernel, groups, pointer, constant)

        return Layer("conv", (), f"{layer.x.shape} -> {layer.y.shape}", (layer.x,), (layer.y,), body, arrays)

    return emit


def _loops(
    layer: Weighted,
    found: Geometry,
    kernel: tuple[int, ...],
    groups: int,
    pointer: Pointer,
    constant: Callable[[str], str],
) -> str:
    weight, value = _factors(layer.x, kernel, groups, pointer, constant)
    if layer.stored == "float16":
        weight = f"ecm_half({weight})"
    return _nest(
        layer.x,
        layer.y,
        found,
        kernel,
        f"float a = {constant('bias')}[o1];",
        f"a = ecm_fmaf({value}, {weight}, a);",
        f"{_place(layer.y, pointer)} = ecm_activate_f32(a, {layer.activation.arguments});",
    )


def integer_conv_loops(
    x: Tensor,
    y: Tensor,
    found: Geometry,
    kernel: tuple[int, ...],
    groups: int,
    zero_point: int,
    result: str,
    pointer: Pointer,
    constant: Callable[[str], str],
) -> str:
    """C of an int8 convolution over several axes; `result` makes what is stored of the int32 sum `a`."""
    weight, value = _factors(x, kernel, groups, pointer, constant)
    step = f"a += ({value} - {zero_point}) * {weight};"
    return _nest(x, y, found, kernel, f"int32_t a = {constant('bias')}[o1];", step, f"{_place(y, pointer)} = {result};")


def _factors(
    x: Tensor, kernel: tuple[int, ...], groups: int, pointer: Pointer, constant: Callable[[str], str]
) -> tuple[str, str]:
    """The weight and the sample of one product."""
    outputs, inputs, *taps = kernel
    steps = x.strides or ()
    weight = f"{constant('weights')}[o1 * {inputs * prod(taps)} + c * {prod(taps)}{_offsets('k', _row_major(taps))}]"
    channel = f"(o1 / {outputs // groups} * {inputs} + c)"
    return weight, f"{pointer(x)}[o0 * {steps[0]} + {channel} * {steps[1]}{_offsets('p', steps[2:])}]"


def _place(y: Tensor, pointer: Pointer) -> str:
    return f"{pointer(y)}[{_offsets('o', y.strides or ()).removeprefix(' + ') or '0'}]"


def _nest(x: Tensor, y: Tensor, found: Geometry, kernel: tuple[int, ...], start: str, step: str, stored: str) -> str:
    """Loops over outputs, channels and taps; taps outside of the input add nothing."""
    _, inputs, *taps = kernel
    rank, text = len(taps), step
    for axis in range(rank - 1, -1, -1):
        at = f"o{axis + 2} * {found.strides[axis]} + k{axis} * {found.dilations[axis]} - {found.pads[axis][0]}"
        lines = [f"const int32_t p{axis} = {at};"]
        if sum(found.pads[axis]):
            lines.append(f"if (p{axis} < 0 || p{axis} >= {x.shape[axis + 2]}) {{ continue; }}")
        body = indent("\n".join([*lines, text]))
        text = f"for (int32_t k{axis} = 0; k{axis} < {taps[axis]}; k{axis}++) {{\n{body}\n}}"
    text = f"for (int32_t c = 0; c < {inputs}; c++) {{\n{indent(text)}\n}}"
    text = f"{start}\n{text}\n{stored}"
    for axis in (1, *range(rank + 1, 1, -1), 0):
        text = f"for (int32_t o{axis} = 0; o{axis} < {y.shape[axis]}; o{axis}++) {{\n{indent(text)}\n}}"
    return text


def _offsets(letter: str, steps: tuple[int, ...] | list[int]) -> str:
    return "".join(f" + {letter}{axis} * {step}" for axis, step in enumerate(steps) if step)


def _row_major(lengths: list[int]) -> list[int]:
    return [prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
