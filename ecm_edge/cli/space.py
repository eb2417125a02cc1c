"""`ecm-edge space`: what a search draws from."""

from __future__ import annotations

import click

from ecm_edge.cli._common import emit, json_option, trust_option
from ecm_edge.cli._help import example
from ecm_edge.cli._names import shipped


@click.command("space", epilog=example("ecm-edge space quick"))
@click.argument(
    "name_or_path",
    default="default",
    shell_complete=shipped("candidate/spaces"),
    help="A shipped space, or a TOML file of your own.  [default: default]",
)
@trust_option
@json_option
def command(name_or_path: str, *, as_json: bool) -> None:
    """Show a search space: a shipped one (default, reference, afnet, quick) or the path of a TOML file."""
    from ecm_edge.base.tables import show
    from ecm_edge.candidate import space

    loaded = space.load(name_or_path)
    if name_or_path not in space.names():
        space.check(loaded)

    def render() -> None:
        for family in loaded.families:
            entries = space.entries(loaded, family)
            show(
                f"{name_or_path}: {family}",
                ["parameter", "values"],
                [[k, space.describe(v)] for k, v in entries.items()],
            )

    emit(loaded, as_json=as_json, render=render)
