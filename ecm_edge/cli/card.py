"""`ecm-edge card`: one Markdown file with what a model is, what it is for, and every figure on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import CANDIDATE, PATH, emit, json_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.report.model_card import CardRecord


@click.command("card", epilog=example("ecm-edge card run --data af -o MODEL_CARD.md"))
@click.argument(
    "folder", metavar="CANDIDATE|ENTRY", type=CANDIDATE, help="A candidate's folder, or that of a registry's entry."
)
@click.option(
    "--data",
    "data",
    type=PATH,
    help="The data set that the candidate was made from, to be counted.  [default: not counted]",
)
@click.option("--extra", multiple=True, type=PATH, help="A Markdown file to put in before the commands; repeatable.")
@click.option("--out", "-o", type=PATH, required=True, help="The Markdown file; replaced if it is there.")
@json_option
def command(folder: Path, data: Path | None, extra: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """Write the model card of a candidate or of an entry of a registry, from the records in its folder.

    Where a record is missing, the card says "not measured" and names the command that measures it.
    """
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.report.model_card import write_card

    record = write_card(folder, out, dataset=open_dataset(data) if data else None, extra=extra)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: CardRecord) -> None:
    click.echo(record.out)
    if record.not_measured:
        click.echo(f"not measured: no {', '.join(record.not_measured)}")
