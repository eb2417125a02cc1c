"""What all workers of a search share: its study. Everything that is counted or compared is read from it.

Attributes of the study are what it is bound to (`settings`, `settings_sha256`, `tool_version`), when it stops
(`limits`), where artefacts are kept (`artifacts_url`) and proofs that were made after their trial had ended
(`proof:DRAW`). Attributes of a trial are `claim`, `worker`, `record`, its rungs (`rung:NUMBER`) while it runs, and for
people its figures by name.
"""

from __future__ import annotations

import importlib.metadata
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState
from pydantic import Field, ValidationError

from ecm_edge.base import files, trust
from ecm_edge.base.errors import SearchError
from ecm_edge.base.names import or_known
from ecm_edge.base.records import Record, first_fault
from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.candidate import space
from ecm_edge.search import differences, draws, study
from ecm_edge.search.avoid import GrowingList
from ecm_edge.search.claim import Contender, Phase
from ecm_edge.search.runs import SearchSettings, commands
from ecm_edge.search.trial_record import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

RECORD = "record"
AVOIDED = "avoided"  # of a trial: its point is another's, or lies near one that was not good enough
RUNG = "rung:"
ARTIFACTS_URL = "artifacts_url"
_PROOF = "proof:"
_LIMITS = "limits"
_METRIC_NAMES = {"f1": "F1", "fbeta_mean": "Fbeta", "board_score": "board_score"}
_SETTINGS, _SHA256, _VERSION = "settings", "settings_sha256", "tool_version"
_BINDING_S = 15.0  # after which a process that made a study is taken for dead before it bound it


class SharedLimits(Record):
    """When all workers of a study stop: at so many trained candidates, or at a time, in seconds since 1970."""

    trials: int = Field(ge=1)
    until: float | None = None


@dataclass(frozen=True)
class View:
    """The study at one moment: its trials, and what is read from them. Records have their proofs, by draw in order."""

    trials: Sequence[FrozenTrial]
    draws: dict[int, int]
    records: list[TrialRecord]
    avoid_list: GrowingList
    limits: SharedLimits

    @property
    def trained(self) -> int:
        """How many trials were trained, and have ended."""
        return sum(record.trained for record in self.records)

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials that run."""
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    @property
    def is_waiting(self) -> bool:
        """Whether a draw is queued."""
        return any(trial.state == TrialState.WAITING for trial in self.trials)

    @property
    def is_late(self) -> bool:
        """Whether time is up."""
        return self.limits.until is not None and time.time() >= self.limits.until

    @property
    def avoided(self) -> int:
        """How many draws were avoided."""
        return sum(AVOIDED in trial.user_attrs for trial in self.trials)

    @property
    def idle(self) -> int:
        """How many of the last draws in a row were avoided, unfit or failed before any training."""
        count = 0
        by_draw = {record.number: record for record in self.records}
        for trial in reversed(self.trials):
            record = by_draw.get(self.draws[trial.number]) if RECORD in trial.user_attrs else None
            if record and record.trained:
                break
            count += record is not None or AVOIDED in trial.user_attrs
        return count

    def contenders(self, but: int) -> list[Contender]:
        """The trials that run, but for that number."""
        return [contender(trial) for trial in self.running if trial.number != but]

    def at_rung(self, rung: int, but: int) -> list[float]:
        """What other trials reached at a rung, those that still run included."""
        ended = [record.rungs[rung] for record in self.records if len(record.rungs) > rung]
        name = f"{RUNG}{rung}"
        running = [t.user_attrs[name] for t in self.running if t.number != but and name in t.user_attrs]
        return [reached.objective for reached in ended if reached.complete] + running


def contender(trial: FrozenTrial) -> Contender:
    """A running trial as it contends for its point and for a place."""
    claimed = draws.table(trial, draws.CLAIM)
    phase, point = claimed.get("phase"), claimed.get("point", "")
    known = phase if phase in get_args(Phase) else None  # whatever another program notes
    return Contender(trial.number, known, point if isinstance(point, str) else "")


@dataclass
class Shared:
    """An open study with its storage; what was read of ended trials is kept, since they change no more."""

    study: optuna.Study
    storage: BaseStorage
    study_id: int
    settings: SearchSettings
    ended: dict[int, TrialRecord] = field(default_factory=dict)
    avoid_list: GrowingList = field(default_factory=GrowingList)

    def read(self) -> View:
        """The study now."""
        with sound("a trial"):
            trials = self.study.get_trials(deepcopy=False)
            attributes = self.study.user_attrs
            drawn = draws.numbers(trials)
        for trial in trials:
            if trial.state.is_finished() and RECORD in trial.user_attrs and trial.number not in self.ended:
                with sound(f"trial {trial.number}"):
                    record = _record(trial.user_attrs[RECORD], drawn[trial.number])
                    avoid_also(self.avoid_list, record, self.settings)
                self.ended[trial.number] = record
        proofs = {name: value for name, value in attributes.items() if name.startswith(_PROOF)}
        with sound("its limits and proofs"):
            records = [_proven(record, proofs) for record in self.ended.values()]
            limits = SharedLimits.model_validate(attributes[_LIMITS])
        records.sort(key=lambda record: record.number)
        return View(trials, drawn, records, self.avoid_list, limits)

    def limits(self) -> SharedLimits | None:
        """When all workers stop; None before the first search said it, or where it is damaged."""
        with suppress(ValidationError):
            return SharedLimits.model_validate(self.study.user_attrs.get(_LIMITS))
        return None

    def set_limits(self, trials: int, timeout_s: float | None) -> None:
        """From now on all workers stop at so many trained candidates, or so many seconds from now.

        Without seconds a time that others have set and that is still to come stays.
        """
        there, now = self.limits(), time.time()
        to_come = there.until if there and there.until and there.until > now else None
        until = to_come if timeout_s is None else now + timeout_s
        self.study.set_user_attr(_LIMITS, SharedLimits(trials=trials, until=until).model_dump(mode="json"))

    def keep_proof(self, record: TrialRecord) -> None:
        """Keep the record of a trial that was proven after it had ended."""
        self.study.set_user_attr(f"{_PROOF}{record.number}", record.model_dump_json())

    def close(self) -> None:
        """Close the connections to the storage."""
        study.close(self.storage)

    def repeat_what_was_lost(self) -> None:
        """Queue the draws of trials that a process ended as failed, and could not queue any more."""
        view = self.read()
        last = {view.draws[trial.number]: trial for trial in view.trials}
        for trial in last.values():
            if trial.state == TrialState.FAIL and not {RECORD, AVOIDED} & trial.user_attrs.keys():
                draws.enqueue_again(self.study, trial, died=True)


@contextmanager
def sound(what: str) -> Iterator[None]:
    """Turn what is no content of ours into a clear error; the block reads nothing but what the study holds.

    Raises:
        SearchError: the study was damaged, or another program wrote into it.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AssertionError, ArithmeticError, RecursionError) as problem:
        fault = first_fault(problem) if isinstance(problem, ValidationError) else repr(problem)[:200]
        raise SearchError(
            "a study holds what searches of this version write",
            f"in {what}: {fault}",
            "Begin another study (--name, or a new folder), or restore this one from a backup.",
        ) from None


