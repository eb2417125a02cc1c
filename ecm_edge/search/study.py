"""The Optuna study behind a search: its storage, what draws from it, and what prunes."""

from __future__ import annotations

import re
import sqlite3
import time
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

import numpy as np
import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import get_storage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.study import StudyDirection
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from ecm_edge.base.errors import SearchError
from ecm_edge.base.url_secrets import HIDDEN, without_secrets
from ecm_edge.search import draws, presence
from ecm_edge.search.storage import PatientStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection

    from ecm_edge.candidate.space import Point

Sampler = Literal["random", "tpe", "nsga2", "grid"]
Pruner = Literal["median", "halving", "none"]

JOURNAL = "journal://"
_GRPC = "grpc://"
_LEAST_SECRET = 3  # letters of a part of a password that is looked for
_MOST_TRIES = 5  # to open a database that other processes open for the first time, too

PRUNERS: dict[Pruner, Callable[[], optuna.pruners.BasePruner]] = {
    "median": partial(optuna.pruners.MedianPruner, n_startup_trials=4, n_warmup_steps=3),
    "halving": partial(optuna.pruners.SuccessiveHalvingPruner, min_resource=2, reduction_factor=2),
    "none": optuna.pruners.NopPruner,
}


def open_storage(url: str, tell: Callable[[str], None] = lambda _: None) -> BaseStorage:
    """The storage at a URL: a database that SQLAlchemy opens, Optuna's journal file, or Optuna's gRPC proxy.

    Args:
        url: as `check_url` takes it.
        tell: gets a line for each trial whose heartbeats ended.

    Raises:
        SearchError: it does not open.
    """
    try:
        if url.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(unquote(url.removeprefix(JOURNAL))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _proxy(url) if url.startswith(_GRPC) else get_storage(_database(url, tell))
    except Exception as problem:  # noqa: BLE001 - SQLAlchemy and its drivers raise whatever they like
        raise SearchError(
            "a study needs a storage that opens",
            f"{type(problem).__name__} for {without_secrets(url)}: {hidden(_reason(problem), url)}",
            "Check the URL, that the server runs, and the role's password; in a URL, @ in it is %40 and / is %2F.",
        ) from None  # the cause may hold the password


def _proxy(url: str) -> BaseStorage:
    host, _, port = url.removeprefix(_GRPC).rpartition(":")
    return optuna.storages.GrpcStorageProxy(host=host, port=int(port))


def _database(url: str, tell: Callable[[str], None]) -> PatientStorage:
    """A database; where another process makes its tables at this moment, as soon as they are there."""
    for _ in range(_MOST_TRIES - 1):
        try:
            return _opened(url, tell)
        except SQLAlchemyError as problem:
            if not re.search(r"(?i)exists|unique|duplicate", str(problem)):
                raise
            time.sleep(1)
    return _opened(url, tell)


def _opened(url: str, tell: Callable[[str], None]) -> PatientStorage:
    storage = PatientStorage(
        url,
        heartbeat_interval=presence.heartbeat_s(),
        grace_period=presence.GRACE_BEATS * presence.heartbeat_s(),
        heartbeat_stale_trial_callback=lambda study, trial: presence.requeue(study, trial, died=True, tell=tell),
    )
    if url.startswith("sqlite"):
        event.listen(storage.engine, "connect", _write_quickly)
        event.listen(storage.engine, "begin", _lock_at_once)
        storage.engine.dispose()  # connections of before know nothing of it
    return storage


def _write_quickly(connection: sqlite3.Connection, _record: object) -> None:
    """With a log that is written ahead, a commit need not wait for the disk; it outlives a killed process."""
    with suppress(sqlite3.OperationalError):  # a file system that cannot share memory: it works without
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _lock_at_once(connection: Connection) -> None:
    """SQLite locks at the first write, so that two processes could both read that a trial waits, and both take it."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def close(storage: BaseStorage) -> None:
    """Close a database's connections: the last one leaves an SQLite file whole, without a log beside it."""
    backend = getattr(storage, "_backend", None)
    if isinstance(backend, PatientStorage):
        backend.engine.dispose()


def make_or_load(
    storage: BaseStorage,
    name: str,
    *,
    sampler: Sampler,
    pruner: Pruner,
    seed: int,
    grid: Sequence[Point],
) -> tuple[optuna.Study, bool]:
    """The study of that name, and whether it was made now.

    Args:
        storage: that of the study.
        name: of the study in the storage.
        sampler: with nsga2 a second objective is minimised.
        pruner: what ends a trial early.
        seed: of the sampler, which draws by it and by the number of the draw.
        grid: every point to go through with the sampler grid; else not looked at.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    maximise, minimise = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [maximise, minimise] if sampler == "nsga2" else [maximise]
    by_draw, prunes = _ByDraw(sampler, seed, grid), PRUNERS[pruner]()
    try:
        made = optuna.create_study(
            storage=storage, study_name=name, directions=directions, sampler=by_draw, pruner=prunes
        )
    except DuplicatedStudyError:
        return optuna.load_study(storage=storage, study_name=name, sampler=by_draw, pruner=prunes), False
    return made, True


def names(storage: BaseStorage) -> list[str]:
    """The names of the studies in a storage."""
    return sorted(found.study_name for found in storage.get_all_studies())


def check_url(storage: str) -> None:
    """Refuse what is no storage URL, before a run's folder is made.

    Raises:
        SearchError: a path in its place, or another text without "://".
    """
    if "://" not in storage and storage != "journal":
        raise SearchError(
            "--storage is a URL as Optuna takes it",
            "one with a host and no ://" if "@" in storage else repr(storage),
            "PostgreSQL is postgresql+psycopg://ROLE:PASSWORD@HOST/DATABASE, a file of SQLite sqlite:///PATH, one of "
            f"Optuna's journal {JOURNAL}PATH.",
        )


def is_hidden(shown: str) -> bool:
    """Whether a shown URL lacks a password."""
    return HIDDEN in shown


def hidden(text: str, url: str) -> str:
    """A text of a library without the password of a URL."""
    found = re.search(r"://[^:/@]*:(.*)@", url)
    text = text.replace(url, without_secrets(url))
    whole = found.group(1) if found else ""
    parts = [part for part in re.split(r"[@/?#:]", whole) if len(part) >= _LEAST_SECRET]  # as a library takes it
    for secret in sorted(filter(None, {whole, unquote(whole), *parts}), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return without_secrets(text)


def sqlite_url(path: Path) -> str:
    """The storage URL of an SQLite file, whatever characters its path holds."""
    return f"sqlite:///{quote(str(path))}"


def journal_url(path: Path) -> str:
    """The storage URL of a file of Optuna's journal."""
    return f"{JOURNAL}{quote(str(path))}"


@contextmanager
def clear_storage_errors(url: str) -> Iterator[None]:
    """Turn what goes wrong in an open storage, such as a full disk, into one clear error.

    Raises:
        SearchError: the storage failed.
    """
    try:
        yield
    except Exception as problem:
        if not _is_of_a_storage(problem):
            raise
        raise SearchError(
            "a study's storage stays readable and writable",
            hidden(_reason(problem), url),
            "Mend the connection, or free some space; nothing that was trained is lost. Type the command again, a "
            "search with --resume.",
        ) from None  # the cause may hold the password


def _is_of_a_storage(problem: Exception) -> bool:
    """Whether it is what a database, a damaged journal or Optuna's gRPC proxy raises; grpc need not be installed."""
    known = isinstance(problem, (StorageInternalError, SQLAlchemyError, JSONDecodeError))
    return known or type(problem).__module__.partition(".")[0] == "grpc"


def _reason(problem: Exception) -> str:
    details = getattr(problem, "details", None)  # of gRPC's errors, whose text has many lines
    said = details() if callable(details) else str(problem.__cause__ or problem)
    return (str(said).strip() or type(problem).__name__).splitlines()[0]


class _ByDraw(BaseSampler):
    """Optuna's sampler of a name, made anew for each trial with a seed from the run's and from the draw.

    So a draw depends on the trials before it, and on nothing that a process remembers. The grid needs no sampler: its
    point of a draw is that of the draw's number, those with given points not counted.
    """

    def __init__(self, name: Sampler, seed: int, grid: Sequence[Point]) -> None:
        self._name = name
        self._seed = seed
        self._grid = grid
        self._inner = sampler_of(name, seed)
        self._place: int | None = None  # in the grid

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        trials = study.get_trials(deepcopy=False)
        self._place = draws.grid_places(trials).get(trial.number) if self._name == "grid" else None
        mixed = np.random.SeedSequence([self._seed, draws.numbers(trials)[trial.number]]).generate_state(1)
        self._inner = sampler_of(self._name, int(mixed[0]))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {} if self._name == "grid" else self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {} if self._name == "grid" else self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> object:
        if self._place is not None:
            return self._grid[self._place][param_name]
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: optuna.trial.TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


def sampler_of(name: Sampler, seed: int) -> BaseSampler:
    """Optuna's sampler; of TPE, trials that run count as poor ones, so that workers do not all draw the same."""
    match name:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def report_rung(trial: optuna.trial.Trial, rung: int, value: float) -> None:
    """Report the rung at which a trial ends, and its objective there.

    The sampler tpe ranks pruned trials by their last step, then by the value. The pruner takes steps from 1 on for
    epochs of a full training; it does not see these, since it compares with trials only that it judged or that were
    completed.
    """
    trial.report(value, rung)
