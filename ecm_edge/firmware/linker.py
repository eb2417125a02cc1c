"""The linker script of a board without an operating system: the memories that it names are those of `[memory]`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecm_edge.base.errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.targets import Target

_REGION = re.compile(
    r"^\s*(FLASH|RAM)\s*\([rwx]+\)\s*:\s*ORIGIN\s*=\s*([^,\n]+?)\s*,\s*LENGTH\s*=\s*([^,}\n]+?)\s*$", re.MULTILINE
)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)([KM]?)")
_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}
_HINT = "Write the line as `FLASH (rx) : ORIGIN = ECM_FLASH_ORIGIN, LENGTH = ECM_FLASH_BYTES`, and RAM's alike."


def script_of(target: Target, path: Path) -> str:
    """The text of a target's linker script, the addresses and sizes of `[memory]` written into it.

    Args:
        target: its `[memory]` gives ECM_FLASH_ORIGIN, ECM_FLASH_BYTES, ECM_RAM_ORIGIN and ECM_RAM_BYTES.
        path: the script.

    Raises:
        TargetError: it takes an address that `[memory]` does not have, or names more memory than the board has.
    """
    memory = target.memory
    values = {
        "ECM_FLASH_ORIGIN": memory.flash_origin,
        "ECM_FLASH_BYTES": memory.flash_bytes,
        "ECM_RAM_ORIGIN": memory.ram_origin,
        "ECM_RAM_BYTES": memory.ram_bytes,
    }
    text = path.read_text(encoding="utf-8")
    for word, value in values.items():
        if not re.search(rf"\b{word}\b", text):
            continue
        if value is None:
            field = word.removeprefix("ECM_").lower()
            raise TargetError(
                "[memory] gives the addresses that the linker script asks for",
                f"no memory.{field} in {target.name}, for {word} in {path.name}",
                "Add it, from the memory map in the chip's manual.",
            )
        text = re.sub(rf"\b{word}\b", hex(value), text)
    _check(target, path, text)
    return text


def _check(target: Target, path: Path, text: str) -> None:
    """Check that a script has one flash and one RAM, and that neither is more than `[memory]` says."""
    memory, found = target.memory, {name: rest for name, *rest in _REGION.findall(text)}
    for name, origin, size in (
        ("FLASH", memory.flash_origin, memory.flash_bytes),
        ("RAM", memory.ram_origin, memory.ram_bytes),
    ):
        begins, length = (_number(number) for number in found.get(name, ("", "")))
        if begins is None or length is None:
            said = f"no line of numbers for {name} in {path.name}"
            raise TargetError("a linker script names FLASH and RAM with ORIGIN and LENGTH", said, _HINT)
        if length > size or (origin is not None and not origin <= begins <= origin + size - length):
            has = f"{size:,} bytes" + ("" if origin is None else f" from {origin:#010x}")
            raise TargetError(
                f"a linker script has no more {name} than [memory], which has {has}",
                f"{length:,} bytes from {begins:#010x} in {path.name}",
                _HINT,
            )


def _number(text: str) -> int | None:
    match = _NUMBER.fullmatch(text)
    return int(match[1], 0) * _UNITS[match[2]] if match else None
