"""A worker: draws from the study that it shares with others, claims, trains, and says what came of it.

Any number of workers join one study; each takes what the others leave. A search is a worker, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ecm_edge.base import files, interrupts
from ecm_edge.base.errors import OutputError, SearchError
from ecm_edge.base.progress import detail, doing
from ecm_edge.candidate import space
from ecm_edge.candidate.candidate import configure, trial_folder
from ecm_edge.candidate.networks import fastest
from ecm_edge.data import recorded_noise
from ecm_edge.search import claim, draws, ladder, presence, processes, shared, stored, study
from ecm_edge.search.runs import TEACHERS, objective_of
from ecm_edge.search.trial import Judge, Setting, prove_trial, train_trial
from ecm_edge.search.trial_record import TRIAL
from ecm_edge.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Point
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.search.presence import Heart, Watch
    from ecm_edge.search.runs import SearchSettings, StoppedBy
    from ecm_edge.search.shared import Shared, View
    from ecm_edge.search.trial_record import TrialRecord

MOST_IDLE_DRAWS = 100  # draws in a row that are avoided or unfit before a sampler other than grid gives up
_LOOK_AGAIN_S = 0.05  # while another trial decides, which it does in one round trip to the storage
_WAIT_S = 0.5  # while others train the last trials

_NOT_OF_THE_TRIAL = (
    *(KeyboardInterrupt, SystemExit, GeneratorExit),
    *(OSError, OutputError, StorageInternalError, SQLAlchemyError),
)
"""What ends a trial and says nothing of its point."""

Taken = Literal["claim", "avoid", "surplus"]


class GivenAwayError(Exception):
    """The trial that runs here was given to another worker: this one was silent for too long."""


def setting_of(dataset: Dataset, out: Path, settings: SearchSettings) -> Setting:
    """What all trials of a study share, on this machine.

    Raises:
        CandidateError: a setting of this machine that would fail every trial.
        RecordingError: recorded noise that the space's trainings add and that cannot be read here.
    """
    fastest.wanted()
    for folder in space.fixed_or_choices(settings.space, "augmentation.recorded"):
        if folder:
            recorded_noise.read(Path(str(folder)), dataset.header.task)
    return Setting(
        dataset=dataset,
        data=train.load_data(dataset, settings.split, unlabelled="unlabelled" in settings.space.training),
        target=settings.target,
        objective=settings.objective,
        rungs=settings.ladder,
        teachers=out / TEACHERS,
    )


@dataclass
class Worker:
    """One process that works on a study; `me` is written into its trials, and `tell` gets what people should know."""

    shared: Shared
    setting: Setting
    out: Path
    me: dict[str, Any]
    watch: Watch
    tell: Callable[[str], None] = lambda _: None
    done: list[TrialRecord] = field(default_factory=list)
    dropped: int = 0
    until: float | None = None

    def loop(self, on_trial: Callable[[TrialRecord], None]) -> StoppedBy:
        """Trials until the study's limits or the least objective wanted are reached, or nothing new is drawn."""
        while True:
            _check_on()
            self.watch.release_dead()
            view = self.shared.read()
            detail(f"{view.trained:,} of {view.limits.trials:,} trained")
            stopped_by = self._stopped_by(view)
            if stopped_by is not None:
                return stopped_by
            if not self._may_draw(view):
                time.sleep(_WAIT_S)
                continue
            record = self._one_trial()
            if record:
                self.done.append(record)
                on_trial(record)

    def _stopped_by(self, view: View) -> StoppedBy | None:
        if any(shared.suffices(record, self._settings) and record.is_proven for record in view.records):
            return "standard"
        if view.trained >= view.limits.trials:
            return "trials"
        if view.is_late:
            return "timeout"
        if self._is_exhausted(view) and not view.running:
            return self._nothing_left(view)
        return None

    def _may_draw(self, view: View) -> bool:
        """Whether a trial that is begun now may find a place, and something new to draw."""
        return view.trained + len(view.running) < view.limits.trials and not self._is_exhausted(view)

    @property
    def _settings(self) -> SearchSettings:
        return self.shared.settings

    def _is_exhausted(self, view: View) -> bool:
        """Whether the grid is through, or the last draws of another sampler say that nothing new will come."""
        if view.is_waiting:
            return False
        if self._settings.sampler == "grid":
            return len(set(draws.grid_places(view.trials).values())) >= space.grid_size(self._settings.space)
        return view.idle >= MOST_IDLE_DRAWS

    def _nothing_left(self, view: View) -> StoppedBy:
        """Every draw is avoided or unfit: the end of a run that has a candidate, an error for one that has none."""
        if view.trained:
            return "exhausted"
        unfit = sorted((t for t in view.records if t.outcome == "unfit"), key=lambda t: t.macs)
        failed = [t for t in view.records if t.outcome == "failed"]
        reason = next((t.reason for t in [*unfit, *failed]), "all were avoided")
        raise SearchError(
            f"a space holds candidates that train and fit {self._settings.target.name}",
            f"none in {len(set(view.draws.values()))} draws; the smallest: {reason}",
            "Change the space's ranges, or raise the target's budgets.",
        )

    def _one_trial(self) -> TrialRecord | None:
        """Draw one point and take it through; None if it was avoided, had no place, or was given away."""
        trial = self._ask()
        with presence.beating(self.shared.storage, trial._trial_id) as heart:  # noqa: SLF001 - Optuna's storages know trials by it
            try:
                return self._take_through(trial, heart)
            except (GivenAwayError, UpdateFinishedTrialError):
                self.dropped += 1
                self.tell(f"trial {self._draw(trial)}: given to another worker while this one was silent; dropped here")
                return None
            except BaseException as problem:
                self._give_back(trial, died=not isinstance(problem, _NOT_OF_THE_TRIAL))
                raise

    def _ask(self) -> optuna.trial.Trial:
        """The next trial of the study: one that waits, or a new one that is this worker's from its first moment on."""
        waiting = self.shared.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        storage, trial_id = self.shared.storage, None
        for queued in sorted(waiting, key=lambda trial: not draws.repeats(trial)):
            try:
                if storage.set_trial_state_values(queued._trial_id, state=TrialState.RUNNING):  # noqa: SLF001 - as above
                    trial_id = queued._trial_id  # noqa: SLF001 - as above
                    break
            except UpdateFinishedTrialError:
                continue
        if trial_id is None:
            mine = optuna.create_trial(state=TrialState.RUNNING, user_attrs={presence.WORKER: self.me})
            trial_id = storage.create_new_trial(self.shared.study_id, template_trial=mine)
        else:
            storage.set_trial_user_attr(trial_id, presence.WORKER, self.me)
        return optuna.trial.Trial(self.shared.study, trial_id)

    def _draw(self, trial: optuna.trial.Trial) -> int:
        return draws.numbers(self.shared.study.get_trials(deepcopy=False))[trial.number]

    def _take_through(self, trial: optuna.trial.Trial, heart: Heart) -> TrialRecord | None:
        view = self.shared.read()
        draw = view.draws[trial.number]
        if self._is_beyond_the_grid(trial, view) or draws.is_twin(view.trials[trial.number], view.trials):
            self._end_avoided(trial)  # another worker took the last point, or the draw, at the same moment
            return None
        with shared.sound(f"the queued trial {trial.number}"):
            point = space.draw(self._settings.space, trial)
        taken = self._settle(trial, point)
        if taken == "avoid":
            self._end_avoided(trial)
            return None
        if taken == "surplus":
            self._give_back(trial)
            return None
        config, judge = self._config(point, draw), _Judge(self, trial, heart)
        folder = trial_folder(self.out, draw)
        with files.staged_folder(folder, replace=True) as staged, doing(f"trial {draw}"):
            record = train_trial(staged, draw, point, config, self.setting, judge)
            record = record.model_copy(update={"host": self.me["host"]})
            record.save(staged / TRIAL)
            _check_ours(self.shared, trial, heart)
        is_trained = record.outcome == "trained"
        if is_trained and self._proves_at_once(record):
            record = self._prove(record)
        self._tell(trial, record, is_trained=is_trained)
        return record

    def _is_beyond_the_grid(self, trial: optuna.trial.Trial, view: View) -> bool:
        if self._settings.sampler != "grid":
            return False
        return draws.grid_places(view.trials).get(trial.number, 0) >= space.grid_size(self._settings.space)

    def _settle(self, trial: optuna.trial.Trial, point: Point) -> Taken:
        """Contend for the point and a place, until it is clear whether the trial has both."""
        position = space.position(self._settings.space, point)
        key = files.sha256_json(point)[:16]
        if self.shared.read().avoid_list.avoids(position):
            return "avoid"
        self._set_phase(trial, "drawn", key)
        while True:
            _check_on()
            view = self.shared.read()
            self.until = view.limits.until
            decision = claim.decide(
                claim.Contender(trial.number, "drawn", key),
                view.contenders(but=trial.number),
                is_taken=view.avoid_list.avoids(position),
                places=view.limits.trials - view.trained,
            )
            if decision == "claim":
                self._set_phase(trial, "claimed", key)
                return "claim"
            if decision in {"avoid", "surplus"}:
                return "avoid" if decision == "avoid" else "surplus"
            self._wait_for_others(trial, key, decision)

    def _wait_for_others(self, trial: optuna.trial.Trial, key: str, decision: claim.Decision) -> None:
        if decision == "wait":
            time.sleep(_LOOK_AGAIN_S)
            self.watch.release_dead()
            return
        self._set_phase(trial, "back", key)
        may_ask = False
        while not may_ask:
            time.sleep(_WAIT_S)
            _check_on()
            self.watch.release_dead()
            view = self.shared.read()
            places = view.limits.trials - view.trained
            may_ask = claim.may_ask(view.contenders(but=trial.number), places=places)
        self._set_phase(trial, "drawn", key)

    def _set_phase(self, trial: optuna.trial.Trial, phase: claim.Phase, key: str) -> None:
        trial.set_user_attr(draws.CLAIM, {"phase": phase, "point": key})

    def _config(self, point: Point, draw: int) -> CandidateConfig:
        family, network, training = space.split_point(point)
        factory = self._settings.space.families[family].factory
        seed = self._settings.seed + draw
        return configure(self.setting.dataset, self._settings.split, family, network, training, seed, factory)

    def _proves_at_once(self, record: TrialRecord) -> bool:
        """Whether a trial is proven with its training: the study's first, and one that can end the search."""
        first = not any("export" in other.stage_seconds for other in self.shared.read().records)
        return first or shared.suffices(record, self._settings)

    def _end_avoided(self, trial: optuna.trial.Trial) -> None:
        trial.set_user_attr(shared.AVOIDED, value=True)
        self.shared.study.tell(trial, state=TrialState.PRUNED)

    def _tell(self, trial: optuna.trial.Trial, record: TrialRecord, *, is_trained: bool) -> None:
        """Put what became of the trial into the study, its state last: what has ended is changed no more."""
        stored.keep(self.shared, trial, record, self.out)
        for name, value in shared.figures(record, str(self.me["host"])).items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(shared.RECORD, record.model_dump_json())
        values, state = None, TrialState.PRUNED
        if is_trained and record.objective is not None:
            values = [record.objective, record.macs][: len(self.shared.study.directions)]
            state = TrialState.COMPLETE
        elif record.outcome == "failed":
            state = TrialState.FAIL
        try:
            self.shared.study.tell(trial, values, state=state)
        except ValueError as problem:  # what Optuna says where the trial has ended
            raise GivenAwayError from problem

    def _give_back(self, trial: optuna.trial.Trial, *, died: bool = False) -> None:
        """End the own trial without a result, and queue its draw again; a draw that `died` three times is given up."""
        frozen = self.shared.storage.get_trial(trial._trial_id)  # noqa: SLF001 - as above
        if frozen.state == TrialState.RUNNING:
            presence.give_away(self.shared.study, self.shared.storage, frozen, died=died, tell=self.tell)

    def prove(self, on_trial: Callable[[TrialRecord], None]) -> None:
        """Prove candidates, best first, until one passes; of other machines, those whose files are in the store.

        What is left to other machines is said.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        for record in self._ranked():
            _check_on()
            if record.outcome == "trained" and not self._is_here(record):
                self.tell(f"trial {record.number}: trained on {record.host}; not proven here, where its files are not")
                continue
            proven = self._proven(record)
            if proven is not record:
                on_trial(proven)
            if proven.is_proven:
                return

    def prove_own(self, on_trial: Callable[[TrialRecord], None]) -> None:
        """Prove what was trained here, best first, until one passes or a better one is another's to prove."""
        own = {record.number for record in self.done}
        for record in self._ranked():
            _check_on()
            if record.is_proven or (record.outcome == "trained" and record.number not in own):
                return
            proven = self._proven(record)
            if proven is not record:
                on_trial(proven)
            if proven.is_proven:
                return

    def _ranked(self) -> list[TrialRecord]:
        """The trials that can be the best, best first."""
        candidates = (record for record in self.shared.read().records if record.can_be_best)
        return sorted(candidates, key=objective_of, reverse=True)

    def _is_here(self, record: TrialRecord) -> bool:
        """Whether a trial's folder is on this machine, or came out of the study's store just now."""
        is_here = trial_folder(self.out, record.number).is_dir()
        return is_here or stored.fetch(self.shared, self.shared.read(), record, self.out)

    def _proven(self, record: TrialRecord) -> TrialRecord:
        """A trial proven, unless it was before or has no files here; they are stored before the study says so."""
        if not self._is_here(record):
            return record
        proven = self._prove(record)
        if proven is not record:
            stored.keep_ended(self.shared, proven, self.out)
            self.shared.keep_proof(proven)
        return proven

    def _prove(self, record: TrialRecord) -> TrialRecord:
        with doing(f"trial {record.number}"):
            return prove_trial(trial_folder(self.out, record.number), record, self.setting)


