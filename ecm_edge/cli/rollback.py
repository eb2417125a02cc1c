"""`ecm-edge rollback`: make an earlier entry the incumbent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import emit, json_option, mlflow_option, registry_option, target_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rollback", epilog=example("ecm-edge rollback --target loongson-2k0500 --registry registry"))
@click.argument(
    "entry", required=False, help="An entry's name, such as 98-92.  [default: the one that the incumbent replaced]"
)
@target_option
@registry_option
@mlflow_option
@json_option
def command(entry: str | None, target: str, registry: Path, mlflow_uri: str | None, *, as_json: bool) -> None:
    """Make ENTRY the incumbent again, or the one that the incumbent replaced; a changed entry is refused."""
    from ecm_edge import targets
    from ecm_edge.base.provenance import date_utc
    from ecm_edge.cli.promote import mlflow_models
    from ecm_edge.registry.registry import rollback, shelf_of

    log = mlflow_models(mlflow_uri)
    board = targets.load(target).name
    event = rollback(shelf_of(registry, board), date_utc(), entry)
    if log:
        log(registry, board)
    emit(event, as_json=as_json, render=lambda: click.echo(f"the incumbent is {event.entry} again ({event.reason})"))
