"""Search spaces: network families with ranges, and ranges for training. A TOML file each.

A value in the file is fixed; a table is a range or a list of choices:

    channels = 16
    channels = { low = 8, high = 32, step = 8 }       # whole numbers if every bound is one
    learning_rate = { low = 1e-3, high = 1e-2, log = true }
    activation = { choices = ["relu", "silu"] }
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from ecm_edge.base import toml_files, trust
from ecm_edge.base.errors import SpaceError
from ecm_edge.base.names import did_you_mean
from ecm_edge.base.records import Record, field_meant, first_fault
from ecm_edge.candidate.networks import FAMILIES, command_of, find_factory, parameters
from ecm_edge.candidate.training_config import Scalar, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import optuna

_FOLDER = Path(__file__).parent / "spaces"
_MOST_GRID_POINTS = 10_000  # all of them are queued before the first is tried
_WORD = re.compile(r"[A-Za-z0-9_-]+")
Point = dict[str, Scalar]
"""A drawn configuration: "family", "<family>.<parameter>" and "training.<parameter>" to values."""


class Range(Record):
    """Numbers from `low` to `high`, both included; in steps with `step`, even in the logarithm with `log`."""

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.step is not None and (self.step <= 0 or self.log):
            raise ValueError("a step is positive and excludes log")
        if not math.isfinite((self.high - self.low) / (self.step or 1)):
            raise ValueError(f"from {self.low} to {self.high} are more values than can be counted")
        if self.step is not None and not math.isclose(self.low + self._steps * self.step, self.high):
            raise ValueError(f"from {self.low} to {self.high} is not a whole number of steps of {self.step}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0, not at {self.low}")
        return self

    @property
    def _steps(self) -> int:
        return round((self.high - self.low) / (self.step or 1))

    @property
    def values(self) -> int | None:
        """How many values the range holds; None if it is one of reals without a step."""
        return self._steps + 1 if self.whole or self.step is not None else None

    @property
    def whole(self) -> bool:
        """Whether the range holds whole numbers only."""
        return all(isinstance(bound, int) for bound in (self.low, self.high, self.step or 1))


class Choices(Record):
    """One of a list."""

    choices: list[Scalar] = Field(min_length=1)


def _kind(value: object) -> str:
    """Which of an entry's three forms this is, so that an error is about that form alone."""
    if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value):
        return "choices"
    return "range" if isinstance(value, Range | dict) else "value"


Entry = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")] | Annotated[Scalar, Tag("value")],
    Discriminator(_kind),
]


class Family(Record):
    """One family of the space: a shipped one by its name, or a user's own by `factory` (module:function)."""

    factory: str | None = None
    params: dict[str, Entry] = Field(default={})


class Space(Record):
    """The families to draw from and how to train what is drawn."""

    families: dict[str, Family] = Field(min_length=1)
    training: dict[str, Entry] = Field(default={})

    @model_validator(mode="after")
    def _known(self) -> Space:
        for name, family in self.families.items():
            if name == "training" or not _WORD.fullmatch(name):
                raise ValueError(f"a family's name is a word other than training, not {name!r}")
            if family.factory is None and name not in FAMILIES:
                raise ValueError(f"family {name!r} is none of {', '.join(FAMILIES)} and has no factory")
        return self


def names() -> list[str]:
    """The names of the spaces that ship with the package."""
    return toml_files.names(_FOLDER)


def load(name_or_path: str) -> Space:
    """The space of a shipped name or of a TOML file's path.

    Raises:
        SpaceError: no such space, not TOML, or a field that is unknown or out of its range.
    """
    path, content = toml_files.read(_FOLDER, name_or_path, "space", SpaceError)
    try:
        loaded = Space.model_validate({**content, "families": {k: _family(v) for k, v in content["families"].items()}})
    except (KeyError, AttributeError):
        raise SpaceError(
            "a space names its families", f"no [families.NAME] in {path}", "Compare it with `ecm-edge space`."
        ) from None
    except ValidationError as problem:
        raise SpaceError(
            "a space file holds values, ranges and choices",
            f"{first_fault(problem)} in {path}",
            f"{_family_meant(content['families'])}Correct it; `ecm-edge space quick` shows one that works.",
        ) from None
    trust.found(commands(loaded), path)
    return loaded


