"""The arena: where every buffer lies, so that those alive at the same time do not meet, and the whole is small.

1. A buffer is alive from the layer that writes it first to the one that reads it last.
2. Two buffers that are alive at the same layer have no byte in common. Rule 3 is the one exception.
3. A layer's output may lie over an input that no later layer reads: so far below it that nothing is overwritten before
   it was read, or so far above it if the layer runs from the last row back (`Layer.overlap`).
4. Several orders of placing are tried, each buffer at the lowest place that is free, and the smallest arena is kept.
   Then buffers are moved about in the best order for a while, by a seeded choice: the plan is the same every time.

The cost model has another planner (`ecm_edge.forms.cost.plan`), for the tensors of an ONNX graph: it knows neither
fused layers nor outputs over inputs, and its figures are in the records of models that were never built.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.records import Record
from ecm_edge.forms import cost

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.firmware.layers import Layer, Overlap
    from ecm_edge.firmware.tensors import Buffer

ALIGNMENT = 8
_MOVES = 150  # a tenth of a second
_MOVED = 150_000  # buffers placed in all moves together

Allowed = dict[tuple["Buffer", "Buffer"], "Overlap"]
"""(input, output) pairs that may overlap at the layer where the one dies and the other begins."""
Rivals = Mapping["Buffer", Sequence["Buffer"]]
"""For every buffer those that must not lie where it lies."""


@dataclass(frozen=True)
class Lifetime:
    """Layers, both included, during which a buffer holds something."""

    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Byte offsets in the arena, its size, how long each buffer lives, and the layers that run backward."""

    offsets: Mapping[Buffer, int]
    arena_bytes: int
    lifetimes: Mapping[Buffer, Lifetime]
    backward: frozenset[int]


class PlannedBuffer(Record):
    """One buffer of the arena, for reports."""

    tensor: str
    offset: int
    size_bytes: int
    first_layer: int
    last_layer: int


def plan(layers: Sequence[Layer]) -> Plan:
    """Place every arena buffer of the layers, in order of execution."""
    lifetimes = _lifetimes(layers)
    allowed = _allowed(layers, lifetimes)
    rivals = cost.alive_together({buffer: (life.first, life.last) for buffer, life in lifetimes.items()})
    orders = [sorted(lifetimes, key=key) for key in _orders(lifetimes)]
    order = min(orders, key=lambda order: _size(_place(order, rivals, allowed)))
    offsets = _improved(order, rivals, allowed)
    backward = {
        lifetimes[output].first for (x, output), over in allowed.items() if _is_backward(x, output, over, offsets)
    }
    return Plan(offsets, _size(offsets), lifetimes, frozenset(backward))


