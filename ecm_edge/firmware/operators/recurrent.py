"""LSTM, GRU and RNN (ecm_lstm_f32.h and its like): one call for each direction of each sequence; states in scratch.

Dimension letters: T time steps, S sequences (ONNX's batch), D directions, I inputs of a step, H hidden units, G gates.
Sums are fused multiply-adds in float32: an LSTM between quantised tensors agrees with the reference to a few ULP, not
to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Array, Layer
from ecm_edge.firmware.operators.calls import Call, Operand, Struct
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.operators.shape import contiguous, floats
from ecm_edge.firmware.program import Done, Program, refused
from ecm_edge.firmware.tensors import Buffer, strides_of
from ecm_edge.forms.reference.operators.recurrent import DIRECTIONS, GRU, LSTM, RNN, gate_functions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.tensors import Indices, Tensor
    from ecm_edge.forms.reference.node import Node, Step

_PEEPHOLES = 7
_STATES = {"GRU": ("initial_h",), "LSTM": ("initial_h", "initial_c"), "RNN": ("initial_h",)}
_KINDS = {"GRU": GRU, "LSTM": LSTM, "RNN": RNN}


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A recurrence while it is lowered; arrays have the direction as their first axis.

    `x` is read through `places` (T, S, I); `outputs` are Y (T, D, S, H) and the last states (D, S, H), None where
    nobody reads them; each with the places of its values in that order of axes. `starts` (states, D, S, H).
    """

    node: Node
    x: Tensor
    places: Indices
    reverse: tuple[bool, ...]
    lengths: tuple[int, ...]
    weights: NDArray[np.float32]  # (D, H, I + H, G)
    bias: NDArray[np.float32]  # (D, H, 4)
    peepholes: NDArray[np.float32] | None  # (D, H, 3)
    stored: str
    starts: NDArray[np.float32]
    outputs: tuple[tuple[Tensor, Indices] | None, ...]

    @property
    def hidden(self) -> int:
        """Units of one direction."""
        return int(self.weights.shape[1])

    @property
    def clip(self) -> float:
        """The bound of what an activation is given."""
        return float(self.node.attributes.get("clip", np.inf))


def recurrent(program: Program, step: Step) -> None:
    """LSTM, GRU or RNN: forward, reverse or bidirectional, in either layout."""
    node = step.op
    by_sequence = bool(node.attributes.get("layout", 0))
    reverse = DIRECTIONS[node.attributes.get("direction", "forward")]
    x, places = _input(program, node, by_sequence=by_sequence)
    outputs = tuple(_output(program, step, position, by_sequence=by_sequence) for position in range(len(step.outputs)))
    layer = _layer(_recurrence(program, node, x, places, reverse, outputs))
    program.add(Done(layer), *layer.writes)


def _input(program: Program, node: Node, *, by_sequence: bool) -> tuple[Tensor, Indices]:
    """The samples, and the places (T, S, I) of their values, the I of a step side by side."""
    name = node.inputs[0]
    x = floats(program, name, program.tensor(name, node))
    steps = strides_of(x.index)
    if steps is None or (x.shape[2] > 1 and steps[2] != 1):
        x = contiguous(program, name, x)
    return x, x.index.swapaxes(0, 1) if by_sequence else x.index


def _output(program: Program, step: Step, position: int, *, by_sequence: bool) -> tuple[Tensor, Indices] | None:
    """Memory of Y (0) or a last state (1, 2) and its places with S behind T and D; None where nobody reads it."""
    name = step.outputs[position]
    if not name or not program.uses[name]:
        return None
    shape = program.shapes[name]
    y = program.output(name, shape, order=range(len(shape)))
    program.env[name] = y
    if not by_sequence:
        return y, y.index
    return y, y.index.transpose(1, 2, 0, 3) if position == 0 else y.index.swapaxes(0, 1)


