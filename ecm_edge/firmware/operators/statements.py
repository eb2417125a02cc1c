"""What a loop does, before it is C: statements, and reductions with their accumulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ecm_edge.firmware.tensors import Indices, Tensor


@dataclass(frozen=True)
class Statement:
    """One C variable and how it is computed.

    operation: a C expression in which {0}, {1} … stand for the inputs.
    inputs:    variables of the loop, or C literals.
    """

    variable: str
    operation: str
    inputs: tuple[str, ...]
    c_type: str

    @property
    def code(self) -> str:
        """The C statement."""
        return f"const {self.c_type} {self.variable} = {self.operation.format(*self.inputs)};"


@dataclass(frozen=True)
class Kind:
    """How values are joined to an accumulator.

    c_type, start: of the accumulator.
    step:          a C statement that joins the value {v} to the accumulator {a}.
    result:        a C expression of the accumulator {a}: what is stored.
    """

    c_type: str
    start: str
    step: str
    result: str = "{a}"

    def joined(self, accumulator: str, value: str) -> str:
        """The C statement that joins a value to an accumulator of that name."""
        return self.step.format(a=accumulator, v=value)

    def stored(self, accumulator: str) -> str:
        """The C expression of what is stored of an accumulator of that name."""
        return self.result.format(a=accumulator)


@dataclass(frozen=True)
class Reduction:
    """A reduction within a loop: which C variable, along which axes, how, and the tensor that it gives."""

    variable: str
    axes: tuple[int, ...]
    kind: Kind
    output: Tensor

    def start(self, number: int) -> str:
        """The C definition of this reduction's accumulator, which has the number in its name."""
        return f"{self.kind.c_type} a{number} = {self.kind.start};"

    def step(self, number: int) -> str:
        """The C statement that joins the loop's value to it."""
        return self.kind.joined(f"a{number}", self.variable)

    def result(self, number: int) -> str:
        """The C expression of what is stored."""
        return self.kind.stored(f"a{number}")

    def spread(self, shape: tuple[int, ...]) -> Indices:
        """The output's index for every element of the loop."""
        kept = [1 if axis in self.axes else length for axis, length in enumerate(shape)]
        return np.broadcast_to(self.output.index.reshape(kept), shape)