def _check_on() -> None:
    """Raise KeyboardInterrupt where a signal came, or the search that started this process is no more."""
    interrupts.check()
    if processes.is_orphan():
        raise KeyboardInterrupt


def _check_ours(shares: Shared, trial: optuna.trial.Trial, heart: Heart) -> None:
    """Raise where the trial was given away, before its folder takes its name."""
    ended = shares.storage.get_trial(trial._trial_id).state != TrialState.RUNNING  # noqa: SLF001 - as above
    if heart.stopped.is_set() or ended:
        raise GivenAwayError


@dataclass(frozen=True)
class _Judge(Judge):
    """Stops a trial where others were better by then, time is up, a signal came, or the trial was given away."""

    worker: Worker
    optuna_trial: optuna.trial.Trial
    heart: Heart

    def is_late(self) -> bool:
        _check_on()
        if self.heart.stopped.is_set():
            raise GivenAwayError
        until = self.worker.until
        return until is not None and time.time() >= until

    def goes_on(self, rung: int, value: float) -> bool:
        """By the rule of `ladder.goes_on`, among all trials that were trained at the rung before their time was up."""
        before = self.worker.shared.read().at_rung(rung, but=self.optuna_trial.number)
        self.optuna_trial.set_user_attr(f"{shared.RUNG}{rung}", value)
        if ladder.goes_on(value, before, self.worker.shared.settings.ladder[rung].keep):
            return True
        study.report_rung(self.optuna_trial, rung, value)
        return False

    def should_stop(self, epoch: int, value: float) -> bool:
        """By the study's pruner, if it has one objective; Optuna prunes no others."""
        if len(self.worker.shared.study.directions) > 1:
            return self.is_late()
        self.optuna_trial.report(value, epoch)
        return self.is_late() or self.optuna_trial.should_prune()
