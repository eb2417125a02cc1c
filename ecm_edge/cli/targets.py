"""`ecm-edge targets`: the boards and their budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import emit, json_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped

if TYPE_CHECKING:
    from ecm_edge.targets import Target


@click.command("targets", epilog=example("ecm-edge targets nucleo-l432kc"))
@click.argument(
    "name_or_path",
    required=False,
    shell_complete=shipped("targets"),
    help="One board, or a TOML file.  [default: all that ship]",
)
@json_option
def command(name_or_path: str | None, *, as_json: bool) -> None:
    """List the boards that ship with ecm-edge, or check and show one (a name, or the path of a TOML file)."""
    from ecm_edge import targets
    from ecm_edge.base.numbers import KIB
    from ecm_edge.base.tables import Column, show

    listing = targets.TargetList(
        targets=[targets.load(name) for name in ([name_or_path] if name_or_path else targets.names())]
    )

    def render() -> None:
        show(
            "Targets",
            [
                "name",
                Column("core", drop=1),
                Column("clock MHz", drop=2),
                "flash KiB",
                "RAM KiB",
                "MACs",
                "latency ms",
                Column("score", drop=3),
            ],
            [
                [
                    t.name,
                    t.core.architecture,
                    f"{t.core.clock_hz / 1e6:,.0f}",
                    f"{t.budget.flash_bytes / KIB:,.0f} of {t.memory.flash_bytes / KIB:,.0f}",
                    f"{t.budget.ram_bytes / KIB:,.0f} of {t.memory.ram_bytes / KIB:,.0f}",
                    f"{t.budget.macs:,}",
                    f"{t.budget.latency_ms:,g}",
                    _scores(t),
                ]
                for t in listing.targets
            ],
        )

    emit(listing, as_json=as_json, render=render)


def _scores(target: Target) -> str:
    """The rules of score on this board: each with its task, that of the board's own file and those of shipped tasks."""
    from ecm_edge import tasks

    shipped = [tasks.load(name) for name in tasks.names()]
    rules = {task.name: task.score[target.name] for task in shipped if target.name in task.score}
    if target.score:
        rules.setdefault(target.score.task, target.score)
    return ", ".join(f"{rule.title} ({task})" for task, rule in rules.items()) or "–"
