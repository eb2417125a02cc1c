"""A program while it is being lowered: what is known of every ONNX tensor, and the layers so far.

State lives here and nowhere else; `finish` turns it into frozen layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.firmware.margins import Margined, Room, around, with_margin
from ecm_edge.firmware.tensors import ITEM_BYTES, Buffer, Indices, Tensor, channels_last, dense, extent

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.firmware.layers import Layer, Names
    from ecm_edge.firmware.operators.kept_integers import KeptIntegers
    from ecm_edge.firmware.tensors import DType
    from ecm_edge.forms.reference.graph import Graph
    from ecm_edge.forms.reference.node import Node, Step
    from ecm_edge.targets.kernels import Kernels

_SPATIAL = 3  # axes of a tensor that has time: batch, channels, time


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the input.

    `stored` is float16 where its weights are kept so; `kept` is there where they are integers with scales.
    """

    values: NDArray[Any]
    stored: str = "float32"
    kept: KeptIntegers | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape."""
        return tuple(self.values.shape)


class Open(Protocol):
    """A layer that later nodes may still join."""

    def close(self, program: Program) -> Layer | None:
        """The layer as it is emitted; None where nothing of it is needed."""


@dataclass(frozen=True, eq=False)
class Done:
    """A layer that nothing joins any more."""

    layer: Layer

    def close(self, program: Program) -> Layer:
        """The layer itself."""
        del program
        return self.layer


@dataclass
class Program:
    """Everything that is known while a graph is lowered.

    Args:
        graph: the graph, in the reference's steps.
        kernels: what the target's core is good at.
        shapes: the ONNX shape of every tensor.
        kinds: the ONNX type of every tensor, by NumPy's name.
        uses: how many times steps read each tensor (the graph's output counts once more).
        rooms: what the convolutions that read a tensor want of its memory.
        wide: whether sums of products of floats are taken in double, as they are in quantised graphs, whose integers
            have to come out the same as the reference's.
        readers: the steps that read each tensor.
    """

    graph: Graph
    kernels: Kernels
    shapes: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, str]
    uses: Counter[str]
    rooms: Mapping[str, Room]
    wide: bool
    readers: Mapping[str, tuple[Step, ...]]
    env: dict[str, Tensor | Constant] = field(default_factory=dict)
    layers: list[Open] = field(default_factory=list)
    made_by: dict[Buffer, int] = field(default_factory=dict)
    margined: dict[Buffer, Margined] = field(default_factory=dict)

    def tensor(self, name: str, node: Node) -> Tensor:
        """What a node reads and computes on: it depends on the segment."""
        value = self.env[name]
        if isinstance(value, Constant):
            raise refused(node, "an operator's first input depends on the segment", f"the constant {name!r}")
        return value

    def constant(self, name: str, node: Node) -> Constant:
        """A parameter: the same for all segments."""
        value = self.env.get(name)
        if not isinstance(value, Constant):
            raise refused(node, "weights and parameters are constants", f"{name!r}, which depends on the segment")
        return value

    def optional(self, node: Node, position: int) -> Constant | None:
        """A constant input that may be absent."""
        given = len(node.inputs) > position and node.inputs[position]
        return self.constant(node.inputs[position], node) if given else None

    def output(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DType = "float32",
        *,
        order: Sequence[int] | None = None,
        shift: int = 0,
        fill: int = 0,
    ) -> Tensor:
        """A new tensor for a layer's output, time-major unless `order` says otherwise, with the margins wanted.

        The graph's own output is written straight to the caller's scores if it lies there in order. `fill` is the
        stored zero.
        """
        chosen = tuple(order) if order is not None else channels_last(len(shape))
        if name == self.graph.output_name and dtype == "float32" and np.array_equal(dense(shape, chosen), dense(shape)):
            return Tensor(Buffer(prod(shape), dtype, "scores"), dense(shape), None, shift)
        if 0 in shape:
            raise ModelError("a tensor has elements", f"none in {name!r} {tuple(shape)}", "Export the model again.")
        return replace(self.allocate(shape, dtype, chosen, self.rooms.get(name, Room()), fill), shift=shift)

    @property
    def stored(self) -> DType:
        """How 8-bit activations are kept."""
        return "int16" if self.kernels.int8 == "dual" else "int8"

    @property
    def stored_bytes(self) -> int:
        """Bytes of one."""
        return ITEM_BYTES[self.stored]

    def allocate(self, shape: Sequence[int], dtype: DType, order: Sequence[int], room: Room, fill: int) -> Tensor:
        """New memory; only a time-major tensor gets the room that is wanted. Integers end at an even element."""
        has_time = len(shape) >= _SPATIAL and tuple(order) == channels_last(len(shape))
        rounded = 2 if dtype == "int16" else 1
        if not has_time or not room.has_pads:
            index = dense(shape, order, 2 if room.even and has_time else 1)
            return Tensor(Buffer(-(-extent(index) // rounded) * rounded, dtype), index)
        margined = with_margin(shape, room, fill)
        buffer = Buffer(-(-margined.size // rounded) * rounded, dtype)
        self.margined[buffer] = margined
        return Tensor(buffer, margined.index)

    def has_room(self, tensor: Tensor, wanted: Room) -> bool:
        """Whether all that a convolution takes for padding around a tensor is a margin that holds its zero."""
        known = self.margined.get(tensor.buffer)
        if not wanted.has_pads:
            return True
        if known is None or tensor.strides is None or known.fill != (tensor.quant.zero_point if tensor.quant else 0):
            return False
        steps = known.steps if tensor.shape == known.index.shape else tensor.strides[2:]
        return known.holds(around(tensor.index, steps, wanted))

    def add(self, layer: Open, *written: Tensor) -> int:
        """Append a layer that writes these tensors; its number."""
        for tensor in written:
            self.made_by[tensor.buffer] = len(self.layers)
        self.layers.append(layer)
        return len(self.layers) - 1

    def finish(self) -> list[Layer]:
        """The layers as they are emitted, margins filled behind the layer that writes a tensor."""
        closed = [layer.close(self) for layer in self.layers]
        return [self.with_margins(layer) for layer in closed if layer is not None]

    def with_margins(self, layer: Layer) -> Layer:
        """The layer, and behind it the filling of the margins around what it writes."""
        filled = [(t, self.margined[t.buffer]) for t in layer.writes if t.buffer in self.margined]
        if not filled:
            return layer

        def body(names: Names) -> str:
            fills = [margined.code(names.pointer(tensor.buffer)) for tensor, margined in filled]
            return "\n".join([layer.body(names), *fills])

        return replace(layer, body=body)


def refused(
    node: Node,
    rule: str,
    found: str,
    hint: str = "Export it in another way: firmware_check/README.md says what is taken.",
) -> ModelError:
    """The error for a node of which no C can be made; it names the node."""
    return ModelError(rule, f"{found} in {node.place}", hint)


def distance_below(write_ends: Indices, read_starts: Indices) -> int:
    """How far below its input an output has to begin at least, for a layer that reads and writes step by step.

    Args:
        write_ends: (steps,) one past the last byte that each step writes, from the output buffer's start.
        read_starts: (steps,) the first byte that each step reads, from the input buffer's start.

    What a step writes must lie below all that later steps read; within a step all reads come before its writes.

    >>> distance_below(np.array([4, 8]), np.array([0, 4]))
    0
    """
    if len(write_ends) < 2:  # noqa: PLR2004 - nothing is read after the first step's writes
        return -int(write_ends.max(initial=0))
    later = np.minimum.accumulate(read_starts[::-1])[::-1][1:]
    return int((np.maximum.accumulate(write_ends)[:-1] - later).max())


def distance_above(write_starts: Indices, read_ends: Indices) -> int:
    """How far above its input an output has to begin at least; what a step writes lies above all that is read later.

    >>> distance_above(np.array([4, 0]), np.array([8, 4]))
    0
    """
    if len(write_starts) < 2:  # noqa: PLR2004 - as above
        return int(read_ends.max(initial=0))
    later = np.maximum.accumulate(read_ends[::-1])[::-1][1:]
    return int((later - np.minimum.accumulate(write_starts)[:-1]).max())
