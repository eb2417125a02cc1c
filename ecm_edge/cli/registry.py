"""`ecm-edge registry`: whether a registry is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option
from ecm_edge.cli._help import Group, example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.registry.check import RegistryCheck


@click.group("registry", cls=Group, epilog=example("ecm-edge registry check data/reference"))
def command() -> None:
    """Check a registry, and repair it where that is safe."""


@command.command(
    "check",
    short_help="say everything that is wrong with a registry",
    epilog=example("ecm-edge registry check data/reference"),
)
@click.argument("registry", type=PATH, help="The registry's folder.")
@click.option(
    "--repair",
    is_flag=True,
    help="Write again what the history tells, and remove what killed processes left.  [default: change nothing]",
)
@click.option(
    "--key",
    type=PATH,
    help="Its owner has to have signed every entry: a public key.  [default: no signature is looked at]",
)
@json_option
def check_(registry: Path, key: Path | None, *, repair: bool, as_json: bool) -> None:
    """Look at every file of REGISTRY; exit 1 if it is damaged.

    Histories, incumbents, entries by their hashes, names, links, the policy, and dates that go back. --repair loses
    nothing: a line of a history or a file of an entry is never made up.
    """
    from ecm_edge.registry.check import check

    record = check(registry, repair=repair, key=key)
    emit(record, as_json=as_json, render=lambda: _render(record, repair=repair))


def _render(record: RegistryCheck, *, repair: bool) -> None:
    from ecm_edge.base.numbers import counted
    from ecm_edge.base.tables import say

    for line in record.repaired:
        say(f"repaired: {line}")
    for finding in record.findings:
        say(f"{finding.kind}: {finding.name}: {finding.found}, in {finding.where}", indent=8)
        say(f"        {finding.remedy}")
    damages = sum(finding.kind == "damage" for finding in record.findings)
    state = f"damaged in {counted(damages, 'place')}" if damages else "whole"
    parts = f"{counted(record.shelves, 'shelf', 'shelves')}, {counted(record.entries, 'entry', 'entries')}"
    say(f"{record.verdict}: {record.registry}: {parts}: {state}")
    if repair and damages:
        say("What is still damaged cannot be repaired without a copy of what was there.")
