"""From a generated folder to an image: compile, link, and strip a copy of it to what is shipped.

The same inputs give the same bytes. Objects stay beside the image, since the stack bound is worked out from them.
"""

from __future__ import annotations

import functools
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.base.threads import usable_cores
from ecm_edge.firmware import elf as elf_files
from ecm_edge.firmware import linker, objects, toolchain
from ecm_edge.targets import commands
from ecm_edge.targets import firmware as fw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.targets import Target
    from ecm_edge.targets.firmware import Firmware

Program = Literal["batch", "serial"]
_PROGRAM_SOURCES: dict[Program, list[str]] = {
    "batch": ["programs/batch.c"],
    "serial": ["programs/serial.c", "programs/ecm_protocol.c"],
}
_FLAGS = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-g0",
    "-ffp-contract=off",  # answers are the same to the bit
    "-fno-math-errno",  # or fmaf is a call on the Cortex-M4
    "-fomit-frame-pointer",
    "-fno-jump-tables",  # an indirect jump would hide who calls whom
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-stack-protector",
    "-ffunction-sections",
    "-fdata-sections",
]
_LINK_FLAGS = ["-Wl,--gc-sections", "-Wl,--build-id=none"]
_DEFINE = re.compile(r"^\s*#\s*define\s+ECM_MODEL_(\w+)\s+(\w+)", re.MULTILINE)
_OVERFLOW = re.compile(r"will not fit in region '(\w+)': overflowed by (\d+) bytes")
_GNU_OVERFLOW = re.compile(r"region [`'](\w+)' overflowed by (\d+) bytes")
_RUNTIME = re.compile(r"undefined symbol: __\w+")
_LENGTH = re.compile(r"\bLENGTH\s*=\s*[^,}\n]+")


@dataclass(frozen=True)
class ModelHeader:
    """What `ecm_model.h` of a generated folder says: the prefix of its names, floats in and out, bytes of the arena."""

    folder: Path
    name: str
    samples: int
    scores: int
    arena_bytes: int


@dataclass(frozen=True)
class Image:
    """A linked program.

    elf:      with symbols, for analysis and for the emulator.
    shipped:  the file to ship: `elf` without symbols and section headers, or for bare metal the bytes of the flash.
    objects:  what was linked, with stack sizes and relocations.
    overflow: bytes by which a memory region is too small, by its name; an image with any cannot run.
    """

    target: Target
    model: ModelHeader
    program: Program
    emulated: bool
    trace: bool
    elf: Path
    shipped: Path
    objects: tuple[Path, ...]
    overflow: dict[str, int]

    @functools.cached_property
    def symbols(self) -> list[elf_files.Symbol]:
        """Every named symbol of `elf`."""
        return elf_files.symbols(elf_files.open_elf(self.elf))

    @functools.cached_property
    def layer_functions(self) -> list[elf_files.Symbol]:
        """The layers' functions, in order of execution."""
        pattern = re.compile(rf"{re.escape(self.model.name)}_layer_(\d+)_")
        by_index = {int(match[1]): s for s in self.symbols if s.kind == "function" and (match := pattern.match(s.name))}
        return [by_index[index] for index in sorted(by_index)]

    @property
    def layer_names(self) -> list[str]:
        """Their names, without what a compiler adds to that of a copy (".constprop.0")."""
        return [symbol.name.split(".")[0] for symbol in self.layer_functions]

    @property
    def layers(self) -> int:
        """How many layers run."""
        return len(self.layer_functions)

    @property
    def firmware(self) -> Firmware:
        """The target's `[firmware]`."""
        return firmware_of(self.target)


def firmware_of(target: Target) -> Firmware:
    """The target's `[firmware]`, to build or to run with it.

    Raises:
        TargetError: it has none.
        TrustError: it has commands of its own, from a file that is not trusted.
    """
    if target.firmware is None:
        raise TargetError(
            "firmware is built as the target's [firmware] says",
            f"none in {target.name}",
            "Add one; `ecm-edge targets --json` shows those of the shipped targets.",
        )
    commands.check(target.firmware)
    return target.firmware


