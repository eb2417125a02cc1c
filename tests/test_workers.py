"""Several processes on one study: what one trains no other does, and all of them together train what is wanted."""

import json
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

import optuna
import pytest

from ecm_edge.base.errors import CandidateError, EcmEdgeError, SearchError
from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.candidate import candidate, space
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.synthetic import synthesise
from ecm_edge.search import draws, known, presence, processes, runs, search, shared, study, worker
from ecm_edge.search.search import Limits, Sharing

from .test_search import SPACE, TARGET, fake_trials


def points(records):
    return [json.dumps(record.point, sort_keys=True) for record in records]


def set_limits(url, name, trials):
    shared.join(url, name).set_limits(trials, None)


@pytest.fixture
def shared_run(dataset, tmp_path, monkeypatch):
    """A run whose study others can join, begun by one trial; its folder, the storage and the study's name."""
    fake_trials(monkeypatch)
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE, pruner="none", sampler="random"))
    url = study.sqlite_url(tmp_path / "shared.db")
    search.search(dataset, tmp_path / "run", Limits(1), Sharing(url, "af"))
    return tmp_path / "run", url, "af"


def test_workers_share_the_trials_of_a_study(dataset, shared_run, tmp_path):
    out, url, name = shared_run
    set_limits(url, name, 20)
    done = []

    def work(number):
        done.append(search.work(dataset, tmp_path / f"scratch{number}", url, name))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.stopped_by for record in done} == {"trials"}
    assert sum(len(record.trials) for record in done) == 19
    record = search.search(dataset, out, Limits(20), Sharing(url, name))
    assert record.trained == 20
    assert len(set(points(record.trials))) == len(record.trials) == 20


def without_times(record):
    return record.model_dump(exclude={"stage_seconds", "train_seconds", "overhead_seconds"})


def die_at(place, call):
    """In a process of its own: run until `place` was called so often, and be killed there."""
    owner, name = place
    inner, calls = getattr(owner, name), []

    def outer(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*args, **kwargs)

    setattr(owner, name, outer)


PLACES = {
    "before its draw": (space, "draw"),
    "before its claim": (worker.claim, "decide"),
    "in training": (worker, "train_trial"),
    "before it is told": (shared, "figures"),
}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_search_ends_with_the_trials_of_an_undisturbed_one(dataset, tmp_path, monkeypatch, sampler, place):
    fake_trials(monkeypatch)
    settings = runs.default_settings(dataset, TARGET, SPACE, pruner="median", sampler=sampler)
    for name in ("calm", "killed"):
        runs.start(tmp_path / name, settings)
    calm = search.search(dataset, tmp_path / "calm", Limits(13))
    for call in (2, 12):
        child = os.fork()
        if child == 0:
            die_at(PLACES[place], call)
            search.search(dataset, tmp_path / "killed", Limits(13))
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    killed = search.search(dataset, tmp_path / "killed", Limits(13))
    assert [*map(without_times, killed.trials)] == [*map(without_times, calm.trials)]
    assert killed.avoided == calm.avoided


def test_a_trial_that_was_given_away_meanwhile_is_dropped(dataset, shared_run, tmp_path, monkeypatch):
    """As after SIGSTOP for longer than the grace, and SIGCONT: another worker took the trial up."""
    out, url, name = shared_run
    train_trial, given_away = worker.train_trial, []

    def slow(*args):
        if not given_away:
            given_away.append(1)
            other = shared.join(url, name)
            (running,) = other.read().running
            presence.give_away(other.study, other.storage, running, died=True)
        return train_trial(*args)

    monkeypatch.setattr(worker, "train_trial", slow)
    set_limits(url, name, 4)
    told = []
    record = search.work(dataset, tmp_path / "scratch", url, name, tell=told.append)
    assert (record.dropped, len(record.trials)) == (1, 3)
    assert told == [f"trial {record.trials[0].number}: given to another worker while this one was silent; dropped here"]
    assert search.search(dataset, out, Limits(4), Sharing(url, name)).trained == 4


