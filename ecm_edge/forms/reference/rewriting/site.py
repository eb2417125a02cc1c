"""One node that is being written as others: what is known of it, and the nodes so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.node import Node

if TYPE_CHECKING:
    from ecm_edge.forms.reference.operators import Array

Shape = tuple[int, ...]

ANOTHER_WAY = "Export it in another way: firmware_check/README.md says what is taken."


@dataclass
class Site:
    """A node, the graph's constants, and every tensor before it of two segments, or of one where it is a constant.

    version: of the operator set.
    """

    node: Node
    constants: dict[str, Array]
    values: dict[str, Array]
    version: int
    nodes: list[Node] = field(default_factory=list)

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401 - whatever an attribute can hold
        """An attribute of the node."""
        return self.node.attributes.get(name, default)

    def input(self, position: int) -> str:
        """The name of an input; empty where it is absent."""
        return self.node.inputs[position] if position < len(self.node.inputs) else ""

    def output(self, position: int) -> str:
        """The name of an output; empty where nobody wants it."""
        return self.node.outputs[position] if position < len(self.node.outputs) else ""

    def shape(self, name: str) -> Shape:
        """A tensor's shape."""
        return tuple(self.values[name].shape[1:])

    def value(self, position: int, what: str) -> Array | None:
        """The value of a constant input; None where it is absent."""
        name = self.input(position)
        if not name:
            return None
        if len(self.values[name]) != 1:
            raise self.refused(f"{what} is a constant", f"{name!r}, which depends on the input")
        values: Array = self.values[name][0]
        return values

    def needed(self, position: int, what: str) -> Array:
        """The value of a constant input that has to be there."""
        value = self.value(position, what)
        if value is None:
            raise self.refused(f"{self.node.op} has {what}", "none", "Export the model again.")
        return value

    def constant(self, values: Any, dtype: Any = np.float32) -> str:  # noqa: ANN401 - whatever NumPy makes an array of
        """The name of a new constant."""
        name = self._fresh("constant")
        self.constants[name] = self.values[name] = np.asarray(values, dtype)[None]
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as `attribute`
        """One more node; the name of its output."""
        name = output or self._fresh(op.lower())
        title = f"{self.node.name} ({self.node.op})"
        self.nodes.append(Node(title, op, inputs, (name,), attributes, self.node.named, self.node.place))
        return name

    def refused(self, rule: str, found: str, hint: str = ANOTHER_WAY) -> ModelError:
        """The error for a use of the node that no rule knows."""
        place = f"{found} in {self.node.place}"
        return ModelError(rule, place, hint)

    def _fresh(self, what: str) -> str:
        base = next(name for name in self.node.outputs if name)
        number = len(self.nodes)
        while (name := f"{base}.{what}{number}") in self.values:
            number += 1
        return name


Rule = Callable[[Site], None]
