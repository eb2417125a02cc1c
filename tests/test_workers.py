"""Several processes on one study: what one trains no other does, and all of them together train what is wanted."""

import json
import threading

import optuna
import pytest

from ecm_edge.search import runs, search, study, worker
from ecm_edge.search.search import Limits, Sharing

from .test_search import SPACE, TARGET, fake


def points(records):
    return [json.dumps(record.point, sort_keys=True) for record in records]


@pytest.fixture
def shared_run(dataset, tmp_path, monkeypatch):
    """A run whose study others can join, begun by one trial; its folder, the storage and the study's name."""
    monkeypatch.setattr(worker, "train_trial", fake())
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE, pruner="none", sampler="random"))
    url = study.sqlite_url(tmp_path / "shared.db")
    search.search(dataset, tmp_path / "run", Limits(1), Sharing(url, "af"))
    return tmp_path / "run", url, "af"


def test_workers_share_the_trials_of_a_study(dataset, shared_run, tmp_path):
    out, url, name = shared_run
    optuna.load_study(study_name=name, storage=url).set_user_attr("limits", {"trials": 20, "until": None})
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
