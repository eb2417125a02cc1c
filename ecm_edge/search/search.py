"""The main job: draw candidates from a space, gate them, train what fits, prove what trained, keep the best.

`ecm_edge.search.runs` says what the folder of a run holds.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from ecm_edge.base import contents, files
from ecm_edge.base.errors import SearchError
from ecm_edge.base.progress import detail, doing
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import space
from ecm_edge.candidate.candidate import RUN_SETTINGS, RUN_SUMMARY, RUN_TRIALS, configure, trial_folder
from ecm_edge.search import avoid, ladder, study
from ecm_edge.search.runs import (
    AVOID,
    DATABASE,
    LIMITS,
    TEACHERS,
    KeptLimits,
    SearchRecord,
    SearchSettings,
    objective_of,
    pareto,
)
from ecm_edge.search.trial import Judge, Setting, prove_trial, train_trial
from ecm_edge.search.trial_record import TRIAL, TrialRecord
from ecm_edge.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Point
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.search.avoid import AvoidList
    from ecm_edge.search.runs import StoppedBy

_STUDY = "ecm-edge"
_MOST_IDLE_DRAWS = 100  # draws in a row that are avoided or unfit before a sampler other than grid gives up


@dataclass(frozen=True)
class Limits:
    """When to stop, whichever comes first: so many trained candidates in the run, or so many seconds from now."""

    trials: int = 20
    timeout_s: float | None = None


def limits_of(out: Path, trials: int | None = None, timeout_s: float | None = None) -> Limits:
    """The limits that are given, and for those that are not the ones that the run in `out` was given last.

    Raises:
        SearchError: a damaged run.
    """
    path = out / LIMITS
    kept = KeptLimits.load(path, SearchError) if path.is_file() else KeptLimits(trials=Limits().trials)
    return Limits(kept.trials if trials is None else trials, kept.timeout_s if timeout_s is None else timeout_s)


def search(
    dataset: Dataset,
    out: Path,
    limits: Limits | None = None,
    *,
    storage: str | None = None,
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
) -> SearchRecord:
    """Run, or go on with, the run in `out`; at most the trial that was running when it stopped is lost.

    Args:
        dataset: the data set that the run was started with.
        out: the run's folder, made by `runs.start`.
        limits: when to stop; the run keeps it. By default as `limits_of`.
        storage: any Optuna storage URL, in which the run's study is named after it; its own SQLite file by default.
        on_trial: called with every finished trial.

    Raises:
        SearchError: another data set, nothing that fits the board, a storage that fails, or a damaged run.
    """
    if not (out / RUN_SETTINGS).is_file():
        raise SearchError(
            "a search goes on in the folder of a run",
            f"{contents.of_path(out)} at {out}",
            "Leave --resume out to begin.",
        )
    settings = SearchSettings.load(out / RUN_SETTINGS, SearchError)
    limits = limits or limits_of(out)
    with files.locked(out), study.clear_storage_errors(), doing("search"):
        KeptLimits(trials=limits.trials, timeout_s=limits.timeout_s).save(out / LIMITS)
        run = _open_run(dataset, out, settings, storage)
        started = time.monotonic()
        stopped_by = run.loop(limits, on_trial)
        run.prove(on_trial)
        record = run.summary(stopped_by, time.monotonic() - started)
        record.save(out / RUN_SUMMARY)
        return record


def _open_run(dataset: Dataset, out: Path, settings: SearchSettings, storage: str | None) -> _Run:
    """The run as it lies in `out`, tidied of what a killed process left."""
    _check_dataset(dataset, settings)
    _remove_half_written(out)
    trials = [TrialRecord.load(path, SearchError) for path in sorted((out / RUN_TRIALS).glob(f"*/{TRIAL}"))]
    avoid_list = avoid.load(out / AVOID)
    for trial in trials:  # whatever a killed process had no time to note
        avoid_list = _avoiding(avoid_list, trial, settings)
    return _Run(
        dataset=dataset,
        out=out,
        settings=settings,
        setting=_setting(dataset, out, settings),
        study=_open_study(out, settings, storage, len(trials)),
        trials=trials,
        avoid_list=avoid_list,
    )


def _check_dataset(dataset: Dataset, settings: SearchSettings) -> None:
    if settings.dataset_sha256 != dataset.header.content_sha256:
        raise SearchError(
            "a run goes on with the data set it was started with",
            f"{dataset.folder} with another content hash",
            "Give the first data set, or start a new run.",
        )


def _remove_half_written(out: Path) -> None:
    for leftover in (out / RUN_TRIALS).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _setting(dataset: Dataset, out: Path, settings: SearchSettings) -> Setting:
    return Setting(
        dataset=dataset,
        data=train.load_data(dataset, settings.split, unlabelled="unlabelled" in settings.space.training),
        target=settings.target,
        objective=settings.objective,
        rungs=settings.ladder,
        teachers=out / TEACHERS,
    )


def _open_study(out: Path, settings: SearchSettings, storage: str | None, trials: int) -> optuna.Study:
    """The run's study; one that goes on after so many trials draws afresh."""
    name = _STUDY
    if storage is None:
        storage = study.sqlite_url(out / DATABASE)
    else:  # where other runs may have theirs
        name = f"{_STUDY}-{out.name}-{files.sha256_json(settings.model_dump(mode='json'))[:12]}"
    return study.open_study(
        storage,
        name,
        sampler=settings.sampler,
        pruner=settings.pruner,
        seed=settings.seed + trials,
        grid=space.enumerate_points(settings.space),
    )


