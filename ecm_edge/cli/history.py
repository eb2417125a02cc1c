"""`ecm-edge history`: what was promoted, refused and rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import emit, json_option, registry_option, target_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path


@click.command("history", epilog=example("ecm-edge history --target loongson-2k0500 --registry registry"))
@target_option
@registry_option
@json_option
def command(target: str, registry: Path, *, as_json: bool) -> None:
    """List every decision about a target, oldest first."""
    from ecm_edge import targets
    from ecm_edge.base.tables import Column, show
    from ecm_edge.registry.registry import history_record, shelf_of

    name = targets.load(target).name
    record = history_record(shelf_of(registry, name), name)

    def render() -> None:
        show(
            f"{name}: the incumbent is {record.incumbent or 'nobody'}",
            [
                "date",
                "event",
                "entry",
                "replaces",
                Column("candidate", drop=2),
                Column("model", drop=1),
                "why",
            ],
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

    emit(record, as_json=as_json, render=render)
