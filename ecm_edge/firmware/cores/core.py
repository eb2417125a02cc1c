"""What the firmware's figures need to know of an instruction set: one record of facts, which each core's file fills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecm_edge.targets.firmware import Kind

Marks = Sequence[tuple[int, bool]]
"""Offsets in a function from which on there is data (True) or code (False), in order; empty where all is code."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of `size` bytes.

    words:  32-bit words that a load or store of several registers moves; 1 for every other instruction.
    reads, writes: register numbers, general ones from 0, floating-point ones from 32, conditions from 64; empty for
            Thumb-2, where cycles are counted without them.
    """

    kind: Kind
    size: int
    words: int = 1
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Calls:
    """What a function's code says of its calls.

    near:     offsets from the function's start that it calls without a relocation.
    indirect: whether it calls through a pointer.
    """

    near: tuple[int, ...]
    indirect: bool


@dataclass(frozen=True)
class Measured:
    """What the code alone says of a function that came without the compiler's figures.

    frame:  bytes of stack; None where it is unknown.
    leaves: offsets from the function's start, outside of it, to which it calls or jumps.
    """

    frame: int | None
    leaves: tuple[int, ...]
    indirect: bool


@dataclass(frozen=True)
class Core:
    """An instruction set.

    architecture:     its name in a target's [core].
    machine:          its name in pyelftools; empty for that of this host, whatever it is.
    call_relocations: the types of the relocations that are calls.
    mode_bits:        bits of a function's address that say how it is executed, not where it lies.
    decode:           the instruction at an offset of a section's content; None where instructions cannot be decoded.
    calls:            what a function's code says of its calls, by its content, the offsets of its calls that have
                      relocations, and its marks; None where calls cannot be read.
    measure:          the same for a function without the compiler's figures, by its content and its marks; None where
                      the compiler gives figures for every function.
    """

    architecture: str
    machine: str
    call_relocations: frozenset[int] = frozenset()
    mode_bits: int = 0
    decode: Callable[[bytes, int], Instruction] | None = None
    calls: Callable[[bytes, set[int], Marks], Calls] | None = None
    measure: Callable[[bytes, Marks], Measured] | None = None
