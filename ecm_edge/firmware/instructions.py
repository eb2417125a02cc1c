"""What single instructions are: LoongArch's and Thumb-2's, by their encodings.

Only what counting and the model of the core need: the class, how many words move, and for LoongArch the registers.
"""

# ruff: noqa: PLR2004 - encodings are literals, as the manuals print them

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.errors import FirmwareError

if TYPE_CHECKING:
    from ecm_edge.targets.firmware import Kind

_FPR, _FCC = 32, 64  # numbers of the first floating-point and of the first condition register
_ZERO = 0


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


def decode(machine: str, content: bytes, offset: int) -> Instruction:
    """The instruction at `offset` of a section's content.

    Args:
        machine: "LoongArch" or "ARM", as `elf.machine` says.
        content: of the section.
        offset: of the instruction, in bytes.

    Raises:
        FirmwareError: another machine.
    """
    if machine == "LoongArch":
        return loongarch(int.from_bytes(content[offset : offset + 4], "little"))
    if machine == "ARM":
        first = int.from_bytes(content[offset : offset + 2], "little")
        if first < 0xE800:  # ARMv7-M A5.1: larger first halfwords begin 32-bit instructions
            return thumb16(first)
        return thumb32(first, int.from_bytes(content[offset + 2 : offset + 4], "little"))
    raise FirmwareError(
        "instructions are told apart on LoongArch and Cortex-M", machine, "Count on a target with such a core."
    )


@functools.lru_cache(maxsize=1 << 16)
def loongarch(word: int) -> Instruction:  # noqa: C901, PLR0911 - a decoder is one case after the other
    """An instruction of LoongArch (Reference Manual, volume 1, appendix B).

    >>> loongarch(0x08108420).kind  # fmadd.s fa0, fa1, fa1, fa1
    'fused'
    """
    d, j, k, a = word & 31, word >> 5 & 31, word >> 10 & 31, word >> 15 & 31
    op6, op7, op10, op12, op17 = word >> 26, word >> 25, word >> 22, word >> 20, word >> 15
    if 0x10 <= op6 <= 0x1B:
        return _branch(op6, d, j)
    if 0x0A0 <= op10 <= 0x0AF or 0x20 <= word >> 24 <= 0x27:
        return _memory(op10, d, j)
    if 0x7000 <= op17 <= 0x7078:
        return _indexed(op17, d, j, k)
    if 0x081 <= op12 <= 0x08E:
        return _made("fused", {_FPR + j, _FPR + k, _FPR + a}, {_FPR + d})
    if op12 in {0x0C1, 0x0C2}:
        return _made("float", {_FPR + j, _FPR + k}, {_FCC + (d & 7)})
    if op12 == 0x0D0:
        return _made("float", {_FPR + j, _FPR + k, _FCC + (a & 7)}, {_FPR + d})
    if op10 == 0x004:
        return _floating(op17, d, j, k)
    if 0x38 <= op17 <= 0x47:
        return _made("multiply" if op17 < 0x40 else "divide", {j, k}, {d})
    if 0x0A <= op7 <= 0x0F:
        return _made("other", {d} if op7 == 0x0B else set(), {d})
    if 0x008 <= op10 <= 0x00F or op6 == 0x04 or op10 in {0x001, 0x002, 0x003}:
        inserts = op10 == 0x002 or (op10 == 0x001 and word >> 21 & 1 and not word >> 15 & 1)
        return _made("other", {j, d} if inserts else {j}, {d})
    return _made("other", {j, k}, {d})


def _branch(op6: int, d: int, j: int) -> Instruction:
    if op6 == 0x13:  # jirl
        return _made("branch", {j}, {d})
    if op6 in {0x14, 0x15}:  # b, bl
        return _made("branch", set(), {1} if op6 == 0x15 else set())
    if op6 == 0x12:  # bceqz, bcnez
        return _made("branch", {_FCC + (j & 7)}, set())
    return _made("branch", {j} if op6 < 0x12 else {j, d}, set())


def _memory(op10: int, d: int, j: int) -> Instruction:
    if op10 < 0x0A0:  # ll, sc, ldptr, stptr
        store = op10 >> 2 & 1
        return _made("store" if store else "load", {j, d} if store else {j}, set() if store else {d})
    bank = _FPR if op10 >= 0x0AC else 0
    if op10 in {0x0A4, 0x0A5, 0x0A6, 0x0A7, 0x0AD, 0x0AF}:
        return _made("store", {j, bank + d}, set())
    if op10 == 0x0AB:  # preld
        return _made("load", {j}, set())
    return _made("load", {j}, {bank + d})


def _indexed(op17: int, d: int, j: int, k: int) -> Instruction:
    bank = _FPR if op17 >= 0x7060 else 0
    if 0x7020 <= op17 <= 0x7038 or op17 >= 0x7070:
        return _made("store", {j, k, bank + d}, set())
    return _made("load", {j, k}, {bank + d})


def _floating(op17: int, d: int, j: int, k: int) -> Instruction:
    if op17 < 0x228:  # two operands
        return _made("divide" if op17 in {0x20D, 0x20E} else "float", {_FPR + j, _FPR + k}, {_FPR + d})
    if op17 == 0x228 and 0x11 <= k <= 0x1A:  # roots and reciprocals
        return _made("divide", {_FPR + j}, {_FPR + d})
    to_general = op17 == 0x229 and k in {0x0D, 0x0E, 0x0F, 0x12, 0x17}
    from_general = op17 == 0x229 and k in {0x09, 0x0A, 0x0B, 0x10, 0x16}
    if op17 == 0x229 and k in {0x14, 0x15, 0x16, 0x17}:  # to and from condition registers
        reads = {_FCC + (j & 7)} if k in {0x15, 0x17} else {j if k == 0x16 else _FPR + j}
        return _made("float", reads, {d if k == 0x17 else _FPR + d if k == 0x15 else _FCC + (d & 7)})
    return _made("float", {j if from_general else _FPR + j}, {d if to_general else _FPR + d})


def _made(kind: Kind, reads: set[int], writes: set[int]) -> Instruction:
    return Instruction(kind, 4, 1, frozenset(reads - {_ZERO}), frozenset(writes - {_ZERO}))


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
