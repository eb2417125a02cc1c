"""`ecm-edge history`: what was promoted, refused and rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option, registry_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.registry.registry import HistoryRecord, RegistryHistory


@click.command("history", epilog=example("ecm-edge history --registry data/reference --html history.html"))
@registry_option
@click.option(
    "--target",
    shell_complete=shipped("targets"),
    help="The board: a name, or a TOML file.  [default: all boards of the registry]",
)
@click.option(
    "--out", "--html", "-o", "out", type=PATH, help="An HTML page; replaced if it is there.  [default: no page]"
)
@json_option
def command(registry: Path, target: str | None, out: Path | None, *, as_json: bool) -> None:
    """List every decision about a target, or about all targets of a registry, oldest first.

    The page shows what replaced what and why, and how the figures and the costs of the incumbents changed.
    """
    from ecm_edge import targets
    from ecm_edge.cli.promote import tell_notes
    from ecm_edge.registry.registry import HistoryRecord, history_record, shelf_of, whole_history

    record: HistoryRecord | RegistryHistory
    if target:
        name = targets.load(target).name
        record = history_record(shelf_of(registry, name), name)
    else:
        record = whole_history(registry)
    for shelf in [record] if isinstance(record, HistoryRecord) else record.shelves:
        tell_notes(registry, shelf.target)
    if out:
        from ecm_edge.report.history import write_history

        write_history(record, registry, out)
    emit(record, as_json=as_json, render=lambda: _render(record, registry, out))


def _render(record: HistoryRecord | RegistryHistory, registry: Path, out: Path | None) -> None:
    from ecm_edge.base.tables import say
    from ecm_edge.registry.registry import HistoryRecord, shelves

    for shelf in [record] if isinstance(record, HistoryRecord) else record.shelves:
        if shelf.events:
            _show(shelf)
        else:
            known = ", ".join(shelves(registry))
            say(f"Nothing was decided for {shelf.target} yet. The registry has: {known}.")
    if out:
        click.echo(out)


def _show(record: HistoryRecord) -> None:
    from ecm_edge.base.tables import Column, show

    show(
        f"{record.target}: the incumbent is {record.incumbent or 'nobody'}",
        ["date", "event", "entry", Column("replaces"), Column("candidate", drop=2), Column("model", drop=1), "why"],
        [
            [
                event.date_utc[:10],
                event.event,
                event.entry or "–",
                event.replaces or "–",
                event.candidate + (" (synthetic)" if event.synthetic else ""),
                event.model_sha256[:12],
                event.reason,
            ]
            for event in record.events
        ],
    )
