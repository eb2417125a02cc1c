"""Values that lie in no regular order: copied one by one, by tables of places in flash.

A table is for one axis where the places along it are the same for all others (Gather, Tile, Resize), else for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.program import Done, Program
from ecm_edge.firmware.tensors import Tensor, order_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.tensors import Indices

_INT16 = 1 << 15


def gathered(program: Program, origin: str, name: str, x: Tensor, order: Sequence[int] | None = None) -> Tensor:
    """A copy of a view, regular or not, in new memory under its ONNX name; time-major unless `order` says otherwise."""
    fill = x.quant.zero_point if x.quant else 0
    y = program.output(name, x.shape, x.buffer.dtype, order=order, shift=x.shift, fill=fill)
    y = replace(y, quant=x.quant)
    if y.buffer.place == "scores" and x.quant is not None:
        y = replace(
            program.allocate(x.shape, x.buffer.dtype, range(len(x.shape)), program.rooms[name], 0), quant=x.quant
        )
    program.add(Done(_layer(origin, name, x, y)), y)
    return y


def _layer(origin: str, name: str, x: Tensor, y: Tensor) -> Layer:
    order = order_of(y) or tuple(range(len(y.shape)))
    offsets = _along_axes(x.index - x.offset)
    sources, tables = [], []
    for axis, places in enumerate(offsets or []):
        step = int(places[1]) if len(places) > 1 else 0
        if np.array_equal(places, np.arange(len(places)) * step):
            sources += [f"i{axis} * {step}"] if step else []
            continue
        tables.append((f"axis{axis}", places))
    if offsets is None:
        tables.append(("places", (x.index - x.offset).transpose(order).ravel()))

    def body(names: Names) -> str:
        looked_up = [f"{names.constant(what)}[{'i' + what[4:] if offsets else 'n++'}]" for what, _ in tables]
        place = " + ".join([*sources, *looked_up]) or "0"
        strides = y.strides or ()
        target = " + ".join(f"i{axis} * {step}" for axis, step in enumerate(strides) if step) or "0"
        text = f"{names.pointer(y)}[{target}] = {names.pointer(x)}[{place}];"
        for axis in reversed(order):
            if y.shape[axis] > 1:
                text = f"for (int32_t i{axis} = 0; i{axis} < {y.shape[axis]}; i{axis}++) {{\n{indent(text)}\n}}"
        return text if offsets else f"int32_t n = 0;\n{text}"

    arrays = tuple(Array(what, places, _stored(places)) for what, places in tables)
    note = f"{y.shape}, {sum(len(places) for _, places in tables)} places"
    return Layer("gather", (origin,), note, (x,), (y,), body, arrays, outputs=(name,))


def _stored(places: Indices) -> str:
    return "int16" if np.abs(places).max(initial=0) < _INT16 else "int32"


def _along_axes(index: Indices) -> list[Indices] | None:
    """The offsets along each axis whose sums are all places; None where there are none."""
    offsets, total = [], np.zeros((1,) * index.ndim, np.int64)
    for axis, length in enumerate(index.shape):
        line = index[tuple(slice(None) if each == axis else 0 for each in range(index.ndim))]
        offsets.append(line)
        total = total + line.reshape([length if each == axis else 1 for each in range(index.ndim)])
    return offsets if np.array_equal(total, index) else None
