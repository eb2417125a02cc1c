"""Stack: the most that an image can need, from its call graph and the frame of each function.

Frames are the compiler's own figures: clang's -fstack-size-section, or the .su files of -fstack-usage. Calls are the
relocations of the objects, every function lying in a section of its own. Recursion, a call through a pointer or a
function without a frame's size leaves no bound, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.firmware import elf as elf_files
from ecm_edge.firmware.emulate import Unavailable
from ecm_edge.records import Gate, Record, at_most, not_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
