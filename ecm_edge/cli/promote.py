"""`ecm-edge promote`: whether a candidate replaces the incumbent, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
    candidate_argument,
    emit,
    form_option,
    json_option,
    own_data_option,
    target_option,
)
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.registry.decision import PromoteRecord


@click.command("promote", epilog=example("ecm-edge promote run --data af --target loongson-2k0500 --registry registry"))
@candidate_argument
@own_data_option
@target_option
@click.option(
    "--registry", "registry", type=PATH, required=True, help="The registry's folder; made if it is not there."
)
@click.option(
    "--latency",
    "latency_files",
    type=PATH,
    multiple=True,
    help="A bench.json, or pytest-benchmark's JSON of benchmarks/test_latency.py.  [default: the candidate's own]",
)
@form_option("the target's first")
@click.option(
    "--source",
    help="Of a merged data set: the source that the figures, the comparison and the entry's name are of.  "
    "[default: the incumbent's or the only one that both have, else all]",
)
@json_option
def command(
    candidate: Path,
    data: Path,
    target: str,
    registry: Path,
    latency_files: tuple[Path, ...],
    form: Form | None,
    source: str | None,
    *,
    as_json: bool,
) -> None:
    """Let CANDIDATE replace the incumbent of a target, or say why not (exit 1).

    It must be verified, timed and within budget; and against an incumbent, score better on the same subjects and cost
    no more than the target tolerates.
    """
    from ecm_edge import targets
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.registry.promote import promote

    board, segments = targets.load(target), open_dataset(data)
    record = promote(candidate, segments, board, registry, latency_files=latency_files, form=form, source=source)
    emit(record, as_json=as_json, render=lambda: _render(record))
    if record.entry is None:
        click.get_current_context().exit(1)


def _render(record: PromoteRecord) -> None:
    from ecm_edge.base.tables import show

    made_up = " (SYNTHETIC DATA)" if record.synthetic else ""
    what = f"promoted as {record.entry}" if record.entry else "refused"
    show(
        f"{record.verdict}: {record.candidate} {record.form} {what}{made_up}",
        ["gate", "verdict", "value", "limit", "unit", "why"],
        [
            [
                gate.name,
                gate.verdict.value,
                "" if gate.value is None else f"{gate.value:,.6g}",
                "" if gate.limit is None else f"{gate.limit:,.6g}",
                gate.unit,
                gate.detail,
            ]
            for gate in record.gates
        ],
    )
    click.echo(record.reason)
