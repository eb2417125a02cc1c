"""Make: from a model to sources that prove themselves, and from those to images.

    model → C sources → batch program on this host → scores of the self-test → images for the board and its emulator

The self-test's scores are those of the same C on this host: every core gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge import targets
from ecm_edge.base import files, trust
from ecm_edge.firmware import build, emulate, generate, known_answer
from ecm_edge.targets import commands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from ecm_edge.firmware.build import Image, Program
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.targets import Target

SOURCES = "src"
HOST = "host"
QUICK = ("-Og",)
"""For a host program of which little is asked: built in a third of the time, and the same bits."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Generated C in a folder, with the self-test's scores, and the batch program built of it for this host."""

    target: Target
    generated: Generated
    folder: Path
    host: Image


def make_sources(
    proto: onnx.ModelProto,
    target: Target,
    out: Path,
    *,
    name: str = generate.NAME,
    model: str = "model.onnx",
    host_flags: Sequence[str] = QUICK,
) -> Sources:
    """Generate C for a target into `out`/src, and build and run it on this host.

    Args:
        proto: a checked classifier.
        target: whose kernels are used.
        out: a folder that is there; work for this host goes into `out`/host.
        name: the prefix of every C name.
        model: the model file's name, for comments.
        host_flags: what the host's compiler optimises the model with.

    Raises:
        ModelError: an operator that no C can be made of; the node is named.
        FirmwareError: no compiler here, or one that fails.
    """
    generated = generate.generate(proto, target, name=name, model=model)
    folder = out / SOURCES
    generate.write(generated, folder)
    host = host_image(folder, out / HOST, host_flags)
    scores = emulate.run_batch(host, known_answer.segments(generated.samples))
    files.write_atomic(folder / known_answer.FILE, known_answer.header_text(scores).encode())
    return Sources(target, generated, folder, host)


def host_image(folder: Path, out: Path, flags: Sequence[str] = QUICK, *, trace: bool = False) -> Image:
    """The batch program of generated sources for this host, into `out`.

    Raises:
        FirmwareError: no compiler here, or one that fails.
    """
    host = targets.load("host")
    firmware = build.firmware_of(host).model_copy(update={"model_flags": list(flags)})
    changed = host.model_copy(update={"firmware": firmware})
    trust.typed(commands.commands(firmware))  # the flags are this package's own
    return build.build(folder, changed, "batch", out, emulated=False, trace=trace)


def make_image(sources: Sources, program: Program, out: Path, *, emulated: bool = False, trace: bool = False) -> Image:
    """Build a program of the sources for their target, or for the emulator's board where that is another one.

    Raises:
        FirmwareError: no compiler, or one that fails.
    """
    return build.build(sources.folder, sources.target, program, out, emulated=emulated, trace=trace)
