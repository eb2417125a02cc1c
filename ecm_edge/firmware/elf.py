"""The few facts of ELF files that are needed here, read with pyelftools, and a stripper of our own."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from ecm_edge.firmware import cores

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.firmware.cores.core import Core

_UNDEFINED, _RESERVED = 0, 0xFF00


@dataclass(frozen=True)
class Symbol:
    """A named piece of a file: `section` is the name of the section that holds it, "" where it is undefined."""

    name: str
    address: int
    size: int
    kind: Literal["function", "data", "other"]
    section: str
    section_index: int


@dataclass(frozen=True)
class Section:
    """A section that is loaded; `loaded_bytes` are those that lie in the file."""

    name: str
    address: int
    size: int
    loaded_bytes: int
    executable: bool
    writable: bool
    content: bytes


@dataclass(frozen=True)
class Relocation:
    """A place in an object's section, and what belongs there: a named symbol, or `value` in section `section_index`.

    `value` includes the addend, and has mode bits (Thumb's) cleared.
    """

    within: int
    offset: int
    kind: int
    name: str
    section_index: int
    value: int


def open_elf(path: Path) -> ELFFile:
    """An ELF file's structure, from memory."""
    return ELFFile(io.BytesIO(path.read_bytes()))


def machine(elf: ELFFile) -> str:
    """The instruction set, as pyelftools names it: "LoongArch", "ARM", "x64" …."""
    return str(elf.get_machine_arch())


def core(elf: ELFFile) -> Core:
    """What is known of the instruction set."""
    return cores.of_machine(machine(elf))


def symbols(elf: ELFFile) -> list[Symbol]:
    """Every named symbol; mode bits (Thumb's) are cleared from the addresses of functions."""
    mode_bits = core(elf).mode_bits
    kinds: dict[str, Literal["function", "data", "other"]] = {"STT_FUNC": "function", "STT_OBJECT": "data"}
    named = []
    for table in elf.iter_sections():
        for raw in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            index = raw["st_shndx"]
            number = index if isinstance(index, int) else _UNDEFINED
            kind = kinds.get(raw["st_info"]["type"], "other")
            address = raw["st_value"] & ~mode_bits if kind == "function" else raw["st_value"]
            place = elf.get_section(number).name if 0 < number < _RESERVED else ""
            place = place or ("" if index == "SHN_UNDEF" else str(index))
            if raw.name:
                named.append(Symbol(raw.name, address, raw["st_size"], kind, place, number))
    return named


def sections(elf: ELFFile) -> list[Section]:
    """The sections that take memory, in order."""
    loaded = []
    for raw in elf.iter_sections():
        flags = raw["sh_flags"]
        if not flags & 2 or not raw["sh_size"]:
            continue
        inside = raw["sh_type"] != "SHT_NOBITS"
        content = raw.data() if inside else b""
        loaded.append(
            Section(
                name=raw.name,
                address=raw["sh_addr"],
                size=raw["sh_size"],
                loaded_bytes=len(content),
                executable=bool(flags & 4),
                writable=bool(flags & 1),
                content=content,
            )
        )
    return loaded


def relocations(elf: ELFFile) -> list[Relocation]:
    """Every relocation of an object."""
    places = []
    for table in elf.iter_sections():
        if not isinstance(table, RelocationSection):
            continue
        content = elf.get_section(table["sh_info"]).data()
        names: Any = elf.get_section(table["sh_link"])
        for raw in table.iter_relocations():
            symbol, offset = names.get_symbol(raw["r_info_sym"]), raw["r_offset"]
            addend = raw["r_addend"] if raw.is_RELA() else int.from_bytes(content[offset : offset + 4], "little")
            index = symbol["st_shndx"] if isinstance(symbol["st_shndx"], int) else _UNDEFINED
            value = (symbol["st_value"] + addend) & ~core(elf).mode_bits
            places.append(Relocation(table["sh_info"], offset, raw["r_info_type"], symbol.name, index, value))
    return places


def stripped(content: bytes) -> bytes:
    """An ELF file without what is not loaded: symbols, section headers and everything after the last segment.

    Loaders read the program headers only; `readelf -l` still works, `readelf -S` has nothing to show.
    """
    elf = ELFFile(io.BytesIO(content))
    ends = [segment["p_offset"] + segment["p_filesz"] for segment in elf.iter_segments() if segment["p_filesz"]]
    headers = elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"]
    kept = bytearray(content[: max([headers, *ends])])
    wide, order = elf.elfclass == 64, "<" if elf.little_endian else ">"  # noqa: PLR2004 - bits of an address
    struct.pack_into(order + ("Q" if wide else "I"), kept, 0x28 if wide else 0x20, 0)
    struct.pack_into(order + "HHH", kept, 0x3A if wide else 0x2E, 0, 0, 0)
    return bytes(kept)


def flat(content: bytes) -> bytes:
    """The bytes of a bare-metal image's flash, from its lowest address to its highest, zeros in any gap."""
    elf = ELFFile(io.BytesIO(content))
    pieces = [(s["p_paddr"], s.data()) for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
    if not pieces:
        return b""
    base = min(address for address, _ in pieces)
    memory = bytearray(max(address + len(piece) for address, piece in pieces) - base)
    for address, piece in pieces:
        memory[address - base : address - base + len(piece)] = piece
    return bytes(memory)
