"""Whether the worker of a trial is taken for dead: by its lock, its heartbeats, and not while the storage was away."""

import optuna
import pytest
from optuna.trial import TrialState

from ecm_edge.search import presence
from ecm_edge.search.storage import LONGEST_WAIT_S


class Clock:
    """A clock that a test moves on."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    moved = Clock()
    monkeypatch.setattr(presence, "time", moved)
    return moved


@pytest.fixture
def watched():
    """A study in memory with a trial that runs elsewhere and is silent, and who watches it."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="watched")
    mine = optuna.create_trial(state=TrialState.RUNNING, user_attrs={"worker": {"host": "elsewhere"}, "heartbeat": 7})
    study.add_trial(mine)
    return presence.Watch(study, storage, lambda _: None)


def states(watched):
    return [trial.state.name for trial in watched.study.trials]


GRACE_S = presence.GRACE_BEATS * presence.HEARTBEAT_S


def test_a_silent_worker_is_dead_after_the_grace(watched, clock):
    watched.release_dead()
    clock.now += GRACE_S
    watched.release_dead()
    assert states(watched) == ["RUNNING"]
    clock.now += 1
    watched.release_dead()
    assert states(watched) == ["FAIL", "WAITING"]


def test_once_the_storage_is_back_all_have_a_grace_to_be_heard(watched, clock):
    watched.release_dead()
    clock.now += 10 * GRACE_S
    watched.storage.back_at_s = clock.now
    watched.release_dead()
    clock.now += GRACE_S + LONGEST_WAIT_S
    watched.release_dead()  # seen anew
    clock.now += GRACE_S
    watched.release_dead()
    assert states(watched) == ["RUNNING"]
    clock.now += 1
    watched.release_dead()
    assert states(watched) == ["FAIL", "WAITING"]
