"""The C text of a layer that calls a kernel: pointers first, then numbers, then structs whose members have names."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.firmware.operators.loops import indent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.firmware.layers import Names
    from ecm_edge.firmware.tensors import Buffer, Tensor

_COLUMNS = 112  # and the indent of a function's body


@dataclass(frozen=True)
class Struct:
    """A struct of the kernels, ecm_<name>, and the values of its members."""

    name: str
    members: Mapping[str, int | str]

    @property
    def declaration(self) -> str:
        """Its definition within a function: constant, so that the compiler knows every member at the call.

        >>> Struct("quant", {"factor_step": 0, "zero_point": -3}).declaration
        'static const ecm_quant quant = {.factor_step = 0, .zero_point = -3};'
        """
        members = ", ".join(f".{member} = {value}" for member, value in self.members.items())
        return f"static const ecm_{self.name} {self.name} = {{{members}}};"


@dataclass(frozen=True)
class Tile:
    """Rows and outputs computed together, and products of a sum that one turn of the loop takes."""

    rows: int
    outputs: int
    unroll: int

    def struct(self, *, backward: bool) -> Struct:
        """The kernels' argument."""
        sizes = {"rows": self.rows, "outputs": self.outputs, "unroll": self.unroll}
        return Struct("tile", {**sizes, "backward": int(backward)})


@dataclass(frozen=True, eq=False)
class Operand:
    """A pointer argument.

    Args:
        source: memory, or the name of one of the layer's constants.
        first: the first group's first element, from the source's own.
        step: elements from one group's to the next group's.
        cast: the C type that the kernel wants, where it is another one.
        line_step: elements from one line's to the next line's.
    """

    source: Tensor | Buffer | str
    first: int = 0
    step: int = 0
    cast: str = ""
    line_step: int = 0

    def text(self, names: Names, group: int = 0) -> str:
        """Its C."""
        return self._at(names, self.first + group * self.step)

    def in_loops(self, names: Names, *, groups: bool) -> str:
        """Its C within loops over groups, if there are several, and lines."""
        steps = {"group": self.step if groups else 0, "line": self.line_step}
        return self._at(names, self.first) + "".join(f" + {i} * {step}" for i, step in steps.items() if step)

    def _at(self, names: Names, offset: int) -> str:
        base = names.constant(self.source) if isinstance(self.source, str) else names.pointer(self.source)
        place = f" + {offset}" if offset > 0 else f" - {-offset}" if offset else ""
        return f"({self.cast})(void *){base}{place}" if self.cast else f"{base}{place}"


@dataclass(frozen=True, eq=False)
class Call:
    """The body of a layer that calls a kernel, once for each group, and each line of it.

    Args:
        function: the kernel.
        operands: its pointers.
        structs: what describes the layer.
        numbers: arguments between pointers and structs.
        groups: how often it is called.
        before: what has to be done to the weights first.
        lines: how often it is called for each group. More than once in a loop, from the last on if it runs backward.
    """

    function: str
    operands: tuple[Operand, ...]
    structs: tuple[Struct | Tile, ...] = ()
    numbers: tuple[int, ...] = ()
    groups: int = 1
    before: Call | None = None
    lines: int = 1

    def body(self, names: Names) -> str:
        """C statements."""
        structs = [s.struct(backward=names.backward) if isinstance(s, Tile) else s for s in self.structs]
        others = [*map(str, self.numbers), *(f"&{struct.name}" for struct in structs)]
        lines = [self.before.body(names)] if self.before else []
        lines += [_wrapped(struct.declaration) for struct in structs]
        if self.lines > 1:
            return "\n".join([*lines, self._loops(names, others)])
        for group in range(self.groups):
            arguments = [operand.text(names, group) for operand in self.operands]
            lines.append(_wrapped(f"{self.function}({', '.join([*arguments, *others])});"))
        return "\n".join(lines)

    def _loops(self, names: Names, others: Sequence[str]) -> str:
        """C of the loops over groups and lines."""
        arguments = [operand.in_loops(names, groups=self.groups > 1) for operand in self.operands]
        call = _wrapped(f"{self.function}({', '.join([*arguments, *others])});")
        text = f"for ({_turns('line', self.lines, backward=names.backward)}) {{\n{indent(call)}\n}}"
        return f"for ({_turns('group', self.groups)}) {{\n{indent(text)}\n}}" if self.groups > 1 else text


def _turns(variable: str, count: int, *, backward: bool = False) -> str:
    """The head of a loop."""
    if backward:
        return f"int32_t {variable} = {count - 1}; {variable} >= 0; {variable}--"
    return f"int32_t {variable} = 0; {variable} < {count}; {variable}++"


def _wrapped(statement: str) -> str:
    """A statement on as many lines as it needs; those behind the first are indented."""
    return textwrap.fill(statement, _COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
