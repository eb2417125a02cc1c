"""Pull: the folder of a run, made of its study and its artefacts on a machine that has neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ecm_edge.base import files
from ecm_edge.base.errors import SearchError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Record
from ecm_edge.base.shown import Tables
from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.candidate.candidate import RUN_SETTINGS, RUN_SUMMARY, RUN_TRIALS, trial_folder
from ecm_edge.search import artifacts, shared, stored, study
from ecm_edge.search.runs import AVOID, LIMITS, STUDY, KeptLimits, KeptStudy
from ecm_edge.search.summary import summary
from ecm_edge.search.trial_record import TRIAL, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecm_edge.search.artifacts import Artifacts
    from ecm_edge.search.runs import SearchRecord
    from ecm_edge.search.shared import Shared, View

TrialChoice = int | Literal["best", "all"]
"""A trial by its number, the best one, or all that have files in the store."""


class PulledTrial(Record):
    """A trial whose folder was made; `host` is the machine that trained it."""

    number: int
    outcome: str
    host: str | None
    files: int
    bytes: int


class PullRecord(Record):
    """What was pulled into the folder of a run. `best` is the best trial of the study, pulled or not.

    `without_files` are trained trials that have no files in the store: no worker has put them there.
    """

    study: str
    best: int | None
    pulled: list[PulledTrial]
    without_files: list[int]

    KEYS = ("study", "best")
    TABLES: ClassVar[Tables] = {"pulled": ("number", "outcome", "host", "files", "bytes")}


def pull(
    url: str,
    name: str,
    out: Path,
    which: TrialChoice = "best",
    *,
    artifacts_url: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> PullRecord:
    """Make the folder of a run from the study of that name; it is whole or absent.

    Args:
        url: of the storage that has the study.
        name: of the study.
        out: the new folder.
        which: the trials whose files are fetched; the records of all trials are in the run's summary.
        artifacts_url: where the files are, if that is not what the study says.
        tell: gets a line for what else people should know.

    Raises:
        SearchError: no such study or trial, no store, or files that are missing or damaged there.
        OutputError: `out` exists or cannot be written.
    """
    files.check_new(out)
    with study.clear_storage_errors(url), doing("pull"):
        shares = shared.join(url, name, tell)
        view = shares.read()
        noted = stored.noted(shares, view)
        record = summary(shares.settings, view, None, 0.0)
        store = _store(shares, artifacts_url, name)
        chosen = _chosen(which, record, noted, name)
        with files.staged_folder(out) as staged:
            files.make_folder(staged / RUN_TRIALS)
            _write_records(staged, shares, view, record)
            KeptStudy(storage=without_secrets(url), name=name).save(staged / STUDY)
            for number in chosen:
                folder = trial_folder(staged, number)
                files.make_folder(folder)
                with doing(f"trial {number}"):
                    store.download(noted[number], folder)
                _of(record, number).save(folder / TRIAL)  # the study knows of proofs that a file may not
    return PullRecord(
        study=name,
        best=record.best,
        pulled=[_pulled(record, number, noted[number]) for number in chosen],
        without_files=[trial.number for trial in record.trials if trial.epochs and trial.number not in noted],
    )


def _chosen(which: TrialChoice, record: SearchRecord, noted: dict[int, Artifacts], name: str) -> list[int]:
    if which == "all":
        return list(noted)
    if which == "best" and record.best is None:
        raise SearchError(
            "the best trial of a study is proven",
            f"no proven one among {record.trained} trained in {name}",
            "Give --trial NUMBER or --trial all, or go on with the search.",
        )
    number = record.best if which == "best" else which
    if number not in {trial.number for trial in record.trials}:
        hint = f"It has the trials 0 to {len(record.trials) - 1}." if record.trials else "It has none yet."
        raise SearchError("a trial that is pulled is one of the study", f"no trial {number} in {name}", hint)
    if number not in noted or number is None:
        there = ", ".join(map(str, noted)) or "none"
        raise SearchError(
            "a trial that is pulled has its files in the store",
            f"none of trial {number}; trials with files: {there}",
            f"{'Give one of them, or copy' if noted else 'Copy'} the folder from the machine that trained it.",
        )
    return [number]


def _store(shares: Shared, given: str | None, name: str) -> artifacts.Store:
    noted = shares.study.user_attrs.get(shared.ARTIFACTS_URL)
    if given is None and noted is None:
        raise SearchError(
            "a study says where its files are",
            f"nothing of it in {name}, which was searched without --artifacts",
            "Give --artifacts, or copy the folder of the trial from the machine that trained it.",
        )
    return artifacts.Store(given or artifacts.check_noted(str(noted)))


def _write_records(staged: Path, shares: Shared, view: View, record: SearchRecord) -> None:
    shares.settings.save(staged / RUN_SETTINGS)
    KeptLimits(trials=view.limits.trials).save(staged / LIMITS)
    view.avoid_list.kept().save(staged / AVOID)
    record.save(staged / RUN_SUMMARY)


def _of(record: SearchRecord, number: int) -> TrialRecord:
    return next(trial for trial in record.trials if trial.number == number)


def _pulled(record: SearchRecord, number: int, noted: Artifacts) -> PulledTrial:
    trial = _of(record, number)
    size = sum(artifact.bytes for artifact in noted.values())
    return PulledTrial(number=number, outcome=trial.outcome, host=trial.host, files=len(noted), bytes=size)