def _recurrence(
    program: Program,
    node: Node,
    x: Tensor,
    places: Indices,
    reverse: tuple[bool, ...],
    outputs: tuple[tuple[Tensor, Indices] | None, ...],
) -> Recurrence:
    """The parameters as the kernels read them."""
    gates = _KINDS[node.op].gates
    w, r = (program.constant(name, node) for name in node.inputs[1:3])
    for values in (w.values, r.values):
        if values.ndim != 3:  # noqa: PLR2004 - directions, gates by units, inputs
            raise refused(node, "the weights of a recurrence have three axes", f"{values.ndim}")
    directions, sequences, hidden = len(reverse), places.shape[1], r.shape[2]
    both = np.concatenate([w.values, r.values], axis=2).reshape(directions, gates, hidden, -1)
    lengths = program.optional(node, 4)
    peepholes = program.optional(node, _PEEPHOLES)
    starts = np.zeros((len(_STATES[node.op]), directions, sequences, hidden), np.float32)
    for number in range(len(starts)):
        given = program.optional(node, 5 + number)
        if given is not None:
            starts[number] = given.values.swapaxes(0, 1) if node.attributes.get("layout", 0) else given.values
    p = peepholes.values.reshape(directions, 3, hidden).transpose(0, 2, 1) if peepholes else None
    return Recurrence(
        node=node,
        x=x,
        places=places,
        reverse=reverse,
        lengths=tuple(lengths.values.tolist()) if lengths else (places.shape[0],) * sequences,
        weights=both.transpose(0, 2, 3, 1).astype(np.float32),
        bias=_bias(program, node, directions, gates, hidden),
        peepholes=p,
        stored="float16" if w.stored == r.stored == "float16" else "float32",
        starts=starts,
        outputs=outputs,
    )


def _bias(program: Program, node: Node, directions: int, gates: int, hidden: int) -> NDArray[np.float32]:
    """Both biases added, (D, H, 4); for a GRU with linear_before_reset those of its last gate side by side."""
    given = program.optional(node, 3)
    stored = given.values.astype(np.float64) if given else np.zeros((directions, 2 * gates * hidden))
    of_x, of_h = stored.reshape(directions, 2, gates, hidden).swapaxes(0, 1)
    total = np.zeros((directions, 4, hidden))
    total[:, :gates] = of_x + of_h
    if node.op == "GRU" and node.attributes.get("linear_before_reset", 0):
        total[:, 2], total[:, 3] = of_x[:, 2], of_h[:, 2]
    return total.transpose(0, 2, 1).astype(np.float32)


def _layer(made: Recurrence) -> Layer:
    hidden, node = made.hidden, made.node
    states = Buffer(2 * hidden, "float32")
    work = Buffer({"LSTM": 1, "GRU": 3, "RNN": 0}[node.op] * hidden, "float32")
    rest = (work,) if work.size else ()
    expanded = (Buffer(made.weights.size, "float32"),) if made.stored == "float16" else ()
    arrays = [Array("weights", made.weights, made.stored), Array("bias", made.bias, "float32")]
    if made.peepholes is not None:
        arrays.append(Array("peepholes", made.peepholes, "float32"))
    if made.starts.any():
        arrays.append(Array("starts", made.starts, "float32"))

    weights = Operand(expanded[0] if expanded else "weights")

    def body(names: Names) -> str:
        text = []
        if expanded:
            text.append(Call("ecm_halves", (Operand("weights"), weights), numbers=(made.weights.size,)).body(names))
        h, c = (names.pointer(each) for each in (states, rest[0] if rest else states))
        for d in range(len(made.reverse)):
            for s in range(len(made.lengths)):
                call = _call(made, d, s, weights, states, work).body(names)
                text += [*_begin(made, names, d, s, h, c), f"{{\n{indent(call)}\n}}", *_end(made, names, d, s, h, c)]
        return "\n".join(text)

    written = [(name, given[0]) for name, given in zip(node.outputs, made.outputs, strict=False) if given]
    return Layer(
        op=node.op,
        origin=(node.name,),
        note=f"{made.x.shape} -> {hidden} units, {len(made.reverse)} direction(s)",
        reads=(made.x,),
        writes=tuple(tensor for _, tensor in written),
        body=body,
        arrays=tuple(arrays),
        scratch=(states, *rest, *expanded),
        macs=made.places.shape[0] * len(made.lengths) * prod(made.weights.shape),
        outputs=tuple(name for name, _ in written),
    )


