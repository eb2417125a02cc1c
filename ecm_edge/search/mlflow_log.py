"""Trials in MLflow, for teams that keep their experiments there: written from the records, and never read back.

A study is an experiment of the same name, a trial a run of it: the point as parameters, the figures as metrics under
the names that they have in the study, the rest as tags, and the trial's folder as artefacts. A run is known again by
its tag `ecm_edge.trial`, so that a trial is one run, whoever writes it and however often.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecm_edge.base import files
from ecm_edge.base.errors import FAULTS, SearchError
from ecm_edge.base.progress import doing
from ecm_edge.base.url_secrets import without_secrets
from ecm_edge.candidate.candidate import trial_folder
from ecm_edge.search import study
from ecm_edge.search.shared import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.search.trial_record import TrialRecord

ARTIFACTS = "files"  # of a run: below it lies the folder that the run is of
_TRIAL = "ecm_edge.trial"
_RECORD = "ecm_edge.record_sha256"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own settings, where the user has none: by default it tries for minutes, and the search would wait."""


@dataclass(frozen=True)
class Server:
    """An MLflow server, or whatever else stands behind a tracking URI."""

    uri: str
    client: MlflowClient

    @contextmanager
    def clear_errors(self, what: str) -> Iterator[None]:
        """Whatever MLflow raises, in our own words and without a password; a fault of ours stays one."""
        try:
            yield
        except FAULTS:
            raise
        except Exception as problem:  # noqa: BLE001 - MLflow lets through what its stores raise
            reason = next(iter(str(problem).splitlines()), "")
            raise SearchError(
                f"MLflow {what}",
                f"{type(problem).__name__} for {without_secrets(self.uri)}: {study.hidden(reason, self.uri)}",
                "Check --mlflow-uri, and that the server runs.",
            ) from None  # the cause may hold the password

    def check(self) -> None:
        """Raise `SearchError` where the server does not answer."""
        with self.clear_errors("answers"):
            self.client.search_experiments(max_results=1)

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, made if it is not there.

        Raises:
            SearchError: the server does not answer, or the experiment was deleted there.
        """
        from mlflow.exceptions import MlflowException

        with self.clear_errors("answers, and has or makes the experiment"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                try:
                    return self.client.create_experiment(name)
                except MlflowException:  # another worker made it at the same moment
                    found = self.client.get_experiment_by_name(name)
                    if found is None:
                        raise
        if found.lifecycle_stage != "active":
            raise SearchError(
                "MLflow's experiment of a study is there",
                f"{name}, which was deleted",
                "Restore it, or take another name.",
            )
        return found.experiment_id

    def write(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Scalar],
        named: Mapping[str, Any],
        folder: Path | None,
        failed: bool = False,
    ) -> None:
        """Fill a run and end it: numbers are its metrics, texts its tags, a table of numbers one metric each."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(1000 * time.time())
        flat = _flat(named)
        metrics = [Metric(name, float(value), now, 0) for name, value in flat.items() if not isinstance(value, str)]
        tags = [RunTag(name, value) for name, value in flat.items() if isinstance(value, str)]
        self.client.log_batch(run_id, metrics, [Param(name, str(value)) for name, value in parameters.items()], tags)
        if folder is not None:
            self.client.log_artifacts(run_id, str(folder), ARTIFACTS)
        self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def connect(uri: str) -> Server:
    """The server at a tracking URI; it is not asked yet.

    Raises:
        SearchError: MLflow is not installed, or the URI is none.
    """
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise SearchError(
            "--mlflow-uri needs MLflow's client", "none installed", "Type `pip install 'ecm-edge[mlflow]'`."
        ) from None
    try:
        return Server(uri, MlflowClient(tracking_uri=uri, registry_uri=uri))
    except Exception as problem:  # noqa: BLE001 - as above
        raise SearchError(
            "--mlflow-uri is a tracking URI as MLflow takes it",
            f"{type(problem).__name__} for {without_secrets(uri)}",
            "A server's is http://HOST:PORT.",
        ) from None


@dataclass
class TrialLog:
    """What writes the trials of a study; those that the server did not take wait for the next time.

    Args:
        server: where to.
        experiment_id: that of the study.
        out: the folder of the run or the worker, from which the files are.
        tell: gets a line where the server takes nothing.
    """

    server: Server
    experiment_id: str
    out: Path
    tell: Callable[[str], None]
    waiting: dict[int, TrialRecord] = field(default_factory=dict)

    def log(self, record: TrialRecord) -> None:
        """Write a trial, and those that wait; a server that is away ends no search."""
        self.finish([record])

    def finish(self, records: Sequence[TrialRecord]) -> None:
        """Write what is not there yet of these trials, which may be those of other workers, and of those that wait."""
        self.waiting |= {record.number: record for record in records}
        found = ""
        with doing("MLflow"):
            for number in sorted(self.waiting):
                try:
                    self._take(number)
                except SearchError as problem:
                    found = problem.found
                    if not self._answers():
                        break
        if self.waiting:
            numbers = ", ".join(map(str, sorted(self.waiting)))
            self.tell(f"not in MLflow yet: trials {numbers} ({found})")

    def _take(self, number: int) -> None:
        with self.server.clear_errors("takes trials"):
            self._write(self.waiting[number])
        del self.waiting[number]

    def _answers(self) -> bool:
        """Whether the server is there: then it was that trial which it did not take, and others may be."""
        try:
            self.server.check()
        except SearchError:
            return False
        return True

    def _write(self, record: TrialRecord) -> None:
        sha256 = files.sha256_bytes(record.model_dump_json().encode())
        run = self._run_of(record.number)
        if run is not None and run.data.tags.get(_RECORD) == sha256:
            return
        tags = {_TRIAL: str(record.number)}
        run = run or self.server.client.create_run(self.experiment_id, tags=tags, run_name=f"trial {record.number:04d}")
        folder = trial_folder(self.out, record.number)
        named = {"objective": record.objective, "reason": record.reason[:500], **figures(record, record.host or "")}
        self.server.write(
            run.info.run_id,
            parameters={"family": record.family, **record.point},
            named={name: value for name, value in named.items() if value is not None and value != ""},
            folder=folder if folder.is_dir() else None,
            failed=record.outcome == "failed",
        )
        self.server.client.set_tag(run.info.run_id, _RECORD, sha256)  # last: what is torn is written again

    def _run_of(self, number: int) -> Any:  # noqa: ANN401 - MLflow's Run
        found = self.server.client.search_runs([self.experiment_id], f"tags.`{_TRIAL}` = '{number}'")
        return found[0] if found else None


def open_log(uri: str, name: str, out: Path, tell: Callable[[str], None]) -> TrialLog:
    """What writes the trials of a study of that name to the server at `uri`, which answered.

    Raises:
        SearchError: MLflow is not installed, or the server does not answer.
    """
    server = connect(uri)
    return TrialLog(server, server.experiment(name), out, tell)


def _flat(named: Mapping[str, Any]) -> dict[str, Any]:
    """A table within as one name for each of its entries: seconds/train."""
    flat: dict[str, Any] = {}
    for name, value in named.items():
        flat |= {f"{name}/{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat
