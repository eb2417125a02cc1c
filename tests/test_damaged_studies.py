"""Studies that hold what this version does not write: each is refused with what was found, nothing is half-written."""

import json
import os
import socket
import sqlite3
from pathlib import Path

import optuna
import pytest

from ecm_edge.base.errors import SearchError
from ecm_edge.search import presence, runs, search, study
from ecm_edge.search.pull import pull
from ecm_edge.search.search import Limits, Sharing

from .test_search import SPACE, TARGET, fake_trials


@pytest.fixture
def begun(dataset, tmp_path, monkeypatch):
    """A run of two trials; its folder and the URL of its storage."""
    fake_trials(monkeypatch)
    runs.start(tmp_path / "run", runs.default_settings(dataset, TARGET, SPACE, pruner="none", sampler="random"))
    search.search(dataset, tmp_path / "run", Limits(2), Sharing(study.sqlite_url(tmp_path / "study.db"), "af"))
    return tmp_path / "run", study.sqlite_url(tmp_path / "study.db")


def set_trial_attribute(folder, key, value):
    with sqlite3.connect(folder / "study.db") as database:
        changed = database.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = 2", (json.dumps(value), key)
        )
        assert changed.rowcount == 1


def refused(dataset, folder, url):
    """What `pull`, a worker and a resumed search say of the study."""
    said = []
    for command in (
        lambda: pull(url, "af", folder / "pulled", "all", artifacts_url=str(folder / "store")),
        lambda: search.work(dataset, folder / "scratch", url, "af"),
        lambda: search.search(dataset, folder / "run", Limits(3), Sharing(url, "af")),
    ):
        with pytest.raises(SearchError) as raised:
            command()
        said.append(raised.value.found)
    assert not (folder / "pulled").exists()
    return said


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"not": "text"}, "in trial 1: JSON input should be string"),
        ('{"number": 1}', "in trial 1: Field required at outcome"),
        ("{", "in trial 1: Invalid JSON"),
    ],
)
def test_a_record_that_is_none(dataset, begun, tmp_path, record, found):
    _, url = begun
    set_trial_attribute(tmp_path, "record", record)
    assert all(said.startswith(found) for said in refused(dataset, tmp_path, url))


def test_a_record_of_another_trial(dataset, begun, tmp_path):
    _, url = begun
    stored = optuna.load_study(study_name="af", storage=url).trials[1].user_attrs["record"]
    set_trial_attribute(tmp_path, "record", json.dumps({**json.loads(stored), "number": 7}))
    assert all("the record of trial 7 in trial 1" in said for said in refused(dataset, tmp_path, url))


def test_another_version_is_named_before_its_settings_are_read(dataset, begun, tmp_path):
    _, url = begun
    opened = optuna.load_study(study_name="af", storage=url)
    opened.set_user_attr("tool_version", "99.0")
    opened.set_user_attr("settings", {"field of": "another version"})
    assert all(said.startswith("version 99.0 in the study, ") for said in refused(dataset, tmp_path, url))


def test_what_others_note_under_our_names_counts_as_nothing(dataset, begun, tmp_path):
    out, url = begun
    for name in ("claim", "worker"):
        set_trial_attribute(tmp_path, name, "a text")
    assert search.search(dataset, out, Limits(3), Sharing(url, "af")).trained == 3


def test_a_proxy_that_is_away_is_a_clear_error(dataset, tmp_path):
    with pytest.raises(SearchError, match="failed to connect") as raised:
        search.work(dataset, tmp_path / "scratch", "grpc://127.0.0.1:1", "af")
    assert raised.value.__cause__ is None


def test_settings_that_were_changed_in_the_storage(dataset, begun, tmp_path):
    _, url = begun
    opened = optuna.load_study(study_name="af", storage=url)
    opened.set_user_attr("settings", opened.user_attrs["settings"] | {"seed": 99})
    assert all("they were changed in the storage" in said for said in refused(dataset, tmp_path, url))


