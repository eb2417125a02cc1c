"""What the C of the ports that ship is for, so that a copied board file cannot pass for another chip.

A port sets the clocks and the registers of one chip, and a linker script has its addresses. A board's file that names
one of them and says something else would give an image that never starts.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecm_edge.base.errors import TargetError
from ecm_edge.targets import firmware as fw
from ecm_edge.targets.firmware import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.targets.core import Core, Memory
    from ecm_edge.targets.firmware import Firmware

_SHIPPED = fw.SHIPPED.resolve()


@dataclass(frozen=True)
class Region:
    """A memory that a chip has in one piece."""

    origin: int
    bytes: int


@dataclass(frozen=True)
class Chip:
    """A chip that a port is for, after its manual. `clock_hz` is what the port sets the core to."""

    name: str
    clock_hz: int
    flash: Region
    ram: Region
    source: str


@dataclass(frozen=True)
class Port:
    """A file in `firmware_check/port/`: the architectures that it is for, and the chip if it is for one alone."""

    architectures: tuple[str, ...]
    chip: Chip | None = None


STM32L432KC = Chip(
    name="STM32L432KC",
    clock_hz=80_000_000,
    flash=Region(0x0800_0000, 256 * 1024),
    ram=Region(0x2000_0000, 64 * 1024),  # SRAM1, and SRAM2 behind it
    source="RM0394, section 2.2",
)
NRF52840 = Chip(
    name="nRF52840",
    clock_hz=64_000_000,
    flash=Region(0x0000_0000, 1024 * 1024),
    ram=Region(0x2000_0000, 256 * 1024),
    source="nRF52840 Product Specification v1.7, sections 4.2 and 5.4",
)
STM32G071RB = Chip(
    name="STM32G071RB",
    clock_hz=64_000_000,
    flash=Region(0x0800_0000, 128 * 1024),
    ram=Region(0x2000_0000, 36 * 1024),
    source="RM0444, section 2.2",
)
_CORTEX_M = ("armv6-m", "armv7e-m", "armv8-m.main")
PORTS = {
    "port/host.c": Port(("host",)),
    "port/loongarch64_linux.c": Port(("loongarch64",)),
    "port/cortex_m.ld": Port(_CORTEX_M),
    "port/cortex_m4_start.c": Port(_CORTEX_M),
    "port/cortex_m4_semihosting.c": Port(_CORTEX_M),
    "port/netduinoplus2.c": Port(_CORTEX_M),
    "port/stm32g071.c": Port(("armv6-m",), STM32G071RB),
    "port/stm32l432.c": Port(("armv7e-m",), STM32L432KC),
    "port/stm32l432kc.ld": Port(("armv7e-m",), STM32L432KC),
    "port/nrf52840.c": Port(("armv7e-m",), NRF52840),
}


def chip_of(firmware: Firmware | None) -> Chip | None:
    """The chip that a board's port is for; None where the port is for any of its architecture, or is the user's."""
    return next((port.chip for _, port in _ports(firmware) if port.chip), None)


def check(name: str, core: Core, memory: Memory, firmware: Firmware | None) -> None:
    """Check that a board's file fits the shipped C and the core that it names.

    Raises:
        TargetError: with everything that does not fit.
    """
    if found := list(_misfits(core, memory, firmware)):
        raise TargetError(
            f"the board {name} is the one that its port, its core and its memory are of",
            "; ".join(found),
            "Mend these lines, or give it a port of its own (firmware_check/README.md, ecm_edge/targets/README.md).",
        )


def _misfits(core: Core, memory: Memory, firmware: Firmware | None) -> Iterator[str]:
    """What a board's file says that is not so of the shipped C that it names: a sentence each."""
    named = _ports(firmware)
    for name, port in named:
        if core.architecture not in port.architectures:
            known = " and ".join(port.architectures)
            yield f"{name} is for {known}, and core.architecture is {core.architecture}"
    chips = {port.chip.name: port.chip for _, port in named if port.chip}
    if len(chips) > 1:
        yield f"its files are for several chips: {', '.join(chips)}"
    for chip in chips.values():
        yield from _unlike(chip, core, memory)
    yield from _other_core(core, firmware)


def _unlike(chip: Chip, core: Core, memory: Memory) -> Iterator[str]:
    if core.clock_hz != chip.clock_hz:
        yield f"the port sets an {chip.name} to {chip.clock_hz:,} Hz, and core.clock_hz is {core.clock_hz:,}"
    for name, has, origin, size in (
        ("flash", chip.flash, memory.flash_origin, memory.flash_bytes),
        ("ram", chip.ram, memory.ram_origin, memory.ram_bytes),
    ):
        first = has.origin if origin is None else origin
        if first < has.origin or first + size > has.origin + has.bytes:
            where = "" if origin is None else f" from {origin:#010x}"
            yield (
                f"an {chip.name} has {has.bytes:,} bytes of {name} from {has.origin:#010x} ({chip.source}), "
                f"and [memory] has {size:,}{where}"
            )


def _other_core(core: Core, firmware: Firmware | None) -> Iterator[str]:
    """Flags and cycles that were copied with the file and are of another core than the one that is named."""
    name = _first_word(core.name)
    for flag in firmware.flags if firmware else ():
        named = flag.removeprefix("-mcpu=").partition("+")[0].replace("_", "-")
        of_core = named.startswith("generic") or re.match(
            rf"{re.escape(named)}(?!\d)", name.lower().replace("+", "plus")
        )
        if flag.startswith("-mcpu=") and not of_core:
            yield f"{flag} in firmware.flags is of another core than core.name, which begins with {name}"
    if core.pipeline:
        of = _shipped_pipelines().get(_key(core.pipeline.model_dump(mode="json")), {name})
        if name not in of:
            yield f"[core.pipeline] has the cycles of {', '.join(sorted(of))}, and core.name begins with {name}"


def _first_word(name: str) -> str:
    return next(iter(re.findall(r"[^\s,]+", name)), name)


@functools.cache
def _shipped_pipelines() -> dict[str, set[str]]:
    """The cores whose cycles each shipped `[core.pipeline]` has."""
    found: dict[str, set[str]] = {}
    for path in Path(__file__).parent.glob("*.toml"):
        core = tomllib.loads(path.read_text(encoding="utf-8"))["core"]
        if "pipeline" in core:
            key = _key(Pipeline.model_validate(core["pipeline"]).model_dump(mode="json"))
            found.setdefault(key, set()).add(_first_word(core["name"]))
    return found


def _key(pipeline: dict[str, Any]) -> str:
    """The cycles of a core as one text; citations and calibrations aside."""
    return json.dumps([pipeline["issue_width"], pipeline["timing"]], sort_keys=True)


def _ports(firmware: Firmware | None) -> list[tuple[str, Port]]:
    """The shipped files that are named for the board itself; those of the emulator's board are another chip's."""
    if firmware is None:
        return []
    script = [firmware.linker_script] if firmware.linker_script else []
    named = map(_shipped_name, [*firmware.port, *script])
    return [(name, PORTS[name]) for name in named if name in PORTS]


def _shipped_name(name: str) -> str:
    """The name under which a file ships, by whatever path a board's file names it."""
    path = fw.path(name).resolve()
    return path.relative_to(_SHIPPED).as_posix() if path.is_relative_to(_SHIPPED) else name
