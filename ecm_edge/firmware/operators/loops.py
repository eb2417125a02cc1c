"""Loop nests over tensors: axes merged where memory allows, index expressions, C text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.errors import InternalError
from ecm_edge.firmware.tensors import strides_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.firmware.tensors import Indices

_UNROLLED = 16  # shorter loops are left to the compiler


@dataclass(frozen=True)
class Axis:
    """One loop: how often it runs, and each operand's elements from one turn to the next."""

    length: int
    steps: tuple[int, ...]


def loop_nest(shape: Sequence[int], order: Sequence[int], operands: Sequence[Indices]) -> list[Axis]:
    """The loops over `shape`, outermost first in `order`, for operands given by the index of every element.

    Axes of length 1 fall out; two that follow each other become one where every operand allows it. Indices are from
    each operand's own first element.

    Raises:
        InternalError: an operand that no strides describe; who builds a loop copies such a one first.
    """
    strides = [known for index in operands if (known := strides_of(index)) is not None]
    if len(strides) < len(operands):
        raise InternalError(f"a loop over {tuple(shape)} has an operand that no strides describe")
    axes = [Axis(shape[axis], tuple(each[axis] for each in strides)) for axis in order if shape[axis] != 1]
    merged: list[Axis] = []
    for axis in axes:
        if merged and all(
            outer == inner * axis.length for outer, inner in zip(merged[-1].steps, axis.steps, strict=True)
        ):
            merged[-1] = Axis(merged[-1].length * axis.length, axis.steps)
        else:
            merged.append(axis)
    return merged


def at(axes: Sequence[Axis], operand: int, first: int = 0) -> str:
    """The index of an operand's element within the nest, from its first one.

    >>> at([Axis(3, (0, 5)), Axis(4, (1, 1))], 1)
    'i0 * 5 + i1'
    """
    terms = []
    for number, axis in enumerate(axes, first):
        step = axis.steps[operand]
        if step:
            terms.append(f"i{number}" if step == 1 else f"i{number} * {step}")
    return " + ".join(terms) or "0"


def loops(axes: Sequence[Axis], body: str, *, first: int = 0, unroll: bool = False) -> str:
    """C loops around a body.

    >>> print(loops([Axis(3, (1,))], "y[i0] = 0;"))
    for (int32_t i0 = 0; i0 < 3; i0++) {
        y[i0] = 0;
    }
    """
    text = body
    for number in range(len(axes) - 1, -1, -1):
        innermost = number == len(axes) - 1
        pragma = "ECM_UNROLL_4\n" if unroll and innermost and axes[number].length >= _UNROLLED else ""
        i = f"i{number + first}"
        text = f"{pragma}for (int32_t {i} = 0; {i} < {axes[number].length}; {i}++) {{\n{indent(text)}\n}}"
    return text if axes else f"{{\n{indent(text)}\n}}"


def indent(text: str) -> str:
    """Text four columns to the right."""
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())
