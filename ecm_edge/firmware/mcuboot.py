"""Images for MCUboot, the boot loader: with its header, a security counter and a signature, by its own `imgtool`.

MCUboot starts an image where it lies in its slot, behind the header. So the program is linked anew for that address;
the compiled model in it is the same. Nothing here was run by a boot loader: `imgtool verify` checks the result.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from ecm_edge.base import files, trust
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.base.records import Form, Gate, Record, Verdict, condition, verdict_of_all
from ecm_edge.firmware import build, generate, make
from ecm_edge.targets import commands, ports
from ecm_edge.targets import firmware as fw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target

HEADER_BYTES = 0x200
_ALIGN_BYTES = 8  # what the STM32L4's flash writes at once
_FLASH = re.compile(r"(\bFLASH\s*\(rx\)\s*:\s*ORIGIN\s*=\s*)[^,]+(,\s*LENGTH\s*=\s*)[^,}\n]+")
_IMGTOOL = "from imgtool.main import imgtool; imgtool()"


class McubootRecord(Record):
    """A signed image for a slot of MCUboot, which `imgtool` verified with its key: one gate.

    `slot` is the slot's address and `slot_bytes` its size; `image_bytes` includes header and signature.
    """

    verdict: Verdict
    gates: list[Gate]
    out: str
    target: str
    form: Form
    model_sha256: str
    version: str
    security_counter: int
    slot: int
    slot_bytes: int
    image_bytes: int
    image_sha256: str

    KEYS = ("out", "target", "version", "security_counter")


def sign_image(
    model: ModelFile,
    target: Target,
    out: Path,
    *,
    key: Path,
    version: str,
    security_counter: int,
    slot: int,
    slot_bytes: int,
) -> McubootRecord:
    """Build the image of a model for a slot of MCUboot, and sign it.

    Args:
        model: what answers.
        target: a board without an operating system.
        out: the signed image; it must not be there.
        key: a PEM file that imgtool knows: EC P-256, Ed25519 or RSA; the boot loader has the public one.
        version: of the image, as 1.2.3.
        security_counter: MCUboot refuses an image whose counter is smaller than that of one that ran.
        slot: the address of the slot that the image runs in.
        slot_bytes: its size.

    Raises:
        TargetError: the board has an operating system, or its linker script has no flash.
        FirmwareError: imgtool is missing or refuses, or the image does not fit.
        OutputError: `out` exists or cannot be written.
    """
    files.check_new(out)
    with files.scratch_folder() as scratch:
        place = scratch
        shifted = for_slot(target, slot, slot_bytes, place / "slot.ld")
        commands.check(target.firmware)
        trust.typed(commands.commands(shifted.firmware))  # what it has more is made here
        sources = make.make_sources(model.classifier.proto, shifted, place, model=model.path.name)
        image = make.make_image(sources, "serial", place / "serial")
        signed = place / "signed.bin"
        sizes = ["--header-size", hex(HEADER_BYTES), "--pad-header", "--slot-size", str(slot_bytes)]
        words = [
            *sizes,
            "--align",
            str(_ALIGN_BYTES),
            "--version",
            version,
            "--security-counter",
            str(security_counter),
        ]
        imgtool(["sign", "--key", str(key), *words, str(image.shipped), str(signed)])
        said = imgtool(["verify", "--key", str(key), str(signed)])
        content = signed.read_bytes()
    files.write_atomic(out, content)
    gates = [condition("imgtool_verify", said.splitlines()[0] if said else "verified", holds=True)]
    return McubootRecord(
        verdict=verdict_of_all(gates),
        gates=gates,
        out=str(out),
        target=target.name,
        form=generate.form_of(model.classifier.proto),
        model_sha256=model.sha256,
        version=version,
        security_counter=security_counter,
        slot=slot,
        slot_bytes=slot_bytes,
        image_bytes=len(content),
        image_sha256=files.sha256_bytes(content),
    )


def for_slot(target: Target, slot: int, slot_bytes: int, script: Path) -> Target:
    """The same board with a flash that is the slot behind its header.

    Raises:
        TargetError: the board has an operating system, its linker script has no flash, or the slot is not in its flash.
    """
    firmware = build.firmware_of(target)
    if firmware.linker_script is None:
        raise TargetError(
            "MCUboot starts programs without an operating system",
            f"{target.name} has no linker script",
            "Ship a signed bundle to it: `ecm-edge bundle MODEL --sign KEY`.",
        )
    _check_slot(target, slot, slot_bytes)
    own = (fw.SHIPPED / firmware.linker_script).read_text(encoding="utf-8")
    memory = rf"\g<1>{slot + HEADER_BYTES:#x}\g<2>{slot_bytes - HEADER_BYTES}"
    text, count = _FLASH.subn(memory, own)
    if count != 1:
        raise TargetError(
            "a linker script for MCUboot has one line `FLASH (rx) : ORIGIN = …, LENGTH = …`",
            f"{count} in {firmware.linker_script}",
            "Write it so.",
        )
    script.write_text(text, encoding="utf-8")
    flags = [*firmware.link_flags, f"-Wl,-z,max-page-size={HEADER_BYTES}"]  # so that no ELF header is in the flash
    moved = firmware.model_copy(update={"linker_script": str(script), "link_flags": flags})
    return target.model_copy(update={"firmware": moved})


def _check_slot(target: Target, slot: int, slot_bytes: int) -> None:
    """Check that a slot lies in the board's flash, and that a vector table may begin behind its header."""
    chip, memory = ports.chip_of(target.firmware), target.memory
    first = chip.flash.origin if chip else memory.flash_origin
    inside = first is None or first <= slot <= first + memory.flash_bytes - slot_bytes
    if slot % HEADER_BYTES or not inside:
        where = "" if first is None else f", from {first:#010x} to {first + memory.flash_bytes:#010x}"
        raise TargetError(
            f"a slot lies in the board's flash{where}, at a multiple of {HEADER_BYTES:#x}",
            f"{slot_bytes:,} bytes at {slot:#010x}",
            "Take it from the flash map of the boot loader.",
        )


def imgtool(words: Sequence[str]) -> str:
    """What imgtool prints.

    Raises:
        FirmwareError: it is not installed, or it refuses.
    """
    command = [sys.executable, "-c", _IMGTOOL, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, own words
    if done.returncode == 0:
        return done.stdout.strip()
    lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason"]
    if "No module named 'imgtool'" in lines[-1]:
        raise FirmwareError("images for MCUboot need imgtool", "none here", "`pip install 'ecm-edge[sign]'`.")
    raise FirmwareError(f"imgtool can {words[0]} the image", lines[-1][:500], "Look at key, version and slot.")
