"""A layer of generated code: what it reads and writes, the constants it brings, and the C of its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecm_edge.firmware import literals
from ecm_edge.firmware.tensors import ITEM_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.firmware.tensors import Buffer, Tensor

Pointer = Callable[["Tensor | Buffer"], str]
"""The C expression for the first element of a tensor's or a buffer's memory."""


@dataclass(frozen=True)
class Names:
    """What a body needs: the C names of memory and constants, and whether it has to run from the last row back."""

    pointer: Pointer
    constant: Callable[[str], str]
    backward: bool = False


@dataclass(frozen=True)
class Overlap:
    """How an output may lie over an input that dies at its layer, in bytes from buffer start to buffer start.

    Forward, from the first row on: output + below <= input. Backward, from the last row back: output >= input + above;
    None for a layer that cannot.
    """

    below: int
    above: int | None = None

    def __or__(self, other: Overlap) -> Overlap:
        both = self.above is not None and other.above is not None
        return Overlap(max(self.below, other.below), max(self.above or 0, other.above or 0) if both else None)


@dataclass(frozen=True, eq=False)
class Array:
    """A constant array; `what` becomes a part of its name, `dtype` is how it is stored."""

    what: str
    values: NDArray[Any]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Bytes in flash."""
        return int(self.values.size) * ITEM_BYTES[self.dtype]

    @property
    def content(self) -> tuple[str, str, bytes]:
        """What is the same for arrays that can be one in flash."""
        return self.dtype, self.values.dtype.str, self.values.tobytes()


@dataclass(frozen=True, eq=False)
class Layer:
    """One function of the generated code.

    Args:
        op: the operators in it, as a part of its name ("conv", "sigmoid_mul").
        origin: the ONNX nodes that it comes from.
        note: what the comment above it says of its geometry.
        reads: tensors it reads; constants are not among them.
        writes: tensors it writes.
        body: its C statements.
        arrays: its constants.
        scratch: buffers that it uses and leaves.
        overlap: inputs over which the first output may lie if they die here.
        macs: multiply-accumulates.
        outputs: ONNX names of `writes`.
    """

    op: str
    origin: tuple[str, ...]
    note: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    body: Callable[[Names], str]
    arrays: tuple[Array, ...] = ()
    scratch: tuple[Buffer, ...] = ()
    overlap: Mapping[Buffer, Overlap] = field(default_factory=dict)
    macs: int = 0
    outputs: tuple[str, ...] = ()

    @property
    def buffers(self) -> list[Buffer]:
        """Every buffer that the layer touches, once, in an order that is the same every time: plans depend on it."""
        return list(dict.fromkeys([*(tensor.buffer for tensor in (*self.reads, *self.writes)), *self.scratch]))

    @property
    def identifier(self) -> str:
        """The operators as a part of a C name."""
        return literals.identifier(self.op)[:40].rstrip("_")


def holders(layers: Sequence[Layer]) -> list[dict[str, tuple[int, Array]]]:
    """For the arrays of each layer, by `what`: the first layer with an equal one, by number, and the array there.

    The turns of a Loop that is written out have the same weights; they are in flash once.
    """
    first: dict[tuple[str, str, bytes], tuple[int, Array]] = {}
    return [
        {array.what: first.setdefault(array.content, (number, array)) for array in layer.arrays}
        for number, layer in enumerate(layers)
    ]


def held(layers: Sequence[Layer]) -> list[list[Array]]:
    """For each layer those of its arrays that no array before is equal to: together what is in flash."""
    return [
        [array for array in layer.arrays if places[array.what][1] is array]
        for layer, places in zip(layers, holders(layers), strict=True)
    ]


def constant_bytes(layers: Sequence[Layer]) -> int:
    """Bytes of all arrays in flash."""
    return sum(array.size_bytes for arrays in held(layers) for array in arrays)
