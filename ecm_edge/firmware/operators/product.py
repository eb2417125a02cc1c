"""MatMul of two tensors that both depend on the segment, in plain loops with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware.layers import Layer
from ecm_edge.firmware.operators.loops import at, loop_nest, loops
from ecm_edge.firmware.operators.shape import floats
from ecm_edge.firmware.program import Constant, Done, Program, refused
from ecm_edge.firmware.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.layers import Array, Names
    from ecm_edge.reference.graph import Step


def matmul_of_tensors(program: Program, step: Step) -> None:
    """y[..., m, o] = sum over k of a[..., m, k] * b[..., k, o], k last in the order of the sum."""
    from ecm_edge.firmware.layers import Array

    node = step.op
    name = step.outputs[0]
    operands = [program.env[n] for n in node.inputs]
    if any(len(x.shape) < 2 for x in operands):  # noqa: PLR2004 - matrices
        raise refused(node, "MatMul joins matrices", f"shapes {[x.shape for x in operands]}")
    arrays: list[Array] = []
    indices = []
    for position, x in enumerate(operands):
        if isinstance(x, Constant):
            arrays.append(Array(f"factor{position}", x.values, x.stored))
            indices.append(np.arange(x.values.size).reshape(x.shape))
        else:
            operands[position] = floats(program, node.inputs[position], x)
            indices.append(operands[position].index)  # type: ignore[union-attr]  # a tensor, see above
    y = program.output(name, program.shapes[name])
    rows, inner, columns = indices[0].shape[-2], indices[0].shape[-1], indices[1].shape[-1]
    batch = np.broadcast_shapes(indices[0].shape[:-2], indices[1].shape[:-2])
    shape = (*batch, rows, columns, inner)
    a = np.broadcast_to(indices[0][..., :, None, :], shape)
    b = np.broadcast_to(np.swapaxes(indices[1], -1, -2)[..., None, :, :], shape)
    c = np.broadcast_to(y.index[..., None], shape)
    everything = loop_nest(shape, range(len(shape)), [a, b, c])
    last = everything[-1] if inner > 1 else None
    outer = everything[:-1] if last and last.length == inner else loop_nest(shape[:-1], range(len(shape) - 1), [a[..., 0], b[..., 0], c[..., 0]])
    steps = [int(i[..., 1].flat[0] - i[..., 0].flat[0]) if inner > 1 else 0 for i in (a, b)]

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        said = []
        for position, x in enumerate(operands):
            base = constant(f"factor{position}") if isinstance(x, Constant) else pointer(x)
            place = f"{base}[{at(outer, position)} + k * {steps[position]}]"
            said.append(f"ecm_half({place})" if isinstance(x, Constant) and x.stored == "float16" else place)
        text = (
            f"float acc = 0.0f;\nfor (int32_t k = 0; k < {inner}; k++) {{\n"
            f"    acc = ecm_fmaf({said[0]}, {said[1]}, acc);\n}}\n{pointer(y)}[{at(outer, 2)}] = acc;"
        )
        return loops(outer, text)

    reads = tuple(x for x in operands if isinstance(x, Tensor))
    layer = Layer("matmul", (node.name,), f"{shape}", reads, (y,), body, tuple(arrays), outputs=(name,), macs=int(np.prod(shape)))
    program.add(Done(layer), y)
    program.env[name] = y
