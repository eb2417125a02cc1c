"""`ecm-edge rollback`: make an earlier entry the incumbent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import emit, json_option, mlflow_option, registry_option, target_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rollback", epilog=example("ecm-edge rollback --target loongson-2k0500 --registry registry"))
@click.argument("entry", required=False, help="The same as --to ENTRY.  [default: that of --to]")
@click.option(
    "--to",
    "wanted",
    metavar="ENTRY",
    help="An entry's name, such as 98-92.  [default: what the last promotion replaced]",
)
@target_option
@registry_option
@mlflow_option
@json_option
def command(
    entry: str | None, wanted: str | None, target: str, registry: Path, mlflow_uri: str | None, *, as_json: bool
) -> None:
    """Make ENTRY the incumbent again, or the one that the last promotion replaced; a changed entry is refused.

    To say it again changes nothing. To go back further, name the entry.
    """
    from ecm_edge import targets
    from ecm_edge.base.provenance import date_utc
    from ecm_edge.base.tables import say
    from ecm_edge.cli.promote import mlflow_models, tell_notes
    from ecm_edge.registry.registry import incumbent, rollback, shelf_of

    if entry and wanted and entry != wanted:
        raise click.UsageError(f"ENTRY and --to are the same: {entry} or {wanted}, not both.")
    log = mlflow_models(mlflow_uri)
    board = targets.load(target).name
    shelf = shelf_of(registry, board)
    before = incumbent(shelf) if shelf.is_dir() else None
    event = rollback(shelf, date_utc(), entry or wanted)
    if log:
        log(registry, board)
    tell_notes(registry, board)
    done = f"already ({before.event}, {before.date_utc})" if before == event else f"again ({event.reason})"
    emit(event, as_json=as_json, render=lambda: say(f"the incumbent is {event.entry} {done}"))
