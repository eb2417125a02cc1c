"""Whether the worker of a running trial is alive: a locked file on its own machine, heartbeats for all others.

The lock goes with the process, however it ends, so that a trial of this machine is free at once. A worker on another
machine is taken for dead where its trial had no heartbeat for a while. A heartbeat raises a counter in the trial's
attributes, which is compared with what it was some time ago by one's own clock, and is Optuna's own too where the
storage keeps them. Of two workers of one study, one may have such a storage and the other Optuna's gRPC proxy before
it, which keeps none: the counter is what each sees of the other.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import TrialState

from ecm_edge.base import faults, files
from ecm_edge.base.errors import SearchError
from ecm_edge.search import draws
from ecm_edge.search.storage import LONGEST_WAIT_S, back_at_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

HEARTBEAT_S = 30
GRACE_BEATS = 4  # heartbeats that may be missing
HEARTBEAT_VARIABLE = "ECM_EDGE_HEARTBEAT_S"
WORKER = "worker"  # of a trial: who runs it
_BEAT = "heartbeat"
_FOLDER = ".workers"


def heartbeat_s() -> int:
    """Seconds between two heartbeats: those of the environment variable, or the usual ones.

    Raises:
        SearchError: the variable is no whole number of seconds above 0.
    """
    given = os.environ.get(HEARTBEAT_VARIABLE, str(HEARTBEAT_S))
    if not given.isdecimal() or int(given) < 1:
        raise SearchError(
            f"{HEARTBEAT_VARIABLE} is whole seconds, 1 at least", repr(given), f"Unset it, or set it to {HEARTBEAT_S}."
        )
    return int(given)


@contextmanager
def present(folder: Path) -> Iterator[dict[str, str | int]]:
    """What to write into the trials of this process: its host, its number, and the file that it locks meanwhile."""
    workers = folder / _FOLDER
    files.make_folder(workers)
    try:
        faults.point("lock.open", workers)
        handle, path = tempfile.mkstemp(dir=workers, suffix=".lock")
    except OSError as problem:
        raise files.cannot_write(workers, problem) from problem
    who: dict[str, str | int] = {"host": socket.gethostname(), "pid": os.getpid()}
    try:
        with suppress(OSError):  # a file system without locks: only heartbeats count there
            fcntl.flock(handle, fcntl.LOCK_EX)
            who["lock"] = str(Path(path).resolve())
        yield who
    finally:
        with suppress(OSError):
            Path(path).unlink()
        os.close(handle)


def has_ended(worker: dict[str, Any]) -> bool:
    """Whether a worker of this host holds its lock no more; one that cannot be looked at has not."""
    if worker.get("host") != socket.gethostname() or "lock" not in worker:
        return False
    try:
        handle = os.open(worker["lock"], os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe is not waited for
    except (OSError, TypeError, ValueError):  # another machine of the same name, somebody removed it, or no path
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


@dataclass
class Watch:
    """Looks after the trials of others: `tell` gets a line for each that is given to another worker."""

    study: optuna.Study
    storage: BaseStorage
    tell: Callable[[str], None]
    beats: dict[int, tuple[Any, float]] = field(default_factory=dict)

    def release_dead(self) -> None:
        """End the running trials whose worker is dead, and queue their draws again.

        While the storage is away nobody's heartbeat gets there. So once it is back, all have a grace to be heard.
        """
        heard = not self._was_away_just_now()
        if heard and has_heartbeats(self.storage):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self.study)  # calls back what queues them
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            if has_ended(draws.table(trial, WORKER)) or (heard and self._is_silent(trial)):
                give_away(self.study, self.storage, trial, died=True, tell=self.tell)

    def _was_away_just_now(self) -> bool:
        """Whether workers may not have been heard since the storage is back; what was seen before counts no more."""
        back_s = back_at_s(self.storage)
        away = back_s is not None and time.monotonic() - back_s < GRACE_BEATS * heartbeat_s() + LONGEST_WAIT_S
        if away:
            self.beats.clear()
        return away

    def _is_silent(self, trial: FrozenTrial) -> bool:
        """Whether the counter in a trial's attributes has stood still for the grace."""
        beat, now = trial.user_attrs.get(_BEAT), time.monotonic()
        before, since = self.beats.get(trial.number, (None, now))
        if trial.number not in self.beats or beat != before:
            self.beats[trial.number] = (beat, now)
            return False
        return now - since > GRACE_BEATS * heartbeat_s()


def has_heartbeats(storage: BaseStorage) -> bool:
    """Whether Optuna keeps heartbeats in it."""
    return isinstance(storage, BaseHeartbeat) and storage.get_heartbeat_interval() is not None


def give_away(
    study: optuna.Study,
    storage: BaseStorage,
    trial: FrozenTrial,
    *,
    died: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """End a running trial and queue its draw again; nothing where another worker did it meanwhile."""
    with suppress(UpdateFinishedTrialError):
        if storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL):  # noqa: SLF001 - Optuna's storages know trials by it
            requeue(study, storage.get_trial(trial._trial_id), died=died, tell=tell)  # noqa: SLF001 - the same


def requeue(study: optuna.Study, trial: FrozenTrial, *, died: bool, tell: Callable[[str], None]) -> None:
    """Queue the draw of a trial that was just ended, and say so where its worker died."""
    queued = draws.enqueue_again(study, trial, died=died)
    if not died:
        return
    draw = draws.numbers(study.get_trials(deepcopy=False))[trial.number]
    host = draws.table(trial, WORKER).get("host", "an unknown host")
    what = "it is trained again" if queued else "it is given up, since three workers ended in it"
    tell(f"trial {draw}: its worker on {host} ended; {what}")


@dataclass
class Heart:
    """Beats for one running trial; `stopped` says that the trial was given to another worker."""

    storage: BaseStorage
    trial_id: int
    stopped: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def beat(self) -> None:
        """Until the trial is done: a heartbeat, and a look whether the trial is still ours."""
        for count in itertools.count():
            if self.stopped.is_set() or self.done.wait(heartbeat_s()):
                return
            with suppress(Exception):  # a storage that is away for a moment; the training will say if it stays so
                self._once(count)

    def _once(self, count: int) -> None:
        if self.storage.get_trial(self.trial_id).state != TrialState.RUNNING:
            self.stopped.set()
            return
        if has_heartbeats(self.storage):
            self.storage.record_heartbeat(self.trial_id)  # type: ignore[attr-defined]  # as asked the line before
        self.storage.set_trial_user_attr(self.trial_id, _BEAT, count)


@contextmanager
def beating(storage: BaseStorage, trial_id: int) -> Iterator[Heart]:
    """Heartbeats of a trial while the block runs."""
    heart = Heart(storage, trial_id)
    thread = threading.Thread(target=heart.beat, daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        heart.done.set()
        thread.join()
