"""Stack: the most that an image can need, from its call graph and the frame of each function.

Frames are the compiler's own figures: clang's -fstack-size-section, or the .su files of -fstack-usage. Calls are the
relocations of the objects, every function lying in a section of its own. What the compiler's own library adds (soft
double on a Cortex-M4) comes without either: there the instructions are read. Recursion, a call through a pointer or a
function without a frame's size leaves no bound, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, Record, at_most, not_run
from ecm_edge.firmware import elf as elf_files
from ecm_edge.firmware.emulate import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

    from ecm_edge.firmware.build import Image

_CALLS = {
    "LoongArch": {64, 65, 66, 110},  # B16, B21, B26, CALL36
    "ARM": {10, 30, 51, 102, 103},  # THM_CALL, THM_JUMP24, THM_JUMP19, THM_JUMP11, THM_JUMP8
}


class StackBound(Record):
    """The most stack that is needed.

    inference_bytes: by the model's function and all below it; None if there is no bound.
    program_bytes:   by the whole program, from its entry on; None if there is no bound.
    deepest:         the functions on the program's deepest path, or the model's where the program has no bound.
    problems:        why there is no bound: recursion, calls through pointers, functions of unknown frames.
    """

    inference_bytes: int | None
    program_bytes: int | None
    deepest: list[str]
    problems: list[str]


@dataclass
class _Function:
    """A function of the objects: its frame in bytes, whom it calls, and whether through a pointer."""

    name: str
    frame: int | None = None
    calls: list[str] = field(default_factory=list)
    indirect: bool = False


def bound(image: Image) -> StackBound | Unavailable:
    """The stack bound of an image, from its objects; or why this machine's code cannot be read."""
    machine = elf_files.machine(elf_files.open_elf(image.elf))
    if machine not in _CALLS:
        return Unavailable(f"calls are told apart on LoongArch and Cortex-M, not on {machine}")
    graph = _graph(image.objects)
    if machine == "ARM":
        _add_library(graph, image)
    run = f"{image.model.name}_run"
    root = _root(graph, "main")
    problems = list(dict.fromkeys([*_problems(graph, run), *_problems(graph, root)]))
    inference = None if _problems(graph, run) else _deepest(graph, run)
    program = None if _problems(graph, root) else _deepest(graph, root)
    return StackBound(
        inference_bytes=inference and inference[0],
        program_bytes=program and program[0],
        deepest=(program or inference or (0, []))[1],
        problems=problems,
    )


def gates(found: StackBound | Unavailable, high_water_bytes: int | None, limit_bytes: int) -> list[Gate]:
    """The bound within what the board has for its stack, and the emulated high-water mark within the bound."""
    if isinstance(found, Unavailable):
        return [not_run(name, found.reason) for name in ("stack_bound", "stack_high_water")]
    value = float("nan") if found.program_bytes is None else found.program_bytes
    detail = "; ".join(found.problems) or " → ".join(found.deepest)
    held = at_most("stack_bound", value, limit_bytes, "B", detail)
    if high_water_bytes is None or found.program_bytes is None:
        return [held, not_run("stack_high_water", "no emulated run, or no bound to hold it against")]
    return [held, at_most("stack_high_water", high_water_bytes, found.program_bytes, "B")]


def _graph(objects: Sequence[Path]) -> dict[str, _Function]:
    """Every function of the objects; a name that several objects have for their own carries its object's."""
    loaded = [(path, elf_files.open_elf(path)) for path in objects]
    names = [[s.name for s in elf_files.symbols(elf) if s.kind == "function" and s.section] for _, elf in loaded]
    shared = {name for own in names for name in own if sum(name in other for other in names) > 1}
    graph: dict[str, _Function] = {}
    for path, elf in loaded:
        for function in _Object(path, elf, shared).functions():
            graph[function.name] = function
    return graph