def commands(space: Space) -> list[str]:
    """What drawing from a space would run that is not the package's own: the factories of families and of teachers."""
    teachers = space.training.get("teacher.factory")
    named = [family.factory for family in space.families.values()]
    named += map(str, _samples(teachers)) if teachers is not None else []
    return [command_of(name) for name in named if name is not None]


def _family_meant(tables: Mapping[str, Any]) -> str:
    """A hint on the first family that is none of ours and has no factory."""
    strange = [name for name, table in tables.items() if name not in FAMILIES and "factory" not in table]
    return did_you_mean(strange[0], FAMILIES) if strange else ""


def _family(table: Mapping[str, Any]) -> dict[str, Any]:
    """A family's table in the file holds its factory beside its parameters."""
    return {"factory": table.get("factory"), "params": {k: v for k, v in table.items() if k != "factory"}}


def draw(space: Space, trial: optuna.trial.Trial) -> Point:
    """One point of the space, drawn by Optuna's sampler."""
    family = trial.suggest_categorical("family", list(space.families))
    return {"family": family, **{name: _suggest(trial, name, entry) for name, entry in entries(space, family).items()}}


def entries(space: Space, family: str) -> dict[str, Entry]:
    """Every parameter that a point of this family has, by its full name."""
    own = {f"{family}.{name}": entry for name, entry in space.families[family].params.items()}
    return {**own, **{f"training.{name}": entry for name, entry in space.training.items()}}


def fixed_or_choices(space: Space, name: str) -> list[Scalar]:
    """The values that an entry of `training` may have, by its name in it; none for a range or an absent one."""
    match space.training.get(name):
        case None | Range():
            return []
        case Choices(choices=choices):
            return choices
        case value:
            return [value]


