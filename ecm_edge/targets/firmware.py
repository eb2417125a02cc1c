"""How a board's firmware is built and emulated, and how its core spends cycles.

Paths in these records are relative to `firmware_check/`, or absolute where a user's own TOML file named a file beside
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from ecm_edge.base.records import Record
from ecm_edge.targets.kernels import Kernels

SHIPPED = Path(__file__).parents[2] / "firmware_check"
"""The hand-written C that ships beside the package."""

Protocol = Literal["iesd-2024", "scores"]
CONTEST: Protocol = "iesd-2024"

Kind = Literal["load", "store", "multiply", "fused", "divide", "float", "branch", "other"]
"""Classes of instructions: of memory; integer multiplication, with an addition or not; fused multiply-add of floats;
division and root, integer or float; other floating point; whatever may leave the straight line; and the rest."""


FilePath = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", max_length=1024)]
"""The path of a file that a board's description names; no system has one with a NUL in it."""


class Emulator(Record):
    """What runs an image: a command, to which the image's path is added; standard input and output are the line.

    command:        for the batch program.
    serial_command: for the serial program, where its line is another one; None if it is the same.
    package:        Debian's that holds the emulator; a hint names it as the package to install.
    """

    command: list[str] = Field(min_length=1)
    serial_command: list[str] | None = Field(default=None, min_length=1)
    package: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]*$")


class Firmware(Record):
    """How the C becomes an image.

    compiler:         "zig" for the ziglang package's `zig cc`, "cc" for this host's (cc, gcc or clang), or a program.
    flags:            for every file: the target, the core, what decides that answers are the same to the bit.
    model_flags:      for the generated code besides.
    program_flags:    for the port and the program besides.
    link_flags:       for the linker besides.
    port:             C files of the board, the start-up included.
    emulated_port:    the same for the emulator's board, where that is not the same board.
    batch_port:       the same for the batch program in the emulator, where that has a faster line than a UART.
    linker_script:    for bare metal; its MEMORY gives lengths as `LENGTH = …`. None where an operating system loads it.
    emulator:         None where this host runs the image itself.
    protocol:         of the serial program: "iesd-2024", the contest's, where a model fits it; "scores", a frame of the
                      same kind with every score, for all others (firmware_check/README.md).
    kernels:          what the generator makes for this core.
    """

    compiler: str = "zig"
    flags: list[str] = Field(default=[])
    model_flags: list[str] = Field(default=["-O2"])
    program_flags: list[str] = Field(default=["-Os"])
    link_flags: list[str] = Field(default=[])
    port: list[FilePath] = Field(min_length=1)
    emulated_port: list[FilePath] | None = None
    batch_port: list[FilePath] | None = None
    linker_script: FilePath | None = None
    emulator: Emulator | None = None
    protocol: Protocol = "scores"
    kernels: Kernels = Kernels()


class Timing(Record):
    """What instructions of one class cost: `busy` cycles of `unit` at best and at worst, the result after `latency`."""

    unit: str
    busy: PositiveInt = 1
    busy_high: PositiveInt | None = None
    latency: PositiveInt = 1

    @model_validator(mode="after")
    def _ordered(self) -> Timing:
        if self.busy_high is not None and self.busy_high < self.busy:
            raise ValueError("busy_high must not be below busy")
        return self


class Calibration(Record):
    """Cycles per instruction that were seen on the board with other programs; `source` says which."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> Calibration:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class Pipeline(Record):
    """An in-order core: `issue_width` instructions start in a cycle at most, one of each unit; `source` cites it."""

    issue_width: PositiveInt
    timing: dict[Kind, Timing]
    calibration: Calibration | None = None
    source: str

    @model_validator(mode="after")
    def _complete(self) -> Pipeline:
        missing = set(Kind.__args__) - set(self.timing)  # type: ignore[attr-defined]
        if missing:
            raise ValueError(f"timing lacks {', '.join(sorted(missing))}")
        return self


def beside(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A `[firmware]` table with the paths that lie beside a user's own TOML file in `folder` made absolute."""

    def place(name: Any) -> Any:  # noqa: ANN401 - not validated yet
        found = isinstance(name, str) and "\0" not in name and (folder / name).is_file()
        return str((folder / name).resolve()) if found else name

    placed = dict(content)
    for key in ("port", "emulated_port", "batch_port"):
        if isinstance(placed.get(key), list):
            placed[key] = [place(name) for name in placed[key]]
    if "linker_script" in placed:
        placed["linker_script"] = place(placed["linker_script"])
    return placed


def path(name: str) -> Path:
    """Where a file that a `Firmware` names lies."""
    return SHIPPED / name
