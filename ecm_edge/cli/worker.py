"""`ecm-edge worker`: help a search from another process or machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, data_option, emit, json_option, mlflow_option, open_data, resumable, trust_option
from ecm_edge.cli._help import example
from ecm_edge.cli.search import mlflow_log, say_on_stderr, shown_and_in, storage_words
from ecm_edge.search.processes import STORAGE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.search.runs import WorkerRecord


@click.command(
    "worker",
    epilog=example(
        "ecm-edge worker --data af --storage postgresql+psycopg://host/db --name af-july -o scratch",
    ),
)
@data_option
@click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    show_envvar=True,
    required=True,
    help="The URL that the search has: postgresql+psycopg://…, or another of Optuna's.",
)
@click.option("--name", required=True, help="The study's name, as the search has it.")
@click.option("--out", "-o", type=PATH, required=True, help="A folder for what is trained here; workers may share it.")
@mlflow_option
@trust_option
@json_option
def command(data: Path, storage: str, name: str, out: Path, mlflow_uri: str | None, *, as_json: bool) -> None:
    """Join a search: draw from its study, train, and give the results to it, until the search's limits are reached.

    Everything but the data set comes from the study: board, space, settings and limits. As many workers as wanted may
    join, from any machine that reaches the storage, and may end at any time: Ctrl-C gives the running trial back, and a
    trial whose worker was killed is taken up by another one. The files of what is trained here stay in --out, unless
    the search has --artifacts.
    """
    from ecm_edge.search import search, study

    study.check_url(storage)
    words = ["ecm-edge", "worker", "--data", data, "--name", name, "-o", out, *storage_words(storage)]
    with resumable(lambda: words):
        log = mlflow_log(mlflow_uri, name, out)
        dataset = open_data(data)
        record = search.work(dataset, out, storage, name, on_trial=shown_and_in(log), tell=say_on_stderr)
        if log:
            log.finish(record.trials)
    emit(record, as_json=as_json, render=lambda: _show(record))


def _show(record: WorkerRecord) -> None:
    from ecm_edge.base.tables import say

    trained = sum(trial.trained for trial in record.trials)
    dropped = f", {record.dropped} dropped" if record.dropped else ""
    say(f"{trained} trained here{dropped}; the study {record.study} stopped by {record.stopped_by}")