def _record(stored: str, draw: int) -> TrialRecord:
    record = TrialRecord.model_validate_json(stored)
    if record.number != draw:
        raise ValueError(f"the record of trial {record.number} in trial {draw}")
    return record


def _proven(record: TrialRecord, proofs: dict[str, Any]) -> TrialRecord:
    proof = proofs.get(f"{_PROOF}{record.number}")
    return _record(proof, record.number) if proof else record


def avoid_also(avoid_list: GrowingList, record: TrialRecord, settings: SearchSettings) -> None:
    """Add a trial's point to the list; with its neighbourhood too, if it stayed below the least objective wanted.

    A rung says nothing of that: only a full training makes a neighbourhood avoided.
    """
    position = space.position(settings.space, record.point)
    if not avoid_list.avoids(position):
        below = settings.standard is not None and record.epochs > 0 and not suffices(record, settings)
        avoid_list.add(position, record.objective, settings.avoid_radius if below else 0.0)


def suffices(record: TrialRecord, settings: SearchSettings) -> bool:
    """Whether a trial reaches the least objective wanted; where none is wanted, no trial does."""
    least = settings.standard
    return least is not None and record.objective is not None and record.objective >= least


def begin(url: str, name: str, settings: SearchSettings, tell: Callable[[str], None] = lambda _: None) -> Shared:
    """The study of that name, made and bound to the settings if it is not there.

    Raises:
        SearchError: the storage does not open, or the study is bound to other settings or another version.
    """
    storage = study.open_storage(url, tell)
    opened, made = _open(storage, name, settings)
    attributes = opened.user_attrs if made else _bound(opened)
    if _SHA256 not in attributes:
        if opened.get_trials(deepcopy=False):
            raise _unbound(name)
        _bind(opened, settings)
    found = _check(opened.user_attrs, settings)
    return Shared(opened, storage, storage.get_study_id_from_name(name), found)


def join(url: str, name: str, tell: Callable[[str], None] = lambda _: None) -> Shared:
    """The study of that name, with the settings that it is bound to.

    Raises:
        SearchError: the storage does not open or has no such study, or another version made it.
        TrustError: its target or its space has commands of its own: whoever writes to the storage could have put them
            there.
    """
    storage = study.open_storage(url, tell)
    if name not in (there := _names(storage)):
        raise SearchError(
            "a study that is joined or pulled is there",
            f"none of the name {name} in {without_secrets(url)}",
            f"{or_known(name, there, 'studies there')} `ecm-edge search --storage … --name …` begins one.".lstrip(),
        )
    attributes = _attributes(storage, name)
    if _SHA256 not in attributes or _LIMITS not in attributes:
        raise _unbound(name)
    _check_bound(attributes)
    with sound("its settings"):
        settings = SearchSettings.model_validate(attributes[_SETTINGS])
        settings.to_json()  # what is no text in it is found here
    trust.found(commands(settings), f"the study {name} of {without_secrets(url)}")
    trust.check(commands(settings))
    with sound("its settings"):
        opened, _ = _open(storage, name, settings)
    return Shared(opened, storage, storage.get_study_id_from_name(name), _check(attributes, settings))


