"""LSTM, GRU and RNN, in both directions (rule 7 of the package).

Dimension letters: B segments computed together (the extra axis), T time steps, S sequences (ONNX's batch), D
directions, I inputs of a step, H hidden units, G gates. One direction works on x (B, T, S, I) and states (B, S, H).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.operators._common import (
    Array,
    Attributes,
    Operator,
    constant,
    float32,
    given,
    needed,
    same_batch,
    wide,
)

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""For each direction of a recurrence whether it runs backwards, by the name of both or of the one."""


_FUNCTIONS: dict[str, tuple[Callable[[Array, float, float], Array], float | None, float | None]] = {
    "affine": (lambda a, alpha, beta: alpha * a + beta, 1.0, 0.0),
    "elu": (lambda a, alpha, _: np.where(a < 0, alpha * np.expm1(np.minimum(a, 0)), a), 1.0, None),
    "hardsigmoid": (lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1), 0.2, 0.5),
    "leakyrelu": (lambda a, alpha, _: np.where(a < 0, alpha * a, a), 0.01, None),
    "relu": (lambda a, *_: np.maximum(a, 0), None, None),
    "scaledtanh": (lambda a, alpha, beta: alpha * np.tanh(beta * a), 1.0, 1.0),
    "sigmoid": (lambda a, *_: expit(a), None, None),
    "softplus": (lambda a, *_: np.logaddexp(a, 0), None, None),
    "softsign": (lambda a, *_: a / (1 + np.abs(a)), None, None),
    "tanh": (lambda a, *_: np.tanh(a), None, None),
    "thresholdedrelu": (lambda a, alpha, _: np.where(a > alpha, a, 0), 1.0, None),
}
"""What an activation computes in float64, and its alpha and beta where none are given; None where it has no such."""


@dataclass(frozen=True)
class GateFunction:
    """An activation of a recurrence: its name in small letters, and its two numbers, 0 where it has none."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def of(self, a: Array) -> Array:
        """The activation of float64 values, rounded once."""
        return float32(_FUNCTIONS[self.name][0](a, self.alpha, self.beta))


@dataclass(frozen=True)
class Direction:
    """The parameters of one direction in float64.

    w (B, G, H, I), r (B, G, H, H), biases (B, G, H) and peepholes (B, 3, H) of the gates i, o, f;
    `clip` bounds what an activation is given, to either side.
    """

    w: Array
    r: Array
    w_bias: Array
    r_bias: Array
    peepholes: Array
    clip: float
    activations: tuple[GateFunction, ...]

    def f(self, a: Array) -> Array:
        """ONNX's f, the first activation, of a gate's sum, which is rounded to float32 and clipped first."""
        return self.activations[0].of(self._held(a))

    def g(self, a: Array) -> Array:
        """ONNX's g, the second one, of a sum, which is rounded to float32 and clipped first."""
        return self.activations[1].of(self._held(a))

    def _held(self, a: Array) -> Array:
        return wide(np.clip(float32(a), np.float32(-self.clip), np.float32(self.clip)))


Step = Callable[[Direction, Array, list[Array]], list[Array]]
"""Parameters, x (B, S, I) of one time step, and the states before it, each (B, S, H); gives the states after it."""


def lstm_step(own: Direction, x: Array, states: list[Array]) -> list[Array]:
    """One step of an LSTM; gates i, o, f, c; states h and c."""
    h, c = states
    sums = _product(x, own.w) + _product(h, own.r) + (own.w_bias + own.r_bias)[:, :, None]
    p = own.peepholes[:, :, None]
    i = own.f(sums[:, 0] + p[:, 0] * c)
    f = own.f(sums[:, 2] + p[:, 2] * c)
    c = float32(wide(f) * c + wide(i) * own.g(sums[:, 3]))
    o = own.f(sums[:, 1] + p[:, 1] * c)
    return [o * own.activations[2].of(wide(c)), c]  # `clip` holds gates only, as in onnxruntime


def rnn_step(own: Direction, x: Array, states: list[Array]) -> list[Array]:
    """One step of an RNN, which has one gate and no other state."""
    sums = _product(x, own.w) + _product(states[0], own.r) + (own.w_bias + own.r_bias)[:, :, None]
    return [own.f(sums[:, 0])]


