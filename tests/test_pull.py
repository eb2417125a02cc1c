"""Pull: a run's folder on another machine, which has the study, the store and the data set, and nothing else."""

from __future__ import annotations

import json
import shutil

import fsspec
import optuna
import pytest

from ecm_edge import targets
from ecm_edge.base.errors import OutputError, SearchError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.space import Space
from ecm_edge.cli import main
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.search import artifacts, runs, search
from ecm_edge.search.pull import pull
from ecm_edge.search.search import Limits, Sharing
from ecm_edge.search.trial import shipping_verdict
from tests import s3

TARGET = targets.load("loongson-2k0500")
SPACE = Space.model_validate(
    {
        "families": {
            "separable": {"params": {"channels": {"low": 2, "high": 12}, "depth": 2, "kernel": 3, "stride": 4}}
        },
        "training": {"epochs": 2, "batch_size": 32},
    }
)
NAME = "af-july"


@pytest.fixture(scope="module")
def bucket():
    with s3.server() as url:
        yield url


@pytest.fixture(scope="module")
def study(bucket, dataset, tmp_path_factory):
    """The storage's URL; the folder of the run that trained is gone."""
    at = tmp_path_factory.mktemp("first machine")
    storage = f"sqlite:///{tmp_path_factory.mktemp('server')}/study.db"
    runs.start(at / "run", runs.default_settings(dataset, TARGET, SPACE))
    sharing = Sharing(storage=storage, name=NAME, artifacts_url=f"{bucket}/af")
    record = search.search(dataset, at / "run", Limits(1), sharing, tell=lambda _: None)
    assert record.best == 0
    shutil.rmtree(at)
    return storage


@pytest.fixture
def copied(study, tmp_path):
    """A study of one's own."""
    shutil.copyfile(study.removeprefix("sqlite:///"), tmp_path / "own.db")
    return f"sqlite:///{tmp_path}/own.db"


def exit_code(arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in arguments])
    return ended.value.code


def test_the_pulled_best_verifies(study, dataset, tmp_path, capsys):
    out = tmp_path / "run"
    assert exit_code(["pull", NAME, "--storage", study, "-o", out, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["best"], [one["number"] for one in printed["pulled"]]) == (0, [0])
    exit_code(["verify", out, "--data", dataset.folder, "--target", TARGET.name, "--json"])  # int8 may lose too much
    verified = VerifyRecord.model_validate_json(capsys.readouterr().out)
    assert shipping_verdict(verified, TARGET) == "PASS"
    summary = runs.SearchRecord.load(out / candidate.RUN_SUMMARY)
    assert (summary.trained, summary.trials[0].outcome) == (1, "done")
    assert {path.name for path in out.iterdir()} >= {"search.json", "limits.json", "avoid.json", "study.json", "trials"}


def test_a_pulled_run_is_scored_and_reported(study, dataset, tmp_path):
    pull(study, NAME, tmp_path / "run", 0)
    data = ["--data", dataset.folder]
    assert exit_code(["score", tmp_path / "run", *data]) == 0
    exit_code(["report", tmp_path / "run", *data, "-o", tmp_path / "page.html"])  # its verdict is that of all forms
    assert "separable" in (tmp_path / "page.search.html").read_text(encoding="utf-8")


def test_a_search_on_another_machine_gets_the_files_of_the_best(copied, dataset, tmp_path):
    runs.start(tmp_path / "other", runs.default_settings(dataset, TARGET, SPACE))
    sharing = Sharing(storage=copied, name=NAME)
    record = search.search(dataset, tmp_path / "other", Limits(1), sharing, tell=pytest.fail)
    assert (record.best, record.trained) == (0, 1)
    best = candidate.locate(tmp_path / "other")
    assert {candidate.CHECKPOINT, candidate.VERIFY, candidate.FIRMWARE} <= {path.name for path in best.iterdir()}


def test_files_may_come_from_another_store(study, bucket, tmp_path):
    fsspec.url_to_fs(bucket)[0].get(f"{bucket}/af/", f"{tmp_path}/mirror/", recursive=True)
    record = pull(study, NAME, tmp_path / "run", "all", artifacts_url=(tmp_path / "mirror").as_uri())
    assert [one.number for one in record.pulled] == [0]
    with pytest.raises(SearchError, match=r"no [0-9a-f]{64} for "):
        pull(study, NAME, tmp_path / "again", artifacts_url=(tmp_path / "nothing").as_uri())
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "which", "found"),
    [("af-june", "best", "none of the name af-june"), (NAME, 7, "no trial 7 in af-july. It has the trials 0 to 0")],
)
def test_what_is_not_there_is_named(study, tmp_path, name, which, found):
    with pytest.raises(SearchError, match=found):
        pull(study, name, tmp_path / "run", which)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_there_stays(study, tmp_path):
    with pytest.raises(OutputError, match="must be new"):
        pull(study, NAME, tmp_path)


def test_a_study_without_a_store_says_so(copied, tmp_path):
    optuna.load_study(study_name=NAME, storage=copied).set_user_attr("artifacts_url", None)
    with pytest.raises(SearchError, match=r"says where its files are.*was searched without --artifacts"):
        pull(copied, NAME, tmp_path / "run")


def test_a_study_cannot_write_elsewhere(copied, tmp_path):
    study = optuna.load_study(study_name=NAME, storage=copied)
    noted = next(iter(study.trials[0].user_attrs[artifacts.ARTIFACTS].values()))
    study.set_user_attr(artifacts.of_ended(0), {"../../../out": noted})
    with pytest.raises(SearchError, match="lie in its folder"):
        pull(copied, NAME, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("own.db")] == []


def test_no_password_is_shown(tmp_path, capsys):
    storage = "postgresql+psycopg://ann:not-to-be-seen@127.0.0.1:1/db"
    assert exit_code(["pull", NAME, "--storage", storage, "-o", tmp_path / "run"]) == 2
    printed = capsys.readouterr().err
    assert "ann:***@127.0.0.1" in printed
    assert "not-to-be-seen" not in printed


def test_a_trial_is_a_number_or_a_word(capsys, tmp_path):
    assert exit_code(["pull", NAME, "--storage", "sqlite://", "--trial", "first", "-o", tmp_path / "run"]) == 2
    assert "first" in capsys.readouterr().err
