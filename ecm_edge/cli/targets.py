"""`ecm-edge targets`: the boards and their budgets."""

from __future__ import annotations

import click

from ecm_edge.cli._common import emit, json_option


@click.command("targets")
@click.argument("name_or_path", required=False)
@json_option
def command(name_or_path: str | None, *, as_json: bool) -> None:
    """List the boards that ship with ecm-edge, or check and show one (a name, or the path of a TOML file)."""
    from ecm_edge import targets
    from ecm_edge.base.tables import show

    listing = targets.TargetList(
        targets=[targets.load(name) for name in ([name_or_path] if name_or_path else targets.names())]
    )

    def render() -> None:
        show(
            "Targets",
            ["name", "core", "clock MHz", "flash KiB", "RAM KiB", "MACs", "latency ms", "score"],
            [
                [
                    t.name,
                    t.core.architecture,
                    f"{t.core.clock_hz / 1e6:.0f}",
                    f"{t.budget.flash_bytes / 1024:.0f} of {t.memory.flash_bytes / 1024:.0f}",
                    f"{t.budget.ram_bytes / 1024:.0f} of {t.memory.ram_bytes / 1024:.0f}",
                    f"{t.budget.macs:,}",
                    f"{t.budget.latency_ms:g}",
                    t.score.title if t.score else "–",
                ]
                for t in listing.targets
            ],
        )

    emit(listing, as_json=as_json, render=render)