def _add_library(graph: dict[str, _Function], image: Image) -> None:
    """Add what the functions of the objects call and is in the linked image only, with all that it calls itself."""
    elf = elf_files.open_elf(image.elf)
    found = [s for s in image.symbols if s.kind == "function" and s.section and s.size]
    by_name, by_address = {s.name: s for s in found}, {s.address: s for s in found}
    marks = [s for s in image.symbols if s.name[:2] in {"$d", "$t"}]
    wanted = [name for function in list(graph.values()) for name in function.calls]
    while wanted:
        name = wanted.pop()
        symbol = by_name.get(name)
        if name in graph or symbol is None:
            continue
        section = elf.get_section(symbol.section_index)
        code = section.data()[symbol.address - section["sh_addr"] :][: symbol.size]
        near = sorted((s.address - symbol.address, s.name.startswith("$d")) for s in marks)
        steps = list(_thumb_steps(code, near))
        jumps = [symbol.address + at for at in _leaves(steps, symbol.size)]
        calls = [by_address[at].name if at in by_address else f"{at:#x}" for at in jumps]
        indirect = any(_thumb_indirect(first) for _, first, _ in steps)
        graph[name] = _Function(name, _pushed(steps), calls, indirect)
        wanted += calls


class _Object:
    """One object file."""

    def __init__(self, path: Path, elf: ELFFile, shared: set[str]) -> None:
        symbols = elf_files.symbols(elf)
        self._machine = elf_files.machine(elf)
        self._elf = elf
        self._stack_usage = path.with_suffix(".su")
        self._relocations = elf_files.relocations(elf)
        self._functions = {(s.section_index, s.address): s for s in symbols if s.kind == "function" and s.section}
        self._own = {s.name: f"{s.name} ({path.stem})" for s in self._functions.values() if s.name in shared}
        self._marks = [s for s in symbols if s.name[:2] in {"$d", "$t"}]

    def functions(self) -> Iterator[_Function]:
        """The functions with their frames and calls."""
        frames = self._frames()
        for (section, start), symbol in self._functions.items():
            inside = range(start, start + symbol.size)
            calls = [
                r
                for r in self._relocations
                if r.within == section and r.offset in inside and r.kind in _CALLS[self._machine]
            ]
            code = self._elf.get_section(section).data()[start : start + symbol.size]
            direct = {r.offset - start for r in calls}
            called = [name for r in calls if (name := self._called(r))]
            if self._machine == "ARM":
                steps = list(_thumb_steps(code, self._data_marks(section, start)))
                near = [start + at for at in _near_calls(steps, direct)]
                called += [self._named(s.name) for (i, a), s in self._functions.items() if i == section and a in near]
                indirect = any(_thumb_indirect(first) for _, first, _ in steps)
            else:
                indirect = any(_loongarch_indirect(code, at, direct) for at in range(0, len(code), 4))
            yield _Function(self._named(symbol.name), frames.get(symbol.name), called, indirect)

    def _named(self, name: str) -> str:
        return self._own.get(name, name)

    def _called(self, relocation: elf_files.Relocation) -> str:
        """Whom a call means: by name, or the function in the section that is meant."""
        if relocation.name:
            return self._named(relocation.name)
        inside = [s.name for (index, _), s in self._functions.items() if index == relocation.section_index]
        return self._named(inside[0]) if len(inside) == 1 else ""

    def _frames(self) -> dict[str, int]:
        frames: dict[str, int] = {}
        for index, section in enumerate(self._elf.iter_sections()):
            if section.name == ".stack_sizes":
                frames |= self._clang_frames(index, section.data())
        if self._stack_usage.exists():
            frames |= _gcc_frames(self._stack_usage.read_text(encoding="utf-8"))
        return frames

    def _clang_frames(self, index: int, content: bytes) -> dict[str, int]:
        """A .stack_sizes section: an address that a relocation gives, and the frame as ULEB128, again and again."""
        meant = {r.offset: (r.section_index, r.value) for r in self._relocations if r.within == index}
        frames, at = {}, 0
        while at < len(content):
            function = self._functions.get(meant.get(at, (0, 0)))
            size, at = _uleb128(content, at + self._elf.elfclass // 8)
            if function is not None:
                frames[function.name] = size
        return frames

    def _data_marks(self, section: int, start: int) -> list[tuple[int, bool]]:
        """Thumb's mapping symbols: from which offset of the function on there is data (True) or code."""
        marks = [s for s in self._marks if s.section_index == section]
        return sorted((s.address - start, s.name.startswith("$d")) for s in marks)


def _thumb_steps(content: bytes, marks: list[tuple[int, bool]]) -> Iterator[tuple[int, int, int]]:
    """(offset, first halfword, second or 0) of each Thumb instruction, data between them left out."""
    at = 0
    while at + 1 < len(content):
        if [data for offset, data in marks if offset <= at][-1:] == [True]:
            at += 2
            continue
        first = int.from_bytes(content[at : at + 2], "little")
        wide = first >= 0xE800  # noqa: PLR2004 - ARMv7-M A5.1
        yield at, first, int.from_bytes(content[at + 2 : at + 4], "little") if wide else 0
        at += 4 if wide else 2


def _thumb_indirect(first: int) -> bool:
    """A blx through a register, or a bx through another one than lr."""
    return first & 0xFF87 == 0x4780 or (first & 0xFF87 == 0x4700 and first >> 3 & 0xF != 14)  # noqa: PLR2004 - lr


def _near_calls(steps: Sequence[tuple[int, int, int]], direct: set[int]) -> Iterator[int]:
    """Where calls (BL, ARMv7-M A7.7.18) go for which the assembler left no relocation, being within their section."""
    for at, first, second in steps:
        if first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000 and at not in direct:  # noqa: PLR2004 - BL
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
    if form == 0xF000 and second & 0xD000 == 0x9000:  # noqa: PLR2004 - T4
        sign = first >> 10 & 1
        high, low = (1 ^ (second >> bit & 1) ^ sign for bit in (13, 11))
        return (high << 23 | low << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1) - (sign << 24)
    if form == 0xF000 and second & 0xD000 == 0x8000 and first >> 7 & 7 != 7:  # noqa: PLR2004 - T3; 7 is no branch
        high, low, sign = second >> 11 & 1, second >> 13 & 1, first >> 10 & 1
        return (high << 19 | low << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1) - (sign << 20)
    if form == 0xE000:  # noqa: PLR2004 - T2
        return (first & 0x7FF) * 2 - (0x1000 if first & 0x400 else 0)
    if first >> 12 == 0xD and condition < 14:  # noqa: PLR2004 - T1; 14 and 15 are no branches
        return (first & 0xFF) * 2 - (0x200 if first & 0x80 else 0)
    return None


def _pushed(steps: Sequence[tuple[int, int, int]]) -> int | None:
    """The most by which Thumb code moves its stack pointer down, were each step run once; None where that is unknown.

    Compilers move it where a function, or a part of one, begins; so no loop moves it again and again.
    """
    moved = [_moves_down(first, second) for _, first, second in steps]
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


def _moves_down(first: int, second: int) -> int | None:
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


def _loongarch_indirect(content: bytes, at: int, direct: set[int]) -> bool:
    """A jirl that is neither a return (to ra, 1) nor the second half of a call that a relocation made."""
    word = int.from_bytes(content[at : at + 4], "little")
    returns = word & 31 == 0 and word >> 5 & 31 == 1
    return word >> 26 == 0x13 and not returns and at - 4 not in direct  # noqa: PLR2004 - jirl


def _gcc_frames(text: str) -> dict[str, int]:
    """Frames of a .su file: "place:line:column:function<tab>bytes<tab>static"; a dynamic one without limit has none."""
    frames = {}
    for line in text.splitlines():
        place, size, kind = line.split("\t")
        if kind == "static" or "bounded" in kind:
            frames[place.rsplit(":", 1)[1]] = int(size)
    return frames


def _uleb128(content: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of the number
            return value, at


def _root(graph: dict[str, _Function], name: str) -> str:
    """The function from which `name` is reached and which nobody calls: the program's entry."""
    seen = {name}
    while True:
        caller = next((f.name for f in graph.values() if name in f.calls and f.name not in seen), None)
        if caller is None:
            return name
        seen.add(caller)
        name = caller


def _problems(graph: dict[str, _Function], root: str) -> list[str]:
    """What keeps the stack below `root` from being bounded."""
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append("recursion: " + " → ".join([*path[path.index(name) :], name]))
            return
        if name in done:
            return
        done.add(name)
        function = graph.get(name)
        if function is None or (function.frame is None and path):
            found.append(f"unknown frame of {name}")
            return
        if function.indirect:
            found.append(f"call through a pointer in {name}")
        for called in dict.fromkeys(function.calls):
            visit(called, (*path, name))

    visit(root, ())
    return found


def _deepest(graph: dict[str, _Function], root: str) -> tuple[int, list[str]]:
    """Bytes and functions of the deepest path from `root`; an entry without a size is assembly that uses none."""
    known: dict[str, tuple[int, list[str]]] = {}

    def depth(name: str) -> tuple[int, list[str]]:
        if name not in known:
            function = graph[name]
            below, path = max((depth(c) for c in function.calls), key=lambda d: d[0], default=(0, []))
            known[name] = ((function.frame or 0) + below, [name, *path])
        return known[name]

    return depth(root)