def read_generated(folder: Path) -> ModelHeader:
    """What a generated folder's `ecm_model.h` says.

    Raises:
        FirmwareError: there is none, or it lacks a figure.
    """
    header = folder / "ecm_model.h"
    try:
        defines = dict(_DEFINE.findall(header.read_text(encoding="utf-8")))
        return ModelHeader(
            folder=folder,
            name=str(defines["RUN"]).removesuffix("_run"),
            samples=int(defines["SAMPLES"]),
            scores=int(defines["SCORES"]),
            arena_bytes=int(defines["ARENA_BYTES"]),
        )
    except (OSError, KeyError, ValueError) as problem:
        raise FirmwareError(
            "a generated folder has an ecm_model.h with the model's name and sizes",
            f"{problem} in {header}",
            "Generate it again.",
        ) from None


@dataclass(frozen=True)
class Recipe:
    """How a program is built around generated code.

    sources:       of the board and of the program.
    flags:         for every file, without the folders of headers.
    model_flags:   for the generated code besides; program_flags: for `sources` besides.
    link_flags:    for the linker, the script aside.
    linker_script: its name's path, and what stands in it for this board; None where an operating system loads programs.
    """

    sources: list[Path]
    flags: list[str]
    model_flags: list[str]
    program_flags: list[str]
    link_flags: list[str]
    linker_script: Path | None
    linker_text: str | None


def recipe(target: Target, program: Program, *, emulated: bool) -> Recipe:
    """The recipe of a program for a target, or for the emulator's board where that is not the target's own.

    Raises:
        TargetError: the target has no `[firmware]`, or names a file that is not there or does not fit the board.
    """
    firmware = firmware_of(target)
    script = _source(firmware.linker_script) if firmware.linker_script else None
    names = [*_port(firmware, program, emulated=emulated), *_PROGRAM_SOURCES[program]]
    return Recipe(
        sources=[_source(name) for name in names],
        flags=[*_FLAGS, *firmware.flags],
        model_flags=list(firmware.model_flags),
        program_flags=list(firmware.program_flags),
        link_flags=[*firmware.flags, *_LINK_FLAGS, *firmware.link_flags],
        linker_script=script,
        linker_text=linker.script_of(target, script) if script else None,
    )


def build(
    sources_folder: Path,
    target: Target,
    program: Program,
    out: Path,
    *,
    emulated: bool,
    trace: bool = False,
    extra_flags: Sequence[str] = (),
    extra_link_flags: Sequence[str] = (),
) -> Image:
    """Compile and link a program around generated code.

    Args:
        sources_folder: the generated C.
        target: with a `[firmware]` table.
        program: "batch" answers segments without frames; "serial" speaks the contest's protocol.
        out: folder for the image and its objects; made if missing, overwritten if not.
        emulated: for the emulator's board, where that is not the target's own.
        trace: the program also writes every layer's output.
        extra_flags: for the compiler and the linker, such as "-fsanitize=address".
        extra_link_flags: for the linker alone.

    Returns:
        the image, also where it does not fit the memory: then `overflow` says by how much, and it cannot run.

    Raises:
        FirmwareError: the folder is not generated code, or the compiler is missing or fails.
        TargetError: the target has no `[firmware]`, or names a file that is not there.
    """
    firmware, model = firmware_of(target), read_generated(sources_folder)
    trace_flags = ["-DECM_TRACE"] if trace else []
    used = recipe(target, program, emulated=emulated)
    flags = [*used.flags, *_includes(sources_folder), *trace_flags, *extra_flags]
    jobs = [(path, [*flags, *used.model_flags]) for path in _generated_sources(sources_folder)]
    jobs += [(path, [*flags, *used.program_flags]) for path in used.sources]
    words = [*used.link_flags, *extra_flags, *extra_link_flags]
    elf = out / f"{program}.elf"
    with _compiler(firmware, out) as compiler:
        linked = _compile(compiler, jobs, sources_folder, out / "objects")
        overflow = _link(compiler, used.linker_text, [*words, *map(str, linked)], elf)
    shipped = _ship(elf, out / (f"{program}.bin" if firmware.linker_script else program))
    return Image(target, model, program, emulated, trace, elf, shipped, linked, overflow)


@dataclass(frozen=True)
class _Compiler:
    """A compiler's command, which one it is, the variables that it needs, and whether it is zig's."""

    command: list[str]
    identity: str
    environment: dict[str, str]
    zig: bool

    def run(self, words: Sequence[str]) -> None:
        toolchain.run([*self.command, *words], environment=self.environment)


