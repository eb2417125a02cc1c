"""A storage outlives the restart of its server, and a trial whose worker dies at once is found as well."""

import logging
import threading
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import get_storage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from ecm_edge.search import storage
from ecm_edge.search.storage import PatientStorage

pytestmark = pytest.mark.filterwarnings(f"ignore::{ExperimentalWarning.__module__}.{ExperimentalWarning.__name__}")


@pytest.fixture
def url(request, postgresql):
    return postgresql.database(request.node.name.split("[")[0][:60])


@pytest.fixture
def patient(url):
    """A storage in the database of the test, as a study is given it."""
    opened = PatientStorage(url, heartbeat_interval=30)
    yield get_storage(opened)
    opened.engine.dispose()


def study_id(storage):
    return storage.create_new_study([StudyDirection.MAXIMIZE], "one")


def test_operations_wait_for_a_server_that_is_restarted(patient, postgresql, caplog):
    """A worker in its trial and the thread of its heartbeats go on as if nothing had been."""
    shared, study = patient, study_id(patient)
    trial = shared.create_new_trial(study)
    said = threading.Event()
    caplog.handler.addFilter(lambda record: said.set() or True if "does not answer" in record.message else True)
    postgresql.stop()
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(shared.record_heartbeat(trial))),
        threading.Thread(target=lambda: done.append(shared.set_trial_user_attr(trial, "record", "{}"))),
        threading.Thread(target=lambda: done.append(shared.create_new_trial(study))),
    ]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        assert said.wait(60)
        postgresql.start()
        for thread in threads:
            thread.join(60)
    assert len(done) == 3
    assert shared.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
    assert [t.state.name for t in shared.get_all_trials(study)] == ["COMPLETE", "RUNNING"]
    assert shared.get_trial(trial).user_attrs == {"record": "{}"}
    assert "answers again" in caplog.text
    assert storage.back_at_s(shared) is not None
    assert postgresql.password not in caplog.text


def test_a_server_that_stays_away_is_an_error(patient, postgresql, monkeypatch):
    study = study_id(patient)
    monkeypatch.setattr(PatientStorage, "patience_s", 0.2)
    postgresql.stop()
    try:
        with pytest.raises(StorageInternalError):
            patient.set_study_user_attr(study, "settings", "{}")
    finally:
        postgresql.start()


def test_an_end_that_was_stored_though_nobody_heard_is_no_error(tmp_path, monkeypatch):
    """The connection may break between the server's commit and its answer."""
    shared = PatientStorage(f"sqlite:///{tmp_path / 'study.db'}")
    trial = shared.create_new_trial(study_id(shared))
    real = optuna.storages.RDBStorage.set_trial_state_values
    lost = iter([True])

    def heard_or_not(self, *arguments):
        told = real(self, *arguments)
        if next(lost, False):
            raise StorageInternalError from sqlalchemy.exc.OperationalError("", {}, ConnectionError())
        return told

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_state_values", heard_or_not)
    assert shared.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
    with pytest.raises(UpdateFinishedTrialError):
        shared.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])


@pytest.mark.parametrize("way", ["created", "claimed"])
def test_a_running_trial_has_a_heartbeat_from_its_first_moment(tmp_path, way):
    """One whose worker died before its first heartbeat would run for ever."""
    shared = PatientStorage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_interval=60)
    waiting = optuna.create_trial(state=TrialState.WAITING) if way == "claimed" else None
    trial = shared.create_new_trial(study_id(shared), waiting)
    with shared.engine.connect() as connection:
        count = sqlalchemy.text("SELECT COUNT(*) FROM trial_heartbeats")
        assert connection.execute(count).scalar() == (way == "created")
        connection.commit()
        if way == "claimed":
            assert shared.set_trial_state_values(trial, TrialState.RUNNING)
            assert connection.execute(count).scalar() == 1


def test_a_file_that_is_no_database_is_an_error_at_once(tmp_path):
    shared = PatientStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = study_id(shared)
    shared.engine.dispose()
    Path(tmp_path / "study.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageInternalError) as raised:
        shared.set_study_user_attr(study, "settings", "{}")
    assert "not a database" in str(raised.value.__cause__)


def test_every_operation_of_the_cache_is_patient():
    """What Optuna's cache calls of its database, read from its source."""
    import inspect
    import re

    from optuna.storages import _cached_storage

    called = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_cached_storage)))
    without = {"get_heartbeat_interval", "get_heartbeat_stale_trial_callback", "remove_session"}  # these ask nothing
    assert called - without <= {*storage.OPERATIONS, "set_trial_state_values"}
