"""From an ONNX graph to layers of C.

1. The reference runs the graph on two segments: what comes out once instead of twice does not depend on the segment
   and is a constant; the shapes of everything else are read off.
2. Convolutions say which margin they want around what they read; whoever writes it leaves room.
3. Every step is lowered in order by the function of its operator (`operators.tables`), which appends a layer, joins
   an open one, or only gives a view another name.
4. What C cannot be made of is an error that names the node, before anything is written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.firmware.byte_entry import ByteEntry, byte_entry
from ecm_edge.firmware.margins import Room
from ecm_edge.firmware.operators import quantised
from ecm_edge.firmware.operators.kept_integers import kept_integers
from ecm_edge.firmware.operators.shape import copy_layer
from ecm_edge.firmware.operators.sums import SHIFT
from ecm_edge.firmware.operators.tables import OPERATORS
from ecm_edge.firmware.operators.windows import windows_in
from ecm_edge.firmware.program import Constant, Done, Program, refused
from ecm_edge.firmware.tensors import Buffer, Tensor, dense
from ecm_edge.forms.reference.executor import execute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Layer
    from ecm_edge.firmware.operators.kept_integers import KeptIntegers
    from ecm_edge.forms.reference.graph import Graph
    from ecm_edge.forms.reference.node import Step
    from ecm_edge.targets.kernels import Kernels

_SEED = 0


@dataclass(frozen=True, eq=False)
class Lowered:
    """The layers of a graph, in order of execution, and its entry for bytes where it has one."""

    layers: list[Layer]
    byte_entry: ByteEntry | None


def lower(graph: Graph, kernels: Kernels) -> Lowered:
    """What C is made of a graph.

    Raises:
        ModelError: an operator, or a use of one, that no C can be made of; the node is named.
    """
    env = _probe(graph)
    shapes = {name: tuple(value.shape[1:]) for name, value in env.items()}
    constants = {name: value for name, value in env.items() if len(value) == 1}
    steps = [step for step in _folded_pads(graph, constants) if not all(name in constants for name in step.outputs)]
    kinds = {name: str(value.dtype) for name, value in env.items()}
    program = _program(graph, steps, shapes, kinds, kernels)
    makers = {name: step for step in reversed(graph.steps) for name in step.outputs}
    for name, values in constants.items():
        program.env[name] = Constant(values[0], _stored(graph, makers.get(name)), _kept(name, makers, constants))
    samples = Buffer(int(np.prod(graph.input_shape)), "float32", "samples")
    program.env[graph.input_name] = Tensor(samples, dense(graph.input_shape))
    for step in steps:
        _check_kinds(program, step)
        quantised.group(program, step) if step.quantizer is not None else OPERATORS[step.op.op](program, step)
    _finish_scores(program)
    layers = program.finish()
    return Lowered(layers, byte_entry(program, layers, constants))


def _probe(graph: Graph) -> dict[str, NDArray[Any]]:
    """Every tensor of two segments; several are tried, since a graph may refuse what gives a NaN."""
    size = int(np.prod(graph.input_shape))
    noise = np.random.default_rng(_SEED).standard_normal((2, size)).astype(np.float32)
    for samples in (noise, np.abs(noise), np.zeros_like(noise)):
        try:
            with np.errstate(all="ignore"):  # noise may divide by zero where real samples do not
                return execute(graph, samples, {})
        except ModelError as problem:
            refusal = problem
    raise refusal


def _stored(graph: Graph, maker: Step | None) -> str:
    """How a constant is kept: as float16 if it is nothing but a cast of one, and finite (ecm_half takes no others)."""
    source = graph.constants.get(maker.op.inputs[0]) if maker is not None and maker.op.op == "Cast" else None
    halves = source is not None and source.dtype == np.float16 and np.isfinite(source).all()
    return "float16" if halves else "float32"


def _kept(name: str, makers: Mapping[str, Step], constants: Mapping[str, NDArray[Any]]) -> KeptIntegers | None:
    """The integers and scales of a constant that is dequantised, or such a one transposed; None for any other."""
    if (maker := makers.get(name)) is None:
        return None
    node = maker.op
    if node.op == "Transpose" and (kept := _kept(node.inputs[0], makers, constants)) is not None:
        return kept.transposed(node.attributes.get("perm") or range(kept.values.ndim)[::-1])
    if node.op != "DequantizeLinear" or str(constants[node.inputs[0]].dtype) not in SHIFT:
        return None
    q, scale, *zero = (constants[each][0] for each in node.inputs if each)
    attributes = node.attributes
    return kept_integers(
        q, zero[0] if zero else None, scale, attributes.get("axis", 1), attributes.get("block_size", 0)
    )


_SHAPE = frozenset(name for name, function in OPERATORS.items() if function is OPERATORS["Reshape"])
_CHOICES = frozenset({"Where", "Equal", "Cast", "CastLike", "Concat"}) | _SHAPE
_TAKES = {
    "bool": _CHOICES | {"And", "Or", "Xor", "Not"},
    "int32": _CHOICES | {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod"},
    "quantised": _SHAPE
    | {"DequantizeLinear", "Concat", "Cast", "CastLike", "MaxPool", "ReduceMax", "ReduceMin", "GlobalMaxPool", "Pad"},
}
"""Operators that take what is no float: whole numbers are kept as floats, and nothing is computed that may not fit."""
_LARGEST_WHOLE = 1 << 24  # up to which float32 has them all


def _check_kinds(program: Program, step: Step) -> None:
    """Refuse an operator on a type for which it has no C."""
    groups = {"bool": "bool", "int32": "int32", "int64": "int32", **dict.fromkeys(SHIFT, "quantised")}
    read = [name for name in step.op.inputs if not step.sources and isinstance(program.env.get(name), Tensor)]
    for name in read:
        kind = program.kinds[name]
        if kind != "float32" and step.op.op not in _TAKES.get(groups.get(kind, ""), ()):
            found = f"{name!r} of {kind}, which {step.op.op} reads,"
            hint = "Cast it to float32 before, or compute it from constants."
            raise refused(step.op, "activations are float32 where they are computed with", found, hint)
    _check_whole(program, step)


def _check_whole(program: Program, step: Step) -> None:
    """Refuse whole numbers beyond those that float32 has all of, beside an activation."""
    for name in step.op.inputs if step.op.op in _TAKES["int32"] - _SHAPE else ():
        value = program.env.get(name)
        if isinstance(value, Constant) and value.values.size and value.values.dtype.kind in "iu":
            largest = max((abs(int(number)) for number in (value.values.min(), value.values.max())), default=0)
            if largest > _LARGEST_WHOLE:
                rule = f"whole numbers are kept as float32: at most {_LARGEST_WHOLE:,}"
                raise refused(step.op, rule, f"{largest:,} in {name!r}")


def _program(
    graph: Graph,
    steps: list[Step],
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
    kernels: Kernels,
) -> Program:
    readers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for name in set(step.inputs):
            readers[name].append(step)
    uses = Counter(name for step in steps for name in step.inputs)
    uses[graph.output_name] += 1
    return Program(
        graph=graph,
        kernels=kernels,
        shapes=shapes,
        kinds=kinds,
        uses=uses,
        rooms=_rooms(steps, shapes, kernels),
        wide=any(step.quantizer or step.op.op == "QuantizeLinear" for step in steps),
        readers={name: tuple(group) for name, group in readers.items()},
    )


def _rooms(steps: Iterable[Step], shapes: Mapping[str, tuple[int, ...]], kernels: Kernels) -> dict[str, Room]:
    """What the convolutions that read a tensor want of its memory."""
    rooms: dict[str, Room] = defaultdict(Room)
    for step in steps:
        if step.op.op != "Conv":
            continue
        x, w = (step.sources[i].inputs[0] if step.sources else step.op.inputs[i] for i in (0, 1))
        window = windows_in(step.op.attributes, shapes[w][2:], shapes[x])
        if window is None:
            continue
        dual = bool(step.sources) and kernels.int8 == "dual"
        rooms[x] = rooms[x] | window.room(shapes[x][1], step.op.attributes.get("group", 1), dual=dual)
    return rooms


def _folded_pads(graph: Graph, constants: Mapping[str, NDArray[Any]]) -> list[Step]:
    """The steps with every Pad by zeros along spatial axes taken into the convolution that alone reads it."""
    uses = Counter(name for step in graph.steps for name in step.inputs) + Counter([graph.output_name])
    pads = {step.outputs[0]: step for step in graph.steps if step.op.op == "Pad" and uses[step.outputs[0]] == 1}
    steps, gone = [], set()
    for step in graph.steps:
        pad = pads.get(step.op.inputs[0]) if step.op.op == "Conv" and not step.sources else None
        sizes = _zero_pads(pad, constants) if pad else None
        if pad is None or sizes is None or step.op.attributes.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
            steps.append(step)
            continue
        own = step.op.attributes.get("pads", [0] * len(sizes))
        attributes = {
            **step.op.attributes,
            "auto_pad": "NOTSET",
            "pads": [a + b for a, b in zip(own, sizes, strict=True)],
        }
        op = replace(step.op, inputs=(pad.op.inputs[0], *step.op.inputs[1:]), attributes=attributes)
        steps.append(replace(step, op=op))
        gone.add(pad.outputs[0])
    return [step for step in steps if step.outputs[0] not in gone]


def _zero_pads(pad: Step, constants: Mapping[str, NDArray[Any]]) -> list[int] | None:
    """Sizes of a Pad by zeros on spatial axes only, in the order of Conv's pads; None for any other Pad."""
    node = pad.op
    given = [constants.get(name) if name else None for name in node.inputs[1:]]
    if node.attributes.get("mode", "constant") != "constant" or (len(given) > 2 and given[2] is not None):  # noqa: PLR2004 - axes
        return None
    sizes: list[int] = node.attributes.get("pads", []) if not given or given[0] is None else given[0][0].tolist()
    value = node.attributes.get("value", 0.0) if len(given) < 2 or given[1] is None else given[1].item()  # noqa: PLR2004 - pads, value
    rank = len(sizes) // 2
    if value != 0 or min(sizes, default=-1) < 0 or any([*sizes[:2], *sizes[rank : rank + 2]]):
        return None
    return [*sizes[2:rank], *sizes[rank + 2 :]]


def _finish_scores(program: Program) -> None:
    """Copy the graph's output to the caller's scores, where no layer wrote it there."""
    name = program.graph.output_name
    value = program.env[name]
    if isinstance(value, Constant):
        raise ModelError("scores depend on the segment", f"the constant {name!r}", "Export the model again.")
    if value.buffer.place == "scores" and value.quant is None:
        return
    scores = Buffer(value.size, "float32", "scores")
    y = Tensor(scores, dense(value.shape))
    program.add(Done(copy_layer("scores", (name,), [(value, y)], y, (name,))), y)
