"""What a verb was given, as the stages want it: a text becomes the path, data set, board or task that it names.

Each function gives back unchanged what is such a thing already, None included. No verb converts its arguments in
another way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Space
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.targets import Target
    from ecm_edge.tasks import Task

T = TypeVar("T")

AnyPath: TypeAlias = "str | os.PathLike[str]"
"""A path as text or as a `Path`."""

AnyDataset: TypeAlias = "Dataset | str | os.PathLike[str]"
"""An open data set, or the path of its folder."""

AnyTarget: TypeAlias = "Target | str | os.PathLike[str]"
"""A board: its record, a name from `ecm-edge targets`, or the path of a TOML file."""

AnyTask: TypeAlias = "Task | str | os.PathLike[str]"
"""A task: its record, a name from `ecm-edge tasks`, or the path of a TOML file."""

AnySpace: TypeAlias = "Space | str | os.PathLike[str]"
"""A search space: its record, the name of a shipped one, or the path of a TOML file."""

AnyConfig: TypeAlias = "CandidateConfig | str | os.PathLike[str]"
"""A configuration, or the folder of a candidate or of a run that has it."""


def path(given: T | AnyPath) -> T | Path:
    """The path of a text.

    >>> path("run/trials").name, path(None)
    ('trials', None)
    """
    return Path(given) if isinstance(given, str | os.PathLike) else given


def model(given: T | AnyPath) -> T | Path:
    """The path of a candidate's folder or of an ONNX file; a run's folder becomes that of its best candidate.

    Raises:
        CandidateError: there is nothing at the path, or the run has no verified candidate.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    from ecm_edge.base.errors import CandidateError
    from ecm_edge.candidate.candidate import locate

    found = locate(Path(given))
    if not found.exists():
        raise CandidateError(
            "a model is the folder of a candidate or of a run, or an ONNX file",
            f"nothing at {found}",
            "Check the path, or make a candidate with `search` or `train`.",
        )
    return found


def dataset(given: T | AnyPath, *, check: bool = True) -> T | Dataset:
    """The data set in a folder; with `check` its content is held against its hashes, and all of it read.

    Raises:
        DatasetError: not a data set, or one that changed since it was written.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    from ecm_edge.data.dataset import check_content, open_dataset

    opened = open_dataset(Path(given))
    if check:
        check_content(opened)
    return opened


def target(given: T | AnyPath) -> T | Target:
    """The board of a shipped name or of a TOML file.

    Raises:
        TargetError: no such board, or a file that is no board's.
    """
    if not isinstance(given, str | os.PathLike):
        _may_run(given)
        return given
    from ecm_edge.targets import load

    return load(os.fspath(given))


def task(given: T | AnyPath) -> T | Task:
    """The task of a shipped name or of a TOML file.

    Raises:
        TaskError: no such task, or a file that is no task's.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    from ecm_edge.tasks import load

    return load(os.fspath(given))


def space(given: T | AnyPath) -> T | Space:
    """The search space of a shipped name or of a TOML file.

    Raises:
        SpaceError: no such space, or a file that is no space's.
    """
    if not isinstance(given, str | os.PathLike):
        _may_run(given)
        return given
    from ecm_edge.candidate.space import load

    return load(os.fspath(given))


def config(given: T | AnyPath) -> T | CandidateConfig:
    """The configuration of the candidate in a folder; a run's folder stands for its best candidate.

    Raises:
        CandidateError: no candidate is there.
    """
    if not isinstance(given, str | os.PathLike):
        _may_run(given)
        return given
    from ecm_edge.candidate.candidate import load_config, locate

    return load_config(locate(Path(given)))


def factories(*names: object) -> None:
    """Let factories run that a Python program gave as arguments."""
    from ecm_edge.base import trust
    from ecm_edge.candidate.networks import command_of

    trust.typed(command_of(str(name)) for name in names if name is not None)


def _may_run(record: object) -> None:
    """Let the commands of a record run that a Python program made, and none that was read from a foreign file."""
    from ecm_edge.base import trust
    from ecm_edge.candidate import candidate, space
    from ecm_edge.targets import Target, commands

    match record:
        case Target():
            trust.given(commands.commands(record.firmware))
        case space.Space():
            trust.given(space.commands(record))
        case candidate.CandidateConfig():
            trust.given(candidate.commands(record))


def nothing(_: object) -> None:
    """What is called after a step where nobody asked to be told."""
