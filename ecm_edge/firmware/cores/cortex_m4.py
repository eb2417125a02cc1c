"""Cortex-M4, Thumb-2: instructions by their encodings (ARMv7-M Architecture Reference Manual), calls, and frames."""

# ruff: noqa: PLR2004 - encodings are literals, as the manual prints them

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ecm_edge.firmware.cores.core import Calls, Core, Instruction, Marks, Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ecm_edge.targets.firmware import Kind

_CALLS = frozenset({10, 30, 51, 102, 103})  # THM_CALL, THM_JUMP24, THM_JUMP19, THM_JUMP11, THM_JUMP8
_THUMB = 1
_WIDE = 0xE800  # A5.1: halfwords from this one on begin instructions of 32 bits


def _decode(content: bytes, offset: int) -> Instruction:
    first = int.from_bytes(content[offset : offset + 2], "little")
    if first < _WIDE:
        return thumb16(first)
    return thumb32(first, int.from_bytes(content[offset + 2 : offset + 4], "little"))


@functools.lru_cache(maxsize=1 << 16)
def thumb16(half: int) -> Instruction:  # noqa: PLR0911 - the same
    """A 16-bit Thumb instruction (ARMv7-M A5.2).

    >>> thumb16(0x4770).kind  # bx lr
    'branch'
    """
    top = half >> 12
    if half >> 6 == 0x10D:
        return Instruction("multiply", 2)
    if half >> 8 == 0x47 or (half >> 8 in {0x44, 0x46} and half & 0x87 == 0x87):
        return Instruction("branch", 2)
    if half >> 11 == 0x09:
        return Instruction("load", 2)
    if top == 0x5:
        return Instruction("load" if half >> 9 & 7 >= 3 else "store", 2)
    if top in {0x6, 0x7, 0x8, 0x9}:
        return Instruction("load" if half & 0x800 else "store", 2)
    if half >> 9 == 0x5A or half >> 9 == 0x5E:
        return Instruction("load" if half & 0x800 else "store", 2, max(1, (half & 0x1FF).bit_count()))
    if top == 0xC:
        return Instruction("load" if half & 0x800 else "store", 2, max(1, (half & 0xFF).bit_count()))
    compares = half >> 8 in {0xB1, 0xB3, 0xB9, 0xBB}
    return Instruction("branch" if compares or (top == 0xD and half >> 9 != 0x6F) or top == 0xE else "other", 2)


@functools.lru_cache(maxsize=1 << 16)
def thumb32(first: int, second: int) -> Instruction:  # noqa: PLR0911 - the same
    """A 32-bit Thumb instruction (ARMv7-M A5.3, A6.4).

    >>> thumb32(0xEEA0, 0x0A01).kind  # vfma.f32 s0, s0, s2
    'fused'
    """
    if first >> 8 in {0xEC, 0xED, 0xEE, 0xFC, 0xFD, 0xFE}:
        return _coprocessor(first, second)
    way: Kind = "load" if first & 0x10 else "store"
    if first & 0xFE40 == 0xE800:
        return Instruction(way, 4, max(1, second.bit_count()))
    if first & 0xFE40 == 0xE840:
        if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:  # tbb, tbh
            return Instruction("branch", 4)
        return Instruction(way, 4, 2 if first & 0x120 else 1)  # dual, or exclusive
    if first & 0xF800 == 0xF000 and second & 0x8000:
        control = not second & 0x5000 and first & 0x380 == 0x380
        return Instruction("other" if control else "branch", 4)
    if first & 0xFE00 == 0xF800:
        return Instruction(way, 4)
    if first & 0xFF00 == 0xFB00:
        return Instruction("divide" if first & 0x0FF0 in {0xB90, 0xBB0} else "multiply", 4)
    return Instruction("other", 4)


def _coprocessor(first: int, second: int) -> Instruction:
    """Floating point (A6.4): memory, data processing, and moves between the register files."""
    if first >> 8 in {0xEC, 0xED}:
        if first & 0xFFE0 == 0xEC40:
            return Instruction("float", 4)
        single = first & 0xFF20 == 0xED00
        words = (2 if second & 0x100 else 1) if single else max(1, second & 0xFF)
        return Instruction("load" if first & 0x10 else "store", 4, words)
    if second & 0x10:
        return Instruction("float", 4)
    operation = first >> 4 & 0xB
    root = operation == 0xB and first & 0xF == 1 and second >> 6 & 3 == 3
    if operation == 0x8 or root:
        return Instruction("divide", 4)
    return Instruction("fused" if operation in {0x0, 0x1, 0x9, 0xA} else "float", 4)


def _calls(content: bytes, direct: set[int], marks: Marks) -> Calls:
    steps = list(_steps(content, marks))
    return Calls(tuple(_near_calls(steps, direct)), any(_is_indirect(first) for _, first, _ in steps))


def _measure(content: bytes, marks: Marks) -> Measured:
    steps = list(_steps(content, marks))
    indirect = any(_is_indirect(first) for _, first, _ in steps)
    return Measured(_pushed(steps), tuple(_leaves(steps, len(content))), indirect)


def _steps(content: bytes, marks: Marks) -> Iterator[tuple[int, int, int]]:
    """(offset, first halfword, second or 0) of each Thumb instruction, data between them left out."""
    at = 0
    while at + 1 < len(content):
        if [data for offset, data in marks if offset <= at][-1:] == [True]:
            at += 2
            continue
        first = int.from_bytes(content[at : at + 2], "little")
        wide = first >= _WIDE
        yield at, first, int.from_bytes(content[at + 2 : at + 4], "little") if wide else 0
        at += 4 if wide else 2


