"""`ecm-edge verify-bundle`: whether a bundle is as the owner of a key signed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option, print_gates
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.registry.signatures import SignatureRecord


@click.command("verify-bundle", epilog=example("ecm-edge verify-bundle bundle --key key.pub"))
@click.argument("bundle", type=PATH, help="A bundle: a folder, or an archive that ends in .zip.")
@click.option("--key", type=PATH, required=True, help="The public key of who signed it: a PEM file.")
@json_option
def command(bundle: Path, key: Path, *, as_json: bool) -> None:
    """Check that every file of BUNDLE is as the owner of the key signed it; nothing in it is run.

    Exits with 1 if it is not signed, signed with another key, or if a file was changed, added or removed.
    """
    from ecm_edge.registry.signatures import verify_bundle

    record = verify_bundle(bundle, key)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: SignatureRecord) -> None:
    from ecm_edge.base.tables import say

    say(f"{record.verdict}: {record.bundle}, by the key {record.key}")
    print_gates(record.gates)
