"""Stack: the most that an image can need, from its call graph and the frame of each function.

Frames are the compiler's own figures: clang's -fstack-size-section, or the .su files of -fstack-usage. Calls are the
relocations of the objects, every function lying in a section of its own. What the compiler's own library adds (soft
double on a Cortex-M4) comes without either: there the instructions are read. Recursion, a call through a pointer or a
function without a frame's size leaves no bound, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.base.errors import InternalError
from ecm_edge.base.records import Gate, Record, at_most, not_run
from ecm_edge.firmware import elf as elf_files
from ecm_edge.firmware.emulate import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.cores.core import Calls, Marks, Measured


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
    """A function of the objects: its frame in bytes, what it calls, and whether it calls through a pointer."""

    name: str
    frame: int | None = None
    calls: list[str] = field(default_factory=list)
    indirect: bool = False


def bound(image: Image) -> StackBound | Unavailable:
    """The stack bound of an image, from its objects; or why this machine's code cannot be read."""
    elf = elf_files.open_elf(image.elf)
    core = elf_files.core(elf)
    if core.calls is None:
        return Unavailable(f"calls can be read on LoongArch and Cortex-M, not on {elf_files.machine(elf)}")
    graph = _graph(image.objects)
    if core.measure is not None:
        _add_library(graph, image, elf, core.measure)
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


def gates(needed: StackBound | Unavailable, high_water_bytes: int | None, limit_bytes: int) -> list[Gate]:
    """The bound within what the board has for its stack, and the emulated high-water mark within the bound."""
    if isinstance(needed, Unavailable):
        return [not_run(name, needed.reason) for name in ("stack_bound", "stack_high_water")]
    value = float("nan") if needed.program_bytes is None else needed.program_bytes
    detail = "; ".join(needed.problems) or " → ".join(needed.deepest)
    held = at_most("stack_bound", value, limit_bytes, "B", detail)
    if high_water_bytes is None or needed.program_bytes is None:
        return [held, not_run("stack_high_water", "no emulated run, or no bound to hold it against")]
    return [held, at_most("stack_high_water", high_water_bytes, needed.program_bytes, "B")]


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


def _add_library(
    graph: dict[str, _Function], image: Image, elf: ELFFile, measure: Callable[[bytes, Marks], Measured]
) -> None:
    """Add what the functions of the objects call and is in the linked image only, with all that it calls itself."""
    functions = [s for s in image.symbols if s.kind == "function" and s.section and s.size]
    by_name, by_address = {s.name: s for s in functions}, {s.address: s for s in functions}
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
        measured = measure(code, near)
        jumps = [symbol.address + at for at in measured.leaves]
        calls = [by_address[at].name if at in by_address else f"{at:#x}" for at in jumps]
        graph[name] = _Function(name, measured.frame, calls, measured.indirect)
        wanted += calls


class _Object:
    """One object file."""

    def __init__(self, path: Path, elf: ELFFile, shared: set[str]) -> None:
        symbols = elf_files.symbols(elf)
        self._core = elf_files.core(elf)
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
                if r.within == section and r.offset in inside and r.kind in self._core.call_relocations
            ]
            code = self._elf.get_section(section).data()[start : start + symbol.size]
            direct = {r.offset - start for r in calls}
            called = [name for r in calls if (name := self._called(r))]
            scan = self._scan(code, direct, self._data_marks(section, start))
            near = [start + at for at in scan.near]
            called += [self._named(s.name) for (i, a), s in self._functions.items() if i == section and a in near]
            yield _Function(self._named(symbol.name), frames.get(symbol.name), called, scan.indirect)

    def _scan(self, code: bytes, direct: set[int], marks: Marks) -> Calls:
        if self._core.calls is None:
            raise InternalError(f"calls cannot be read on {self._core.architecture}")
        return self._core.calls(code, direct, marks)

    def _named(self, name: str) -> str:
        return self._own.get(name, name)

    def _called(self, relocation: elf_files.Relocation) -> str:
        """The function that a call goes to, by its name, or by the section that it lies in."""
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
        """Mapping symbols, which Thumb has: from which offset of the function on there is data (True) or code."""
        marks = [s for s in self._marks if s.section_index == section]
        return sorted((s.address - start, s.name.startswith("$d")) for s in marks)


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
    """The function from which `name` is reached and which no other calls: the program's entry."""
    seen = {name}
    while True:
        caller = next((f.name for f in graph.values() if name in f.calls and f.name not in seen), None)
        if caller is None:
            return name
        seen.add(caller)
        name = caller


def _problems(graph: dict[str, _Function], root: str) -> list[str]:
    """What keeps the stack below `root` from being bounded."""
    problems: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            problems.append("recursion: " + " → ".join([*path[path.index(name) :], name]))
            return
        if name in done:
            return
        done.add(name)
        function = graph.get(name)
        if function is None or (function.frame is None and path):
            problems.append(f"unknown frame of {name}")
            return
        if function.indirect:
            problems.append(f"call through a pointer in {name}")
        for called in dict.fromkeys(function.calls):
            visit(called, (*path, name))

    visit(root, ())
    return problems


def _deepest(graph: dict[str, _Function], root: str) -> tuple[int, list[str]]:
    """Bytes and functions of the deepest path from `root`; an entry without a size is assembly that uses none."""
    depths: dict[str, tuple[int, list[str]]] = {}

    def depth(name: str) -> tuple[int, list[str]]:
        if name not in depths:
            function = graph[name]
            below, path = max((depth(c) for c in function.calls), key=lambda d: d[0], default=(0, []))
            depths[name] = ((function.frame or 0) + below, [name, *path])
        return depths[name]

    return depth(root)
