"""Count: what one inference executes on the emulated core, exact to the instruction, by class and by layer.

The plugin (`firmware_check/count/icount.c`) says how often each straight piece of code ran, in which layer; the image
says which instructions those are. Counts do not depend on the host, its speed or its load.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files, machine
from ecm_edge.base.errors import FirmwareError
from ecm_edge.base.records import Record
from ecm_edge.firmware import cores, emulate, toolchain
from ecm_edge.firmware import elf as elf_files
from ecm_edge.targets import firmware as fw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.cores.core import Instruction

NO_LAYER = -1
_PLUGIN = "count/icount.c"
_PLUGIN_FLAGS = ["-O2", "-std=c99", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden"]
_STACK_SYMBOLS = ("ecm_stack_bottom", "ecm_stack_top")
_ADDRESSES = 1 << 64


class LayerCount(Record):
    """Instructions of one layer's function and of what it calls; `name` is the function's."""

    name: str
    total: int
    by_class: dict[fw.Kind, int]


class Counts(Record):
    """Executed guest instructions of one inference.

    total, by_class, layers:  of the segment that took most; of all layers, `rest` being the calls between them.
    total_min:                of the segment that took least; code with SiLU or a softmax depends a little on its input.
    segments:                 how many were counted.
    repeatable:               whether the first segment, counted again, gave the same figures; never expected false.
    stack_bytes:              from the stack's top to the lowest byte stored to since the program began.
    unaligned:                accesses to addresses that their size does not divide, and where the first one was made.
    """

    target: str
    segments: int
    total: int
    total_min: int
    by_class: dict[fw.Kind, int]
    layers: list[LayerCount]
    rest: int
    repeatable: bool
    stack_bytes: int
    unaligned: int
    unaligned_in: str | None = None


@dataclass(frozen=True)
class Block:
    """Instructions that run in a row: how often they did in one layer; `layer` is NO_LAYER between layers."""

    address: int
    instructions: tuple[Instruction, ...]
    layer: int
    times: int

    @property
    def executed(self) -> int:
        """Instructions that were executed."""
        return len(self.instructions) * self.times


@dataclass(frozen=True)
class Run:
    """One inference: its blocks; the stack's lowest byte and the end of its highest; unaligned accesses."""

    blocks: tuple[Block, ...]
    stack_low: int
    stack_high: int
    unaligned: int
    unaligned_pc: int

    @property
    def total(self) -> int:
        """Instructions that were executed."""
        return sum(block.executed for block in self.blocks)


def available(image: Image) -> emulate.Unavailable | None:
    """None if `image` can be counted here, or what is missing."""
    if image.firmware.emulator is None:
        return emulate.Unavailable(f"{image.target.name} has no emulator, and only an emulator counts")
    return emulate.available(image.target)


def count(image: Image, samples: NDArray[np.float32]) -> Counts:
    """Counts of segments (T,) or (N, T) by a batch image.

    Raises:
        FirmwareError: as `profile`.
    """
    return count_with_runs(image, samples)[0]


def count_with_runs(image: Image, samples: NDArray[np.float32]) -> tuple[Counts, list[Run]]:
    """The same, with the run of each segment; raises as `profile`."""
    segments = np.atleast_2d(samples)
    *runs, again = profile(image, np.concatenate([segments, segments[:1]]))
    return _counts_of(image, runs, repeatable=_figures(runs[0]) == _figures(again)), runs


def _counts_of(image: Image, runs: list[Run], *, repeatable: bool) -> Counts:
    most = max(runs, key=lambda run: run.total)
    first_unaligned = next((run for run in runs if run.unaligned), None)
    return Counts(
        target=image.target.name,
        segments=len(runs),
        total=most.total,
        total_min=min(run.total for run in runs),
        by_class=_by_class(most.blocks),
        layers=[_layer(name, [b for b in most.blocks if b.layer == i]) for i, name in enumerate(image.layer_names)],
        rest=sum(block.executed for block in most.blocks if block.layer == NO_LAYER),
        repeatable=repeatable,
        stack_bytes=_stack_bytes(image, runs),
        unaligned=sum(run.unaligned for run in runs),
        unaligned_in=_function_at(image, first_unaligned.unaligned_pc) if first_unaligned else None,
    )


def profile(image: Image, samples: NDArray[np.float32]) -> list[Run]:
    """What each of the segments (N, T) executes, one run for each.

    Raises:
        FirmwareError: no segments, no emulator, no compiler for the plugin, or a program that does not answer.
    """
    missing = available(image)
    if missing is not None:
        raise FirmwareError("instructions are counted in an emulator", missing.reason, "Install it, and count again.")
    if not len(samples):
        raise FirmwareError("a count is of at least one segment", "none", "Give one; random samples will do.")
    with files.scratch_folder() as folder:
        out = folder / "counts"
        emulate.run_batch(image, samples, plugin=",".join([str(plugin()), f"out={out}", *_arguments(image)]))
        lines = out.read_text(encoding="ascii").splitlines()
    runs = _runs(_Code(image), lines)
    if len(runs) != len(samples):
        raise FirmwareError(
            "every segment is one run of the model's function", f"{len(runs)} runs of {len(samples)}", "Build it again."
        )
    return runs