def _begin(made: Recurrence, names: Names, d: int, s: int, h: str, c: str) -> Iterable[str]:
    """The states before the first step."""
    for number, place in enumerate((h, c)[: len(made.starts)]):
        value = "0.0f"
        if made.starts.any():
            offset = number * made.starts[0].size + (d * len(made.lengths) + s) * made.hidden
            value = f"{names.constant('starts')}[{offset} + i]"
        yield f"for (int32_t i = 0; i < {made.hidden}; i++) {{ {place}[i] = {value}; }}"


def _call(made: Recurrence, d: int, s: int, weights: Operand, states: Buffer, work: Buffer) -> Call:
    """One direction of one sequence."""
    length, hidden, node = made.lengths[s], made.hidden, made.node
    first, turn = (max(0, length - 1), -1) if made.reverse[d] else (0, 1)
    x_step = turn * int(made.places[1, s, 0] - made.places[0, s, 0]) if len(made.places) > 1 else 0
    y, y_step = Operand(states), 0
    if made.outputs[0] is not None:
        tensor, places = made.outputs[0]
        y = Operand(tensor, int(places[first, d, s, 0]) - tensor.offset)
        y_step = turn * (int(places[1, d, s, 0] - places[0, d, s, 0]) if len(places) > 1 else hidden)
    operands = [
        Operand(made.x, int(made.places[first, s, 0]) - made.x.offset),
        replace(weights, first=d * made.weights[0].size),
        Operand("bias", d * made.bias[0].size),
    ]
    if node.op == "LSTM":
        operands.append(operands[-1] if made.peepholes is None else Operand("peepholes", d * hidden * 3))
    members = {
        "steps": length,
        "inputs": made.places.shape[2],
        "hidden": hidden,
        "x_step": x_step,
        "y_step": y_step,
        "peepholes": int(made.peepholes is not None),
        "linear": int(node.op == "GRU" and bool(node.attributes.get("linear_before_reset", 0))),
        "clip": literals.float_literal(made.clip) if np.isfinite(made.clip) else "ECM_INFINITY",
    }
    members |= _functions(node, d)
    operands += [Operand(states), *([Operand(work)] if work.size else []), y]
    return Call(f"ecm_{node.op.lower()}_f32", tuple(operands), (Struct("sequence", members),))


def _functions(node: Node, d: int) -> dict[str, str]:
    """The activations of a direction where they are not the usual ones."""
    usual = _KINDS[node.op].activations
    chosen = gate_functions(usual, node.attributes)[d]
    if tuple(each.name for each in chosen) == usual:
        return {}
    numbers = [(literals.float_literal(each.alpha), literals.float_literal(each.beta)) for each in chosen]
    values = [
        f"{{ECM_GATE_{f.name.upper()}, {alpha}, {beta}}}" for f, (alpha, beta) in zip(chosen, numbers, strict=True)
    ]
    return dict(zip("fgh", values, strict=False))


def _end(made: Recurrence, names: Names, d: int, s: int, h: str, c: str) -> Iterable[str]:
    """Zeros behind a sequence's end, and the last states."""
    wide, *last = made.outputs
    length, hidden = made.lengths[s], made.hidden
    if wide is not None:
        tensor, places = wide
        for t in range(length, len(places)):
            at = int(places[t, d, s, 0]) - tensor.offset
            yield f"for (int32_t i = 0; i < {hidden}; i++) {{ {names.pointer(tensor)}[{at} + i] = 0.0f; }}"
    for given, state in zip(last, (f"{h}[{length % 2 * hidden} + i]", f"{c}[i]"), strict=False):
        if given is not None:
            tensor, places = given
            at = int(places[d, s, 0]) - tensor.offset
            yield f"for (int32_t i = 0; i < {hidden}; i++) {{ {names.pointer(tensor)}[{at} + i] = {state}; }}"
