"""The C text of a layer that calls a kernel: pointers first, then numbers, then structs whose members have names."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """

    source: Tensor | Buffer | str
    first: int = 0
    step: int = 0
    cast: str = ""

    def text(self, names: Names, group: int = 0) -> str:
        """Its C."""
        base = names.constant(self.source) if isinstance(self.source, str) else names.pointer(self.source)
        offset = self.first + group * self.step
        place = f" + {offset}" if offset > 0 else f" - {-offset}" if offset else ""
        return f"({self.cast})(void *){base}{place}" if self.cast else f"{base}{place}"


@dataclass(frozen=True, eq=False)
class Call:
    """The body of a layer that calls a kernel, once for each group.

    Args:
        function: the kernel.
        operands: its pointers.
        structs: what describes the layer.
        numbers: arguments between pointers and structs.
        groups: how often it is called.
        before: what has to be done to the weights first.
    """

    function: str
    operands: tuple[Operand, ...]
    structs: tuple[Struct | Tile, ...] = ()
    numbers: tuple[int, ...] = ()
    groups: int = 1
    before: Call | None = None

    def body(self, names: Names) -> str:
        """C statements."""
        structs = [s.struct(backward=names.backward) if isinstance(s, Tile) else s for s in self.structs]
        others = [*map(str, self.numbers), *(f"&{struct.name}" for struct in structs)]
        lines = [self.before.body(names)] if self.before else []
        lines += [_wrapped(struct.declaration) for struct in structs]
        for group in range(self.groups):
            arguments = [operand.text(names, group) for operand in self.operands]
            lines.append(_wrapped(f"{self.function}({', '.join([*arguments, *others])});"))
        return "\n".join(lines)


def _wrapped(statement: str) -> str:
    """A statement on as many lines as it needs; those behind the first are indented."""
    return textwrap.fill(statement, _COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
