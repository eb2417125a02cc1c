"""Four workers of one study, of which two are killed, one is stopped for too long, and the server is restarted.

Whatever happens is triggered by what a worker does, as the study and the worker's folder show it. In the first test the
stages of a trial are faked, and each waits until it is let go on; in the second they are real, and a worker is stopped
first, looked at again, and only then killed.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.candidate.space import Space
from ecm_edge.evaluate.verify import verify_candidate
from ecm_edge.evaluate.verify.records import is_proven
from ecm_edge.search import draws, presence, pull, runs, search, shared, study, worker
from ecm_edge.search.runs import SearchRecord, WorkerRecord
from ecm_edge.search.search import Limits, Sharing
from ecm_edge.search.trial_record import TRIAL, TrialRecord

TARGET = targets.load("loongson-2k0500")
TRIALS = 7
PATIENCE_S = 300
HALF = candidate.FORM_FILES["float32"]
"""What a trial's folder has from its export on."""
SPACE = Space.model_validate(
    {
        "families": {
            "separable": {"params": {"channels": {"low": 2, "high": 12}, "depth": 2, "kernel": 3, "stride": 4}}
        },
        "training": {"epochs": 30, "patience": 30, "batch_size": 32},
    }
)


class Worker:
    """A process that works on the study, with a folder of its own; `let` are the stages that need not wait."""

    def __init__(self, out, target, *arguments, faked, let=()):
        self.out, self.faked = out, faked
        self.log = out.parent / f"{out.name}.log"
        self.gates = out.parent / f"{out.name}.gates"
        self.gates.mkdir()
        self.let(*let)
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(target, *arguments))
        self.process.start()

    def _run(self, target, *arguments):
        torch.set_num_threads(1)
        if self.faked:
            worker.train_trial, worker.prove_trial = self._train, self._prove
        with self.log.open("w", buffering=1) as log:
            os.dup2(log.fileno(), 2)
            record = target(*arguments, tell=lambda line: log.write(f"{line}\n"))
        record.save(self.out / "record.json")

    def let(self, *stages):
        """Let stages go on that wait, and those that come."""
        for stage in stages:
            (self.gates / stage).touch()

    def _wait(self, stage, epoch_ended):
        epoch = 0
        while not (self.gates / stage).exists() or not epoch:
            epoch += 1
            epoch_ended(epoch)
            time.sleep(0.1)

    def _train(self, folder, number, point, config, _setting, judge):
        """A training that lasts until it is let go on."""
        value = float(point["separable.channels"])
        config.save(folder / candidate.CONFIG)
        self._wait("train", lambda epoch: judge.should_stop(epoch, value))
        record = TrialRecord(
            number=number, outcome="trained", family="separable", point=point, objective=value, f1=value,
            fbeta_mean=value, g=value, epochs=1, parameters=1, macs=1, flash_bytes=1, ram_bytes=1, latency_ms=1.0,
            stage_seconds={},
        )  # fmt: skip
        record.save(folder / TRIAL)
        return record

    def _prove(self, folder, record, _setting):
        """A proof that lasts until it is let go on, with a file half written."""
        if record.outcome == "done":
            return record
        (folder / HALF).write_bytes(b"half")
        self._wait("prove", lambda _: None)
        (folder / HALF).write_bytes(b"whole")
        proven = record.model_copy(update={"outcome": "done", "verdict": Verdict.PASS})
        proven.save(folder / TRIAL)
        return proven

    @property
    def pid(self):
        return self.process.pid

    def send(self, number):
        os.kill(self.pid, number)

    def stop(self):
        """Stop it, and return once it is stopped."""
        self.send(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", [self])


class Scene:
    """The study as a bystander sees it."""

    def __init__(self, shares):
        self.shares = shares

    def close(self):
        """Close its connections, which no process that is forked may have; the next question opens others."""
        engine = getattr(getattr(self.shares.storage, "_backend", None), "engine", None)
        if engine is not None:  # of a database
            engine.dispose()

    def trial_of(self, worker):
        """The running trial of a worker."""
        return next(
            (t for t in self.shares.read().running if draws.table(t, presence.WORKER).get("pid") == worker.pid), None
        )

    def trains(self, worker):
        """Whether it is between the first epoch of a training and its end."""
        trial = self.trial_of(worker)
        return trial is not None and bool(trial.intermediate_values) and not self._folder(worker, trial).is_dir()

    def proves(self, worker):
        """Whether it is between the export of a trained network and the end of its trial."""
        trial = self.trial_of(worker)
        return trial is not None and (self._folder(worker, trial) / HALF).is_file()

    def _folder(self, worker, trial):
        return candidate.trial_folder(worker.out, self.shares.read().draws[trial.number])

    def answers(self):
        """Whether the storage takes something: a process may be stopped while it holds a lock."""
        asked = threading.Thread(target=lambda: self.shares.study.set_user_attr("asked", time.time()), daemon=True)
        asked.start()
        asked.join(10)
        return not asked.is_alive()

    def stopped_while(self, does, workers):
        """A worker that is stopped while it does that; whoever has gone on meanwhile is let go on."""
        while True:
            until(lambda: any(map(does, workers)), workers)
            for one in filter(does, workers):
                one.stop()
                if does(one) and self.answers():
                    return one
                one.send(signal.SIGCONT)


def until(condition, workers=()):
    """Wait for something that will be, as long as the workers live."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        ended = [one.log.read_text() for one in workers if not one.process.is_alive()]
        assert not ended, ended[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(params=["postgresql", "sqlite", "journal"])
def storage(request, tmp_path):
    """The URL of a new storage, and what restarts its server, if it has one."""
    yield from storages(request, request.param, tmp_path)


def storages(request, kind, folder):
    if kind == "postgresql":
        server = request.getfixturevalue("postgresql")
        yield server.database(f"chaos_{folder.name[-12:]}"), lambda: (server.stop(), server.start())
    elif kind == "sqlite":
        yield study.sqlite_url(folder / "shared.db"), lambda: None
    else:
        yield study.journal_url(folder / "shared.journal"), lambda: None


@pytest.fixture
def workers():
    """Every worker that a test starts; none outlives it."""
    started = []
    yield started
    for each in started:
        each.process.kill()
        each.process.join()


def begin(url, dataset, folder, workers, *, faked):
    """A search and three workers in folders of their own, and who looks at them."""
    settings = runs.default_settings(dataset, TARGET, SPACE, pruner="none", ladder=[])
    runs.start(folder / "run", settings)
    sharing = Sharing(storage=url, name="chaos", artifacts_url=f"file://{folder / 'store'}")
    given = (dataset, folder / "run", Limits(TRIALS), sharing)
    workers.append(Worker(folder / "run", search.search, *given, faked=faked))
    until((folder / "run" / runs.STUDY).is_file, workers)
    for name in ("one", "two", "three"):
        workers.append(Worker(folder / name, search.work, dataset, folder / name, url, "chaos", faked=faked))
    return Scene(shared.join(url, "chaos"))


def lose(scene, one):
    """Kill a worker; the number of the trial that it had."""
    number = scene.trial_of(one).number
    one.send(signal.SIGKILL)
    one.process.join()
    return number


def end(scene, workers):
    """Wait until these workers have ended; the study as they left it."""
    for one in workers:
        one.process.join(PATIENCE_S)
        assert one.process.exitcode == 0, one.log.read_text()
    return scene.shares.read()


def is_drawing(path):
    """Whether a file of the store is a curve for optuna-dashboard, which Optuna names by a UUID."""
    return path.name.count("-") == 4


def check(view, folder, stopped, lost):
    """As many trials as were wanted, none twice, and nothing half there."""
    record = SearchRecord.load(folder / "run" / candidate.RUN_SUMMARY)
    assert record.trained == TRIALS == sum(trial.trained for trial in record.trials)
    assert (record.stopped_by, record.verdict) == ("trials", Verdict.PASS)
    points = Counter(json.dumps(trial.point, sort_keys=True) for trial in record.trials)
    assert set(points.values()) == {1}
    assert len({trial.number for trial in record.trials}) == len(record.trials)
    assert WorkerRecord.load(stopped.out / "record.json").dropped == 1
    assert "given to another worker" in stopped.log.read_text()
    for number in lost:  # each was done again under its own draw, maybe by another that was lost
        assert view.trials[number].state == TrialState.FAIL
        again = [trial for trial in view.trials[number + 1 :] if view.draws[trial.number] == view.draws[number]]
        assert [trial.state for trial in again].count(TrialState.COMPLETE) == 1
    folders = {path.name for path in folder.glob(f"*/{candidate.RUN_TRIALS}/[0-9]*")}  # those of the dead among them
    assert folders == {f"{trial.number:04d}" for trial in record.trials if trial.trained}
    stored = [path for path in (folder / "store").rglob("*") if path.is_file() and not is_drawing(path)]
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in stored} == {path.name for path in stored}
    for trial in view.trials:
        for artifact in trial.user_attrs.get("artifacts", {}).values():
            assert (folder / "store" / artifact["artifact_id"]).stat().st_size == artifact["bytes"]


def test_workers_that_are_killed_or_stopped(storage, dataset, tmp_path, monkeypatch, workers):
    """The stages are faked: the trials, their claims and what becomes of them are not."""
    url, restart = storage
    monkeypatch.setenv(presence.HEARTBEAT_VARIABLE, "2")
    scene = begin(url, dataset, tmp_path, workers, faked=True)
    first, proving, training, stopped = workers
    try:
        until(lambda: all(map(scene.trains, workers)), workers)
        proving.let("train")
        until(lambda: scene.proves(proving), workers)
        lost = [lose(scene, proving), lose(scene, training)]
        restart()
        scene.stopped_while(scene.trains, [stopped])
        lost.append(scene.trial_of(stopped).number)
        first.let("train", "prove")
        until(lambda: scene.trial_of(stopped) is None, [stopped])
        stopped.let("train", "prove")
        stopped.send(signal.SIGCONT)
        check(end(scene, [first, stopped]), tmp_path, stopped, lost)
    finally:
        scene.close()


def test_real_trials_survive_and_the_best_verifies_elsewhere(postgresql, dataset, tmp_path, monkeypatch, workers):
    """Training, export and proofs are real; the best candidate is pulled where no other folder is, and verified."""
    monkeypatch.setenv(presence.HEARTBEAT_VARIABLE, "3")  # a worker that is looked at may be stopped for 10 s
    url, settings = postgresql.database("real"), runs.default_settings(dataset, TARGET, SPACE, pruner="none", ladder=[])
    scene = Scene(shared.begin(url, "chaos", settings))
    scene.shares.set_limits(TRIALS, None)
    scene.shares.study.set_user_attr(shared.ARTIFACTS_URL, f"file://{tmp_path / 'store'}")
    scene.close()
    for name in ("one", "two", "three"):
        workers.append(Worker(tmp_path / name, search.work, dataset, tmp_path / name, url, "chaos", faked=False))
    left = list(workers)
    try:
        proving = scene.stopped_while(scene.proves, left)
        lost = [lose(scene, proving)]
        left.remove(proving)
        runs.start(tmp_path / "run", settings)
        scene.close()
        given = (dataset, tmp_path / "run", Limits(TRIALS), Sharing(storage=url, name="chaos"))
        first = Worker(tmp_path / "run", search.search, *given, faked=False)
        workers.append(first)
        training = scene.stopped_while(scene.trains, left)
        lost.append(lose(scene, training))
        left.remove(training)
        postgresql.stop()
        postgresql.start()
        (stopped,) = left
        scene.stopped_while(scene.trains, left)
        lost.append(scene.trial_of(stopped).number)
        until(lambda: scene.trial_of(stopped) is None, [stopped])
        stopped.send(signal.SIGCONT)
        check(end(scene, [first, stopped]), tmp_path, stopped, lost)
    finally:
        scene.close()
    for folder in ("run", "one", "two", "three"):
        shutil.rmtree(tmp_path / folder)
    pulled = pull.pull(url, "chaos", tmp_path / "elsewhere" / "pulled")
    best = candidate.trial_folder(tmp_path / "elsewhere" / "pulled", pulled.best)
    assert is_proven(verify_candidate(best, dataset, TARGET), TARGET.precision[0], TARGET)
