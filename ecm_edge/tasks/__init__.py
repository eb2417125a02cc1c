"""Tasks: what a detector looks for, and in what signal.

A task is one TOML file. Those in this folder are known by name; any other is given by its path and works the same.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from ecm_edge.base import toml_files
from ecm_edge.base.errors import TaskError
from ecm_edge.base.records import Record, field_meant, first_fault
from ecm_edge.tasks.score import ScoreRule

_FOLDER = Path(__file__).parent

_WHOLE = 1e-9  # how near to a whole number a count of samples has to be
_MOST_SAMPLES = 1_000_000  # a window is held in memory many times
_ONE_LINE = r"^[^\s|][^|\n\r]*$"  # such a text fits into a table

_Code = Annotated[str, Field(min_length=1)]


class Task(Record):
    """What counts as positive, and the form of a segment.

    Rhythm codes are those of `data.rhythms`: a code of the vocabulary that stands in no list is negative. `label` is
    what texts call a positive segment. `band_hz` is that of the band-pass, None for none. `leads` are names in order of
    preference: the first that a recording has is taken where the user names none. `score` has the rules by which models
    score, by the name of the board; a board's own file may have one as well (`targets.score_rule`).
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = Field(pattern=_ONE_LINE)
    label: str = Field(pattern=_ONE_LINE, max_length=40)
    positive: list[_Code] = Field(min_length=1)
    negative: list[_Code] = Field(default_factory=list)
    ignored: list[_Code] = Field(default_factory=list)
    window_s: PositiveFloat
    sampling_rate_hz: PositiveFloat
    band_hz: tuple[PositiveFloat, PositiveFloat] | None = None
    unit: Literal["mV", "uV", "V", "unstated"] = "mV"
    leads: list[str] = Field(default_factory=list)
    score: dict[str, ScoreRule] = Field(default_factory=dict, exclude_if=lambda rules: not rules)

    KEYS = ("name", "title")

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        samples = self.window_s * self.sampling_rate_hz
        if samples > _MOST_SAMPLES or abs(samples - round(samples)) > _WHOLE * samples:
            raise ValueError(f"a window holds a whole number of samples, at most {_MOST_SAMPLES:,}, not {samples:g}")
        if self.band_hz and not self.band_hz[0] < self.band_hz[1] < self.sampling_rate_hz / 2:
            raise ValueError("band_hz is low, high, and high is below half of the sampling rate")
        codes = [*self.positive, *self.negative, *self.ignored]
        if len(set(codes)) < len(codes):
            raise ValueError("a rhythm code stands in one of positive, negative and ignored, and once")
        return self

    @property
    def samples_per_segment(self) -> int:
        """T, the samples of a segment."""
        return round(self.window_s * self.sampling_rate_hz)

    def meaning(self) -> dict[str, object]:
        """What changes the samples or the labels of a data set, but for the fields that its header has of its own."""
        return self.model_dump(include={"name", "negative", "ignored", "window_s", "band_hz"})

    @property
    def signal(self) -> str:
        """In words what is done to a recording before it is cut."""
        resampled = f"resampled to {self.sampling_rate_hz:g} Hz (polyphase)"
        if self.band_hz is None:
            return resampled
        low, high = self.band_hz
        return f"{resampled}, band-passed {low:g}-{high:g} Hz (Butterworth of order 2, zero phase)"


def names() -> list[str]:
    """The names of the tasks that ship with the package."""
    return toml_files.names(_FOLDER)


@cache
def default() -> Task:
    """The task where none is named: AF in 5 s."""
    return load("af-5s")


def load(name_or_path: str) -> Task:
    """The task of a shipped name or of a TOML file's path.

    Raises:
        TaskError: no such task, not TOML, or a field that is missing, unknown or out of its range.
    """
    path, content = toml_files.read(_FOLDER, name_or_path, "task", TaskError)
    try:
        return Task.model_validate(content)
    except ValidationError as problem:
        raise TaskError(
            "a task file has the fields of a shipped one",
            f"{first_fault(problem)} in {path}",
            f"{field_meant(problem, Task)}Compare it with `ecm-edge tasks --json`.",
        ) from None


class TaskList(Record):
    """What `ecm-edge tasks --json` prints."""

    tasks: list[Task]
