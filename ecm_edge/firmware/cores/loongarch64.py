"""LoongArch, 64 bits: instructions by their encodings (Reference Manual, volume 1), and calls."""

# ruff: noqa: PLR2004 - encodings are literals, as the manual prints them

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ecm_edge.firmware.cores.core import Calls, Core, Instruction, Marks

if TYPE_CHECKING:
    from ecm_edge.targets.firmware import Kind

_FPR, _FCC = 32, 64  # numbers of the first floating-point and of the first condition register
_ZERO = 0
_CALLS = frozenset({64, 65, 66, 110})  # B16, B21, B26, CALL36


def _decode(content: bytes, offset: int) -> Instruction:
    return loongarch(int.from_bytes(content[offset : offset + 4], "little"))


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


def _calls(content: bytes, direct: set[int], _marks: Marks) -> Calls:
    return Calls((), any(_is_indirect(content, at, direct) for at in range(0, len(content), 4)))


def _is_indirect(content: bytes, at: int, direct: set[int]) -> bool:
    """A jirl that is neither a return (to ra, 1) nor the second half of a call that a relocation made."""
    word = int.from_bytes(content[at : at + 4], "little")
    returns = word & 31 == 0 and word >> 5 & 31 == 1
    return word >> 26 == 0x13 and not returns and at - 4 not in direct  # jirl


CORE = Core("loongarch64", "LoongArch", _CALLS, decode=_decode, calls=_calls)
