"""The Optuna study behind a search: how it is opened, what draws from it, what prunes, and the queue of a grid."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ecm_edge.base.errors import SearchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ecm_edge.candidate.space import Point

Sampler = Literal["random", "tpe", "nsga2", "grid"]
Pruner = Literal["median", "halving", "none"]

_AVOIDED = "avoided"  # of a trial: its point was drawn before, or lies near one that was not good enough
_QUEUED = "queued"  # of a study: every point of its grid is in it

_PRUNERS: dict[Pruner, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2),
    "none": optuna.pruners.NopPruner,
}


def open_study(
    storage: str, name: str, *, sampler: Sampler, pruner: Pruner, seed: int, grid: Iterable[Point]
) -> optuna.Study:
    """The study of that name, made if it is not there; trials that a killed process left running are marked as failed.

    Args:
        storage: any Optuna storage URL.
        name: of the study in the storage.
        sampler: with nsga2 a second objective is minimised.
        pruner: what ends a trial early.
        seed: of the sampler.
        grid: every point to go through with the sampler grid; else not looked at.

    Raises:
        SearchError: the storage does not open, or holds another kind of study under that name.
        SpaceError: the grid cannot be enumerated.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    maximise, minimise = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            load_if_exists=True,
            directions=[maximise, minimise] if sampler == "nsga2" else [maximise],
            sampler=_sampler(sampler, seed),
            pruner=_PRUNERS[pruner](),
        )
    except Exception as problem:  # SQLAlchemy and its drivers raise whatever they like
        raise SearchError(
            "a study needs a storage that opens",
            f"{type(problem).__name__} for {storage}",
            "Check the URL, and go on with --resume.",
        ) from problem
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    if sampler == "grid" and not study.user_attrs.get(_QUEUED):
        _queue(study, grid)
    return study


def check_url(storage: str) -> None:
    """Refuse what is no storage URL, before a run's folder is made.

    Raises:
        SearchError: a path in its place, or another text without "://".
    """
    if "://" not in storage:
        raise SearchError(
            "--storage is a URL as Optuna takes it", repr(storage), f"A file of SQLite is sqlite:///{storage}."
        )


def sqlite_url(path: Path) -> str:
    """The storage URL of an SQLite file, whatever characters its path holds."""
    return f"sqlite:///{quote(str(path))}"


@contextmanager
def clear_storage_errors() -> Iterator[None]:
    """Turn what goes wrong in an open storage, such as a full disk, into one clear error.

    Raises:
        SearchError: the storage failed.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as problem:
        reason = str(problem.__cause__ or problem).splitlines()[0]
        raise SearchError(
            "a study's storage stays readable and writable",
            reason,
            "Free some space or mend the connection, and go on with --resume.",
        ) from problem


def _sampler(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    """A grid is a queue of all points, so that its sampler is never asked."""
    match name:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def _queue(study: optuna.Study, points: Iterable[Point]) -> None:
    """Enqueue every point once, whatever of the queue a killed process had got done."""
    begun = bool(study.get_trials(deepcopy=False))
    for point in points:
        study.enqueue_trial(dict(point), skip_if_exists=begun)
    study.set_user_attr(_QUEUED, value=True)


def is_waiting(study: optuna.Study) -> bool:
    """Whether a point of the grid has not been drawn yet."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def mark_avoided(study: optuna.Study, trial: optuna.trial.Trial) -> None:
    """End a trial whose point is not to be tried."""
    trial.set_user_attr(_AVOIDED, value=True)
    study.tell(trial, state=TrialState.PRUNED)


def report_rung(trial: optuna.trial.Trial, rung: int, value: float) -> None:
    """Report the rung at which a trial ends, and its objective there.

    The sampler tpe ranks pruned trials by their last step, then by the value. The pruner takes steps from 1 on for
    epochs of a full training; it does not see these, since it compares with trials only that it judged or that were
    completed.
    """
    trial.report(value, rung)


def avoided(study: optuna.Study) -> int:
    """How many draws were avoided."""
    return sum(trial.user_attrs.get(_AVOIDED, False) for trial in study.get_trials(deepcopy=False))
