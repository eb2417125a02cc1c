"""The main job: draw candidates from a space, gate them, train what fits, prove the best.

`ecm_edge.search.runs` says what the folder of a run holds, `shared` what the study of it holds, `worker` how one
process works on it.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base import contents, files, trust
from ecm_edge.base.errors import SearchError
from ecm_edge.base.progress import doing
from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.candidate import space
from ecm_edge.candidate.candidate import RUN_SETTINGS, RUN_SUMMARY, RUN_TRIALS
from ecm_edge.search import presence, processes, runs, shared, stored, study
from ecm_edge.search.processes import Children
from ecm_edge.search.runs import (
    AVOID,
    DATABASE,
    JOURNAL_FILE,
    LIMITS,
    STUDY,
    KeptLimits,
    KeptStudy,
    SearchRecord,
    WorkerRecord,
    commands,
    load_settings,
)
from ecm_edge.search.summary import summary
from ecm_edge.search.worker import Worker, setting_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ecm_edge.candidate.space import Point
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.search.runs import SearchSettings, StoppedBy
    from ecm_edge.search.shared import Shared
    from ecm_edge.search.trial_record import TrialRecord

_NAME = "ecm-edge"
_TRIALS = 20


@dataclass(frozen=True)
class Limits:
    """When to stop, whichever comes first: so many trained candidates in the run, or so many seconds from now.

    What is None stays as the study and the run have it.
    """

    trials: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Sharing:
    """What a run shares with others, and how many processes work on it here.

    Args:
        storage: a storage URL; "journal" for Optuna's journal in the run's folder; by default an SQLite file there.
        name: of the study in the storage; by default one that no other run has.
        workers: processes of this machine.
        artifacts_url: where the trials' files are kept for other machines.
        start_from: points that are tried first.
    """

    storage: str | None = None
    name: str | None = None
    workers: int = 1
    artifacts_url: str | None = None
    start_from: Sequence[Point] = ()


def to_stderr(line: str) -> None:
    """A line for people, where the caller says nothing else."""
    sys.stderr.write(f"{line}\n")


def limits_of(out: Path, trials: int | None = None, timeout_s: float | None = None) -> Limits:
    """The limits that are given, and for those that are not the ones that the run in `out` was given last.

    Raises:
        SearchError: a damaged run.
    """
    path = out / LIMITS
    kept = KeptLimits.load(path, SearchError) if path.is_file() else KeptLimits(trials=_TRIALS)
    return Limits(kept.trials if trials is None else trials, kept.timeout_s if timeout_s is None else timeout_s)


def search(
    dataset: Dataset,
    out: Path,
    limits: Limits | None = None,
    sharing: Sharing | None = None,
    *,
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
    tell: Callable[[str], None] = to_stderr,
) -> SearchRecord:
    """Run, go on with, or join the search whose folder is `out`.

    What was trained is kept in the study. Only the training that ran when a process stopped is done again.

    Args:
        dataset: the data set that the run was started with.
        out: the run's folder, made by `runs.start`.
        limits: when to stop; the run keeps it, and all workers of its study stop then. By default as the study has it,
            else as `limits_of`.
        sharing: with whom; by default as the run had it.
        on_trial: called with every trial that this process finished.
        tell: gets a line for what else people should know.

    Raises:
        SearchError: another data set, other settings than the study's, nothing that fits the board, a storage that
            fails, or a damaged run.
    """
    if not (out / RUN_SETTINGS).is_file():
        raise SearchError(
            "a search goes on in the folder of a run",
            f"{contents.of_path(out)} at {out}",
            "Leave --resume out to begin.",
        )
    settings = load_settings(out)
    trust.check(commands(settings))
    shared.check_dataset(settings, dataset.header.content_sha256, dataset.folder)
    limits, sharing, started = limits or Limits(), sharing or Sharing(), time.monotonic()
    with files.locked(out), _open(out, settings, sharing, tell) as (shares, url):
        _set_limits(out, shares, limits)
        shares.repeat_what_was_lost()
        enqueue(shares, sharing.start_from)
        run = _Run(dataset, out, shares, on_trial, tell)
        if sharing.workers > 1:
            run.side_by_side(sharing.workers, url)
        return run.to_the_end(started)


def start(out: Path, settings: SearchSettings, sharing: Sharing) -> None:
    """Make the folder of a new run, which may join a study of others; raises as `runs.start` and `shared.begin`."""
    if sharing.storage not in {None, *_own(out)}:
        files.check_new(out)
        url, name = _place(out, settings, sharing)
        with study.clear_storage_errors(url):
            shared.check_joinable(url, name, settings)
    runs.start(out, settings)


def _set_limits(out: Path, shares: Shared, given: Limits) -> None:
    """Keep in the run and the study when all workers stop: who joins with no limits changes none of the others."""
    there = shares.limits()
    limits = limits_of(out, given.trials or (there.trials if there else None), given.timeout_s)
    kept = KeptLimits(trials=limits.trials or _TRIALS, timeout_s=limits.timeout_s)
    kept.save(out / LIMITS)
    shares.set_limits(kept.trials, kept.timeout_s)


@contextmanager
def _open(
    out: Path, settings: SearchSettings, sharing: Sharing, tell: Callable[[str], None]
) -> Iterator[tuple[Shared, str]]:
    """The run's study and the URL of its storage, as given or as the run had it."""
    url, name = _place(out, settings, sharing)
    own = {own_url: short for short, own_url in _own(out).items() if short != "journal"}
    kept = KeptStudy(storage=own.get(url, without_secrets(url)), name=name)
    with study.clear_storage_errors(url), doing("search"):
        shares = shared.begin(url, name, settings, tell)
        if (out / STUDY).is_file() and not shares.study.get_trials(deepcopy=False):
            _check_not_lost(out, kept)
        kept.save(out / STUDY)
        if sharing.artifacts_url is not None:
            stored.bind(shares, sharing.artifacts_url)
        with closing(shares):
            yield shares, url