def _is_indirect(first: int) -> bool:
    """A blx through a register, or a bx through another one than lr."""
    return first & 0xFF87 == 0x4780 or (first & 0xFF87 == 0x4700 and first >> 3 & 0xF != 14)  # lr


def _near_calls(steps: Sequence[tuple[int, int, int]], direct: set[int]) -> Iterator[int]:
    """Where calls (BL, ARMv7-M A7.7.18) go for which the assembler left no relocation, being within their section."""
    for at, first, second in steps:
        if first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000 and at not in direct:  # BL
            sign = first >> 10 & 1
            high, low = (1 ^ (second >> bit & 1) ^ sign for bit in (13, 11))
            offset = high << 23 | low << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
            yield at + 4 + offset - (sign << 24)


def _leaves(steps: Sequence[tuple[int, int, int]], size: int) -> Iterator[int]:
    """Where a function of so many bytes calls or jumps to outside of itself, by offset (ARMv7-M A7.7.12, A7.7.18)."""
    yield from _near_calls(steps, set())
    for at, first, second in steps:
        offset = _branch(first, second)
        if offset is not None and not 0 <= at + 4 + offset < size:
            yield at + 4 + offset


def _branch(first: int, second: int) -> int | None:
    """How far a B goes, from 4 behind itself; None for any other instruction."""
    form, condition = first & 0xF800, first >> 8 & 0xF
    if form == 0xF000 and second & 0xD000 == 0x9000:  # T4
        sign = first >> 10 & 1
        high, low = (1 ^ (second >> bit & 1) ^ sign for bit in (13, 11))
        return (high << 23 | low << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1) - (sign << 24)
    if form == 0xF000 and second & 0xD000 == 0x8000 and first >> 7 & 7 != 7:  # T3; 7 is no branch
        high, low, sign = second >> 11 & 1, second >> 13 & 1, first >> 10 & 1
        return (high << 19 | low << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1) - (sign << 20)
    if form == 0xE000:  # T2
        return (first & 0x7FF) * 2 - (0x1000 if first & 0x400 else 0)
    if first >> 12 == 0xD and condition < 14:  # T1; 14 and 15 are no branches
        return (first & 0xFF) * 2 - (0x200 if first & 0x80 else 0)
    return None


def _pushed(steps: Sequence[tuple[int, int, int]]) -> int | None:
    """The most by which Thumb code moves its stack pointer down, were each step run once; None where that is unknown.

    Compilers move it where a function, or a part of one, begins; so no loop moves it again and again.
    """
    moved = [moves_down(first, second) for _, first, second in steps]
    return None if None in moved else sum(each or 0 for each in moved)


def _constant(first: int, second: int) -> int:
    """The twelve bits of a constant: i, imm3 and imm8."""
    return (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF


_MOVES: list[tuple[int, int, int, int, Callable[[int, int], int | None]]] = [
    (0xFE00, 0xB400, 0, 0, lambda first, _: 4 * (first & 0x1FF).bit_count()),  # PUSH
    (0xFF80, 0xB080, 0, 0, lambda first, _: 4 * (first & 0x7F)),  # SUB SP, SP, #
    (0xFFFF, 0xE92D, 0, 0, lambda _, second: 4 * second.bit_count()),  # PUSH.W
    (0xFFFF, 0xF84D, 0x0F00, 0x0D00, lambda _, second: second & 0xFF),  # STR r, [SP, #-]!
    (0xFFFF, 0xE96D, 0, 0, lambda _, second: 4 * (second & 0xFF)),  # STRD r, r, [SP, #-]!
    (0xFFBF, 0xED2D, 0, 0, lambda _, second: 4 * (second & 0xFF)),  # VPUSH
    (0xFBFF, 0xF2AD, 0x8F00, 0x0D00, _constant),  # SUBW SP, SP, #
    (0xFBEF, 0xF1AD, 0x8F00, 0x0D00, lambda first, second: _expanded(_constant(first, second))),  # SUB.W SP, SP, #
    (0xFBEF, 0xF10D, 0x8F00, 0x0D00, lambda _first, _second: 0),  # ADD.W SP, SP, #: upwards
    (0xFBFF, 0xF20D, 0x8F00, 0x0D00, lambda _first, _second: 0),  # ADDW
    (0xFF87, 0x4485, 0, 0, lambda _first, _second: None),  # ADD SP, r
    (0xFF87, 0x4685, 0, 0, lambda _first, _second: None),  # MOV SP, r
    (0xFE00, 0xEA00, 0x0F00, 0x0D00, lambda _first, _second: None),  # SP from other registers
    (0xF800, 0xF000, 0x8F00, 0x0D00, lambda _first, _second: None),  # SP from another register and a constant
    (0xFF70, 0xF850, 0xF000, 0xD000, lambda _first, _second: None),  # LDR SP, […]
]
"""Instructions that change the stack pointer (ARMv7-M A7.7): mask and value of both halfwords, and how far down."""


def moves_down(first: int, second: int) -> int | None:
    """Bytes by which an instruction moves the stack pointer down; None for an unknown change."""
    for first_mask, first_value, second_mask, second_value, down in _MOVES:
        if first & first_mask == first_value and second & second_mask == second_value:
            return down(first, second)
    return 0


def _expanded(coded: int) -> int:
    """A constant as Thumb codes it in 12 bits (ARMv7-M A5.3.2)."""
    low = coded & 0xFF
    if coded >> 10 == 0:
        return [low, low << 16 | low, low << 24 | low << 8, low * 0x01010101][coded >> 8]
    return (0x80 | coded & 0x7F) << (32 - (coded >> 7))


CORE = Core("armv7e-m", "ARM", _CALLS, _THUMB, _decode, _calls, _measure)