ROWS = {
    "an attribute that is deep": f"UPDATE trial_user_attributes SET value_json = '{'[' * 100_000}' WHERE trial_id = 2",  # noqa: S608
    "an attribute with an endless number": (
        f"UPDATE trial_user_attributes SET value_json = '{'9' * 5000}' WHERE key = 'record' AND trial_id = 2"  # noqa: S608
    ),
    "a distribution that is none": "UPDATE trial_params SET distribution_json = '{}' WHERE trial_id = 2",
    "a distribution that is a list": "UPDATE trial_params SET distribution_json = '[1]' WHERE trial_id = 2",
    "a parameter out of its range": "UPDATE trial_params SET param_value = 99 WHERE trial_id = 2",
    "a parameter without a value": "UPDATE trial_params SET param_value = NULL WHERE trial_id = 2",
    "a state that is none": "UPDATE trials SET state = 'EVIL' WHERE trial_id = 2",
    "a direction that is none": "UPDATE study_directions SET direction = 'EVIL'",
    "a value that is none": "UPDATE trial_values SET value = NULL WHERE trial_id = 2",
    "a date that is none": "UPDATE trials SET datetime_start = 'xx' WHERE trial_id = 2",
    "limits of no trial": "UPDATE study_user_attributes SET value_json = '{\"trials\": 0}' WHERE key = 'limits'",
    "settings that are none": "UPDATE study_user_attributes SET value_json = '5' WHERE key = 'settings'",
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_that_no_search_wrote_are_a_clear_error(begun, tmp_path, kind):
    _, url = begun
    with sqlite3.connect(tmp_path / "study.db") as database:
        assert database.execute(ROWS[kind]).rowcount > 0
    with pytest.raises(SearchError):
        pull(url, "af", tmp_path / "pulled", "all", artifacts_url=str(tmp_path / "store"))
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("point", [{}, {"family": "nothing"}, {"family": 5}, {"lr": 1}])
def test_a_record_of_no_point_of_the_space_is_a_clear_error(dataset, begun, tmp_path, point):
    _, url = begun
    stored = json.loads(optuna.load_study(study_name="af", storage=url).trials[1].user_attrs["record"])
    set_trial_attribute(tmp_path, "record", json.dumps(stored | {"point": point}))
    assert all("in trial 1" in said for said in refused(dataset, tmp_path, url))


@pytest.mark.parametrize("fixed", [{"family": "nothing"}, {"family": ["tcn"]}, {"family": 10**9}])
def test_a_queued_point_of_another_space_is_a_clear_error(dataset, begun, tmp_path, fixed):
    _, url = begun
    opened = optuna.load_study(study_name="af", storage=url)
    opened.enqueue_trial(fixed)
    opened.set_user_attr("limits", {"trials": 9})
    with pytest.raises(SearchError, match="a study holds what searches of this version write"):
        search.work(dataset, tmp_path / "scratch", url, "af")


@pytest.mark.parametrize("lock", [5, {}, "\0", "pipe"])
def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path, lock):
    os.mkfifo(tmp_path / "pipe")
    place = str(tmp_path / "pipe") if lock == "pipe" else lock
    assert presence.has_ended({"host": socket.gethostname(), "lock": place}) in {True, False}


def test_a_store_that_the_study_names_is_a_folder_or_a_bucket(begun, tmp_path):
    _, url = begun
    opened = optuna.load_study(study_name="af", storage=url)
    for noted in ("http://host/x", "reference::file:///x", "filecache::s3://b", "/x\nPASS: all", 5):
        opened.set_user_attr("artifacts_url", noted)
        with pytest.raises(SearchError, match="the store that a study names is a folder"):
            pull(url, "af", tmp_path / "pulled", "all")


def test_a_second_search_with_another_store_is_refused(dataset, begun, tmp_path):
    out, url = begun
    stores = [str(tmp_path / name) for name in ("store", "elsewhere")]
    search.search(dataset, out, Limits(3), Sharing(url, "af", artifacts_url=stores[0]))
    with pytest.raises(SearchError, match="keep the trials' files in one store"):
        search.search(dataset, out, Limits(4), Sharing(url, "af", artifacts_url=stores[1]))
    noted = optuna.load_study(study_name="af", storage=url).user_attrs["artifacts_url"]
    assert noted == Path(stores[0]).as_uri()