def plugin() -> Path:
    """The counting plugin, compiled if this version of it has not been yet.

    Raises:
        FirmwareError: no compiler, or one that fails.
    """
    source = fw.path(_PLUGIN)
    path = machine.cache_folder() / f"icount-{files.sha256_file(source)[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / path.name
            toolchain.run([*toolchain.compiler("cc"), *_PLUGIN_FLAGS, str(source), "-o", str(built)])
            built.replace(path)
    return path


class _Code:
    """The instructions at an image's addresses."""

    def __init__(self, image: Image) -> None:
        elf = elf_files.open_elf(image.elf)
        self._machine = elf_files.machine(elf)
        self._sections = [s for s in elf_files.sections(elf) if s.executable]

    def at(self, address: int, count: int) -> tuple[Instruction, ...]:
        """`count` instructions from `address` on."""
        for section in self._sections:
            if section.address <= address < section.address + section.size:
                offset, instructions = address - section.address, []
                for _ in range(count):
                    instructions.append(cores.decode(self._machine, section.content, offset))
                    offset += instructions[-1].size
                return tuple(instructions)
        raise FirmwareError("an inference runs code of its image", f"address {address:#x}", "Build it again.")


def _arguments(image: Image) -> list[str]:
    """The plugin's arguments that name addresses."""
    by_name = {symbol.name: symbol for symbol in image.symbols}
    run = by_name.get(f"{image.model.name}_run")
    if run is None or run.section == "":
        raise FirmwareError(
            "a generated model has its function", f"no {image.model.name}_run in {image.elf}", "Generate it again."
        )
    low, high = _stack_range(image)
    return [
        f"run={run.address:x}-{run.address + run.size:x}",
        f"stack={low:x}-{high:x}",
        *(f"layer={symbol.address:x}" for symbol in image.layer_functions),
    ]


def _stack_range(image: Image) -> tuple[int, int]:
    """Where the stack lies: as the linker script says, or anywhere above a Linux program's own sections."""
    by_name = {symbol.name: symbol.address for symbol in image.symbols}
    if all(name in by_name for name in _STACK_SYMBOLS):
        return by_name[_STACK_SYMBOLS[0]], by_name[_STACK_SYMBOLS[1]]
    ends = [s.address + s.size for s in elf_files.sections(elf_files.open_elf(image.elf))]
    return max(ends), _ADDRESSES - 1


def _stack_bytes(image: Image, runs: list[Run]) -> int:
    _, high = _stack_range(image)
    written = max(run.stack_high for run in runs)
    top = high if high < _ADDRESSES - 1 else written
    return top - min(run.stack_low for run in runs) if written else 0


def _runs(code: _Code, lines: Iterable[str]) -> list[Run]:
    """The runs in the plugin's file."""
    known: dict[str, tuple[int, tuple[Instruction, ...]]] = {}
    places: dict[str, tuple[int, int]] = {}
    blocks: list[Block] = []
    runs: list[Run] = []
    for line in lines:
        kind, *words = line.split()
        if kind == "block":
            places[words[0]] = (int(words[1], 16), int(words[2]))
        elif kind == "count":
            if words[2] not in known:
                address, number = places[words[2]]
                known[words[2]] = (address, code.at(address, number))
            blocks.append(Block(*known[words[2]], layer=int(words[1]), times=int(words[3])))
        elif kind == "run":
            low, high, unaligned, pc = int(words[1], 16), int(words[2], 16), int(words[3]), int(words[4], 16)
            runs.append(Run(tuple(blocks), low, high, unaligned, pc))
            blocks = []
    return runs


def _by_class(blocks: Iterable[Block]) -> dict[fw.Kind, int]:
    counted: Counter[fw.Kind] = Counter()
    for block in blocks:
        for kind, number in Counter(i.kind for i in block.instructions).items():
            counted[kind] += number * block.times
    return dict(sorted(counted.items()))


def _layer(name: str, blocks: list[Block]) -> LayerCount:
    return LayerCount(name=name, total=sum(block.executed for block in blocks), by_class=_by_class(blocks))


def _figures(run: Run) -> tuple[int, dict[int, dict[fw.Kind, int]]]:
    layers = {block.layer for block in run.blocks}
    return run.total, {layer: _by_class(b for b in run.blocks if b.layer == layer) for layer in layers}


def _function_at(image: Image, address: int) -> str:
    inside = [s.name for s in image.symbols if s.kind == "function" and s.address <= address < s.address + s.size]
    return next(iter(inside), f"{address:#x}")
