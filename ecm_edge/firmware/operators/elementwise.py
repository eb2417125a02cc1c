"""Operators on one value at a time, fused into loops: load, a chain of statements, store.

C text is made of the statements at the end only (`_layer`).

A node joins the loop of an input if its output has the same shape and everything else it reads was there before that
loop. What only the loop itself reads is never stored. A loop from one int8 tensor to another becomes a table of 256
entries, computed by the reference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer, Overlap
from ecm_edge.firmware.operators.loops import Axis, at, loop_nest, loops
from ecm_edge.firmware.operators.statements import Kind, Reduction, Statement
from ecm_edge.firmware.program import Constant, Program, distance_below, refused
from ecm_edge.firmware.tensors import ITEM_BYTES, Quant, Tensor, channels_last, order_of, strides_of
from ecm_edge.forms.reference.steps import compute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.program import Open
    from ecm_edge.firmware.tensors import Buffer, Indices
    from ecm_edge.forms.reference.node import Step

Operand = Tensor | Constant
_INT8_RANGE = (-128, 128)


@dataclass
class Loop:
    """An elementwise loop while nodes may still join it.

    `values` are the C variables of ONNX tensors computed in it; `stores` the tensors that its nodes would write.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    loads: list[tuple[str, Operand]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    stores: dict[str, Tensor] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    reductions: dict[str, Reduction] = field(default_factory=dict)

    def read(self, name: str, operand: Operand) -> str:
        """The C variable of an operand, loaded once."""
        if name in self.values:
            return self.values[name]
        if isinstance(operand, Constant) and operand.values.size == 1:
            return literals.float_literal(operand.values.item())
        same = next((v for v, other in self.loads if _is_same(other, operand)), None)
        variable = same or self._fresh()
        if same is None:
            self.loads.append((variable, operand))
        self.values[name] = variable
        return variable

    def _fresh(self) -> str:
        return f"v{len(self.loads) + len(self.statements)}"

    def assign(self, name: str, operation: str, inputs: Sequence[str], c_type: str = "float") -> None:
        """One more statement; its variable stands for the ONNX tensor `name`."""
        variable = self._fresh()
        self.statements.append(Statement(variable, operation, tuple(inputs), c_type))
        self.values[name] = variable

    def is_made_by(self, variable: str, operation: str, *inputs: str) -> bool:
        """Whether a variable of the loop is the value of that operation."""
        return Statement(variable, operation, inputs, "float") in self.statements

    def close(self, program: Program) -> Layer | None:
        """The loop as a layer; None where nothing outside reads what it computes."""
        used = Counter(name for step in self.steps for name in step.inputs)
        kept = {name: t for name, t in self.stores.items() if program.uses[name] > used[name]}
        reductions = {name: each for name, each in self.reductions.items() if program.uses[name]}
        if not kept and not reductions:
            return None
        self._prune({self.values[name] for name in kept} | {each.variable for each in reductions.values()})
        return (None if reductions else _table(self, kept)) or _layer(self, kept, reductions)

    def _prune(self, wanted: set[str]) -> None:
        """Leave out statements and loads whose variables nothing uses."""
        needed = set(wanted)
        for statement in reversed(self.statements):
            if statement.variable in needed:
                needed.update(statement.inputs)
        self.statements = [statement for statement in self.statements if statement.variable in needed]
        self.loads = [(variable, operand) for variable, operand in self.loads if variable in needed]


def lower(program: Program, step: Step, operation: str) -> None:
    """Lower a float operator on broadcast inputs; `operation` is a C expression of them, {0}, {1} …."""
    node = step.op
    operands = {name: program.env[name] for name in node.inputs if name}
    loop = join(program, step, operands)
    loop.assign(node.outputs[0], operation, [loop.read(name, operands[name]) for name in node.inputs if name])
    store(program, loop, step, program.output(node.outputs[0], loop.shape, order=loop.order))


def store(program: Program, loop: Loop, step: Step, output: Tensor, name: str = "") -> None:
    """Say where a loop's newest value would be written, and make it known."""
    name = name or step.outputs[0]
    loop.steps.append(step)
    loop.constants |= {n: c.values[None] for n in step.inputs if isinstance(c := program.env.get(n), Constant)}
    loop.stores[name] = output
    program.env[name] = output
    program.made_by[output.buffer] = program.layers.index(loop)


def reduce_(program: Program, step: Step, x: Tensor, axes: tuple[int, ...], kind: Kind, output: Tensor) -> None:
    """Reduce a tensor along axes in the loop that has its values already, or in a new one.

    Values are joined in the order in which they lie in memory, and in a quantised graph in that of the ONNX tensor
    (rule 5 of the reference). Stored integers are joined as such.
    """
    name = step.op.inputs[0]
    key = name if x.buffer.dtype == "float32" else f"{name}:stored"
    loop = next((each for each in reversed(program.layers) if _can_reduce(each, key, x, axes)), None)
    if not isinstance(loop, Loop):
        loop = Loop(x.shape, _order(x.shape, [x]))
        program.add(loop)
    order = (None if program.wide else order_of(x)) or tuple(range(len(x.shape)))
    loop.order = (*(a for a in order if a not in axes), *(a for a in order if a in axes))
    variable = loop.read(key, replace(x, quant=None))
    loop.steps.append(step)
    loop.reductions[step.outputs[0]] = Reduction(variable, axes, kind, output)
    program.env[step.outputs[0]] = output
    program.made_by[output.buffer] = program.layers.index(loop)


def _can_reduce(loop: Open, key: str, x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether a loop has the values of a tensor, in its shape, and can go through them in the order wanted."""
    if not isinstance(loop, Loop) or key not in loop.values or loop.shape != x.shape:
        return False
    return all(set(each.axes) == set(axes) for each in loop.reductions.values())


def _is_same(one: Operand, other: Operand) -> bool:
    """Whether two operands are the same memory read in the same way."""
    return one is other or (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and (one.buffer, one.quant) == (other.buffer, other.quant)
        and np.array_equal(one.index, other.index)
    )


def join(program: Program, step: Step, operands: Mapping[str, Operand]) -> Loop:
    """The loop that a node can join, or a new one at the end of the program."""
    shape = program.shapes[step.outputs[0]]
    tensors = {name: t for name, t in operands.items() if isinstance(t, Tensor)}
    if not tensors:
        raise refused(step.op, "an operator reads at least one tensor that depends on the segment", "constants only")
    makers = {name: program.made_by.get(t.buffer, -1) for name, t in tensors.items()}
    latest = max(makers.values())
    if latest >= 0 and isinstance(loop := program.layers[latest], Loop) and loop.shape == shape:
        outside = [name for name in tensors if name not in loop.values]
        if all(makers[name] < latest for name in outside) and all(strides_of(tensors[n].index) for n in outside):
            return loop
    loop = Loop(shape, _order(shape, list(tensors.values())))
    program.add(loop)
    return loop


def _order(shape: tuple[int, ...], tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """The memory order of the first input that has the output's shape, so that the loop runs along memory.

    Where axes of length 1 leave a choice it is time-major, in which a convolution's margin can be had.
    """
    usual = channels_last(len(shape))
    for tensor in tensors:
        order = order_of(tensor) if tensor.shape == shape else None
        if order is not None:
            lengths = [[axis for axis in axes if shape[axis] != 1] for axes in (order, usual)]
            return usual if lengths[0] == lengths[1] else order
    return usual


@dataclass(frozen=True, eq=False)
class _Nest:
    """A loop nest and what lies at each of its operands: loads, then stores, then reductions.

    outer: how many of the axes, from the outside, are not reduced.
    """

    axes: list[Axis]
    outer: int
    loads: list[tuple[str, Operand]]
    stores: list[tuple[str, Tensor]]
    reductions: list[Reduction]

    def code(self, statements: Sequence[Statement], names: Names) -> str:
        """The C of the nest around the statements."""
        once, lines = self._loads(names)
        lines += [statement.code for statement in statements]
        for position, (variable, tensor) in enumerate(self.stores, len(self.loads)):
            lines.append(f"{names.pointer(tensor)}[{at(self.axes, position)}] = {_narrowed(variable, tensor)};")
        lines += [each.step(number) for number, each in enumerate(self.reductions)]
        if not self.reductions:
            return "\n".join([*once, loops(self.axes, "\n".join(lines), unroll=True)])
        inner = loops(self.axes[self.outer :], "\n".join(lines), first=self.outer, unroll=True)
        starts = [each.start(number) for number, each in enumerate(self.reductions)]
        return "\n".join([*once, loops(self.axes[: self.outer], "\n".join([*starts, inner, *self._results(names)]))])

    def _loads(self, names: Names) -> tuple[list[str], list[str]]:
        """The C of the loads: of those before the loops, which are the same in every turn, and of those within."""
        once: list[str] = []
        lines: list[str] = []
        for position, (variable, operand) in enumerate(self.loads):
            base = names.constant(variable) if isinstance(operand, Constant) else names.pointer(operand)
            place = at(self.axes, position)
            (once if place == "0" and self.axes else lines).append(_load(variable, operand, f"{base}[{place}]"))
        return once, lines

    def _results(self, names: Names) -> Iterator[str]:
        """The C that stores what the reductions give."""
        for number, each in enumerate(self.reductions):
            index = at(self.axes, len(self.loads) + len(self.stores) + number)
            c_type = literals.C_TYPES[each.output.buffer.dtype]
            yield f"{names.pointer(each.output)}[{index}] = ({c_type})({each.result(number)});"


def _layer(loop: Loop, kept: Mapping[str, Tensor], reductions: Mapping[str, Reduction]) -> Layer:
    reduced = list(reductions.values())
    spreads = [each.spread(loop.shape) for each in reduced]
    indices = [*(_spread(x, loop.shape) for _, x in loop.loads), *(t.index for t in kept.values()), *spreads]
    axes = loop_nest(loop.shape, loop.order, indices)
    outer = sum(1 for axis in axes if any(axis.steps[len(indices) - len(reduced) :]))
    stores = [(loop.values[name], tensor) for name, tensor in kept.items()]
    nest = _Nest(axes, outer, list(loop.loads), stores, reduced)
    statements = tuple(loop.statements)
    reads = tuple(operand for _, operand in loop.loads if isinstance(operand, Tensor))
    return Layer(
        op="_".join(dict.fromkeys(step.op.op for step in loop.steps)),
        origin=tuple(step.op.name for step in loop.steps),
        note=f"{loop.shape}",
        reads=reads,
        writes=(*kept.values(), *(each.output for each in reduced)),
        body=lambda names: nest.code(statements, names),
        arrays=tuple(Array(v, x.values, x.stored) for v, x in loop.loads if isinstance(x, Constant)),
        overlap=_overlap(loop, reads, stores[0][1]) if len(stores) == 1 else {},
        outputs=(*kept, *reductions),
    )


def _spread(operand: Operand, shape: tuple[int, ...]) -> Indices:
    """The operand's indices for every element of the output."""
    if isinstance(operand, Tensor):
        return np.broadcast_to(operand.index, shape)
    flat = np.arange(operand.values.size).reshape(operand.values.shape)
    return np.broadcast_to(flat, shape)


def _load(variable: str, operand: Operand, place: str) -> str:
    if isinstance(operand, Constant):
        return f"const float {variable} = {'ecm_half(' + place + ')' if operand.stored == 'float16' else place};"
    if operand.quant is not None:
        scale, zero_point = literals.float_literal(operand.quant.scale), operand.quant.zero_point
        return f"const float {variable} = ecm_dequantize({place}, {scale}, {zero_point});"
    c_type = "float" if operand.buffer.dtype == "float32" else "int32_t"
    return f"const {c_type} {variable} = {place};"


def _narrowed(variable: str, tensor: Tensor) -> str:
    return variable if tensor.buffer.dtype == "float32" else f"({literals.C_TYPES[tensor.buffer.dtype]}){variable}"


def _overlap(loop: Loop, reads: Sequence[Tensor], output: Tensor) -> dict[Buffer, Overlap]:
    """Each input that the output may lie over, with the distance; steps are elements in the order of the loop."""

    def spans(tensor: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        size = ITEM_BYTES[tensor.buffer.dtype]
        starts = np.broadcast_to(tensor.index, loop.shape).transpose(loop.order).ravel() * size
        return starts, starts + size

    overlaps: dict[Buffer, Overlap] = {}
    for tensor in reads:
        over = Overlap(distance_below(spans(output)[1], spans(tensor)[0]))
        overlaps[tensor.buffer] = overlaps.get(tensor.buffer, over) | over
    return overlaps


def _table(loop: Loop, kept: Mapping[str, Tensor]) -> Layer | None:
    """A table from integers of 8 bits, where the loop is a function of one tensor of them that ends in integers."""
    tensors = [operand for _, operand in loop.loads]
    (name, output), *others = kept.items()
    if len(tensors) != 1 or others or not isinstance(tensors[0], Tensor) or output.buffer.dtype == "float32":
        return None
    source = tensors[0]
    if source.quant is None or source.buffer.dtype == "float32" or source.shape != loop.shape:
        return None
    if not source.quant.fits_int8:
        return None
    entries = _evaluate(loop, source, name, output)
    low, high = _INT8_RANGE
    item = "int8" if low <= entries.min() and entries.max() < high else "int16"
    axes = loop_nest(loop.shape, loop.order, [source.index, output.index])

    def body(names: Names) -> str:
        pointer, constant = names.pointer, names.constant
        place = f"{pointer(output)}[{at(axes, 1)}]"
        return loops(axes, f"{place} = {constant('table')}[{pointer(source)}[{at(axes, 0)}] + 128];", unroll=True)

    return Layer(
        op="table_" + "_".join(dict.fromkeys(step.op.op for step in loop.steps if step.op.op != "QuantizeLinear")),
        origin=tuple(step.op.name for step in loop.steps),
        note=f"{loop.shape}, 256 entries",
        reads=(source,),
        writes=(output,),
        body=body,
        arrays=(Array("table", entries, item),),
        overlap=_overlap(loop, (source,), output),
        outputs=(name,),
    )


def _evaluate(loop: Loop, source: Tensor, name: str, output: Tensor) -> NDArray[np.int64]:
    """What the reference computes for each of the 256 stored integers."""
    quant = source.quant or Quant(1.0, 0)
    real = (np.arange(*_INT8_RANGE) - quant.zero_point).astype(np.float32) * np.float32(quant.scale)
    inputs = [known for known, variable in loop.values.items() if variable == loop.loads[0][0]]
    env = {
        **loop.constants,
        "": np.zeros((1, 0)),
        **dict.fromkeys(inputs, real.reshape(256, *(1,) * len(source.shape))),
    }
    for step in loop.steps:
        env.update(zip(step.outputs, compute(step, env), strict=False))
    return env[name].reshape(256).astype(np.int64) - output.shift