def gru_step(own: Direction, x: Array, states: list[Array]) -> list[Array]:
    """One step of a GRU that resets the state before the product; gates z, r, h."""
    h = states[0]
    z, r = _update_and_reset(own, x, h)
    sums = _product(x, own.w[:, 2:]) + _product(r * h, own.r[:, 2:]) + (own.w_bias + own.r_bias)[:, 2:, None]
    return [_between(z, own.g(sums[:, 0]), h)]


def gru_step_linear(own: Direction, x: Array, states: list[Array]) -> list[Array]:
    """One step of a GRU that resets what the product gives (linear_before_reset, as PyTorch does)."""
    h = states[0]
    z, r = _update_and_reset(own, x, h)
    kept = wide(r) * (_product(h, own.r[:, 2:]) + own.r_bias[:, 2:, None])[:, 0]
    sums = (_product(x, own.w[:, 2:]) + own.w_bias[:, 2:, None])[:, 0] + kept
    return [_between(z, own.g(sums), h)]


def _update_and_reset(own: Direction, x: Array, h: Array) -> tuple[Array, Array]:
    bias = (own.w_bias + own.r_bias)[:, :2, None]
    gates = own.f(_product(x, own.w[:, :2]) + _product(h, own.r[:, :2]) + bias)
    return gates[:, 0], gates[:, 1]


def _between(z: Array, new: Array, h: Array) -> Array:
    """The state (1 - z) new + z h, rounded once."""
    return float32((1 - wide(z)) * new + wide(z) * h)


def _product(x: Array, w: Array) -> Array:
    """Sums (B, G, S, H) in float64 of x (B, S, I) and w (B, G, H, I)."""
    return np.asarray(wide(x)[:, None] @ w.swapaxes(2, 3))


class Kind(NamedTuple):
    """What differs between recurrences; `states` are the inputs that hold states before the first step."""

    step: Step
    gates: int
    activations: tuple[str, ...]
    states: tuple[int, ...]


LSTM = Kind(lstm_step, 4, ("sigmoid", "tanh", "tanh"), (5, 6))
GRU = Kind(gru_step, 3, ("sigmoid", "tanh"), (5,))
RNN = Kind(rnn_step, 1, ("tanh",), (5,))


