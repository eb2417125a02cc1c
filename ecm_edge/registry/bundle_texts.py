"""The Makefile and the README.txt of a bundle."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.firmware.build import Recipe
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.targets import Target

_HOST_FLAGS = "-std=c99 -Wall -Wextra -O2 -ffp-contract=off -fno-math-errno"
_INCLUDES = "-Isrc -Iinclude -Iport -Iprograms"


def makefile(target: Target, board: Recipe, check: Recipe, name: str) -> str:
    """A Makefile for any POSIX make.

    Args:
        target: the board.
        board: of the image that ships.
        check: of the program that answers segments in the board's emulator.
        name: what the generated files are called.
    """
    compiler, emulator = _compiler(target), _emulator(target)
    rows = [
        f"# Builds what `ecm-edge bundle` packed for {target.name}. All answers have to be the same to the bit:",
        "# never add -ffast-math, -Ofast or -ffp-contract=fast.",
        "#",
        "#   make               build/batch and build/serial for this machine",
        "#   make check         known segments through build/batch, compared with the expected answers",
        "#   make board         build/board/serial.elf: the image in image/, with its symbols",
        "#   make check-board   the same check on the emulated board",
        "#",
        "# Another compiler:    make check CC=clang",
        "# Another machine:     make check RUN=qemu-loongarch64 \\",
        "#                          CC='zig cc -target loongarch64-linux-musl -mcpu=generic_la64+d'",
        "# Missing functions of the compiler's own on a 32-bit board:    make board BOARD_LDLIBS=-lcompiler_rt",
        "",
        "CC = cc",
        f"CFLAGS = {_HOST_FLAGS}",
        "LDLIBS = -lm",
        "RUN =",
        f"BOARD_CC = {compiler}",
        f"BOARD_RUN = {emulator}",
        "BOARD_LDLIBS =",
        f"INCLUDES = {_INCLUDES}",
        f"BOARD_FLAGS = {_words(board.flags)}",
        "",
        "all: build/batch build/serial",
        "",
        *_host_program("batch", name, ["port/host.c", "programs/batch.c"]),
        *_host_program("serial", name, ["port/host.c", "programs/serial.c", "programs/ecm_protocol.c"]),
        "check: build/batch",
        "\t$(RUN) ./build/batch < check/segments.bin > build/answers.bin",
        "\tcmp build/answers.bin check/expected.bin",
        "\t@echo 'every answer is the expected one, to the bit'",
        "",
        "board: build/board/serial.elf",
        "",
        *_board_program("serial", name, board),
        *_board_program("batch", name, check),
        "check-board: build/board/batch.elf",
        "\t$(BOARD_RUN) build/board/batch.elf < check/segments.bin > build/board/answers.bin",
        "\tcmp build/board/answers.bin check/expected.bin",
        "\t@echo 'every answer of the emulated board is the expected one, to the bit'",
        "",
        "clean:",
        "\trm -rf build",
        "",
        ".PHONY: all check board check-board clean",
        "",
    ]
    return "\n".join(rows)


def _host_program(program: str, name: str, sources: list[str]) -> list[str]:
    all_sources = f"src/{name}.c {' '.join(sources)}"
    return [
        f"build/{program}: {all_sources}",
        "\tmkdir -p build",
        f"\t$(CC) $(CFLAGS) $(INCLUDES) {all_sources} -o $@ $(LDFLAGS) $(LDLIBS)",
        "",
    ]


def _board_program(program: str, name: str, recipe: Recipe) -> list[str]:
    """One rule: the model and the rest are compiled with flags of their own, then linked."""
    jobs = [(f"src/{name}.c", recipe.model_flags), *((_place(s), recipe.program_flags) for s in recipe.sources)]
    objects = [f"build/board/{program}-{index}.o" for index in range(len(jobs))]
    script = [f"-Wl,-T,port/{recipe.linker_script.name}"] if recipe.linker_script else []
    compiled = [
        f"\t$(BOARD_CC) $(BOARD_FLAGS) $(INCLUDES) {_words(flags)} -c {source} -o {target}"
        for (source, flags), target in zip(jobs, objects, strict=True)
    ]
    return [
        f"build/board/{program}.elf: {' '.join(source for source, _ in jobs)}",
        "\tmkdir -p build/board",
        *compiled,
        f"\t$(BOARD_CC) {_words([*recipe.link_flags, *script])} {' '.join(objects)} $(BOARD_LDLIBS) -o $@",
        "",
    ]


def _place(source: Path) -> str:
    return f"{'programs' if source.parent.name == 'programs' else 'port'}/{source.name}"


def _words(words: list[str]) -> str:
    return " ".join(shlex.quote(word).replace("$", "$$") for word in words)


def _compiler(target: Target) -> str:
    compiler = target.firmware.compiler if target.firmware else "cc"
    return "python3 -m ziglang cc" if compiler == "zig" else compiler


def _emulator(target: Target) -> str:
    emulator = target.firmware.emulator if target.firmware else None
    return _words(emulator.command) if emulator else ""


def readme(target: Target, generated: Generated, image: str, segments: int) -> str:
    """README.txt, for people who have this folder and nothing else."""
    name, origin = generated.name, generated.origin
    memory = f"{generated.plan.arena_bytes:,} bytes of static memory, {generated.weight_bytes:,} bytes of constants."
    title = f"{origin.model} for {target.title}"
    return f"""{title}
{"=" * len(title)}

Made by {origin.tool} from the {origin.form} model with the SHA-256
{origin.model_sha256}.
manifest.json has the SHA-256 of every file here.

Try it
------

    make check

builds the C with this machine's compiler, answers {segments} known segments and compares the answers with the expected
ones: they have to be the same to the bit, on every machine and with every compiler.

    make board         the image for the board again, with the compiler that built {image}
                       (pip install ziglang, if that is zig)
    make check-board   the same check on the emulated board

Use it
------

    {image}
        the program for {target.name}: it answers segments on a serial line and begins with a self-test.
        On Linux it takes the device as its argument, /dev/ttyS1 say, and standard input and output without one.
        A .bin is written to the start of the flash.

    src/{name}.h, src/{name}.c and the headers beside them
        the model alone, C99 without malloc, stdio or recursion:

            void {name}_run(const float *samples, float *scores);

        samples: {generated.samples} float32; scores: {generated.scores} float32.
        Label 1 (atrial fibrillation) if scores[1] >= scores[0], else 0.
        {memory}
        Not reentrant. Compile with -ffp-contract=off, and without -ffast-math.

    port/
        what a board has to provide: include/ecm_port.h describes it, port/host.c is the shortest example.

The protocol
------------

115,200 baud, 8 data bits, no parity, 1 stop bit. All numbers are little-endian.

    host to board   AA 55, count of samples as uint16 ({generated.samples}), so many float32
    board to host   55 AA, status, label 0 or 1, latency in ms as float32

status is 00 in every answer that holds; include/ecm_protocol.h has the others, and says what happens to frames that are
broken. The latency is that of the inference alone, by the board's own clock.

What is known of it
-------------------

verify.json, firmware.json, score.json and report.html, where they are here, say how it was compared with the trained
network, what it takes of the board, and how often it is right. Figures that came from an emulator are labelled so.

Licence
-------

The C and the headers are under the MIT licence: LICENSE.txt. The model is that of whoever trained it.
"""
