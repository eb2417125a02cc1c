"""Boards: what they are, what a candidate may cost on them, how they score, and when a change is accepted.

A target is one TOML file. Those in this folder are known by name; any other is given by its path and works the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from ecm_edge.base import files, toml_files, trust
from ecm_edge.base.errors import TargetError
from ecm_edge.base.records import Form, Record, field_meant, first_fault
from ecm_edge.targets import commands, ports
from ecm_edge.targets import firmware as fw
from ecm_edge.targets.core import Core, Memory
from ecm_edge.targets.firmware import Firmware
from ecm_edge.tasks.score import ScoreRule

if TYPE_CHECKING:
    from collections.abc import Collection

    from ecm_edge.tasks import Task

_FOLDER = Path(__file__).parent


class Budget(Record):
    """The most a candidate may cost; what does not fit is never trained."""

    parameters: PositiveInt
    macs: PositiveInt
    flash_bytes: int = Field(ge=1024)  # less is a number of KiB: the least image has more
    ram_bytes: int = Field(ge=256)
    latency_ms: PositiveFloat


class CostModel(Record):
    """From counts to estimates, until the image itself is built; `source` cites every figure.

    latency = MACs x cycles_per_mac / clock; flash = weight bytes + runtime_flash_bytes.
    """

    cycles_per_mac: PositiveFloat
    cycles_per_mac_low: PositiveFloat
    cycles_per_mac_high: PositiveFloat
    runtime_flash_bytes: int = Field(ge=0)
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> CostModel:
        if not self.cycles_per_mac_low <= self.cycles_per_mac <= self.cycles_per_mac_high:
            raise ValueError("cycles_per_mac must lie between its low and its high")
        return self


class BoardScoreRule(ScoreRule):
    """A score that a board's own file defines; it is that of `task` and of no other."""

    task: str = Field(default="af-5s", exclude_if=lambda name: name == "af-5s")  # hashes of targets stay


class FloatParity(Record):
    """How far two float32 forms of one net may differ on any score, and how many labels may flip."""

    max_abs: PositiveFloat
    cos: float = Field(ge=-1, le=1)
    label_flips: int = Field(ge=0)


class Int8Parity(Record):
    """What quantisation may cost against the float form, and how far a runtime may stray from the reference."""

    max_lsb: int = Field(ge=0)
    f1_drop: float = Field(ge=0)
    fbeta_drop: float = Field(ge=0)


class ParityLimits(Record):
    """The limits of `verify`, for each form."""

    float32: FloatParity
    float16: FloatParity
    int8: Int8Parity


class Promotion(Record):
    """How much worse than the incumbent a challenger may be in cost; shares of the incumbent's figure.

    With `costs` "scored" it may be worse by any amount within the budgets, where its task has a rule of score on the
    board: that rule says what milliseconds and bytes are worth.
    """

    costs: Literal["bounded", "scored"] = "bounded"
    latency_tolerance: float = Field(ge=0)
    flash_tolerance: float = Field(ge=0)
    ram_tolerance: float = Field(ge=0)


class Target(Record):
    """A board. `precision` lists the forms it can run, the first being what is shipped by default."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    precision: list[Form] = Field(min_length=1)
    core: Core
    memory: Memory
    budget: Budget
    cost_model: CostModel
    firmware: Firmware | None = None
    score: BoardScoreRule | None = None
    parity: ParityLimits
    promotion: Promotion

    KEYS = ("name", "title")

    @model_validator(mode="after")
    def _within_memory(self) -> Target:
        for name in ("flash_bytes", "ram_bytes"):
            budget, memory = getattr(self.budget, name), getattr(self.memory, name)
            if budget > memory:
                raise ValueError(f"budget.{name} {budget} is above the {memory} that the board has")
        return self


def names() -> list[str]:
    """The names of the boards that ship with the package."""
    return toml_files.names(_FOLDER)


def load(name_or_path: str) -> Target:
    """The target of a shipped name or of a TOML file's path.

    Raises:
        TargetError: no such target, not TOML, a field that is missing, unknown or out of its range, or one that does
            not fit the port or the core that the file names.
    """
    path, content = toml_files.read(_FOLDER, name_or_path, "target", TargetError)
    path = files.resolved(path)  # sources are taken from beside the trusted file, and not from beside a link to it
    if path.parent != _FOLDER.resolve() and isinstance(content.get("firmware"), dict):
        content["firmware"] = fw.beside(path.parent, content["firmware"])
    try:
        target = Target.model_validate(content)
    except ValidationError as problem:
        raise TargetError(
            "a target file has the fields of a shipped one, each in the unit that ends its name",
            f"{first_fault(problem)} in {path}",
            f"{field_meant(problem, Target)}Compare it with a shipped one: `ecm-edge targets nucleo-l432kc --json`.",
        ) from None
    ports.check(target.name, target.core, target.memory, target.firmware)
    trust.found(commands.commands(target.firmware), path)
    return target


def score_rule(target: Target | None, task: Task) -> ScoreRule | None:
    """The rule by which models for a task score on a board: the task's for that board, else the board's for that task.

    None where neither has one; so the rule of one task is never applied to another.
    """
    if target is None:
        return None
    own = target.score if target.score and target.score.task == task.name else None
    return task.score.get(target.name, own)


def content(target: Target, tables: Collection[str] | None = None) -> dict[str, Any]:
    """What hashes of a target, or of some of its tables, are taken of.

    The contest's protocol is left out, so that the hashes in earlier records hold.
    """
    found = target.model_dump(mode="json", include=set(tables) if tables else None)
    if target.firmware and target.firmware.protocol == fw.CONTEST and "firmware" in found:
        del found["firmware"]["protocol"]
    return found


class TargetList(Record):
    """What `ecm-edge targets --json` prints."""

    targets: list[Target]
