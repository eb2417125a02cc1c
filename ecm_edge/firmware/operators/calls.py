"""The C text of a call of a kernel: pointers first, then structs whose members stand there by name."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS = 112  # and the indent of a function's body

Operand = tuple[str, int, int]
"""A pointer argument: its C expression, the first element, and elements from one group's to the next's."""


@dataclass(frozen=True)
class Struct:
    """A struct of the kernels, ecm_<name>, and the values of its members."""

    name: str
    members: Mapping[str, int | str]

    @property
    def declaration(self) -> str:
        """Its definition within a function: constant, so that the compiler knows every member at the call.

        >>> Struct("tile", {"rows": 4, "outputs": 2}).declaration
        'static const ecm_tile tile = {.rows = 4, .outputs = 2};'
        """
        members = ", ".join(f".{member} = {value}" for member, value in self.members.items())
        return f"static const ecm_{self.name} {self.name} = {{{members}}};"


def calls(
    function: str, groups: int, operands: Sequence[Operand], structs: Sequence[Struct], numbers: Sequence[int] = ()
) -> str:
    """One call of a kernel for each group of a layer: its pointers, then numbers, then structs.

    >>> print(calls("f", 2, [("x", 1, 8), ("w", 0, 4)], [Struct("tile", {"rows": 2})], [3]))
    static const ecm_tile tile = {.rows = 2};
    f(x + 1, w, 3, &tile);
    f(x + 9, w + 4, 3, &tile);
    """
    lines = [wrapped(struct.declaration) for struct in structs]
    last = [*map(str, numbers), *(f"&{struct.name}" for struct in structs)]
    for group in range(groups):
        pointers = [f"{base}{plus(first + group * step)}" for base, first, step in operands]
        lines.append(wrapped(f"{function}({', '.join([*pointers, *last])});"))
    return "\n".join(lines)


def wrapped(statement: str) -> str:
    """A statement on as many lines as it needs; those behind the first are indented."""
    return textwrap.fill(statement, _COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def plus(offset: int) -> str:
    """What is added to a pointer; nothing for 0."""
    return f" + {offset}" if offset > 0 else f" - {-offset}" if offset else ""
