"""Image: what a linked image takes of flash and RAM, by section, by layer and by origin, and what must not be in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecm_edge.base.records import Gate, Record, at_most
from ecm_edge.firmware import elf as elf_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.elf import Symbol

FORBIDDEN = re.compile(
    r"_*(malloc|calloc|realloc|reallocf|free|cfree|memalign|aligned_alloc|posix_memalign|valloc|alloca|s?brk"
    r"|v?[fsd]?n?w?printf(_chk)?|v?asprintf|puts|fputs|putchar|fputc|fwrite|v?[fs]?scanf|fopen)(_r)?"
)
"""Names of the heap and of stdio, with the prefixes and suffixes that C libraries put on them."""

_IN_REGISTERS = 512  # B; a compiler takes so small an arena apart where it may
_STACK = ".stack"  # a linker script's section for the stack, which is no data


class Sections(Record):
    """Bytes of a linked image.

    text, rodata, data, bss: as `size` has them, the stack that a linker script sets aside left out.
    stack_reserved:          that stack; None where an operating system gives one.
    flash_bytes:             of the file that is shipped: for Linux the stripped executable, for bare metal the flash.
    ram_bytes:               data and bss.
    """

    text: int
    rodata: int
    data: int
    bss: int
    stack_reserved: int | None
    flash_bytes: int
    ram_bytes: int


class LayerFlash(Record):
    """Flash of one layer: its function, and its constants."""

    index: int
    name: str
    code_bytes: int
    constant_bytes: int


class ImageSize(Record):
    """An image's sizes.

    layers:      what carries a layer's name.
    model_bytes: other code and constants of the generated folder, such as kernels that are called.
    other_bytes: program, port, start-up, headers and padding: the rest of flash_bytes.
    arena_bytes: of the arena's symbol; 0 where there is none.
    overflow:    bytes by which a memory region is too small, by name; empty if the image fits.
    """

    sections: Sections
    layers: list[LayerFlash]
    model_bytes: int
    other_bytes: int
    arena_bytes: int
    overflow: dict[str, int]


def measure(image: Image) -> ImageSize:
    """The sizes of an image, from its linked file."""
    sections = sections_of(image)
    layers = _layers(image)
    layered = sum(layer.code_bytes + layer.constant_bytes for layer in layers)
    model = _stored(_generated(image))
    arena = next((s.size for s in image.symbols if s.name == f"{image.model.name}_arena"), 0)
    return ImageSize(
        sections=sections,
        layers=layers,
        model_bytes=max(0, model - layered),
        other_bytes=sections.flash_bytes - max(model, layered),
        arena_bytes=arena,
        overflow=image.overflow,
    )


def sections_of(image: Image) -> Sections:
    """An image's bytes by section."""
    everything = elf_files.sections(elf_files.open_elf(image.elf))
    stack = [s.size for s in everything if s.name == _STACK]
    sections = [s for s in everything if s.name != _STACK]
    text = sum(s.size for s in sections if s.executable)
    rodata = sum(s.size for s in sections if not s.executable and not s.writable)
    data = sum(s.loaded_bytes for s in sections if s.writable and not s.executable)
    bss = sum(s.size - s.loaded_bytes for s in sections if s.writable and not s.executable)
    bare = image.firmware.linker_script is not None
    return Sections(
        text=text,
        rodata=rodata,
        data=data,
        bss=bss,
        stack_reserved=stack[0] if stack else None,
        flash_bytes=text + rodata + data if bare else image.shipped.stat().st_size,
        ram_bytes=data + bss,
    )


def forbidden_symbols(image: Image) -> list[str]:
    """Functions of the heap or of stdio that the image holds or any of its objects asks for."""
    asked = (symbol.name for path in image.objects for symbol in _symbols(path))
    names = {*asked, *(symbol.name.split("@")[0] for symbol in image.symbols)}
    return sorted(name for name in names if FORBIDDEN.fullmatch(name))


def forbidden_gate(image: Image) -> Gate:
    """No malloc, free, printf or their kin in the image."""
    forbidden = forbidden_symbols(image)
    return at_most("forbidden_symbols", len(forbidden), 0, "symbols", ", ".join(forbidden))


def arena_gate(image: Image) -> Gate:
    """The arena's bytes in the linked image are those of the plan; a small one may be left out by the compiler."""
    arena_bytes = measure(image).arena_bytes
    planned = image.model.arena_bytes
    if arena_bytes == 0 < planned <= _IN_REGISTERS:
        return at_most("arena_off_plan", 0, 0, "B", f"{planned} bytes planned, which the compiler keeps elsewhere")
    return at_most(
        "arena_off_plan", abs(arena_bytes - planned), 0, "B", f"{arena_bytes} bytes linked, {planned} planned"
    )


def _layers(image: Image) -> list[LayerFlash]:
    name = re.escape(image.model.name)
    code, constant = (re.compile(rf"{name}_{kind}(\d+)_") for kind in ("layer_", ""))
    return [
        LayerFlash(
            index=index,
            name=function,
            code_bytes=_stored(_numbered(image.symbols, code, index)),
            constant_bytes=_stored(_numbered(image.symbols, constant, index)),
        )
        for index, function in enumerate(image.layer_names)
    ]


def _numbered(symbols: Iterable[Symbol], pattern: re.Pattern[str], index: int) -> list[Symbol]:
    return [s for s in symbols if (match := pattern.match(s.name)) and int(match[1]) == index]


def _generated(image: Image) -> list[Symbol]:
    """The image's symbols that come from the generated folder's objects."""
    sources = {path.stem for path in image.model.folder.glob("*.c")}
    objects = [path for path in image.objects if path.stem.split("_", 1)[1] in sources]
    names = {s.name for path in objects for s in _symbols(path) if s.section and s.kind != "other"}
    return [s for s in image.symbols if s.name in names]


def _stored(symbols: Sequence[Symbol]) -> int:
    """Bytes that functions and constants take of the flash; what is zero at the start takes none."""
    pieces = {(s.address, s.size) for s in symbols if s.kind != "other" and not s.section.startswith(".bss")}
    return sum(size for _, size in pieces)


def _symbols(path: Path) -> list[Symbol]:
    return elf_files.symbols(elf_files.open_elf(path))
