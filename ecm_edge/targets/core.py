"""The processor and the memories of a board."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from ecm_edge.base.records import Record
from ecm_edge.targets.firmware import Pipeline


class Core(Record):
    """The processor that runs the inference."""

    name: str
    architecture: str
    clock_hz: int = Field(ge=32_768)  # the slowest clock there is; less is a number of MHz
    strict_alignment: bool
    pipeline: Pipeline | None = None


class Memory(Record):
    """What the board has, or what the rule of the contest leaves of it.

    The origins are the first addresses of what may be used: a linker script takes them. Where an operating system loads
    the program there are none.
    """

    flash_bytes: PositiveInt
    ram_bytes: PositiveInt
    flash_origin: int | None = Field(default=None, ge=0, lt=1 << 32, exclude_if=lambda origin: origin is None)
    ram_origin: int | None = Field(default=None, ge=0, lt=1 << 32, exclude_if=lambda origin: origin is None)
