"""`ecm-edge report`: one HTML page about a candidate, a run, or a model on data that it was not made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import PATH, data_option, emit, json_option
from ecm_edge.cli._help import example
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.report.records import ReportRecord, ValidationRecord


@click.command("report", epilog=example("ecm-edge report run --data af --registry registry -o report.html"))
@click.argument("path", metavar="MODEL|RUN", type=PATH, help="A candidate, an ONNX file, or a run.")
@data_option
@click.option("--registry", type=PATH, help="A registry whose decisions are shown.  [default: none]")
@click.option("--out", "-o", type=PATH, required=True, help="The HTML file; replaced if it is there.")
@json_option
def command(path: Path, data: Path, registry: Path | None, out: Path, *, as_json: bool) -> None:
    """Write one self-contained HTML page about a candidate, or about a run and its best candidate.

    A stage that has not run is shown as NOT RUN, with the command that runs it. Exits with 1 if a gate failed.

    For an ONNX file, and on data that MODEL was not made from, the page is a validation: figures by source, rhythm and
    subject, and whether the data are external, that is, unseen by the model.
    """
    from ecm_edge.data.dataset import open_dataset
    from ecm_edge.registry.registry import shelves

    if registry:
        shelves(registry)
    from ecm_edge.report import write_report
    from ecm_edge.report.records import ValidationRecord

    record = write_report(path, open_dataset(data), out, registry=registry)
    if isinstance(record, ValidationRecord):
        emit(record, as_json=as_json, render=lambda: _render_validation(record, out))
    else:
        emit(record, as_json=as_json, render=lambda: _render(record, out))


def _render(record: ReportRecord, out: Path) -> None:
    from ecm_edge.base.tables import show
    from ecm_edge.report.search_page import beside

    synthetic = " SYNTHETIC DATA" if record.synthetic else ""
    show(
        f"{record.verdict}: {record.candidate}{synthetic}",
        ["stage", "verdict", "detail"],
        [[s.name, s.verdict.value if s.verdict else "ran", s.detail] for s in [*record.stages, record.promotion]],
    )
    click.echo(out)
    if record.run:
        click.echo(beside(out))


def _render_validation(record: ValidationRecord, out: Path) -> None:
    from ecm_edge.base.numbers import figure, with_positives
    from ecm_edge.base.tables import say, show
    from ecm_edge.evaluate.score import undefined

    scores = record.score.scores
    tell([], record.score.warnings)
    say(record.origin.statement)
    synthetic = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(scores.subjects, scores.positive_subjects, record.score.label)
    show(
        f"{record.model} on {record.data.name}, {counted}{synthetic}",
        ["figure", "value (95 %)"],
        [[name, figure(getattr(scores, name))] for name in ("recall", "fbeta_mean", "g", "specificity")],
    )
    click.echo(out)
    if missing := undefined(scores, record.score.label):
        say(missing)