def test_a_draw_in_which_three_workers_died_is_given_up(dataset, shared_run, tmp_path, monkeypatch):
    _, url, name = shared_run
    inner, broken = worker.train_trial, []

    def breaks(folder, number, *rest):
        if not broken or number in broken:
            broken.append(number)
            raise RuntimeError
        return inner(folder, number, *rest)

    monkeypatch.setattr(worker, "train_trial", breaks)
    set_limits(url, name, 3)
    told = []
    for _ in range(3):
        with pytest.raises(RuntimeError):
            search.work(dataset, tmp_path / "scratch", url, name, tell=told.append)
    assert search.work(dataset, tmp_path / "scratch", url, name).stopped_by == "trials"
    assert len(set(broken)) == 1
    assert len(broken) == 3
    assert [line.rpartition("; ")[2] for line in told] == ["it is trained again"] * 2 + [
        "it is given up, since three workers ended in it"
    ]


def test_a_worker_with_another_data_set_is_refused(shared_run, tmp_path):
    _, url, name = shared_run
    synthesise(tmp_path / "other", subjects=6, seed=9, segments_per_subject=4)
    with pytest.raises(SearchError, match=r"another content hash, [0-9a-f]{12}…, not [0-9a-f]{12}…"):
        search.work(open_dataset(tmp_path / "other"), tmp_path / "scratch", url, name)


def test_a_worker_of_another_version_is_refused(dataset, shared_run, tmp_path, monkeypatch):
    _, url, name = shared_run
    monkeypatch.setattr(shared, "version", lambda: "99.0")
    with pytest.raises(SearchError, match=r"version .* in the study, 99\.0 here"):
        search.work(dataset, tmp_path / "scratch", url, name)


@pytest.mark.parametrize(
    ("variable", "recorded", "message"),
    [("fast", "", "plain, eager, compiled"), (None, "noise/gone", "recorded noise is a folder of WFDB records")],
)
def test_a_worker_whose_machine_would_fail_every_trial_does_not_begin(
    dataset, shared_run, tmp_path, monkeypatch, variable, recorded, message
):
    if variable:
        monkeypatch.setenv("ECM_EDGE_FORWARD", variable)
    settings = shared.join(*shared_run[1:]).settings
    training = {**settings.space.training, "augmentation.recorded": recorded}
    changed = settings.model_copy(update={"space": settings.space.model_copy(update={"training": training})})
    with pytest.raises(EcmEdgeError, match=message):
        worker.setting_of(dataset, tmp_path, changed)


def test_a_worker_without_a_search_says_how_to_start_one(dataset, shared_run, tmp_path):
    with pytest.raises(SearchError, match=r"found none of the name vf in .*ecm-edge search --storage"):
        search.work(dataset, tmp_path / "scratch", shared_run[1], "vf")


def test_a_second_search_joins_and_has_all_trials_in_its_summary(dataset, shared_run, tmp_path):
    out, url, name = shared_run
    runs.start(tmp_path / "second", runs.SearchSettings.load(out / "search.json"))
    record = search.search(dataset, tmp_path / "second", Limits(3), Sharing(url, name))
    assert record.trained == 3
    assert [path.name for path in sorted((tmp_path / "second" / "trials").iterdir())] == ["0001", "0002"]


def test_the_journal_is_a_storage_too(dataset, tmp_path, monkeypatch):
    fake_trials(monkeypatch)
    out = tmp_path / "run"
    runs.start(out, runs.default_settings(dataset, TARGET, SPACE, pruner="none", sampler="random"))
    search.search(dataset, out, Limits(2), Sharing("journal"))
    assert not (out / runs.DATABASE).exists()
    assert search.work(dataset, out, study.journal_url(out / runs.JOURNAL_FILE), "ecm-edge").stopped_by == "trials"
    assert search.search(dataset, out, Limits(4)).trained == 4


