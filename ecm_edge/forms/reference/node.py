"""One node of a graph, and one step of its computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Node:
    """One ONNX node; attributes are Python values, with text as str.

    named:  whether its author gave it its name.
    author: the place of the node in the file that it stands for, where that was written as others; else empty.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    named: bool = True
    author: str = ""

    @property
    def place(self) -> str:
        """The node in a message, by what its author sees of it."""
        own = f"{self.op} {self.name!r}" if self.named else f"{self.op} (which gives {self.gives!r})"
        return self.author or own

    @property
    def gives(self) -> str:
        """The name of its first output that has one."""
        return next((name for name in self.outputs if name), "nothing")


@dataclass(frozen=True)
class Step:
    """What is computed at once: a node, or an integer group, or a mean of integers (`op` says which node it is).

    `sources` are the DequantizeLinear nodes of a group's or mean's inputs; `quantizer` is a group's QuantizeLinear.
    """

    op: Node
    outputs: tuple[str, ...]
    sources: tuple[Node, ...] = ()
    quantizer: Node | None = None
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all tensors that have to be there before the step."""
        if not self.sources:
            return self.op.inputs
        others = self.quantizer.inputs[1:] if self.quantizer else self.op.inputs[1:]
        return (*(name for source in self.sources for name in source.inputs), *others)
