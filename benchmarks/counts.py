"""Counts: what an image takes on its board, the same on every machine. counts.json holds them, and a test compares.

    python -m benchmarks.counts            counts again and prints what differs from counts.json
    python -m benchmarks.counts --write    and writes it there: commit that together with what changed it, and say why

Counted are the nets of `firmware_nets` for every board in their forms, and the entry that ships on each shelf of
data/reference/ in its board's forms.

The figures depend on the ONNX files, on the C that is made of them, and on the cross-compiler (`compiler` in the file;
constraints.txt pins it). QEMU runs the images, and its plugin counts guest instructions, whatever QEMU's version and
its host are. The host's compiler builds the plugin, and a program that knows the answers of the images' self-test:
their bits are the same everywhere, so that no figure depends on it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import firmware_nets as nets
from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.records import Record
from ecm_edge.candidate import candidate
from ecm_edge.firmware import count, emulate, image, known_answer, make, stack, toolchain
from ecm_edge.forms import onnx_model, reference
from ecm_edge.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from ecm_edge.base.records import Form
    from ecm_edge.targets import Target

PATH = Path(__file__).parent / "counts.json"
SHELVES = Path(__file__).parents[1] / "data" / "reference"
BOARDS = ("loongson-2k0500", "nucleo-l432kc")
COMPILER = "zig"
SEGMENTS = 2
"""How many segments of the self-test are counted, as in a record of `ecm-edge firmware build`."""


class Count(Record):
    """Instructions of one inference, at most; bytes of the image that ships, of its memory and of its stack.

    `stack_bound` is of the program that ships, `stack_high_water` of the one that answered in the emulator.
    """

    instructions: int
    image_bytes: int
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    stack_bound_bytes: int
    stack_high_water_bytes: int


class Counts(Record):
    """counts.json: every count by the name of its build, and the compiler that made the images."""

    compiler: str
    counts: dict[str, Count]

    def of(self, net: str, board: str, form: Form) -> Count:
        """The count of a net, or of an entry by its name."""
        return self.counts[f"{net}, {board}, {form}"]


@dataclass(frozen=True)
class Build:
    """A model in one form for one board; `entry` is the folder of one that ships."""

    net: str
    board: str
    form: Form
    entry: Path | None = None

    @property
    def name(self) -> str:
        """What the file calls it."""
        return f"{self.net}, {self.board}, {self.form}"

    def load(self) -> onnx.ModelProto:
        """The model."""
        if self.entry is None:
            return nets.load(self.net, self.form)
        return onnx_model.load_classifier(self.entry / candidate.FORM_FILES[self.form]).proto


def builds() -> list[Build]:
    """Everything that is counted."""
    found = []
    for board in BOARDS:
        forms, entry = targets.load(board).precision, incumbent(board)
        found += [Build(net, board, form) for net in nets.NAMES for form in forms if form in nets.FORMS[net]]
        found += [Build(entry.name, board, form, entry) for form in forms]
    return sorted(found, key=lambda build: build.name)


def incumbent(board: str) -> Path:
    """The folder of the entry that ships for a board."""
    event = registry.incumbent(SHELVES / board)
    assert event is not None
    assert event.entry is not None
    return SHELVES / board / "entries" / event.entry


def counted(build: Build) -> tuple[Count, str]:
    """The count of an image that is built now, and the SHA-256 of the image.

    Raises:
        AssertionError: an answer of the emulated board is not the reference's, or not this host's to the bit.
    """
    target, model = targets.load(build.board), build.load()
    with tempfile.TemporaryDirectory() as folder:
        sources = make.make_sources(model, target, Path(folder))
        ships = make.make_image(sources, "serial", Path(folder, "serial"))
        batch = make.make_image(sources, "batch", Path(folder, "batch"), emulated=True)
        samples = known_answer.segments(sources.generated.samples)
        answers = emulate.run_batch(batch, samples)
        np.testing.assert_array_equal(answers, emulate.run_batch(sources.host, samples))
        expected = reference.scores(reference.load(model), samples)
        np.testing.assert_allclose(answers, expected, rtol=0, atol=_tolerance(target, build.form))
        found, size, bound = count.count(batch, samples[:SEGMENTS]), image.measure(ships), stack.bound(ships)
        assert isinstance(bound, stack.StackBound)
        record = Count(
            instructions=found.total,
            image_bytes=ships.shipped.stat().st_size,
            flash_bytes=size.sections.flash_bytes,
            ram_bytes=size.sections.ram_bytes,
            arena_bytes=size.arena_bytes,
            stack_bound_bytes=bound.program_bytes,
            stack_high_water_bytes=found.stack_bytes,
        )
        return record, files.sha256_file(ships.shipped)


def _tolerance(target: Target, form: Form) -> float:
    return 0 if form == "int8" else target.parity.float32.max_abs


def counted_now() -> Counts:
    """All counts, made now."""
    return Counts(compiler=toolchain.version(COMPILER), counts={build.name: counted(build)[0] for build in builds()})


def load() -> Counts:
    """The expected counts."""
    return Counts.load(PATH)


def text(counts: Counts) -> str:
    """The file's content: JSON, one build a line."""
    lines = [f"    {json.dumps(name)}: {json.dumps(one.model_dump())}" for name, one in counts.counts.items()]
    body = ",\n".join(lines)
    return f'{{\n  "compiler": {json.dumps(counts.compiler)},\n  "counts": {{\n{body}\n  }}\n}}\n'


def differences(expected: Counts, found: Counts) -> Iterator[str]:
    """A line for each figure that is another one, or that only one of the two has."""
    if expected.compiler != found.compiler:
        yield f"compiler: {expected.compiler} → {found.compiler}"
    for name in sorted({*expected.counts, *found.counts}):
        old, new = (each.counts[name].model_dump() if name in each.counts else {} for each in (expected, found))
        for figure in {**old, **new}:
            if old.get(figure) != new.get(figure):
                yield f"{name}: {figure} {old.get(figure, 'none')} → {new.get(figure, 'none')}"


def main(arguments: list[str]) -> int:
    """Print what differs; 1 if anything does and is not written."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counts", description="Count again, and print what differs from counts.json."
    )
    parser.add_argument("--write", action="store_true", help="write what was counted into counts.json")
    write = parser.parse_args(arguments).write
    found = counted_now()
    expected = load() if PATH.exists() else Counts(compiler="", counts={})
    lines = list(differences(expected, found))
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "nothing differs\n")
    if write:
        files.write_atomic(PATH, text(found).encode())
        return 0
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
