"""`ecm-edge report`: one HTML page about a candidate or a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, emit, json_option, own_data_option

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.report.records import ReportRecord


@click.command("report")
@click.argument("path", metavar="CANDIDATE|RUN", type=PATH)
@own_data_option
@click.option("--registry", type=PATH, help="A registry whose decisions are shown.")
@click.option("--out", "-o", type=PATH, required=True, help="The HTML file; replaced if it is there.")
@json_option
def command(path: Path, data: Path, registry: Path | None, out: Path, *, as_json: bool) -> None:
    """Write one self-contained HTML page about a candidate, or about a run and its best candidate.

    What has not run stands on the page as NOT RUN, with the command that would run it. Exits with 1 if a gate failed.
    """
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.report import write_report

    record = write_report(path, open_dataset(data), out, registry=registry)
    emit(record, as_json=as_json, render=lambda: _render(record, out))


def _render(record: ReportRecord, out: Path) -> None:
    from ecm_edge.base.tables import show

    synthetic = " SYNTHETIC DATA" if record.synthetic else ""
    show(
        f"{record.verdict}: {record.candidate}{synthetic}",
        ["stage", "verdict", "detail"],
        [[s.name, s.verdict.value if s.verdict else "ran", s.detail] for s in [*record.stages, record.promotion]],
    )
    click.echo(out)