def _suggest(trial: optuna.trial.Trial, name: str, entry: Entry) -> Scalar:
    match entry:
        case Choices(choices=choices):
            return cast("Scalar", trial.suggest_categorical(name, choices))
        case Range(low=low, high=high, step=step, log=log) if entry.whole:
            return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
        case Range(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
        case _:
            return entry


def check(space: Space) -> None:
    """Check that each family takes both ends of its ranges and each of its choices; nothing is built.

    Raises:
        SpaceError: a parameter that is missing, does not exist or is out of range, or a user's own factory that cannot
            be imported. The parameters of a user's own factory are not checked.
    """
    for name, family in space.families.items():
        if family.factory is not None:
            find_factory(family.factory)
        samples = {key: _samples(entry) for key, entry in entries(space, name).items()}
        first = {key: values[0] for key, values in samples.items()}
        changed = ({key: value} for key, values in samples.items() for value in values)
        for change in ({}, *changed):
            _, network, _ = split_point({"family": name, **first, **change})
            if family.factory is None:
                parameters(name, network)


def _samples(entry: Entry) -> list[Scalar]:
    """Some of an entry's values: both ends, one between if there are any that are not whole, all of a list."""
    if isinstance(entry, Choices):
        return entry.choices
    if not isinstance(entry, Range):
        return [entry]
    between = [] if entry.whole else [entry.low + (entry.step or (entry.high - entry.low) / math.pi)]  # rarely whole
    return [entry.low, entry.high, *between]


def grid_size(space: Space) -> int:
    """How many points a space has, for the grid sampler.

    Raises:
        SpaceError: a range of real numbers without a step, or too many points.
    """
    size = sum(
        math.prod(_count(name, entry) for name, entry in entries(space, family).items()) for family in space.families
    )
    if size > _MOST_GRID_POINTS:
        raise SpaceError(
            f"a grid has at most {_MOST_GRID_POINTS:,} points", f"{size:,}", "Lengthen its steps, or use --sampler tpe."
        )
    return size


def _count(name: str, entry: Entry) -> int:
    if isinstance(entry, Choices):
        return len(entry.choices)
    count = entry.values if isinstance(entry, Range) else 1
    if count is None:
        raise SpaceError("a grid needs steps or choices", f"reals for {name}", "Give it a step, or choices.")
    return count


def enumerate_points(space: Space) -> Iterator[Point]:
    """Every point of the space, for the grid sampler; raises as `grid_size` does."""
    grid_size(space)
    for family in space.families:
        listed = {name: _grid(entry) for name, entry in entries(space, family).items()}
        for values in itertools.product(*listed.values()):
            yield {"family": family, **dict(zip(listed, values, strict=True))}


def _grid(entry: Entry) -> list[Scalar]:
    if isinstance(entry, Choices):
        return entry.choices
    if not isinstance(entry, Range):
        return [entry]
    steps = range(entry.values or 0)
    return [min(entry.low + index * (entry.step or 1), entry.high) for index in steps]  # a sum of floats may overshoot


def position(space: Space, point: Point) -> dict[str, float | Scalar]:
    """Where a point lies: a number in a range as its share of the range, 0 to 1; floats outside of ranges as text.

    So only values in ranges have a distance from each other.
    """
    domains = entries(space, str(point["family"]))
    return {name: _share(domains[name], value) if name in domains else value for name, value in point.items()}


def _share(entry: Entry, value: Scalar) -> float | Scalar:
    if not isinstance(entry, Range) or isinstance(value, str):
        return repr(value) if isinstance(value, float) else value
    low, high, here = (math.log(x) if entry.log else float(x) for x in (entry.low, entry.high, value))
    return 0.0 if high == low else (here - low) / (high - low)


def split_point(point: Point) -> tuple[str, dict[str, Scalar], TrainingConfig]:
    """A point as its family, the network's parameters and the training configuration.

    Raises:
        SpaceError: a training parameter that does not exist or is out of range.
    """
    family = str(point["family"])
    network = {name.removeprefix(f"{family}."): v for name, v in point.items() if name.startswith(f"{family}.")}
    training = {name.removeprefix("training."): v for name, v in point.items() if name.startswith("training.")}
    return family, network, training_config(training)


def training_config(values: Mapping[str, Scalar]) -> TrainingConfig:
    """A training configuration from flat names: `augmentation.noise`, `teacher.network.channels`.

    Raises:
        SpaceError: a name that does not exist or a value out of range.
    """
    try:
        return TrainingConfig.model_validate(_nested(values))
    except ValidationError as problem:
        raise SpaceError(
            "a training parameter must exist and be in range",
            first_fault(problem, "training"),
            f"{field_meant(problem, TrainingConfig, 'training parameters')}Correct it, see `ecm-edge space`.",
        ) from None


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names with dots as tables in tables; None is a table that is empty yet."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *tables, last = name.split(".")
        place = tree
        for table in tables:
            inner = place.get(table)
            if inner is not None and not isinstance(inner, dict):
                raise SpaceError("a training parameter is a value or a table", f"both for {table}", "Name it once.")
            place[table] = dict(inner or {})
            place = place[table]
        place[last] = value
    return tree


def describe(entry: Entry) -> str:
    """An entry for people.

    >>> describe(Range(low=1, high=4)), describe(Choices(choices=["a", True])), describe(3)
    ('1 to 4', 'a, True', '3')
    """
    if isinstance(entry, Choices):
        return ", ".join(map(str, entry.choices))
    if isinstance(entry, Range):
        step = f" in steps of {entry.step:g}" if entry.step else ""
        return f"{entry.low:g} to {entry.high:g}{step}{', logarithmic' if entry.log else ''}"
    return str(entry)