def lstm(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """LSTM: all outputs, the last output, the last cell state."""
    if attributes.get("input_forget", 0):
        raise ModelError("an LSTM has a forget gate of its own", "input_forget = 1", "Export it with 0, the default.")
    return _recurrent(LSTM, attributes, inputs)


def gru(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """GRU: all outputs, the last output."""
    linear = attributes.get("linear_before_reset", 0)
    return _recurrent(GRU._replace(step=gru_step_linear) if linear else GRU, attributes, inputs)


def rnn(attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """RNN: all outputs, the last output."""
    return _recurrent(RNN, attributes, inputs)


def _recurrent(kind: Kind, attributes: Attributes, inputs: list[Array | None]) -> list[Array]:
    """Y (B, T, D, S, H) and the last states (B, D, S, H); where layout is 1 S comes before both T and D."""
    turns = _turns(attributes)
    functions = gate_functions(kind.activations, attributes)
    by_sequence = bool(attributes.get("layout", 0))
    x, *starts = (_by_time(given(inputs, index), by_sequence=by_sequence) for index in (0, *kind.states))
    if x is None:
        raise ModelError("a recurrence has an input", "none", "Export the model again.")
    lengths = constant(given(inputs, 4), "sequence_lens") if given(inputs, 4) is not None else np.array(x.shape[1])
    done = []
    for d, reverse in enumerate(turns):
        own = _direction(kind, attributes, inputs, d, functions[d])
        zeros = np.zeros((1, x.shape[2], own.r.shape[-1]), np.float32)
        states = [zeros if start is None else start[:, d] for start in starts]
        done.append(_run(own, kind.step, x, lengths, states, reverse=reverse))
    y = np.stack([out for out, _ in done], axis=2)
    last = [np.stack(same_batch(list(each)), axis=1) for each in zip(*(states for _, states in done), strict=True)]
    if not by_sequence:
        return [y, *last]
    return [y.transpose(0, 3, 1, 2, 4), *(state.swapaxes(1, 2) for state in last)]


def _turns(attributes: Attributes) -> tuple[bool, ...]:
    """For each direction whether it runs backwards."""
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ModelError(f"a direction is one of {', '.join(DIRECTIONS)}", repr(direction), "Export the model again.")
    return DIRECTIONS[direction]


def gate_functions(usual: tuple[str, ...], attributes: Attributes) -> list[tuple[GateFunction, ...]]:
    """The activations of each direction; alphas and betas go, in order, to those that have such a number."""
    directions = len(_turns(attributes))
    given = attributes.get("activations") or usual * directions
    names = [(name.decode() if isinstance(name, bytes) else name).lower() for name in given]
    if len(names) != len(usual) * directions or not set(names) <= set(_FUNCTIONS):
        rule = f"a recurrence has {len(usual)} activations for each direction, of {', '.join(sorted(_FUNCTIONS))}"
        raise ModelError(rule, f"activations {names}", "Export it with those.")
    alphas, betas = (iter(attributes.get(f"activation_{which}") or ()) for which in ("alpha", "beta"))
    found = []
    for name in names:
        _, alpha, beta = _FUNCTIONS[name]
        numbers = [
            0.0 if n is None else float(np.float32(next(rest, n))) for rest, n in ((alphas, alpha), (betas, beta))
        ]
        found.append(GateFunction(name, *numbers))
    return [tuple(found[d * len(usual) : (d + 1) * len(usual)]) for d in range(directions)]


def _by_time(x: Array | None, *, by_sequence: bool) -> Array | None:
    """The input or a state with S as its third axis, as layout 0 has it."""
    return x.swapaxes(1, 2) if by_sequence and x is not None else x


def _direction(
    kind: Kind, attributes: Attributes, inputs: list[Array | None], d: int, functions: tuple[GateFunction, ...]
) -> Direction:
    """The parameters of direction `d`: w and r stacked by gate, biases of w before those of r; zeros where absent."""
    w, r = (wide(needed(inputs, index))[:, d] for index in (1, 2))
    w, r = (a.reshape(len(a), kind.gates, -1, a.shape[-1]) for a in (w, r))
    hidden = r.shape[-1]
    stated = attributes.get("hidden_size", hidden)
    if stated != hidden:
        raise ModelError("hidden_size is that of the weights", f"{stated} for {hidden}", "Export the model again.")
    both = _optional(given(inputs, 3), d, (2, kind.gates, hidden))
    peepholes = _optional(given(inputs, 7), d, (3, hidden))
    return Direction(w, r, both[:, 0], both[:, 1], peepholes, attributes.get("clip", np.inf), functions)


def _optional(x: Array | None, d: int, shape: tuple[int, ...]) -> Array:
    """Direction `d` of a parameter as (B, *shape), or zeros (1, *shape)."""
    return np.zeros((1, *shape)) if x is None else wide(x)[:, d].reshape(len(x), *shape)


def _run(
    own: Direction, step: Step, x: Array, lengths: Array, states: list[Array], *, reverse: bool
) -> tuple[Array, list[Array]]:
    """All h (B, T, S, H), zero behind a sequence's end, and the last states; sequence s has `lengths[s]` steps."""
    time, columns = np.arange(x.shape[1])[:, None], np.arange(x.shape[2])
    inside = np.broadcast_to(time < lengths, x.shape[1:3])
    order = np.where(inside & reverse, lengths - 1 - time, time)
    x, batch = x[:, order, columns], max(len(a) for a in (x, own.w, own.r, *states))
    y = np.zeros((batch, *order.shape, own.r.shape[-1]), np.float32)
    for t, alive in enumerate(inside[..., None]):
        states = [np.where(alive, new, old) for new, old in zip(step(own, x[:, t], states), states, strict=True)]
        y[:, t] = np.where(alive, states[0], np.float32(0))
    return y[:, order, columns], states


OPERATORS: dict[str, Operator] = {"GRU": gru, "LSTM": lstm, "RNN": rnn}
