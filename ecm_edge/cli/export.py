"""`ecm-edge export`: a candidate's network as ONNX, simplified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import candidate_argument, emit, json_option, open_data, own_data_option, trust_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.forms.export_records import ExportResult


@click.command("export", epilog=example("ecm-edge export one --data af"))
@candidate_argument
@own_data_option
@trust_option
@json_option
def command(candidate: Path, data: Path, *, as_json: bool) -> None:
    """Write the trained network of folder CANDIDATE as ONNX, and a simplified form with the same answers.

    Leaves model.onnx, model.simplified.onnx, export.json, simplify.json and the exporter's log in the folder.
    """
    from ecm_edge.base.progress import doing
    from ecm_edge.forms.export import export_candidate

    dataset = open_data(data)
    with doing("export and simplify"):
        record = export_candidate(candidate, dataset)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: ExportResult) -> None:
    from ecm_edge.base.tables import say
    from ecm_edge.cli.simplify import render

    say(f"exported with opset {record.export.opset}, and simplified")
    render(record.simplify)