def _improved(order: Sequence[Buffer], rivals: Rivals, allowed: Allowed) -> dict[Buffer, int]:
    """The places of the best order that some moves of one buffer each lead to; of very many buffers fewer are made."""
    best, offsets = list(order), _place(order, rivals, allowed)
    chance = random.Random(0)  # noqa: S311 - no secret
    for _ in range(min(_MOVES, _MOVED // len(best)) if len(best) > 1 else 0):
        tried = list(best)
        tried.insert(chance.randrange(len(tried)), tried.pop(chance.randrange(len(tried))))
        placed = _place(tried, rivals, allowed)
        if _size(placed) <= _size(offsets):
            best, offsets = tried, placed
    return offsets


def _is_backward(x: Buffer, output: Buffer, over: Overlap, offsets: Mapping[Buffer, int]) -> bool:
    """Whether a layer's output lies over its input in the way that asks for the last row first."""
    apart = offsets[x] + x.size_bytes <= offsets[output] or offsets[output] + output.size_bytes <= offsets[x]
    return not apart and offsets[output] + over.below > offsets[x]


def _lifetimes(layers: Sequence[Layer]) -> dict[Buffer, Lifetime]:
    lifetimes: dict[Buffer, Lifetime] = {}
    for number, layer in enumerate(layers):
        for buffer in sorted(layer.buffers, key=lambda b: b.size_bytes):
            if buffer.place == "arena":
                first = lifetimes[buffer].first if buffer in lifetimes else number
                lifetimes[buffer] = Lifetime(first, number)
    return lifetimes


def _allowed(layers: Sequence[Layer], lifetimes: Mapping[Buffer, Lifetime]) -> Allowed:
    """(input, output) pairs that may overlap, and how."""
    allowed: dict[tuple[Buffer, Buffer], Overlap] = {}
    for number, layer in enumerate(layers):
        written = [tensor.buffer for tensor in layer.writes]
        if not written or written[0].place != "arena" or lifetimes[written[0]].first != number:
            continue
        for buffer, over in layer.overlap.items():
            if buffer.place == "arena" and lifetimes[buffer].last == number and buffer not in written:
                allowed[buffer, written[0]] = over
    return allowed


def _orders(lifetimes: Mapping[Buffer, Lifetime]) -> list[Callable[[Buffer], tuple[int, ...]]]:
    return [
        lambda b: (-b.size_bytes, lifetimes[b].first),
        lambda b: (-lifetimes[b].first, -b.size_bytes),
        lambda b: (lifetimes[b].first, -b.size_bytes),
        lambda b: (lifetimes[b].first - lifetimes[b].last, -b.size_bytes),
        lambda b: (-(lifetimes[b].last - lifetimes[b].first + 1) * b.size_bytes, lifetimes[b].first),
    ]


def _place(order: Sequence[Buffer], rivals: Rivals, allowed: Allowed) -> dict[Buffer, int]:
    offsets: dict[Buffer, int] = {}
    for buffer in order:
        placed = [other for other in rivals[buffer] if other in offsets]
        free = (
            at
            for at in sorted(_candidates(buffer, placed, offsets, allowed))
            if _fits(buffer, at, placed, offsets, allowed)
        )
        offsets[buffer] = next(free)
    return offsets


def _candidates(
    buffer: Buffer,
    rivals: Sequence[Buffer],
    offsets: Mapping[Buffer, int],
    allowed: Allowed,
) -> set[int]:
    """Places where a buffer can begin at the lowest: the start, behind a rival, or as near to one as is allowed."""
    places = {0}
    for other in rivals:
        places.add(_aligned(offsets[other] + other.size_bytes))
        if (other, buffer) in allowed:  # the buffer is the output
            places.add((offsets[other] - allowed[other, buffer].below) // ALIGNMENT * ALIGNMENT)
            places.add(_aligned(offsets[other] + (allowed[other, buffer].above or 0)))
        if (buffer, other) in allowed:  # the buffer is the input
            places.add(_aligned(offsets[other] + allowed[buffer, other].below))
            places.add((offsets[other] - (allowed[buffer, other].above or 0)) // ALIGNMENT * ALIGNMENT)
    return {at for at in places if at >= 0}


def _fits(
    buffer: Buffer,
    at: int,
    rivals: Sequence[Buffer],
    offsets: Mapping[Buffer, int],
    allowed: Allowed,
) -> bool:
    return all(_agree(buffer, at, other, offsets[other], allowed) for other in rivals)


def _agree(a: Buffer, a_at: int, b: Buffer, b_at: int, allowed: Allowed) -> bool:
    """Whether two buffers alive together lie apart, or one is an output that overlaps its dying input as it may."""
    if a_at + a.size_bytes <= b_at or b_at + b.size_bytes <= a_at:
        return True
    for (x, x_at), (output, output_at) in (((a, a_at), (b, b_at)), ((b, b_at), (a, a_at))):
        over = allowed.get((x, output))
        if over and (output_at + over.below <= x_at or (over.above is not None and output_at >= x_at + over.above)):
            return True
    return False


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _size(offsets: Mapping[Buffer, int]) -> int:
    return _aligned(max((at + buffer.size_bytes for buffer, at in offsets.items()), default=0))


def live_bytes(layers: Sequence[Layer], placed: Plan) -> list[int]:
    """Bytes of all buffers alive at each layer, shared bytes counted once."""
    alive: list[list[tuple[int, int]]] = [[] for _ in layers]
    for buffer, life in placed.lifetimes.items():
        for number in range(life.first, life.last + 1):
            alive[number].append((placed.offsets[buffer], buffer.size_bytes))
    return [_covered(spans) for spans in alive]


def _covered(spans: list[tuple[int, int]]) -> int:
    ends = 0
    total = 0
    for at, size in sorted(spans):
        total += max(0, at + size - max(ends, at))
        ends = max(ends, at + size)
    return total