def _place(out: Path, settings: SearchSettings, sharing: Sharing) -> tuple[str, str]:
    """The storage's URL and the study's name: what is given, else as the run had it, else a file in its folder.

    Raises:
        SearchError: the run's storage needs a password.
    """
    kept = KeptStudy.load(out / STUDY, SearchError) if (out / STUDY).is_file() else None
    storage = sharing.storage or (kept.storage if kept else DATABASE)
    is_as_kept = sharing.storage is None or (kept is not None and without_secrets(sharing.storage) == kept.storage)
    name = sharing.name or (kept.name if kept and is_as_kept else None)
    if storage in _own(out):
        return _own(out)[storage], name or _NAME
    if sharing.storage is None and study.is_hidden(storage):
        raise SearchError(
            "a run goes on with the storage that it has",
            f"that of {storage}, whose password is kept nowhere",
            "Give --storage, or set ECM_EDGE_STORAGE.",
        )
    return storage, name or _own_name(out, settings)


def _own_name(out: Path, settings: SearchSettings) -> str:
    """A name that no run of another folder or of other settings has."""
    return f"{_NAME}-{out.name}-{files.sha256_json(settings.model_dump(mode='json'))[:12]}"


def experiment_name(out: Path, settings: SearchSettings, sharing: Sharing) -> str:
    """The study's name, by which other programs know the run; studies in a run's own folder all have the same name.

    Raises:
        SearchError: the run's storage needs a password.
    """
    _, name = _place(out, settings, sharing)
    return _own_name(out, settings) if name == _NAME else name


def _own(out: Path) -> dict[str, str]:
    """The URLs of what lies in the run's own folder, which may be moved, by short names."""
    journal = study.journal_url(out / JOURNAL_FILE)
    return {DATABASE: study.sqlite_url(out / DATABASE), JOURNAL_FILE: journal, "journal": journal}


