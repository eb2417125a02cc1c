"""Instruction sets, one file each, with all that the counts, the stack bound and the ELF reader know of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware.cores import cortex_m4, host, loongarch64

if TYPE_CHECKING:
    from ecm_edge.firmware.cores.core import Core, Instruction

_CORTEX_M = [replace(cortex_m4.CORE, architecture=name) for name in ("armv6-m", "armv8-m.main", "armv7e-m")]
"""What a compiler makes of C for a Cortex-M0 or M33 are instructions of the M4 (ARMv6-M A5, ARMv8-M C1 and C2)."""
CORES: dict[str, Core] = {core.architecture: core for core in (host.CORE, loongarch64.CORE, *_CORTEX_M)}
"""By the architecture's name in a target."""

_BY_MACHINE = {core.machine: core for core in CORES.values() if core.machine}


def of_machine(machine: str) -> Core:
    """The core of an ELF file's machine, as pyelftools names it; that of the host for any other machine."""
    return _BY_MACHINE.get(machine, host.CORE)


def decode(machine: str, content: bytes, offset: int) -> Instruction:
    """The instruction at `offset` bytes of a section's content.

    Raises:
        FirmwareError: a machine whose instructions cannot be decoded.
    """
    core = of_machine(machine)
    if core.decode is None:
        raise FirmwareError(
            "instructions can be decoded on LoongArch and Cortex-M", machine, "Count on a target with such a core."
        )
    return core.decode(content, offset)