@contextmanager
def _compiler(firmware: Firmware, out: Path) -> Iterator[_Compiler]:
    """The target's compiler, working in `out`; what it caches is gone afterwards."""
    command, zig = toolchain.compiler(firmware.compiler), firmware.compiler == "zig"
    identity = objects.identity(command, toolchain.version(firmware.compiler))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".zig-") as cache:
            environment = toolchain.zig_environment(Path(cache)) if zig else {}
            yield _Compiler(command, identity, environment, zig)
    except OSError as problem:
        raise files.cannot_write(out, problem) from problem


def _port(firmware: Firmware, program: Program, *, emulated: bool) -> list[str]:
    if not emulated:
        return firmware.port
    emulated_port = firmware.emulated_port or firmware.port
    return firmware.batch_port or emulated_port if program == "batch" else emulated_port


def _ship(elf: Path, shipped: Path) -> Path:
    content = elf.read_bytes()
    shipped.write_bytes(elf_files.flat(content) if shipped.suffix == ".bin" else elf_files.stripped(content))
    shipped.chmod(0o755)
    return shipped


def _includes(folder: Path) -> list[str]:
    places = (folder, fw.SHIPPED / "include", fw.SHIPPED / "port", fw.SHIPPED / "programs")
    return [word for place in places for word in ("-I", str(place))]


def _generated_sources(folder: Path) -> list[Path]:
    sources = sorted(folder.glob("*.c"))
    if not sources:
        raise FirmwareError("a generated folder holds C files", f"none in {folder}", "Generate it again.")
    return sources


def _source(name: str) -> Path:
    path = fw.path(name)
    if not path.is_file():
        raise TargetError(
            "a target's [firmware] names files beside its TOML file or in firmware_check/",
            f"{name!r}, which is in neither",
            "Mend the path.",
        )
    return path


def _compile(
    compiler: _Compiler, jobs: Sequence[tuple[Path, list[str]]], generated: Path, folder: Path
) -> tuple[Path, ...]:
    """Objects of sources with their flags, in `folder`, compiled side by side unless the cache has them."""
    folder.mkdir(exist_ok=True)
    frames = "-fstack-size-section" if compiler.zig else "-fstack-usage"

    def one(index: int) -> Path:
        source, flags = jobs[index]
        path = folder / f"{index}_{source.stem}.o"
        objects.compiled(compiler.run, compiler.identity, [*flags, frames], source, generated, path)
        return path

    with ThreadPoolExecutor(max_workers=min(len(jobs), usable_cores())) as pool:
        return tuple(pool.map(one, range(len(jobs))))


def _link(compiler: _Compiler, text: str | None, words: Sequence[str], elf: Path) -> dict[str, int]:
    """Link; where the memory is too small, link for one without limits and say by how much.

    `text` is that of the linker script, if there is one.
    zig's own run-time functions (64-bit division on 32 bits, say) take seconds to build the first time, so they are
    given only to code that turns out to call one.
    """
    try:
        _link_once(compiler, words, text, elf)
    except toolchain.ToolFailure as failure:
        complaints = "\n".join(failure.complaints)
        if compiler.zig and _RUNTIME.search(complaints) and "-lcompiler_rt" not in words:
            return _link(compiler, text, [*words, "-lcompiler_rt"], elf)
        overflow = _overflow(complaints)
        if not overflow or text is None:
            raise
        _link_once(compiler, words, _LENGTH.sub("LENGTH = 256M", text), elf)
        return overflow
    return {}


def _link_once(compiler: _Compiler, words: Sequence[str], text: str | None, elf: Path) -> None:
    script = elf.with_suffix(".ld")
    if text is not None:
        script.write_text(text, encoding="utf-8")
    layout = [f"-Wl,-T,{script}"] if text is not None else []
    compiler.run([*words, *layout, "-o", str(elf)])


def _overflow(complaints: str) -> dict[str, int]:
    worst: dict[str, int] = {}
    for region, over in (*_OVERFLOW.findall(complaints), *_GNU_OVERFLOW.findall(complaints)):
        worst[region] = max(int(over), worst.get(region, 0))
    return worst
