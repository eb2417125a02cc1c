"""A database that many workers share: Optuna's own storage, with patience where the server is restarted or away.

Every operation that fails because of the connection is tried again until it succeeds or `patience_s` are over. An
operation that was cut off may have been done or not; each of them can be done twice with the same result.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialHeartbeatModel
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.storages import BaseStorage
    from optuna.storages._rdb.models import TrialModel
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

Given = ParamSpec("Given")
Result = TypeVar("Result")

PATIENCE_S = 600.0
_FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
_SQLITE_WAIT_S = 60.0  # for the lock of another process
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "options": "-c idle_in_transaction_session_timeout=20000",
}
"""A server that is gone is noticed within a minute, and not after two hours. A worker that is stopped in a transaction
does not keep its locks for ever."""


class PatientStorage(RDBStorage):
    """Optuna's RDBStorage whose operations outlive a restart of the server; give it to `optuna.storages.get_storage`.

    A trial has its first heartbeat from its first moment on, so that one whose worker dies at once is found, too.

    Args:
        url: of the database, as SQLAlchemy takes it.
        heartbeat_interval: seconds between the heartbeats of a running trial; none without it.
        grace_period: seconds after the last one when its worker counts as dead; by default twice as many.
        heartbeat_stale_trial_callback: called with the study and the trial of a dead worker.

    Raises:
        StorageInternalError: the server was away for longer than `patience_s`, or refuses what is written.
    """

    patience_s = PATIENCE_S
    back_at_s: float | None = None  # by `time.monotonic`: when it answered again, after it had not

    def __init__(
        self,
        url: str,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: Callable[[Study, FrozenTrial], None] | None = None,
    ) -> None:
        super().__init__(
            url,
            _engine_options(url),
            heartbeat_interval=heartbeat_interval,
            grace_period=grace_period,
            heartbeat_stale_trial_callback=heartbeat_stale_trial_callback,
        )

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """A new trial; if it runs already, its heartbeat is in the same transaction."""
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        if trial.state == TrialState.RUNNING and self.heartbeat_interval is not None:
            session.add(TrialHeartbeatModel(trial_id=trial.trial_id))
        return trial

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As RDBStorage's; a claim begins with a heartbeat, and an end that was stored before is no error.

        Raises:
            UpdateFinishedTrialError: the trial has ended otherwise.
        """
        if state == TrialState.RUNNING and self.heartbeat_interval is not None:
            self.record_heartbeat(trial_id)
        tries = 0

        def attempt() -> bool:
            nonlocal tries
            tries += 1
            return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)

        try:
            return _until_done(attempt, self)
        except UpdateFinishedTrialError:
            stored = self.get_trial(trial_id)
            if tries > 1 and stored.state == state and (values is None or stored.values == list(values)):
                return True
            raise


def back_at_s(opened: BaseStorage) -> float | None:
    """When a storage, as `get_storage` gave it, answered again by `time.monotonic`; None where it always did."""
    found: float | None = getattr(getattr(opened, "_backend", opened), "back_at_s", None)
    return found


def _engine_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _SQLITE_WAIT_S}}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith(("postgresql:", "postgresql+psycopg")):
        options["connect_args"] = {name: value for name, value in _LIBPQ.items() if f"{name}=" not in url}
    return options


def _patient(
    operation: Callable[Concatenate[Any, Given], Result],
) -> Callable[Concatenate[PatientStorage, Given], Result]:
    """A method of the storage that is tried again while the connection fails."""

    def method(storage: PatientStorage, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return _until_done(lambda: operation(storage, *args, **kwargs), storage)

    return method


def _until_done(attempt: Callable[[], Result], storage: PatientStorage) -> Result:
    """What an attempt gives at last; it raises as the last one does."""
    begun, wait_s, patience_s = time.monotonic(), _FIRST_WAIT_S, storage.patience_s
    while True:
        try:
            result = attempt()
        except (StorageInternalError, DBAPIError) as problem:
            left_s = patience_s - (time.monotonic() - begun)
            if not _may_pass(problem) or left_s <= 0:
                raise
            if wait_s == _FIRST_WAIT_S:
                _log().warning("the study's storage does not answer; it is asked again for %.0f s", patience_s)
            time.sleep(min(left_s, wait_s * random.SystemRandom().uniform(0.5, 1)))  # so that not all come at once
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        else:
            if wait_s > _FIRST_WAIT_S:
                storage.back_at_s = time.monotonic()
                _log().warning("the study's storage answers again")
            return result


def _may_pass(problem: Exception) -> bool:
    """Whether it is the connection that failed, or a lock that another process holds."""
    cause = problem if isinstance(problem, DBAPIError) else problem.__cause__
    if isinstance(cause, PendingRollbackError):  # something else was asked in the transaction that was cut off
        return True
    if not isinstance(cause, DBAPIError):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, (OperationalError, InterfaceError))


def _log() -> logging.Logger:
    return logging.getLogger(__name__)


OPERATIONS = (
    *("create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr"),
    *("get_study_id_from_name", "get_study_name_from_id", "get_study_directions"),
    *("get_study_user_attrs", "get_study_system_attrs", "get_all_studies"),
    *("_create_new_trial", "_set_trial_param", "set_trial_intermediate_value"),
    *("set_trial_user_attr", "set_trial_system_attr"),
    *("get_trial_id_from_study_id_trial_number", "_get_best_trial_id", "get_trial", "_get_trials"),
    *("record_heartbeat", "_get_stale_trial_ids"),
)
"""What Optuna's cache calls of the database that it keeps; the others are made of these."""

for _name in OPERATIONS:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