def test_what_is_known_to_be_good_is_tried_first(dataset, shared_run, tmp_path):
    out, _, _ = shared_run
    old = runs.SearchRecord.load(out / "summary.json")
    settings = runs.SearchSettings.load(out / "search.json")
    points, reasons = known.points([out], settings)
    assert (points, reasons) == ([old.trials[0].point], [])
    runs.start(tmp_path / "new", settings.model_copy(update={"seed": 7}))
    new = search.search(dataset, tmp_path / "new", Limits(2), Sharing(start_from=points))
    assert new.trials[0].point == points[0] != new.trials[1].point
    narrow = settings.space.model_copy(update={"training": {"epochs": 3, "batch_size": 32}})
    points, reasons = known.points([out], settings.model_copy(update={"space": narrow}))
    assert points == []
    assert reasons == [f"trial 0 of {out} is not tried first: training.epochs is 2, and in the space 3"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://ann:secret@host:5432/db", "postgresql+psycopg://ann:***@host:5432/db"),
        ("mysql://ann:p@ss/w:rd@host/db", "mysql://ann:***@host/db"),
        ("postgresql://host/db?user=ann&password=secret&x=1", "postgresql://host/db?user=ann&password=***&x=1"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("grpc://host:13000", "grpc://host:13000"),
    ],
)
def test_a_password_is_never_shown(url, shown):
    assert without_secrets(url) == shown


def test_a_storage_that_does_not_open_does_not_show_its_password(dataset, tmp_path):
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE))
    url = "postgresql+psycopg://ann:secret@127.0.0.1:1/db"
    with pytest.raises(SearchError) as failed:
        search.search(dataset, tmp_path / "run", Limits(1), Sharing(url))
    assert "secret" not in "".join(traceback.format_exception(failed.value))
    assert "postgresql+psycopg://ann:***@127.0.0.1:1/db" in str(failed.value)


def test_a_resumed_run_asks_for_the_password_that_is_kept_nowhere(dataset, tmp_path):
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE))
    runs.KeptStudy(storage="postgresql://ann:***@host/db", name="af").save(tmp_path / "run" / runs.STUDY)
    with pytest.raises(SearchError, match="whose password is kept nowhere"):
        search.search(dataset, tmp_path / "run", Limits(1))


def test_a_worker_of_this_host_is_dead_when_its_lock_is_free(tmp_path):
    with presence.present(tmp_path) as me:
        assert not presence.has_ended(me)
        assert not presence.has_ended({**me, "host": "elsewhere"})
        left = tmp_path / "left.lock"
        left.touch()
        assert presence.has_ended({**me, "lock": str(left)})
    assert not presence.has_ended(me)  # the file is gone, as on another machine of the same name


STUB = """#!/bin/sh
echo "trial of $*: $OMP_NUM_THREADS thread, $ECM_EDGE_STORAGE" >&2
trap 'echo interrupted >&2; echo ended >&2; exit 143' TERM
while :; do sleep 0.1; done
"""


def test_processes_of_one_machine_speak_through_their_parent_and_end_with_it(tmp_path, monkeypatch):
    (tmp_path / "stub").write_text(STUB)
    (tmp_path / "stub").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "stub"))
    monkeypatch.setattr(processes, "usable_cores", lambda: 3)
    told, both = [], threading.Event()

    def tell(line):
        told.append(line)
        if len(told) == 2:
            both.set()

    url = "postgresql://ann:secret@host/db"
    with processes.Children(tmp_path / "d", tmp_path / "run", url, "af", 2, tell) as children:
        both.wait()
        assert children.wait(0.01)
    assert [child.returncode for child in children.running] == [143, 143]
    words = f"-m ecm_edge.cli worker --data {tmp_path / 'd'} --name af -o {tmp_path / 'run'}"
    assert sorted(told) == ["ended"] * 2 + [f"trial of {words}: 1 thread, {url}"] * 2


def test_a_process_whose_parent_is_gone_ends(monkeypatch):
    monkeypatch.setenv(processes.PARENT_VARIABLE, str(os.getppid()))
    assert not processes.is_orphan()
    monkeypatch.setenv(processes.PARENT_VARIABLE, "1")
    assert processes.is_orphan()


