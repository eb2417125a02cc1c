"""`ecm-edge tasks`: what detectors look for, and in what signal."""

from __future__ import annotations

import click

from ecm_edge.cli._common import emit, json_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped


@click.command("tasks", epilog=example("ecm-edge tasks va-5s"))
@click.argument(
    "name_or_path",
    required=False,
    shell_complete=shipped("tasks"),
    help="One task, or a TOML file.  [default: all that ship]",
)
@json_option
def command(name_or_path: str | None, *, as_json: bool) -> None:
    """List the tasks that ship with ecm-edge, or check and show one (a name, or the path of a TOML file)."""
    from ecm_edge import tasks
    from ecm_edge.base.tables import Column, show

    listing = tasks.TaskList(tasks=[tasks.load(name) for name in ([name_or_path] if name_or_path else tasks.names())])

    def render() -> None:
        show(
            "Tasks",
            [
                "name",
                "label",
                Column("positive", wraps=True),
                Column("left out", drop=1, wraps=True),
                Column("window", wraps=True),
                Column("band Hz", drop=4),
                Column("unit", drop=3),
                Column("leads", drop=2),
                "score",
            ],
            [
                [
                    t.name,
                    t.label,
                    ", ".join(t.positive),
                    ", ".join(t.ignored) or "–",
                    f"{t.window_s:g} s, {t.sampling_rate_hz:g} Hz",
                    f"{t.band_hz[0]:g}-{t.band_hz[1]:g}" if t.band_hz else "–",
                    t.unit,
                    ", ".join(t.leads) or "–",
                    ", ".join(f"{rule.title} on {board}" for board, rule in t.score.items()) or "–",
                ]
                for t in listing.tasks
            ],
        )

    emit(listing, as_json=as_json, render=render)