def _avoiding(avoid_list: AvoidList, record: TrialRecord, settings: SearchSettings) -> AvoidList:
    """The list with a trial's point; with its neighbourhood too, if it stayed below the least objective wanted.

    A rung says nothing of that: only a full training makes a neighbourhood avoided.
    """
    position = space.position(settings.space, record.point)
    if avoid_list.avoids(position):
        return avoid_list
    below = settings.standard is not None and record.epochs > 0 and not _suffices(record, settings)
    return avoid_list.extended(position, record.objective, settings.avoid_radius if below else 0.0)


def _suffices(record: TrialRecord, settings: SearchSettings) -> bool:
    """Whether a trial reaches the least objective wanted; where none is wanted, no trial does."""
    least = settings.standard
    return least is not None and record.objective is not None and record.objective >= least


@dataclass
class _Run:
    """A running search; `trials` and `avoid_list` grow with every trial."""

    dataset: Dataset
    out: Path
    settings: SearchSettings
    setting: Setting
    study: optuna.Study
    trials: list[TrialRecord]
    avoid_list: AvoidList

    def loop(self, limits: Limits, on_trial: Callable[[TrialRecord], None]) -> StoppedBy:
        """Trials until a limit or the least objective wanted is reached, or nothing new is drawn any more."""
        deadline = None if limits.timeout_s is None else time.monotonic() + limits.timeout_s
        idle = 0
        while True:
            trained = sum(trial.trained for trial in self.trials)
            detail(f"{trained:,} of {limits.trials:,} trained")
            if trained >= limits.trials:
                return "trials"
            if deadline is not None and time.monotonic() >= deadline:
                return "timeout"
            if self._is_exhausted(idle):
                return self._nothing_left()
            record = self._next_trial(deadline)
            idle = 0 if record and record.trained else idle + 1
            if record:
                suffices = _suffices(record, self.settings)
                if suffices or (record.outcome == "trained" and not self._proof_tried()):
                    record = self._proven(record)
                on_trial(record)
                self.summary(None, 0.0).save(self.out / RUN_SUMMARY)
                if suffices and record.is_proven:
                    return "standard"

    def prove(self, on_trial: Callable[[TrialRecord], None]) -> None:
        """Prove candidates, best first, until one passes."""
        for trial in sorted(self.trials, key=objective_of, reverse=True):
            proven = self._proven(trial)
            if proven is not trial:
                on_trial(proven)
                self.summary(None, 0.0).save(self.out / RUN_SUMMARY)
            if proven.is_proven:
                return

    def _proof_tried(self) -> bool:
        """Whether any candidate was taken beyond its training: the first one is at once, so that faults show early."""
        return any("export" in trial.stage_seconds for trial in self.trials)

    def _proven(self, trial: TrialRecord) -> TrialRecord:
        """The trial proven, unless it was before or cannot be."""
        with doing(f"trial {trial.number}"):
            proven = prove_trial(trial_folder(self.out, trial.number), trial, self.setting)
        self.trials[self.trials.index(trial)] = proven
        return proven

    def _best(self) -> TrialRecord | None:
        """The best of those that are proven."""
        return max((trial for trial in self.trials if trial.is_proven), key=objective_of, default=None)

    def summary(self, stopped_by: StoppedBy | None, seconds: float) -> SearchRecord:
        """The record of the run so far."""
        best = self._best()
        outcomes = [trial.outcome for trial in self.trials]
        return SearchRecord(
            verdict=Verdict.PASS if best else Verdict.FAIL,
            target=self.settings.target.name,
            objective=self.settings.objective,
            synthetic=self.settings.synthetic,
            stopped_by=stopped_by,
            best=best.number if best else None,
            best_objective=best.objective if best else None,
            trained=sum(trial.trained for trial in self.trials),
            pruned=outcomes.count("pruned"),
            unfit=outcomes.count("unfit"),
            avoided=study.avoided(self.study),
            failed=outcomes.count("failed"),
            pareto=pareto(self.trials),
            seconds=seconds,
            trials=self.trials,
        )

    def _next_trial(self, deadline: float | None) -> TrialRecord | None:
        """Draw one point and take it through; None if it was avoided."""
        optuna_trial = self.study.ask()
        try:
            point = space.draw(self.settings.space, optuna_trial)
            if self.avoid_list.avoids(space.position(self.settings.space, point)):
                study.mark_avoided(self.study, optuna_trial)
                return None
            number = self._number(optuna_trial)
            config, judge = self._config(point, number), _Judge(self, optuna_trial, deadline)
            with files.staged_folder(trial_folder(self.out, number)) as staged, doing(f"trial {number}"):
                record = train_trial(staged, number, point, config, self.setting, judge)
        except BaseException:
            self.study.tell(optuna_trial, state=TrialState.FAIL)
            raise
        self._note(optuna_trial, record)
        return record

    def _number(self, optuna_trial: optuna.trial.Trial) -> int:
        """The study's own number, unless the study was lost or is a new one and the run has come further."""
        return max([optuna_trial.number, *(trial.number + 1 for trial in self.trials)])

    def _config(self, point: Point, number: int) -> CandidateConfig:
        family, network, training = space.split_point(point)
        factory = self.settings.space.families[family].factory
        seed = self.settings.seed + number
        return configure(self.dataset, self.settings.split, family, network, training, seed, factory)

    def _note(self, optuna_trial: optuna.trial.Trial, record: TrialRecord) -> None:
        """Keep what became of the trial: in the run, in the study and in the avoid list."""
        self.trials.append(record)
        if record.outcome == "trained" and record.objective is not None:
            self.study.tell(optuna_trial, [record.objective, record.macs][: len(self.study.directions)])
        else:
            self.study.tell(optuna_trial, state=TrialState.PRUNED if record.outcome != "failed" else TrialState.FAIL)
        self.avoid_list = _avoiding(self.avoid_list, record, self.settings)
        self.avoid_list.save(self.out / AVOID)

    def _is_exhausted(self, idle: int) -> bool:
        """Whether the grid is through, or the last `idle` draws of another sampler say that nothing new will come."""
        if self.settings.sampler == "grid":
            return not study.is_waiting(self.study)
        return idle >= _MOST_IDLE_DRAWS

    def _nothing_left(self) -> StoppedBy:
        """Every draw is avoided or unfit: the end of a run that has a candidate, an error for one that has none."""
        if any(trial.trained for trial in self.trials):
            return "exhausted"
        unfit = sorted((t for t in self.trials if t.outcome == "unfit"), key=lambda t: t.macs)
        failed = [t for t in self.trials if t.outcome == "failed"]
        reason = next((t.reason for t in [*unfit, *failed]), "all were avoided")
        draws = len(self.study.get_trials(deepcopy=False))
        raise SearchError(
            f"a space holds candidates that train and fit {self.settings.target.name}",
            f"none in {draws} draws; the smallest: {reason}",
            "Change the space's ranges, or raise the target's budgets.",
        )


@dataclass(frozen=True)
class _Judge(Judge):
    """Stops a trial of a run where others were better by then, or time is up."""

    run: _Run
    optuna_trial: optuna.trial.Trial
    deadline: float | None

    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def goes_on(self, rung: int, value: float) -> bool:
        """By the rule of `ladder.goes_on`, among all trials that were trained at the rung before their time was up."""
        at_rung = [trial.rungs[rung] for trial in self.run.trials if len(trial.rungs) > rung]
        before = [record.objective for record in at_rung if record.complete]
        if ladder.goes_on(value, before, self.run.settings.ladder[rung].keep):
            return True
        study.report_rung(self.optuna_trial, rung, value)
        return False

    def should_stop(self, epoch: int, value: float) -> bool:
        """By the study's pruner, if it has one objective; Optuna prunes no others."""
        if len(self.run.study.directions) > 1:
            return self.is_late()
        self.optuna_trial.report(value, epoch)
        return self.is_late() or self.optuna_trial.should_prune()
