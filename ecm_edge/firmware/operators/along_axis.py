"""Operators that go along one axis, value after value: ArgMax, ArgMin, TopK and CumSum.

A position is kept as a float, which holds whole numbers up to 2^24; a longer axis fits no board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.firmware.layers import Layer
from ecm_edge.firmware.operators.loops import Axis, at, loop_nest, loops
from ecm_edge.firmware.operators.shape import floats
from ecm_edge.firmware.program import Done, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.tensors import Indices, Tensor
    from ecm_edge.forms.reference.node import Step


def arg(program: Program, step: Step) -> None:
    """ArgMax and ArgMin: the position of the largest or smallest value, of equal ones the first or the last."""
    node, name = step.op, step.outputs[0]
    x = program.tensor(node.inputs[0], node)
    axis = node.attributes.get("axis", 0) % len(x.shape)
    y = program.output(name, program.shapes[name])
    kept = y.index.reshape([1 if each == axis else length for each, length in enumerate(x.shape)])
    outer = _others(x, kept, axis)
    sign = ">" if node.op == "ArgMax" else "<"
    sign += "=" if node.attributes.get("select_last_index", 0) else ""
    c_type = "float" if x.buffer.dtype == "float32" else "int32_t"
    step_of_x = x.strides[axis] if x.strides else 0

    def body(names: Names) -> str:
        first = f"{names.pointer(x)}[{at(outer, 0)}"
        lines = [
            f"{c_type} best = {first}];",
            "int32_t position = 0;",
            f"for (int32_t k = 1; k < {x.shape[axis]}; k++) {{",
            f"    const {c_type} v = {first} + k * {step_of_x}];",
            f"    if (v {sign} best) {{",
            "        best = v;",
            "        position = k;",
            "    }",
            "}",
            f"{names.pointer(y)}[{at(outer, 1)}] = (float)position;",
        ]
        return loops(outer, "\n".join(lines))

    _append(program, step, x, y, body)


def top_k(program: Program, step: Step) -> None:
    """TopK: the K largest or smallest values along an axis, in order, and their positions, of equal ones the first.

    Each is found by a walk over all values that come behind the one before.
    """
    node = step.op
    source = program.tensor(node.inputs[0], node)
    x = floats(program, node.inputs[0], source)
    axis = node.attributes.get("axis", -1) % len(x.shape)
    count = int(program.constant(node.inputs[1], node).values.item())
    shape = program.shapes[next(name for name in node.outputs if name)]
    wanted = [(name, program.output(name, shape)) for name in node.outputs if name]
    first = (slice(None),) * axis + (slice(0, 1),)
    indices = [x.index[first], *(y.index[first] for _, y in wanted)]
    outer = loop_nest(indices[0].shape, range(len(x.shape)), indices)
    better = ">" if node.attributes.get("largest", 1) else "<"
    steps = [t.strides[axis] if t.strides else 0 for t in (x, *(y for _, y in wanted))]
    found = ["best", "(float)position"] if node.outputs[0] else ["(float)position"]

    def body(names: Names) -> str:
        value = f"{names.pointer(x)}[{at(outer, 0)} + i * {steps[0]}]"
        stores = [
            f"    {names.pointer(y)}[{at(outer, place)} + k * {steps[place]}] = {text};"
            for place, ((_, y), text) in enumerate(zip(wanted, found, strict=False), 1)
        ]
        lines = [
            "float last = 0.0f;",
            "int32_t last_position = -1;",
            f"for (int32_t k = 0; k < {count}; k++) {{",
            "    float best = 0.0f;",
            "    int32_t position = -1;",
            f"    for (int32_t i = 0; i < {x.shape[axis]}; i++) {{",
            f"        const float v = {value};",
            f"        const int32_t before = v {better} last || (v == last && i <= last_position);",
            f"        if (!(k > 0 && before) && (position < 0 || v {better} best)) {{",
            "            best = v;",
            "            position = i;",
            "        }",
            "    }",
            *stores,
            "    last = best;",
            "    last_position = position;",
            "}",
        ]
        return loops(outer, "\n".join(lines))

    outputs = tuple(name for name, _ in wanted)
    note = f"{x.shape} -> {shape}"
    tensors = tuple(y for _, y in wanted)
    program.add(Done(Layer(node.op, (node.name,), note, (x,), tensors, body, outputs=outputs)), *tensors)
    program.env |= dict(wanted)


def cumulated(program: Program, step: Step) -> None:
    """CumSum: the sum of all values up to each, from either end, itself included unless exclusive."""
    node, name = step.op, step.outputs[0]
    x = floats(program, node.inputs[0], program.tensor(node.inputs[0], node))
    axis = int(program.constant(node.inputs[1], node).values.item()) % len(x.shape)
    y = program.output(name, x.shape)
    turned = (slice(None),) * axis + (slice(None, None, -1 if node.attributes.get("reverse", 0) else 1),)
    source, target = x.index[turned], y.index[turned]
    outer = _others(x, target, axis, source)
    steps = [int(index.take(-1, axis).flat[0] - index.take(0, axis).flat[0]) for index in (source, target)]
    steps = [each // max(1, x.shape[axis] - 1) for each in steps]
    firsts = [int(index.flat[0]) - tensor.offset for index, tensor in ((source, x), (target, y))]

    def body(names: Names) -> str:
        value = f"{names.pointer(x)}[{at(outer, 0)} + {firsts[0]} + k * {steps[0]}]"
        store = f"{names.pointer(y)}[{at(outer, 1)} + {firsts[1]} + k * {steps[1]}] = sum;"
        add = f"sum += {value};"
        turn = [store, add] if node.attributes.get("exclusive", 0) else [add, store]
        lines = ["float sum = 0.0f;", f"for (int32_t k = 0; k < {x.shape[axis]}; k++) {{", *turn, "}"]
        return loops(outer, "\n".join(lines))

    _append(program, step, x, y, body)


def _others(x: Tensor, target: Indices, axis: int, source: Indices | None = None) -> list[Axis]:
    """Loops over all axes but one, for x and for what is written."""
    first = (slice(None),) * axis + (slice(0, 1),)
    indices = [(x.index if source is None else source)[first], target[first]]
    return loop_nest(indices[0].shape, range(len(x.shape)), indices)


def _append(program: Program, step: Step, x: Tensor, y: Tensor, body: Callable[[Names], str]) -> None:
    node = step.op
    layer = Layer(node.op, (node.name,), f"{x.shape} -> {y.shape}", (x,), (y,), body, outputs=(step.outputs[0],))
    program.add(Done(layer), y)
    program.env[step.outputs[0]] = y