def check_joinable(url: str, name: str, settings: SearchSettings) -> None:
    """Refuse settings that a study of that name does not have, before anything is written.

    Raises:
        SearchError: every difference is named; or the storage does not open.
    """
    storage = study.open_storage(url)
    attributes = _attributes(storage, name) if name in _names(storage) else {}
    if _SHA256 in attributes:
        _check(attributes, settings)


def _names(storage: BaseStorage) -> list[str]:
    with sound("its list of studies"):
        return study.names(storage)


def _attributes(storage: BaseStorage, name: str) -> dict[str, Any]:
    with sound("its attributes"):
        return storage.get_study_user_attrs(storage.get_study_id_from_name(name))


def _open(storage: BaseStorage, name: str, settings: SearchSettings) -> tuple[optuna.Study, bool]:
    grid = list(space.enumerate_points(settings.space)) if settings.sampler == "grid" else []
    return study.make_or_load(
        storage, name, sampler=settings.sampler, pruner=settings.pruner, seed=settings.seed, grid=grid
    )


def _bound(opened: optuna.Study) -> dict[str, Any]:
    """The attributes of a study, as soon as the process that made it has bound it, or is taken for dead."""
    begun = time.monotonic()
    while _SHA256 not in (attributes := opened.user_attrs) and time.monotonic() - begun < _BINDING_S:
        if opened.get_trials(deepcopy=False):
            break
        time.sleep(0.2)
    return attributes


def _bind(opened: optuna.Study, settings: SearchSettings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        opened.set_metric_names([_METRIC_NAMES[settings.objective], "MACs"][: len(opened.directions)])
    opened.set_user_attr(_SETTINGS, settings.model_dump(mode="json"))
    opened.set_user_attr(_VERSION, version())
    opened.set_user_attr(_SHA256, _sha256(settings))


def version() -> str:
    """The version of this tool."""
    return importlib.metadata.version("ecm-edge")


def _sha256(settings: SearchSettings) -> str:
    return files.sha256_json(settings.model_dump(mode="json"))


def _unbound(name: str) -> SearchError:
    return SearchError(
        "a study says what it was begun with",
        f"nothing of it in {name}: an older version made it, or another program, or its search has not begun yet",
        "Begin a new run; --start-from RUN takes over what an old one found.",
    )


def _check(attributes: dict[str, Any], settings: SearchSettings) -> SearchSettings:
    """The settings, where the study is bound to the same ones and to this version.

    Raises:
        SearchError: it is not; every difference is named.
    """
    _check_bound(attributes)
    different = differences.found(attributes.get(_SETTINGS), settings.model_dump(mode="json"))
    if different:
        raise SearchError(
            "all workers of a study have its data set, space and settings",
            "; ".join(different),
            "Use the same, or begin another study (--name, or a new folder).",
        )
    return settings


def _check_bound(attributes: dict[str, Any]) -> None:
    """Refuse the study of another version before its settings are read, and settings that were changed since.

    Raises:
        SearchError: with both versions or hashes.
    """
    made_by = attributes.get(_VERSION)
    if made_by != version():
        raise SearchError(
            "all workers of a study have the version of the tool that began it",
            f"version {differences.short(made_by)} in the study, {version()} here",
            "Install that one, or begin another study (--name, or a new folder); --start-from RUN takes over points.",
        )
    _check_unchanged(attributes)


def _check_unchanged(attributes: dict[str, Any]) -> None:
    """Refuse settings that are not those that the study was bound to.

    Raises:
        SearchError: with both hashes.
    """
    found, bound = files.sha256_json(attributes.get(_SETTINGS)), str(attributes.get(_SHA256))
    if found != bound:
        raise SearchError(
            "the settings in a study stay as it was begun with them",
            f"settings with the hash {found[:12]}…, not {bound[:12]}…: they were changed in the storage",
            "Begin another study (--name, or a new folder).",
        )


def check_dataset(settings: SearchSettings, sha256: str, folder: object) -> None:
    """Refuse another data set than the study's.

    Raises:
        SearchError: with both hashes.
    """
    if settings.dataset_sha256 != sha256:
        raise SearchError(
            "a run goes on with the data set it was started with",
            f"{folder} with another content hash, {sha256[:12]}…, not {settings.dataset_sha256[:12]}…",
            "Give the first data set, or start a new run.",
        )


def figures(record: TrialRecord, host: str) -> dict[str, Any]:
    """What people see of a trial in the study, by the usual names; what is not known is left out."""
    named = {
        "outcome": record.outcome,
        "F1": record.f1,
        "Fbeta": record.fbeta_mean,
        "G": record.g,
        "specificity": record.specificity,
        "MACs": record.macs,
        "flash_bytes": record.flash_bytes,
        "verdict": record.verdict.value,
        "host": host,
        "seconds": record.stage_seconds,
    }
    return {name: value for name, value in named.items() if value is not None}
