"""Which fields of a board's `[firmware]` would run something that is not the package's own.

| field | what it is |
|---|---|
| `compiler` | a command, but for "zig" (the ziglang package's) and "cc" (this host's), which the package chooses |
| `flags`, `model_flags`, `program_flags`, `link_flags` | a command, but for plain ones: a compiler's flag can load a plug-in (`-fplugin=`), read any file (`-include`, `@file`) and write any (`-o`) |
| `port`, `emulated_port`, `batch_port` | a command where the file is not the package's: C that is compiled and run |
| `linker_script` | the same: a script can take in any file |
| `emulator.command`, `emulator.serial_command` | a command, but for those of the boards that ship: the words of one can name files and devices |
| `emulator.package` | none: only a hint names it, and its pattern leaves no room for another command |
| `protocol`, `kernels` | none: words and figures of a closed list |

The other tables of a board are names, figures and texts for people. Nothing of them is run.
"""  # noqa: E501 - a table

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import trust
from ecm_edge.targets.firmware import SHIPPED, path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.targets.firmware import Firmware

_COMPILERS = {"zig", "cc"}
_PLAIN = re.compile(
    r"-O[0-3gsz]?|-target|-m[a-z0-9-]+|-m(cpu|arch|tune|fpu|abi|float-abi|cmodel)=[\w.+-]+|-f[a-z0-9-]+"
    r"|-D[A-Z][A-Z0-9_]*(=[0-9]+)?|-W[a-z-]+|-nostdlib|-static|-lm|-g0|-std=[a-z0-9]+"
)
"""Flags that choose a core or a way to optimise, and can name no file."""
_TRIPLE = re.compile(r"\w[\w.+-]*")
_FLAGS = ("flags", "model_flags", "program_flags", "link_flags")
_PORTS = ("port", "emulated_port", "batch_port")
_COMMANDS = ("command", "serial_command")


def commands(firmware: Firmware | None) -> list[str]:
    """What building or running an image of a target would run that is not the package's own, as `field = value`."""
    return list(_foreign(firmware)) if firmware else []


def check(firmware: Firmware | None) -> None:
    """Check that the own commands of a target's `[firmware]` may be run.

    Raises:
        TrustError: they stand in a file that is not trusted.
    """
    trust.check(commands(firmware))


def _foreign(firmware: Firmware) -> Iterator[str]:
    if firmware.compiler not in _COMPILERS:
        yield f"compiler = {firmware.compiler!r}"
    for name in _FLAGS:
        if not _is_plain(words := getattr(firmware, name)):
            yield f"{name} = {words!r}"
    for name in _PORTS:
        yield from (f"{name} = {file!r}" for file in getattr(firmware, name) or [] if not _is_shipped(file))
    if firmware.linker_script is not None and not _is_shipped(firmware.linker_script):
        yield f"linker_script = {firmware.linker_script!r}"
    for name in _COMMANDS:
        words = getattr(firmware.emulator, name, None)
        if words is not None and tuple(words) not in _emulators():
            yield f"emulator.{name} = {words!r}"


def _is_plain(words: list[str]) -> bool:
    """Whether each word is a plain flag, or what `-target` is followed by.

    >>> _is_plain(["-target", "thumb-freestanding-eabihf", "-O2"]), _is_plain(["-include", "/etc/passwd"])
    (True, False)
    """
    before = ["", *words]
    return all(
        _TRIPLE.fullmatch(word) if previous == "-target" else _PLAIN.fullmatch(word)
        for previous, word in zip(before, words, strict=False)
    )


def _is_shipped(name: str) -> bool:
    return path(name).resolve().is_relative_to(SHIPPED.resolve())


@functools.cache
def _emulators() -> set[tuple[str, ...]]:
    """The emulators' commands of the boards that ship."""
    tables = [tomllib.loads(file.read_text(encoding="utf-8")) for file in Path(__file__).parent.glob("*.toml")]
    emulators = [table["firmware"]["emulator"] for table in tables if "emulator" in table.get("firmware", {})]
    return {tuple(emulator[name]) for emulator in emulators for name in _COMMANDS if name in emulator}