def test_a_worker_proves_what_it_alone_has(dataset, shared_run, tmp_path):
    """Without a store of artefacts no other machine could; the search's summary then has the proof."""
    out, url, name = shared_run
    set_limits(url, name, 6)
    record = search.work(dataset, tmp_path / "scratch", url, name)
    told = []
    run = search.search(dataset, out, Limits(6), Sharing(url, name), tell=told.append)
    best = max(run.trials, key=lambda trial: trial.objective)
    assert best.number in {trial.number for trial in record.trials}
    assert (run.best, best.outcome, told) == (best.number, "done", [])


def test_time_is_up_for_all_workers_at_once(dataset, shared_run, tmp_path):
    _, url, name = shared_run
    shared.join(url, name).set_limits(9, 0)
    assert search.work(dataset, tmp_path / "scratch", url, name).stopped_by == "timeout"


def test_a_run_may_be_moved(dataset, tmp_path, monkeypatch):
    fake_trials(monkeypatch)
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE, sampler="random"))
    search.search(dataset, tmp_path / "run", Limits(1))
    (tmp_path / "run").rename(tmp_path / "moved")
    assert search.search(dataset, tmp_path / "moved", Limits(2)).trained == 2


def test_a_run_whose_best_is_elsewhere_says_where(dataset, shared_run, tmp_path):
    out, url, name = shared_run
    runs.start(tmp_path / "second", runs.SearchSettings.load(out / "search.json"))
    search.search(dataset, tmp_path / "second", Limits(1), Sharing(url, name))
    with pytest.raises(CandidateError, match=rf"another machine trained it, {socket.gethostname()}\. .*ecm-edge pull"):
        candidate.locate(tmp_path / "second")


def test_a_search_with_other_settings_than_the_study_is_refused_and_leaves_no_run(shared_run, tmp_path):
    out, url, name = shared_run
    other = runs.SearchSettings.load(out / "search.json").model_copy(update={"seed": 4, "sampler": "tpe"})
    with pytest.raises(SearchError, match=r"found sampler random in the study, tpe here; seed 0 in the study, 4 here"):
        search.start(tmp_path / "new", other, Sharing(url, name))
    assert not (tmp_path / "new").exists()


def test_who_joins_with_no_limits_changes_none(dataset, shared_run, tmp_path):
    _, url, name = shared_run
    shared.join(url, name).set_limits(3, 500.0)
    there = shared.join(url, name).limits()
    settings = shared.join(url, name).settings
    runs.start(tmp_path / "other", settings)
    assert search.search(dataset, tmp_path / "other", sharing=Sharing(url, name)).trained == 3
    assert shared.join(url, name).limits() == there
    assert search.search(dataset, tmp_path / "other", Limits(4)).trained == 4
    assert shared.join(url, name).limits() == shared.SharedLimits(trials=4, until=there.until)


def test_the_name_of_a_study_is_kept_where_its_storage_is_given_again(dataset, shared_run):
    out, url, name = shared_run
    search.search(dataset, out, Limits(2), Sharing(url))
    assert optuna.get_all_study_names(url) == [name]


def test_a_draw_that_was_queued_twice_is_trained_once(dataset, shared_run):
    out, url, name = shared_run
    shares = shared.join(url, name)
    with pytest.warns(UserWarning, match="Heartbeat of storage"):
        lost = shares.study.ask()
    shares.study.tell(lost, state=optuna.trial.TrialState.FAIL)
    shares.repeat_what_was_lost()
    draws.enqueue_again(shares.study, shares.study.trials[lost.number], died=True)  # another search, at the same moment
    record = search.search(dataset, out, Limits(6), Sharing(url, name))
    assert [trial.number for trial in record.trials].count(1) == 1
    assert record.trained == 6


def test_what_is_left_of_sqlite_is_one_file(shared_run):
    """So that a study is copied with its file."""
    folder = Path(shared_run[1].removeprefix("sqlite:///")).parent
    assert [path.name for path in folder.glob("shared.db*")] == ["shared.db"]
