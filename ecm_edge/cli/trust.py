"""`ecm-edge trust`: which folders may name commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.trust_list import TrustRecord


@click.command("trust", epilog=example("ecm-edge trust boards", "ecm-edge trust --list"))
@click.argument(
    "folder",
    type=PATH,
    required=False,
    help="A folder; all that lies below it is trusted, too.  [default: none, with --list]",
)
@click.option("--list", "listed", is_flag=True, help="List the folders that are marked.")
@click.option("--remove", is_flag=True, help="Trust FOLDER no more.")
@json_option
def command(folder: Path | None, *, listed: bool, remove: bool, as_json: bool) -> None:
    """Mark FOLDER: commands that its files name may be run.

    A board's file can name a compiler and an emulator, a search space or a candidate a factory. They are run from the
    package itself, from marked folders, and by a command that has --trust. Mark folders of your own files only, and
    keep what others gave you elsewhere.
    """
    from ecm_edge.base import trust_list

    if listed == (folder is not None) or (listed and remove):
        raise click.UsageError("give a FOLDER to mark, or --list")
    record = trust_list.show() if folder is None else trust_list.mark(folder, remove=remove)
    emit(record, as_json=as_json, render=lambda: _show(record))


def _show(record: TrustRecord) -> None:
    from ecm_edge.base.tables import say

    for folder in record.folders:
        say(folder)
    if not record.folders:
        say(f"no folder is marked in {record.listed_in}")
