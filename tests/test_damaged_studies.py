"""Studies that hold what this version does not write: each is refused with what was found, nothing is half-written."""

import json
import sqlite3

import optuna
import pytest

from ecm_edge.base.errors import SearchError
from ecm_edge.search import runs, search, study
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
