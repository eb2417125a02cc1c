"""MLflow: trials as runs of an experiment, the incumbent as a version with its alias, on a real server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ecm_edge.base.errors import SearchError
from ecm_edge.base.records import Verdict
from ecm_edge.cli import main
from ecm_edge.registry import mlflow_models, registry
from ecm_edge.search import mlflow_log
from ecm_edge.search.trial_record import TrialRecord

SHELF = Path(__file__).parents[1] / "data" / "reference" / "loongson-2k0500"
RECORD = TrialRecord(
    number=3, outcome="done", family="tcn", point={"tcn.channels": 8, "training.epochs": 2}, objective=0.5, f1=0.75,
    fbeta_mean=0.5, g=0.25, specificity=1.0, epochs=2, parameters=1, macs=1000, flash_bytes=2048, ram_bytes=1,
    latency_ms=1.0, verdict=Verdict.PASS, stage_seconds={"train": 2.5},
)  # fmt: skip


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A server of this module's own: it takes seconds to start."""
    at = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{at / 'mlflow.db'}", "--artifacts-destination", str(at / "files")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (at / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=at, stdout=log, stderr=log, env={**os.environ, **quiet}, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(address):
            assert server.poll() is None, (at / "log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def answers(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=10):  # noqa: S310 - our own server
            return True
    except OSError:
        return False


@pytest.fixture
def run(tmp_path):
    """The folder of a run with the files of trial 3."""
    folder = tmp_path / "run" / "trials" / "0003"
    folder.mkdir(parents=True)
    (folder / "candidate.json").write_text("{}")
    return tmp_path / "run"


def runs_of(log):
    return log.server.client.search_runs([log.experiment_id])


def test_a_trial_is_a_run_with_its_figures_and_files(uri, run):
    log = mlflow_log.open_log(uri, "af-july", run, pytest.fail)
    log.log(RECORD)
    (found,) = runs_of(log)
    assert (found.info.run_name, found.info.status) == ("trial 0003", "FINISHED")
    assert found.data.params == {"family": "tcn", "tcn.channels": "8", "training.epochs": "2"}
    assert found.data.metrics == {
        "objective": 0.5, "F1": 0.75, "Fbeta": 0.5, "G": 0.25, "specificity": 1.0, "MACs": 1000, "flash_bytes": 2048,
        "seconds/train": 2.5,
    }  # fmt: skip
    assert {name: found.data.tags[name] for name in ("outcome", "verdict")} == {"outcome": "done", "verdict": "PASS"}
    names = [item.path for item in log.server.client.list_artifacts(found.info.run_id, "files")]
    assert names == ["files/candidate.json"]


def test_a_trial_stays_one_run(uri, run):
    log = mlflow_log.open_log(uri, "af-august", run, pytest.fail)
    log.log(RECORD.model_copy(update={"verdict": Verdict.NOT_RUN, "outcome": "trained"}))
    again = mlflow_log.open_log(uri, "af-august", run, pytest.fail)
    again.finish([RECORD, RECORD])
    (found,) = runs_of(again)
    assert (found.data.tags["verdict"], found.data.tags["outcome"]) == ("PASS", "done")


def test_a_server_that_is_away_ends_no_search(uri, run, monkeypatch):
    told = []
    log = mlflow_log.open_log(uri, "af-september", run, told.append)
    with monkeypatch.context() as patch:
        patch.setattr(type(log.server.client), "search_runs", lambda *_: (_ for _ in ()).throw(OSError("away")))
        log.log(RECORD)
    assert told == [f"not in MLflow yet: trials 3 (OSError for {uri}: away)"]
    log.log(RECORD.model_copy(update={"number": 4}))
    assert sorted(found.info.run_name for found in runs_of(log)) == ["trial 0003", "trial 0004"]


def test_a_trial_that_the_server_refuses_holds_up_no_other(uri, run, monkeypatch):
    told = []
    log = mlflow_log.open_log(uri, "af-october", run, told.append)
    write = mlflow_log.Server.write

    def refused(server, run_id, **given):
        if server.client.get_run(run_id).info.run_name == "trial 0003":
            raise ValueError("a name that it does not take")
        write(server, run_id, **given)

    monkeypatch.setattr(mlflow_log.Server, "write", refused)
    log.finish([RECORD, RECORD.model_copy(update={"number": 4})])
    assert told == [f"not in MLflow yet: trials 3 (ValueError for {uri}: a name that it does not take)"]
    assert {r.info.run_name: r.data.tags.get("outcome") for r in runs_of(log)} == {
        "trial 0003": None,
        "trial 0004": "done",
    }


def test_the_incumbent_has_the_alias(uri, tmp_path):
    server = mlflow_log.connect(uri)
    version = mlflow_models.log_incumbent(server, SHELF)
    assert mlflow_models.log_incumbent(server, SHELF) == version  # and no second one
    found = server.client.get_model_version_by_alias("loongson-2k0500", "incumbent")
    event = registry.incumbent(SHELF)
    _, manifest = registry.entry_of(SHELF, event)
    assert (found.version, found.tags["entry"], found.tags["form"]) == (version, event.entry, manifest.form)
    at = Path(server.client.download_artifacts(found.run_id, "model", str(tmp_path)))
    assert sorted(path.name for path in at.iterdir()) == ["MLmodel", manifest.model_file]
    ours = SHELF / "entries" / event.entry / manifest.model_file
    assert (at / manifest.model_file).read_bytes() == ours.read_bytes()


def test_a_rollback_moves_the_alias(uri, tmp_path):
    shutil.copytree(SHELF, tmp_path / "registry" / "loongson-2k0500")
    server = mlflow_log.connect(uri)
    mlflow_models.log_incumbent(server, SHELF)
    before = registry.incumbent(SHELF)
    if before.replaces is None:
        pytest.fail("the shelf that ships has an entry to go back to")
    words = ["rollback", "--target", "loongson-2k0500", "--registry", str(tmp_path / "registry"), "--mlflow-uri", uri]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    found = server.client.get_model_version_by_alias("loongson-2k0500", "incumbent")
    assert found.tags["entry"] == before.replaces


def test_no_server_is_a_clear_error_without_a_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SearchError, match=r"http://ann:\*\*\*@127.0.0.1:1.*server runs") as caught:
        mlflow_log.open_log("http://ann:not-to-be-seen@127.0.0.1:1", "x", Path(), pytest.fail)
    assert "not-to-be-seen" not in str(caught.value)


def test_a_missing_client_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SearchError, match=r"pip install 'ecm-edge\[mlflow\]'"):
        mlflow_log.connect("http://127.0.0.1:1")
