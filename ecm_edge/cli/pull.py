"""`ecm-edge pull`: a run's folder on this machine, from its study and its artefacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ecm_edge.cli._common import PATH, emit, json_option, trust_option, unkept
from ecm_edge.cli._help import example
from ecm_edge.cli.search import say_on_stderr
from ecm_edge.search.processes import STORAGE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.search.pull import PullRecord, TrialChoice


class _Which(click.ParamType[Any]):
    """A trial's number, `best` or `all`."""

    name = "NUMBER|best|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's signature
        if value in {"best", "all"}:
            return value
        return click.IntRange(min=0).convert(value, param, ctx)


@click.command(
    "pull",
    epilog=example("ecm-edge pull af-july --storage postgresql+psycopg://host/db -o run"),
)
@click.argument("name", metavar="STUDY", help="The study's name, as the search has it.")
@click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    show_envvar=True,
    required=True,
    help="The URL that the search has: postgresql+psycopg://…, or another of Optuna's.",
)
@click.option("--out", "-o", type=PATH, required=True, help="The run's folder; it must not exist.")
@click.option(
    "--trial",
    "which",
    type=_Which(),
    default="best",
    show_default=True,
    help="The trials whose files are fetched: one by its number, the best one, or all that have files.",
)
@click.option(
    "--artifacts",
    "artifacts_url",
    help="Folder or URL (file://…, s3://…) that has the trials' files.  [default: as the study says]",
)
@trust_option
@json_option
def command(
    name: str, storage: str, out: Path, which: TrialChoice, artifacts_url: str | None, *, as_json: bool
) -> None:
    """Fetch a run from its study and its artefacts: the records of all trials, and the files of those that are chosen.

    The search has to have --artifacts. Every file is checked by its hash. The folder is that of a run: whatever takes a
    run takes it, such as verify, report, firmware and promote.
    """
    from ecm_edge.search import study
    from ecm_edge.search.pull import pull

    study.check_url(storage)
    with unkept():
        record = pull(storage, name, out, which, artifacts_url=artifacts_url, tell=say_on_stderr)
    emit(record, as_json=as_json, render=lambda: _show(record, out))


def _show(record: PullRecord, out: Path) -> None:
    from ecm_edge.base.tables import say, show
    from ecm_edge.candidate.candidate import trial_folder

    show(
        f"{len(record.pulled)} trials of {record.study}",
        ["trial", "outcome", "host", "files", "bytes"],
        [
            [
                f"{one.number:04d}{' *' if one.number == record.best else ''}",
                *(one.outcome, one.host or ""),
                *(f"{one.files:,}", f"{one.bytes:,}"),
            ]
            for one in record.pulled
        ],
    )
    if record.without_files:
        say(f"trained, and without files in the store: trials {', '.join(map(str, record.without_files))}")
    if record.best is None:
        say("no trial is proven: there is no best one")
    elif record.best in {one.number for one in record.pulled}:
        say(f"best: {trial_folder(out, record.best)}")
    else:
        say(f"the best trial, {record.best}, was not pulled: --trial best")