def _check_not_lost(out: Path, kept: KeptStudy) -> None:
    """Refuse to go on with trials in the folder of which the study knows nothing.

    Raises:
        SearchError: the study was removed, or is another one.
    """
    if any((out / RUN_TRIALS).glob("[0-9]*")):
        raise SearchError(
            "a run goes on with its study, which holds what was tried",
            f"no trial in the study {kept.name} of {kept.storage}, and some in {out / RUN_TRIALS}",
            f"Give the --storage that the run has, or begin a new run with --start-from {out}.",
        )


def enqueue(shares: Shared, points: Sequence[Point]) -> None:
    """Queue points of the space, but for those that are in the study."""
    view = shares.read()
    known = {files.sha256_json(record.point) for record in view.records}
    known |= {files.sha256_json(trial.system_attrs.get("fixed_params", {})) for trial in view.trials}
    for point in points:
        if files.sha256_json(point) not in known:
            shares.study.enqueue_trial(dict(point))


@dataclass(frozen=True)
class _Run:
    """A running search, which owns its folder."""

    dataset: Dataset
    out: Path
    shares: Shared
    on_trial: Callable[[TrialRecord], None]
    tell: Callable[[str], None]

    def side_by_side(self, workers: int, url: str) -> None:
        """Processes that work until the limits are reached; what one that died leaves is done afterwards."""
        with Children(self.dataset.folder, self.out, url, self.shares.study.study_name, workers, self.tell) as children:
            while children.wait(1.0):
                self.summarise(None, 0.0)

    def to_the_end(self, started: float) -> SearchRecord:
        """The rest of the trials, and the proof of the best."""
        files.remove_abandoned(self.out / RUN_TRIALS)
        with at_work(self.dataset, self.out, self.shares, self.tell) as worker:
            stopped_by = worker.loop(self._after_trial)
            worker.prove(self._after_trial)
        record = self.summarise(stopped_by, time.monotonic() - started)
        stored.show_run(self.shares, record)
        return record

    def _after_trial(self, record: TrialRecord) -> None:
        self.on_trial(record)
        self.summarise(None, 0.0)

    def summarise(self, stopped_by: StoppedBy | None, seconds: float) -> SearchRecord:
        """Write the run's summary and its avoid list, as the study has them."""
        view = self.shares.read()
        record = summary(self.shares.settings, view, stopped_by, seconds)
        record.save(self.out / RUN_SUMMARY)
        view.avoid_list.kept().save(self.out / AVOID)
        return record


@contextmanager
def at_work(dataset: Dataset, out: Path, shares: Shared, tell: Callable[[str], None]) -> Iterator[Worker]:
    """A worker of a study in this process, with its folder."""
    with presence.present(out) as me:
        yield Worker(
            shared=shares,
            setting=setting_of(dataset, out, shares.settings),
            out=out,
            me=me,
            watch=presence.Watch(shares.study, shares.storage, tell),
            tell=tell,
        )


def work(
    dataset: Dataset,
    out: Path,
    url: str,
    name: str,
    *,
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
    tell: Callable[[str], None] = to_stderr,
) -> WorkerRecord:
    """Join a study that a search began, until its limits are reached.

    Args:
        dataset: the study's data set; it may lie elsewhere.
        out: a folder for the trials of this worker; several may share one.
        url: of the storage.
        name: of the study.
        on_trial: called with every trial that this process finished.
        tell: gets a line for what else people should know.

    Raises:
        SearchError: no such study, another data set or version, or a storage that fails.
    """
    with study.clear_storage_errors(url), doing("worker"):
        shares = shared.join(url, name, tell)
        shared.check_dataset(shares.settings, dataset.header.content_sha256, dataset.folder)
        space.check(shares.settings.space)
        files.make_folder(out / RUN_TRIALS)
        with at_work(dataset, out, shares, tell) as worker, closing(shares):
            stopped_by = worker.loop(on_trial)
            if shared.ARTIFACTS_URL not in shares.study.user_attrs and not processes.is_child():
                worker.prove_own(on_trial)  # nobody else has its files
        return WorkerRecord(
            study=name, host=str(worker.me["host"]), stopped_by=stopped_by, dropped=worker.dropped, trials=worker.done
        )
